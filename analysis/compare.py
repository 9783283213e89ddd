"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from analysis.store import is_study, read_run, read_study
from analysis.summary import study_rows, summary_rows, worst_node
from simulator.errors import StorageError


def compare(paths: Iterable[Path]) -> Table:
    """A column per run, a row per headline number, then a row per scenario key in which they differ.

    Rows whose values differ are bold. A study gives one column per series or variant and setting.

    Args:
        paths: run or study folders, at least two columns in all.

    Raises:
        StorageError: a folder is missing or damaged, or there is nothing to compare.
    """
    columns = [column for path in paths for column in _columns(Path(path))]
    if len(columns) < 2:
        raise StorageError("compare needs at least two runs (or one study); give more folders")
    table = Table(pad_edge=False)
    table.add_column("")
    for title, _, _ in columns:
        table.add_column(Text(title), overflow="fold")
    _add_rows(table, [numbers for _, numbers, _ in columns], only_differing=False)
    table.add_section()
    _add_rows(table, [scenario for _, _, scenario in columns], only_differing=True)
    return table


def _add_rows(table: Table, columns: list[Mapping[str, str]], *, only_differing: bool) -> None:
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key, "–") for column in columns]
        differ = len(set(values)) > 1
        if differ or not only_differing:
            style = "bold" if differ else "dim"
            table.add_row(Text(key, style=style), *(Text(value, style=style) for value in values))


def _columns(path: Path) -> list[tuple[str, Mapping[str, str], Mapping[str, str]]]:
    if is_study(path):
        study = read_study(path)
        header, rows = study_rows(study)
        scenario = flatten(study.description["scenario"])
        return [
            (f"{study.name}: {row[0]}", dict(zip(header[1:], row[1:], strict=True)), scenario) for row in rows
        ]
    run = read_run(path)
    scenario = flatten(run.manifest["scenario"])
    if run.summary is None:
        return [(path.name, {"status": str(run.manifest["status"])}, scenario)]
    return [(path.name, dict(summary_rows(run.summary, worst_node(run))), scenario)]


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted keys and values as text; a list of tables is numbered (``fault.0.node``)."""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            value = {str(i): one for i, one in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat
