"""The tables of scenario files, and a valid example of each."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from typing import Any

from scenarios.format.kind import Kind
from scenarios.format.tables import Table, keys_of
from scenarios.reading.choices import families_of, models_of
from scenarios.reading.reference import example_of
from scenarios.reading.types import is_list
from scenarios.schema import Scenario


def _tables(model: type[Table], prefix: str = "") -> Iterator[tuple[str, type[Table]]]:
    for name, field in keys_of(model).items():
        for inner in models_of(field.annotation):
            yield f"{prefix}{name}", inner
            yield from _tables(inner, f"{prefix}{name}.")


TABLES = list(dict.fromkeys(_tables(Scenario)))
"""Every table of a scenario under its dotted name, once for each kind."""
FAMILIES: list[type[Kind]] = list(
    dict.fromkeys(
        family
        for table in dict.fromkeys([Scenario, *(table for _, table in TABLES)])
        for field in keys_of(table).values()
        for family in families_of(field.annotation)
    )
)


def value_of(name: str, table: type[Table]) -> Any:
    """Return a valid value of a key, as a file has it."""
    field = keys_of(table)[name]
    inner = models_of(field.annotation)
    if inner:
        return [example(inner[0])] if is_list(field.annotation) else example(inner[0])
    return tomllib.loads(f"x = {example_of(name, field).strip('`')}")["x"]


def example(table: type[Table]) -> dict[str, Any]:
    """Return a valid table with its required keys alone, and its kind."""
    return {
        name: value_of(name, table)
        for name, field in keys_of(table).items()
        if field.is_required() or name == "kind"
    }
