"""Collect the problems that each table of a scenario finds in itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scenarios.format.locate import Key
from scenarios.format.tables import Problems, Table, keys_of


def own_problems(tables: Mapping[str, Any]) -> Problems:
    """Yield the problems of every table and of all tables in it, with keys from the root of the scenario.

    Args:
        tables: values by key of the scenario; values that hold no tables are skipped.
    """
    for name, value in tables.items():
        yield from _below((name,), value)


def _below(key: Key, value: Any) -> Problems:
    if isinstance(value, Table):
        for inner, message in value.problems():
            yield (*key, *inner), message
        for written, field in zip(keys_of(type(value)), type(value).model_fields, strict=True):
            yield from _below((*key, written), getattr(value, field))
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from _below((*key, i), item)
