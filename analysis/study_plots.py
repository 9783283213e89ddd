"""Figures of a study: the privacy-utility-latency trade-off of a sweep, a what-if's paired differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from analysis import style
from analysis.paired import Difference, differences, metrics_of
from analysis.store import Study
from analysis.tradeoff import (
    Basis,
    Estimate,
    GridPoint,
    curves,
    grid_points,
    pareto_front,
    unbounded,
    without_epsilon,
)
from simulator.errors import StorageError

_NEVER = "#bdbdbd"
_PANELS = (("accuracy_mean", "mean over honest nodes"), ("accuracy_worst", "worst honest node"))


def tradeoff_figure(study: Study) -> Figure:
    """Accuracy against ε (log axis) of every series, coloured by how long it took to the target accuracy.

    Certified ε: solid line, filled markers. Open-loop ε (not a bound for adaptive training): dashed, hollow.
    Bars are 95 % intervals over seeds; the shaded steps are the Pareto front of each basis. Series without
    any finite ε are labelled horizontal lines.

    Raises:
        StorageError: no run of the study has an accuracy.
    """
    found, plain = curves(study.summaries), without_epsilon(study.summaries)
    if not any(p.accuracy_mean.count for points in (*found.values(), plain) for p in points):
        raise StorageError(f"{study.path}: no finished run has an accuracy to draw")
    order = [point.series for point in grid_points(study.summaries)]
    names = list(dict.fromkeys(series for series, _ in found))
    names.sort(key=order.index)
    times = [p.median_time_to_accuracy_s for points in found.values() for p in points]
    reached = [t for t in times if math.isfinite(t)]
    scale = Normalize(min(reached), max(max(reached), min(reached) * 1.001)) if reached else None
    # The palest tenth of viridis would vanish on a hollow marker.
    colours = LinearSegmentedColormap.from_list(
        "time", matplotlib.colormaps["viridis_r"](np.linspace(0.1, 1.0, 256))
    )
    made, axes = style.figure(1, 2, sharex=True, height=3.3)
    with style.applied():
        for ax, (metric, title) in zip(axes, _PANELS, strict=True):
            for basis in ("open-loop", "certified"):
                of_basis = [p for (_, b), points in found.items() if b == basis for p in points]
                _draw_front(ax, of_basis, metric, basis)
            for (series, basis), points in found.items():
                _draw_curve(ax, points, metric, names.index(series), basis, scale, colours)
            for i, point in enumerate(plain):
                _draw_level(ax, point, getattr(point, metric), right=i % 2 == 1)
            ax.set_title(title)
            style.percent_axis(ax.yaxis)
        _epsilon_axes(study, axes, bool(found))
        axes[0].set_ylabel("test accuracy (%)")
        if scale is not None:
            bar = made.colorbar(matplotlib.cm.ScalarMappable(scale, colours), ax=axes, aspect=30, pad=0.015)
            bar.set_label(f"time to {_target(study)} accuracy (virtual s)")
            bar.ax.yaxis.set_major_locator(MaxNLocator(5))
            bar.outline.set_visible(False)
        handles = _tradeoff_legend(names, {basis for _, basis in found}, any(math.isinf(t) for t in times))
        boundless = unbounded(study.summaries)
        if boundless:
            words = f"certified ε = ∞ (no guarantee), not drawn: {'; '.join(boundless)}"
            made.suptitle(words, x=0.01, ha="left", fontsize=7, color="#444444")
        made.legend(
            handles=handles,
            loc="outside lower center",
            ncols=max(1, min(5, (len(handles) + 1) // 2)),
            columnspacing=1.4,
        )
    return made


def _draw_curve(
    ax: Axes,
    points: Sequence[GridPoint],
    metric: str,
    index: int,
    basis: Basis,
    scale: Normalize | None,
    colours: Colormap,
) -> None:
    line, marker = style.PALETTE[index % len(style.PALETTE)], style.MARKERS[index % len(style.MARKERS)]
    drawn = [p for p in points if math.isfinite(getattr(p, metric).mean)]
    ax.plot(
        [p.epsilon.mean for p in drawn],
        [getattr(p, metric).mean for p in drawn],
        color=line,
        ls=style.BASIS_DASH[basis],
        lw=1.1,
        zorder=2,
    )
    for p in drawn:
        x, y = p.epsilon.mean, getattr(p, metric)
        late = scale is None or not math.isfinite(p.median_time_to_accuracy_s)
        fill = _NEVER if scale is None or late else colours(scale(p.median_time_to_accuracy_s))
        _bars(ax, p.epsilon, y, line)
        hollow = basis == "open-loop"
        if hollow:
            # The ring carries the time, so that hollow markers keep it; the line's colour says which series.
            ax.plot(x, y.mean, marker=marker, ms=5, mfc="white", mec=line, mew=0.7, zorder=4)
            ax.plot(x, y.mean, marker=marker, ms=3.4, mfc="white", mec=fill, mew=1.0, zorder=5)
        else:
            ax.plot(x, y.mean, marker=marker, ms=5, mfc=fill, mec=line, mew=0.8, zorder=4)


def _bars(ax: Axes, x: Estimate, y: Estimate, colour: str) -> None:
    if math.isfinite(y.low):
        ax.plot([x.mean, x.mean], [y.low, y.high], color=colour, lw=0.7, zorder=3)
    if math.isfinite(x.low) and x.high > x.low:
        # An interval that reaches below zero would leave a logarithmic axis.
        ax.plot([max(x.low, x.mean / 100), x.high], [y.mean, y.mean], color=colour, lw=0.7, zorder=3)


def _draw_front(ax: Axes, points: Sequence[GridPoint], metric: str, basis: str) -> None:
    pairs = [(p.epsilon.mean, getattr(p, metric).mean) for p in points]
    front = [pairs[i] for i in pareto_front(pairs)]
    if len(front) > 1:
        dash = "-" if basis == "certified" else (0, (1.5, 0.7))
        ax.step(
            [e for e, _ in front],
            [a for _, a in front],
            where="post",
            color="#d4d4d4",
            lw=3,
            ls=dash,
            zorder=1,
        )


def _draw_level(ax: Axes, point: GridPoint, y: Estimate, *, right: bool) -> None:
    if not math.isfinite(y.mean):
        return
    ax.axhline(y.mean, color=style.BLACK, lw=0.9, zorder=1)
    if math.isfinite(y.low):
        ax.axhspan(y.low, y.high, color=style.BLACK, alpha=0.08, lw=0, zorder=0)
    ax.annotate(
        f"{point.series} (no ε)",
        (0.99 if right else 0.01, y.mean),
        ha="right" if right else "left",
        xycoords=("axes fraction", "data"),
        xytext=(0, 2.5),
        textcoords="offset points",
        fontsize=6.5,
        va="bottom",
    )


def _epsilon_axes(study: Study, axes: Sequence[Axes], any_epsilon: bool) -> None:
    delta = _common(study, "delta")
    terms = [
        None if delta is None else f"δ = {style.power(delta)}",
        _common(study, "unit"),
        _common(study, "adjacency"),
    ]
    about = ", ".join(str(term) for term in terms if term is not None)
    for ax in axes:
        ax.set_xlabel("privacy loss ε, worst observer" + (f"\n({about})" if about else ""))
        if any_epsilon:
            ax.set_xscale("log")
            ax.margins(x=0.08, y=0.1)
            low, high = ax.get_xlim()
            # Under two decades, powers of ten alone would leave an axis with one number.
            subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
            ax.xaxis.set_major_locator(LogLocator(base=10, subs=subs))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        else:
            ax.set_xticks([])


def _common(study: Study, key: str) -> Any:
    """The one value all runs share, or ``None``."""
    values = study.summaries[key].drop_nulls().unique().to_list() if key in study.summaries.columns else []
    return values[0] if len(values) == 1 else None


def _target(study: Study) -> str:
    target = _common(study, "target_accuracy")
    return "target" if target is None else f"{100 * target:g} %"


def _tradeoff_legend(names: Sequence[str], bases: set[str], any_never: bool) -> list[Line2D]:
    """The series in the first row, what line and fill mean in the second (a legend fills column by column)."""
    lines = [
        Line2D(
            [],
            [],
            color=style.PALETTE[i % len(style.PALETTE)],
            marker=style.MARKERS[i % len(style.MARKERS)],
            mfc="white",
            label=name,
        )
        for i, name in enumerate(names)
    ]
    handles: list[Line2D] = []
    grey: dict[str, Any] = {"color": "#444444", "marker": "o", "lw": 1.1}
    if "certified" in bases:
        handles.append(Line2D([], [], mfc="#444444", label="certified ε (a bound)", **grey))
    if "open-loop" in bases:
        dash = style.BASIS_DASH["open-loop"]
        handles.append(Line2D([], [], mfc="white", ls=dash, label="open-loop ε (not a bound)", **grey))
    if any_never:
        handles.append(
            Line2D([], [], ls="", marker="o", mfc=_NEVER, mec=style.GREY, label="target not reached")
        )
    if bases:
        handles.append(Line2D([], [], color="#d4d4d4", lw=3, label="Pareto front"))
    if max(len(lines), len(handles)) > 5:
        return lines + handles
    blank = Line2D([], [], ls="", label=" ")
    return [entry for pair in zip_longest(lines, handles, fillvalue=blank) for entry in pair]


def paired_figure(study: Study) -> Figure:
    """Every variant's difference to the baseline: each seed (faint), mean and 95 % bootstrap interval.

    One panel per metric; what has no finite difference is said in words, and a mean that leaves such
    seeds out is hollow.
    """
    found = differences(study.summaries)
    variants = list(dict.fromkeys(one.variant for one in found))
    if not variants:
        raise StorageError(f"{study.path}: no finished variant to compare with the baseline")
    metrics = metrics_of(study.summaries)
    rows = -(-len(metrics) // 3)
    made, axes = style.figure(rows, 3, sharey=True, height=0.5 + rows * (0.7 + 0.28 * len(variants)))
    with style.applied():
        for ax in axes[len(metrics) :]:
            ax.set_visible(False)
        for ax, metric in zip(axes, metrics, strict=False):
            of_metric = {one.variant: one for one in found if one.metric == metric}
            for row, variant in enumerate(variants):
                _draw_difference(ax, of_metric[variant], row)
            ax.set_title(metric.title)
            ax.set_xlabel("Δε" if metric.unit == "ε" else f"Δ ({metric.unit})")
            ax.margins(x=0.12)
            ax.tick_params(left=False)
            ax.xaxis.set_major_locator(MaxNLocator(5))
            if any(one.per_seed for one in of_metric.values()):
                ax.axvline(0, color=style.BLACK, lw=0.7, zorder=1)
            else:
                ax.set_xticks([])
            ax.grid(False, axis="y")
        axes[0].set_yticks(range(len(variants)), variants)
        axes[0].set_ylim(len(variants) - 0.5, -0.5)
        made.legend(
            handles=[
                Line2D(
                    [],
                    [],
                    ls="",
                    marker="o",
                    ms=3,
                    mfc=style.GREY,
                    mec="none",
                    alpha=0.5,
                    label="Δ: variant − baseline, one seed",
                ),
                Line2D(
                    [],
                    [],
                    color=style.BLUE,
                    marker="o",
                    ms=4,
                    label="mean over seeds, 95 % bootstrap interval",
                ),
            ],
            loc="outside lower center",
            ncols=2,
        )
    return made


def _draw_difference(ax: Axes, one: Difference, row: int) -> None:
    count = len(one.per_seed)
    for i, (_, value) in enumerate(one.per_seed):
        ax.plot(
            value,
            row + 0.22 + 0.12 * (i / max(count - 1, 1) - 0.5),
            marker="o",
            ms=2.6,
            mfc=style.GREY,
            mec="none",
            alpha=0.5,
            zorder=2,
        )
    if count:
        if math.isfinite(one.low):
            ax.plot(
                [one.low, one.high], [row, row], color=style.BLUE, lw=1.5, solid_capstyle="butt", zorder=3
            )
        # Hollow where the mean leaves seeds out: the note beside it says which.
        fill = "white" if one.note else style.BLUE
        ax.plot(one.mean, row, marker="o", ms=4, color=style.BLUE, mfc=fill, zorder=4)
    if one.note:
        ax.annotate(
            one.note,
            (0.5, row - 0.16 if count else row),
            xycoords=("axes fraction", "data"),
            ha="center",
            va="bottom" if count else "center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            fontsize=6.5,
            color="#444444",
        )
