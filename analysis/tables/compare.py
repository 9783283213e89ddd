"""Several runs or studies side by side, and their differences where they share seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rich.table import Table
from rich.text import Text

from analysis.store import Study, is_study, read_run, read_study
from analysis.tables.heat import has_heat
from analysis.tables.paired import Rows, baseline_of, fits, metrics_of, paired, swept_keys
from analysis.tables.study import about, epsilon_terms, in_words, plain, study_rows
from analysis.tables.summary import summary_rows, worst_node
from analysis.tables.tradeoff import Setting, grouped
from simulator.errors import StorageError

_STUDY_TABLES = ("sweep", "study", "whatif", "seed")
"""Top-level keys that are about a study's runs, not about each of them."""

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

    Rows whose values differ are bold. A study gives one column per series or variant and setting. Differences are
    taken between runs of the same seed: of one study to its baseline, of several folders to the column of the first
    folder with the same name and setting, or to its only one.

    Args:
        paths: run or study folders, at least two columns in all.

    Raises:
        StorageError: a folder is missing or damaged, or there is nothing to compare.
    """
    notes: list[str] = []
    places = [Path(path) for path in paths]
    known = [read_study(path).name for path in places if is_study(path)]
    folders = [_columns(path, notes, same_name=_twice(known, path)) for path in places]
    columns = [column for folder in folders for column in folder]
    if len(columns) < 2:
        raise StorageError("compare needs at least two runs (or one study); give more folders")
    table = Table(pad_edge=False, caption="\n".join(notes) or None, caption_justify="left")
    table.add_column("", no_wrap=True)  # keys must not be truncated
    for column in columns:
        table.add_column(Text(column.title), overflow="fold")
    _add_rows(table, [column.numbers for column in columns])
    changes = _differences(folders)
    if any(changes):
        table.add_section()
        _add_rows(table, changes)
    table.add_section()
    _add_rows(table, [column.scenario for column in columns], only_differing=True)
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


def _add_rows(table: Table, columns: Sequence[Mapping[str, str]], *, only_differing: bool = False) -> None:
    for key in dict.fromkeys(key for column in columns for key in column):
        values = [column.get(key, "–") for column in columns]
        differ = len(set(values)) > 1
        if differ or not only_differing:
            style = "bold" if differ else "dim"
            table.add_row(Text(key, style=style), *(Text(value, style=style) for value in values))


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
            flat[f"{prefix}{key}"] = str(value)
    return flat
