"""Several runs or studies side by side, and their differences where they share seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl
from rich.console import Group
from rich.table import Table
from rich.text import Text

from analysis.store import Study, is_study, read_run, read_study
from analysis.tables.heat import has_heat
from analysis.tables.paired import Rows, baseline_of, fits, metrics_of, paired, swept_keys
from analysis.tables.study import about, epsilon_terms, in_words, plain, point_numbers, study_rows
from analysis.tables.summary import summary_rows, worst_node
from analysis.tables.tradeoff import Setting, grouped
from simulator.errors import StorageError

_STUDY_TABLES = ("sweep", "study", "whatif", "seed")
"""Top-level keys that are about a study's runs, not about each of them."""

_PROSE = ("description", "expect")
"""Keys of a scenario that are texts for readers."""

ABREAST = 4
"""Largest number of columns of one table, so that they fit a terminal."""

_NONE = "–"
_Row: TypeAlias = tuple[str, Sequence[str], bool]

Place: TypeAlias = tuple[str, Setting]
"""Name of a series or variant, and its setting of the swept keys."""


@dataclass(frozen=True)
class Column:
    """One run, or one series or variant of a study at one setting.

    Args:
        title: label of the column.
        numbers: entries of its summary, as text.
        scenario: its scenario, dotted key -> text.
        runs: its summaries by seed; empty where they cannot be paired.
        place: its position in its study; ``None`` for a single run.
        baseline: whether the others of its study are compared with it.
    """

    title: str
    numbers: Mapping[str, str]
    scenario: Mapping[str, str]
    runs: Rows
    place: Place | None = None
    baseline: bool = False


def compare(paths: Iterable[Path]) -> Table:
    """Compare runs: a column per run, a row per main result, differences, then scenario keys that differ.

    Rows whose values differ are bold. A study gives one column per series or variant and setting. With a study, runs
    are shown by the numbers of a study too, so that both have the same rows; descriptions are left out. Differences
    are taken between runs of the same seed: of one study to its baseline, of several folders to the column of the
    first folder with the same name and setting, or to its only one.

    Args:
        paths: run or study folders, at least two columns in all.

    Raises:
        StorageError: a folder is missing or damaged, or there is nothing to compare.
    """
    columns, blocks, notes = _compared(paths)
    table = _table(columns, blocks, slice(None))
    table.caption, table.caption_justify = "\n".join(notes) or None, "left"
    return table


def compare_below(paths: Iterable[Path]) -> Group:
    """Compare as :func:`compare`, but with at most :data:`ABREAST` columns in a table, one table below the other.

    Raises:
        StorageError: as :func:`compare`.
    """
    columns, blocks, notes = _compared(paths)
    width = math.ceil(len(columns) / math.ceil(len(columns) / ABREAST))
    parts = [slice(i, i + width) for i in range(0, len(columns), width)]
    return Group(*(_table(columns[part], blocks, part) for part in parts), *map(Text, notes))


def _compared(paths: Iterable[Path]) -> tuple[list[Column], list[list[_Row]], list[str]]:
    """Return the columns, the rows of each section of the table, and notes on studies."""
    notes: list[str] = []
    places = [Path(path) for path in paths]
    known = [read_study(path).name for path in places if is_study(path)]
    folders = [_columns(path, notes, same_name=_twice(known, path)) for path in places]
    columns = [column for folder in folders for column in folder]
    if len(columns) < 2:
        raise StorageError("compare needs at least two runs (or one study); give more folders")
    changes = _differences(folders)
    if len(known) not in (0, len(places)):
        columns = [_as_point(column) for column in columns]
    scenarios = [{k: v for k, v in column.scenario.items() if k not in _PROSE} for column in columns]
    blocks = [_rows([column.numbers for column in columns])]
    blocks += [_rows(changes)] if any(changes) else []
    return columns, [*blocks, [row for row in _rows(scenarios) if row[2]]], notes


def _as_point(column: Column) -> Column:
    """Return a run's column with the numbers of a study's table; others, and runs without numbers, as they are."""
    if column.place is not None or not column.runs:
        return column
    numbers = point_numbers(pl.DataFrame(list(column.runs.values()), strict=False, infer_schema_length=None))
    return replace(column, numbers=numbers)


def _table(columns: Sequence[Column], blocks: Sequence[Sequence[_Row]], part: slice) -> Table:
    """Build the table of some of the columns."""
    table = Table(pad_edge=False)
    table.add_column("", no_wrap=True)  # keys must not be truncated
    for column in columns:
        table.add_column(Text(column.title), overflow="fold")
    for rows in blocks:
        table.add_section()
        for key, every, differ in rows:
            values = every[part]
            if set(values) == {_NONE}:
                continue  # a key of columns in another table
            style = "bold" if differ else "dim"
            table.add_row(Text(key, style=style), *(Text(value, style=style) for value in values))
    return table


def _differences(folders: Sequence[Sequence[Column]]) -> list[Mapping[str, str]]:
    """Return for every column its reference, the number of pairs, and the difference in every metric."""
    every = [column for folder in folders for column in folder]
    metrics = metrics_of([row for column in every for row in column.runs.values()])
    found: list[Mapping[str, str]] = []
    for folder in folders:
        for column in folder:
            base = _reference(column, folders)
            if base is None or not column.runs:
                found.append({})
                continue
            pairs = len(set(column.runs) & set(base.runs))
            told = {"Δ against": base.title, "pairs of one seed": str(pairs)}
            if pairs == 1:
                told["pairs of one seed"] = "1 (no interval)"
            for metric in metrics:
                unit = "" if metric.unit == "ε" else f" ({metric.unit})"
                told[f"Δ {metric.title}{unit}"] = in_words(
                    paired(column.title, metric, column.runs, base.runs)
                )
            found.append(told)
    return found


def _reference(column: Column, folders: Sequence[Sequence[Column]]) -> Column | None:
    """Return the column that a column is compared with, ``None`` if there is none."""
    first = folders[0]
    if len(folders) == 1:
        bases = (
            []
            if column.baseline
            else [o for o in first if o.baseline and fits(_setting(o), _setting(column))]
        )
    elif any(column is other for other in first):
        bases = []
    else:
        bases = [other for other in first if other.place == column.place or len(first) == 1]
    return bases[0] if bases else None


def _setting(column: Column) -> Setting:
    return () if column.place is None else column.place[1]


def _swept(study: Study, setting: Setting) -> Setting:
    """Return the pairs of a setting that are points of the grid, not part of the series or variant."""
    keys = swept_keys(study)
    return tuple((key, value) for key, value in setting if key in keys)


def _rows(columns: Sequence[Mapping[str, str]]) -> list[_Row]:
    """Return key, values and whether these differ, for every key of any column."""
    keys = dict.fromkeys(key for column in columns for key in column)
    found = [(key, [column.get(key, _NONE) for column in columns]) for key in keys]
    return [(key, values, len(set(values)) > 1) for key, values in found]


def _twice(names: Sequence[str], path: Path) -> bool:
    """Return whether the study in a folder has the name of another one."""
    return is_study(path) and names.count(read_study(path).name) > 1


def _columns(path: Path, notes: list[str], *, same_name: bool) -> list[Column]:
    if is_study(path):
        study = read_study(path)
        called = path.name if same_name else study.name
        notes.append(f"{called}: {about(study)}. {' '.join(epsilon_terms(study))} Open-loop ε is no bound.")
        header, rows = study_rows(study)
        titles = [f"{called}: {row[0]}" for row in rows]
        numbers = [dict(zip(header[1:], row[1:], strict=True)) for row in rows]
        if has_heat(study):  # its rows are of defences over all attacks, without runs of one seed to pair
            whole = flatten(_without_study(study.description["scenario"]))
            return [Column(title, told, whole, {}) for title, told in zip(titles, numbers, strict=True)]
        return [
            Column(
                title,
                told,
                flatten(_scenario_of(study, setting, runs)),
                {int(run["seed"]): run for run in runs},
                (name, _swept(study, setting)),
                name == baseline_of(study),
            )
            for title, told, (name, setting, runs) in zip(
                titles, numbers, grouped(study.summaries), strict=True
            )
        ]
    run = read_run(path)
    scenario = flatten(run.manifest["scenario"] | {"objects": run.manifest.get("objects") or {}})
    if run.summary is None:
        return [Column(path.name, {"status": str(run.manifest["status"])}, scenario, {})]
    runs = {int(run.summary["seed"]): run.summary}
    return [Column(path.name, dict(summary_rows(run.summary, worst_node(run))), scenario, runs)]


def _scenario_of(study: Study, setting: Setting, runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the scenario of a column's runs, without what differs by seed; their folders may have been moved."""
    for summary in runs:
        if (study.path / "runs" / str(summary["id"]) / "manifest.json").is_file():
            found = study.run(str(summary["id"])).manifest["scenario"]
            return {key: value for key, value in found.items() if key != "seed"}
    return _without_study(study.description["scenario"]) | {f"set {key}": plain(v) for key, v in setting}


def _without_study(scenario: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scenario without the tables that define the runs of a study."""
    return {key: value for key, value in scenario.items() if key not in _STUDY_TABLES}


def flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return dotted keys and values as text; a list of tables is numbered (``fault.0.node``)."""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            value = {str(i): one for i, one in enumerate(value)}
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = f"{value:.6g}" if isinstance(value, float) else str(value)
    return flat
