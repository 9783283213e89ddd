"""Packages that kinds of a scenario come from, where it is not sottovoce itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scenarios.format.kind import Kind, plugin_of
from scenarios.format.locate import Key, dotted, undotted
from scenarios.format.tables import Table
from scenarios.reading.choices import tables_at
from scenarios.schema import Scenario


def packages_at(key: str) -> Mapping[str, str]:
    """Map the kinds of plug-ins that may stand at a dotted key to package and version."""
    kinds = [table for table in tables_at(undotted(key)) if issubclass(table, Kind)]
    return {word: named for kind in kinds if (named := _named(kind)) for word in kind.words()}


def packages_in(scenario: Scenario) -> Mapping[str, str]:
    """Map the dotted keys at which a scenario uses kinds of plug-ins to package and version."""
    return dict(_used(scenario, ()))


def _used(value: Any, key: Key) -> Iterator[tuple[str, str]]:
    if isinstance(value, Kind) and (named := _named(type(value))):
        yield dotted(key), named
    if isinstance(value, Table):
        for name in type(value).model_fields:
            yield from _used(getattr(value, name), (*key, name))
    elif isinstance(value, tuple):
        for i, inner in enumerate(value):
            yield from _used(inner, (*key, i))


def _named(kind: type[Kind]) -> str:
    return " ".join(plugin_of(kind) or ()).strip()
