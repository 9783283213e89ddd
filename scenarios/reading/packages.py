"""Packages that kinds of a scenario come from, where it is not sottovoce itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from scenarios.format.kind import Kind, plugin_of
from scenarios.format.locate import Key, dotted, undotted
from scenarios.format.tables import Table
from scenarios.reading.choices import kinds_of, tables_at
from scenarios.schema import Scenario
from simulator.errors import StorageError


def packages_at(key: str) -> Mapping[str, str]:
    """Map the kinds of plug-ins that may stand at a dotted key to package and version."""
    kinds = [table for table in tables_at(undotted(key)) if issubclass(table, Kind)]
    return {word: named for kind in kinds if (named := _named(kind)) for word in kind.words()}


def packages_in(scenario: Scenario) -> Mapping[str, str]:
    """Map the dotted keys at which a scenario uses kinds of plug-ins to package and version."""
    return dict(_used(scenario, ()))


def check_installed(manifest: Mapping[str, Any], folder: Path, *keys: str) -> None:
    """Check that the packages of a run's plug-ins are installed, before its scenario is read again.

    Args:
        manifest: of the run.
        folder: of the run.
        keys: dotted keys of the scenario that are needed; all by default.

    Raises:
        StorageError: a kind is not installed; one line that names key, kind, package and version.
    """
    for key, package in (manifest.get("plugins") or {}).items():
        if keys and key not in keys:
            continue
        word = _word_at(manifest["scenario"], undotted(key))
        if word not in {word for table in tables_at(undotted(key)) for word in kinds_of(table)}:
            raise StorageError(
                f"{folder / 'manifest.json'}: scenario.{key}: the kind {word!r} of this run is of package {package}, "
                "which is not installed; install it"
            )


def _word_at(table: Any, key: Key) -> Any:
    for part in key:
        try:
            table = table[part]
        except (IndexError, KeyError, TypeError):
            return None
    return table.get("kind") if isinstance(table, dict) else None


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
