"""Figure of a study: accuracy of every series against local updates, time and traffic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from numpy.typing import NDArray

from analysis.figures import declared, style
from analysis.store import Run, Study
from analysis.tables.study import plain
from analysis.tables.summary import MIB
from analysis.tables.tradeoff import BASELINE, label
from simulator.errors import StorageError

Floats = NDArray[np.float64]
Name: TypeAlias = tuple[str, str]
"""Series or variant of a curve, and its swept values in words."""

_POINTS = 200
_BANDS = 4
"""Largest number of curves with a shaded spread over seeds; more would hide one another."""
_ROOM = 0.25
"""Distance of the lower end of the accuracy axis from the lowest final accuracy."""
_MARKED = 6
"""Number of markers on a curve."""
_AXES = (
    ("rounds", "local updates of a node, mean"),
    ("t_s", "virtual time (s)"),
    ("mib", "traffic of a node, mean (MiB)"),
)


@dataclass(frozen=True)
class Course:
    """Measurements of one run over time: arrays of one length, by increasing time.

    Args:
        rounds: local updates of an honest node so far, mean over the nodes that are up.
        t_s: virtual seconds.
        mib: MiB sent so far by all nodes / their number.
        accuracy: mean over honest nodes that are up.
    """

    rounds: Floats
    t_s: Floats
    mib: Floats
    accuracy: Floats


def has_progress(study: Study) -> bool:
    """Return whether any run of the study still has its metrics."""
    return any(_measured(study, identity) for identity in study.summaries["id"])


def progress_figure(study: Study) -> Figure:
    """Draw mean accuracy of every series (variant, grid point) against local updates, time and traffic.

    Means are over seeds; after its end a run counts with its last accuracy. Up to four curves show the range over
    seeds. A series without traffic is a level line in the panel of traffic.

    Raises:
        StorageError: no run of the study has metrics.
    """
    found = courses(study)
    if not found:
        raise StorageError(f"{study.path}: no run of this study has metrics to draw")
    made, axes = style.figure(1, len(_AXES), sharey=True, height=2.9 + 0.16 * math.ceil(len(found) / 3))
    with style.applied():
        banded = len(found) <= _BANDS
        for ax, (key, title) in zip(axes, _AXES, strict=True):
            for index, (name, look) in enumerate(looks(list(found)).items()):
                shift = index / len(found)
                _draw(
                    ax,
                    key,
                    found[name],
                    look | {"label": ", ".join(filter(None, name))},
                    shift,
                    banded=banded,
                )
            ax.set_xlabel(title)
            if key == "rounds":
                ax.set_xlim(left=0)
            else:  # fast and slow runs differ by orders of magnitude
                ax.set_xscale("log")
                ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                ax.xaxis.set_minor_formatter(NullFormatter())
        lowest = min(float(course.accuracy[-1]) for runs in found.values() for course in runs)
        bottom = max(0.0, lowest - _ROOM)  # so that the ends can be distinguished
        axes[0].set_ylim(bottom=bottom)
        for ax in axes[1:]:
            _begin_where_seen(ax, bottom)
        axes[0].set_ylabel("test accuracy, mean (%)")
        style.percent_axis(axes[0].yaxis)
        handles, labels = axes[0].get_legend_handles_labels()
        made.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), columnspacing=1.4)
    return made


def looks(names: Sequence[Name]) -> dict[Name, dict[str, Any]]:
    """Return how each curve is drawn: no two alike, as long as there are markers.

    Colour shows the series, marker and dash the swept values; with one series or no swept values, all three show the
    same, so that curves can be told apart without colour.
    """
    series, swept = (list(dict.fromkeys(name[part] for name in names)) for part in (0, 1))
    both = len(series) > 1 and len(swept) > 1
    found = {}
    for index, name in enumerate(names):
        hue, form = (series.index(name[0]), swept.index(name[1])) if both else (index, index)
        found[name] = {
            "color": style.PALETTE[hue % len(style.PALETTE)],
            "marker": style.MARKERS[form % len(style.MARKERS)],
            "ls": style.DASHES[form % len(style.DASHES)],
            "lw": 1.2,
            "ms": 3.5,
        }
    return found


def courses(study: Study) -> dict[Name, list[Course]]:
    """Group the runs with metrics by the name of their curve, in order of first appearance."""
    rows = [row for row in study.summaries.to_dicts() if _measured(study, row["id"])]
    named = _names(rows)
    found: dict[Name, list[Course]] = {}
    for row, name in zip(rows, named, strict=True):
        course = _course(study.run(row["id"]))
        if course is not None:
            found.setdefault(name, []).append(course)
    return found


def _measured(study: Study, identity: str) -> bool:
    return (study.path / "runs" / identity / "metrics.parquet").exists()


def _names(rows: Sequence[Mapping[str, Any]]) -> list[Name]:
    """Return the series or variant of each run, and those swept keys that take several values in it."""
    series = [
        label(row) if label(row) != BASELINE or row.get("variant") else _plain(rows, row) for row in rows
    ]
    values: dict[tuple[str, str], set[str]] = {}
    for name, row in zip(series, rows, strict=True):
        for key in row:
            if key.startswith("set."):
                values.setdefault((name, key), set()).add(repr(row[key]))
    named = []
    for name, row in zip(series, rows, strict=True):
        swept = [
            f"{key.rpartition('.')[2]} = {plain(row[key])}"
            for key in row
            if key.startswith("set.") and len(values[name, key]) > 1
        ]
        named.append((name, ", ".join(swept)))
    return named


def _plain(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any]) -> str:
    """Return the name of a what-if's baseline, or the protocol in a sweep without series."""
    return BASELINE if any(other.get("variant") for other in rows) else str(row.get("protocol") or BASELINE)


def _course(run: Run) -> Course | None:
    every = run.metrics
    rounds = (
        every.filter((pl.col("metric") == "accuracy") & (pl.col("node") >= 0))
        .group_by("t_s")
        .agg(rounds=pl.col("round").mean(), accuracy=pl.col("value").mean())
    )
    traffic = every.filter(pl.col("metric") == "bytes_sent").select("t_s", bytes="value")
    table = rounds.join(traffic, on="t_s").sort("t_s")
    if table.is_empty():
        return None
    nodes = run.manifest["topology"]["nodes"]
    columns = (table[name].to_numpy().astype(np.float64) for name in ("rounds", "t_s", "bytes", "accuracy"))
    rounds_, t_s, sent, accuracy = columns
    return Course(rounds_, t_s, sent / nodes / MIB, accuracy)


def _draw(
    ax: Axes, key: str, runs: Sequence[Course], look: Mapping[str, Any], shift: float, *, banded: bool
) -> None:
    """Draw one curve; ``shift`` moves its markers along it, by that fraction of their distance."""
    ends = [float(getattr(course, key)[-1]) for course in runs]
    if max(ends) == 0:
        level = {name: value for name, value in look.items() if name not in ("marker", "label")}
        ax.axhline(float(np.mean([course.accuracy[-1] for course in runs])), **level)
        return
    first, last = max(float(getattr(course, key)[0]) for course in runs), float(np.median(ends))
    x = (
        np.linspace(first, last, _POINTS)
        if key == "rounds" or first <= 0
        else np.geomspace(first, last, _POINTS)
    )
    over = np.array([np.interp(x, getattr(course, key), course.accuracy) for course in runs])
    apart = _POINTS // _MARKED
    ax.plot(x, over.mean(axis=0), markevery=(int(shift * apart), apart), **look)
    if banded and len(runs) > 1:
        ax.fill_between(x, over.min(axis=0), over.max(axis=0), color=look["color"], alpha=0.12, lw=0)


def _begin_where_seen(ax: Axes, bottom: float) -> None:
    """Cut off the range without visible curves, which would take most of a logarithmic axis."""
    seen: list[float] = []
    for line in ax.lines:
        x, y = np.asarray(line.get_xdata(), np.float64), np.asarray(line.get_ydata(), np.float64)
        if len(x) == _POINTS:
            seen += x[(y >= bottom) & (x > 0)].tolist()
    if seen:
        ax.set_xlim(left=0.8 * min(seen))


FIGURES = (
    declared.Figure(
        "progress",
        has_progress,
        progress_figure,
        "Mean accuracy of the honest nodes that are up{over}, against local updates, time and traffic. A series "
        "without traffic is a level line in the panel of traffic. {shade}",
        of="study",
        place=70,
    ),
)
