"""Tables of a study: means over seeds of every series or variant, and differences to the baseline."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import polars as pl
from rich.table import Table
from rich.text import Text

from analysis.store import Study
from analysis.tables.estimate import Estimate, seeds_in_words
from analysis.tables.heat import has_heat, heat_rows
from analysis.tables.paired import POINTS, Difference, Quantity, baseline_of, study_differences
from analysis.tables.summary import MIB, number, observers_in_words, upper
from analysis.tables.tradeoff import BASES, GridPoint, epsilon_of, grid_points

Rows: TypeAlias = tuple[list[str], list[list[str]]]
"""Header and rows of cells, of equal length."""

SHORT = "Cert.: certified, a bound; open loop: no bound for adaptive training."
"""Note on the columns of ε in a terminal."""

WHOLE = "Mixes with all: mixes that received a message from every expected neighbour."
"""Note on the last column of a study."""


def study_rows(study: Study) -> Rows:
    """Return header and rows of :func:`study_table`."""
    if has_heat(study):
        return heat_rows(study)
    certified = grid_points(study.summaries, "certified")
    open_loop = grid_points(study.summaries, "open-loop")
    keys = swept([(point.series, point.setting) for point in certified])
    header = ["series" if study.kind == "sweep" else "variant", *short(keys), *_titles(study.summaries)]
    rows: list[list[str]] = []
    for point, other in zip(certified, open_loop, strict=True):
        setting = dict(point.setting)
        rows.append([point.series, *(plain(setting.get(key)) for key in keys), *_numbers(point, other)])
    return header, rows


def point_numbers(summaries: pl.DataFrame) -> dict[str, str]:
    """Return the numbers of the first point of a table of summaries, by the titles that :func:`study_rows` gives."""
    first, other = (grid_points(summaries, basis)[0] for basis in ("certified", "open-loop"))
    return dict(zip(_titles(summaries), _numbers(first, other), strict=True))


def _titles(summaries: pl.DataFrame) -> list[str]:
    return [
        *("seeds", "mean acc. (%)", "worst acc. (%)", "ε certified", "ε open-loop", _to_target(summaries)),
        *("virtual (s)", "MiB", "sums opened (%)", "mixes with all (%)"),
    ]


def _numbers(point: GridPoint, other: GridPoint) -> list[str]:
    """Return the cells under :func:`_titles`; ``other`` is the same point with its open-loop ε."""
    return [
        _seeds(point),
        plus_minus(point.accuracy_mean, 100),
        plus_minus(point.accuracy_worst, 100),
        _with_missing(plus_minus(point.epsilon, bound=True), point.epsilon, "without"),
        _with_missing(plus_minus(other.epsilon, bound=True), other.epsilon, "without"),
        _reached_by(point),
        plus_minus(point.simulated_s),
        plus_minus(point.bytes_sent, 1 / MIB),
        plus_minus(point.sums_opened, 100),
        plus_minus(point.mixes_complete, 100),
    ]


def study_table(study: Study) -> Table:
    """Build the overview of a study: one row per series or variant and setting."""
    below = warned(study) + epsilon_terms(study) + ([] if has_heat(study) else [SHORT, WHOLE])
    return _table(f"{study.name}: {about(study)}", study_rows(study), " ".join(below))


def about(study: Study) -> str:
    """Describe the numbers of :func:`study_rows` in words."""
    seeds = seeds_in_words(point.seeds for point in grid_points(study.summaries))
    if has_heat(study):
        return f"mean accuracy of honest nodes in %, mean over seeds ({seeds})"
    if "interval" in seeds:
        return seeds
    return f"mean ± half of the 95 % t interval over {seeds}; without ±: one value, or equal ones"


def warned(study: Study) -> list[str]:
    """Return warnings about runs of a study: for each series or variant, their number, and the first warning."""
    if "warnings" not in study.summaries.columns:
        return []
    place = "series" if study.kind == "sweep" else "variant"
    told: dict[str, list[str]] = {}
    for row in study.summaries.to_dicts():
        if row["warnings"]:
            told.setdefault(str(row.get(place) or "baseline"), []).append(str(row["warnings"]))
    return [f"Warnings in {len(ones)} run(s) of {name}, the first: {ones[0]}" for name, ones in told.items()]


def epsilon_terms(study: Study) -> list[str]:
    """Return a sentence on victim, unit, observers and δ for every kind of ε in a study."""
    seen = dict.fromkeys(
        (row.get("unit"), row.get("adjacency"), row.get("delta"), observers_in_words(row.get("observers")))
        for row in study.summaries.to_dicts()
        if any((loss := epsilon_of(row, basis)) is not None and math.isfinite(loss) for basis in BASES)
    )
    return [
        f"ε: worst honest victim and observer ({observers}), unit {unit}, adjacency {adjacency}, δ = {delta}."
        for unit, adjacency, delta, observers in seen
    ] or ["No run has a finite ε."]


def paired_rows(study: Study) -> Rows | None:
    """Return header and rows of :func:`paired_table`; ``None`` without a baseline or anything to compare with it."""
    found = study_differences(study)
    if not found:
        return None
    points: dict[tuple[str, tuple[tuple[str, Any], ...]], list[Difference]] = {}
    for one in found:
        points.setdefault((one.variant, one.setting), []).append(one)
    keys = swept(points)
    metrics = [one.metric for one in next(iter(points.values()))]
    header = ["series" if study.kind == "sweep" else "variant", *short(keys), "pairs", *map(column, metrics)]
    rows = []
    for (variant, setting), ones in points.items():
        cells = [plain(dict(setting).get(key)) for key in keys]
        rows.append([variant, *cells, str(max(len(one.per_seed) for one in ones)), *map(in_words, ones)])
    return header, rows


def paired_table(study: Study) -> Table | None:
    """Build the differences to the baseline: one row per variant (series and setting), one column per metric."""
    rows = paired_rows(study)
    return None if rows is None else _table(f"{study.name}: {paired_about(study)}", rows)


def paired_about(study: Study) -> str:
    """Describe the numbers of :func:`paired_rows` in words."""
    pairs = seeds_in_words(len(one.per_seed) for one in study_differences(study) if one.per_seed)
    means = (
        "one pair, no interval"
        if "interval" in pairs
        else f"mean ± half of the 95 % t interval over pairs of runs ({pairs})"
    )
    return f"Δ to the run of {baseline_of(study)!r} with the same seed; {means}; points are percentage points"


def column(metric: Quantity) -> str:
    """Return the title of a column of differences, with its unit."""
    unit = {"ε": "", POINTS: " (points)"}.get(metric.unit, f" ({metric.unit})")
    return f"Δ {metric.short}" + ("" if metric.unit in metric.short else unit)


def in_words(one: Difference) -> str:
    """Format the mean difference ± half-width, with what it leaves out or why there is none."""
    if math.isnan(one.mean):
        return "–" if one.note in ("", "no value in both") else one.note
    return signed(one.estimate) + (f" ({one.note})" if one.note else "")


def plus_minus(value: Estimate, scale: float = 1.0, *, bound: bool = False) -> str:
    """Format mean ± half-width with as many decimals as the half-width supports; the mean alone if all agree.

    Args:
        value: what is shown.
        scale: factor from its unit to that of the table.
        bound: round the mean up, as a privacy loss must be.
    """
    if not value.bounded or not value.half_width > 1e-12 * abs(value.mean):
        return (upper if bound else number)(value.mean * scale)
    mean, half = value.mean * scale, value.half_width * scale
    places = _places(mean, half)
    if bound:
        mean = math.ceil(mean * 10**places * (1 - 1e-12)) / 10**places
    return f"{mean:.{places}f} ± {half:.{places}f}"


def signed(value: Estimate) -> str:
    """Format a mean difference ± half-width, with its sign."""
    if value.mean == 0 and not value.half_width > 0:
        return "0"
    if not value.bounded or not value.half_width > 1e-12 * abs(value.mean):
        return ("+" if value.mean > 0 else "−") + number(abs(value.mean))
    places = _places(value.mean, value.half_width)
    return f"{value.mean:+.{places}f} ± {value.half_width:.{places}f}".replace("-", "−")


def swept(points: Any) -> list[str]:
    """Return keys that take several values in some series; constant ones are already in the name of the series.

    Args:
        points: (series, setting) pairs, a setting being (dotted key, value) pairs.
    """
    values: dict[tuple[str, str], set[str]] = {}
    for series, setting in points:
        for key, value in setting:
            values.setdefault((key, series), set()).add(repr(value))
    return list(dict.fromkeys(key for (key, _), seen in values.items() if len(seen) > 1))


def short(keys: Sequence[str]) -> list[str]:
    """Return the last parts of dotted keys, where these are distinct."""
    last = [key.rpartition(".")[2] for key in keys]
    return last if len(set(last)) == len(last) else list(keys)


def plain(value: Any) -> str:
    """Format a setting in a cell: numbers short, tables (as JSON) by their kind and the scalar keys beside it."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        with suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, Mapping):
        told = [f"{key}={plain(v)}" for key, v in value.items() if key != "kind" and not isinstance(v, list)]
        return " ".join([str(value["kind"]), *told] if "kind" in value else told)
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value)) or "none"
    if isinstance(value, float):
        return number(value) if math.isinf(value) else f"{value:g}"
    return "–" if value is None else str(value)


def _table(title: str, rows: Rows, caption: str | None = None) -> Table:
    below = None if caption is None else Text(caption)
    table = Table(title=Text(title), title_justify="left", caption=below, caption_justify="left", box=None)
    table.pad_edge, table.padding = False, (0, 2, 0, 0)
    for i, name in enumerate(rows[0]):
        # Titles are broken between words only, so long ones are shortened and compounds are split.
        words = Text(re.sub(r"(?<=\w)[-_](?=\w)", " ", name.replace("certified", "cert.")))
        table.add_column(words, justify="left" if i == 0 else "right", overflow="fold", no_wrap=i == 0)
    for row in rows[1]:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _places(mean: float, half: float) -> int:
    size = max(half, abs(mean) * 1e-3, 1e-12)
    return min(max(1 - math.floor(math.log10(size)), 0), 6)


def _to_target(summaries: pl.DataFrame) -> str:
    """Return the title of a column of times, with the accuracy if all runs have the same target."""
    column = summaries["target_accuracy"] if "target_accuracy" in summaries.columns else None
    targets = [] if column is None else column.drop_nulls().unique().to_list()
    return f"to {100 * targets[0]:g} % acc. (s)" if len(targets) == 1 else "to target (s)"


def _seeds(point: GridPoint) -> str:
    lost = point.accuracy_mean.missing
    return f"{point.seeds}" + (f" ({lost} without accuracy)" if 0 < lost < point.seeds else "")


def _with_missing(text: str, value: Estimate, word: str) -> str:
    return f"{text} ({value.missing} {word})" if value.count and value.missing else text


def _reached_by(point: GridPoint) -> str:
    if not point.accuracy_mean.count:
        return "–"
    if not point.time_to_accuracy_s.count:
        return "never"
    return _with_missing(plus_minus(point.time_to_accuracy_s), point.time_to_accuracy_s, "never")
