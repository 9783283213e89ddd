"""The walk over tables that asks each for what is wrong with its own keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from scenarios.format.locate import Key
from scenarios.format.tables import Table
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]


def walk(value: Any, key: Key) -> Found:
    """Yield what a table, its tables and those in its lists find wrong with themselves.

    Args:
        value: of a key: a table, a list or anything else.
        key: where it is in the scenario.
    """
    if isinstance(value, Table):
        yield from (((*key, *within), message) for within, message in value.problems())
        for name, field in type(value).model_fields.items():
            yield from walk(getattr(value, name), (*key, field.alias or name))
    elif isinstance(value, tuple):
        for i, item in enumerate(value):
            yield from walk(item, (*key, i))


def own_problems(name: str) -> Callable[[Scenario], Found]:
    """Return the check of one top-level table, so that a broken one hides no other."""
    return lambda scenario: walk(getattr(scenario, name), (name,))
