"""Figure of a sweep: trade-off between privacy, utility and latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from analysis.figures import declared, style
from analysis.figures.progress import has_progress
from analysis.store import Study
from analysis.tables.estimate import Estimate, seeds_in_words
from analysis.tables.tradeoff import (
    Basis,
    GridPoint,
    curves,
    grid_points,
    infinite_points,
    pareto_front,
    unbounded,
    without_epsilon,
)
from simulator.errors import StorageError

_NEVER = "#bdbdbd"
_LONGEST = 2.0
"""Factor of ε above or below a point at which its bar is cut."""
_PANELS = (("accuracy_mean", "mean over honest nodes"), ("accuracy_worst", "worst honest node"))


def has_tradeoff(study: Study) -> bool:
    """Return whether a sweep has an ε, or no other figure to show."""
    return study.kind != "whatif" and bool(curves(study.summaries) or not has_progress(study))


def tradeoff_figure(study: Study) -> Figure:
    """Draw accuracy against ε (log axis) of every series, coloured by the time to the target accuracy.

    Certified ε: solid line, filled markers. Open-loop ε (not a bound for adaptive training): dashed, hollow.
    Bars are 95 % t intervals over seeds, cut at 0 and 100 % and at half and double ε; the shaded steps are the Pareto
    front of each basis. Series without any finite ε are labelled horizontal lines; a point of infinite ε of another
    series stands at the right, over "∞".

    Raises:
        StorageError: no run of the study has an accuracy.
    """
    found, plain = curves(study.summaries), without_epsilon(study.summaries)
    if not any(p.accuracy_mean.count for points in (*found.values(), plain) for p in points):
        raise StorageError(f"{study.path}: no finished run has an accuracy to draw")
    every = grid_points(study.summaries)
    order = [point.series for point in every]
    infinite = infinite_points(study.summaries)
    names = list(dict.fromkeys(series for series, _ in found))
    names.sort(key=order.index)
    times = [p.median_time_to_accuracy_s for points in found.values() for p in points]
    reached = [t for t in times if math.isfinite(t)]
    scale = Normalize(min(reached), max(max(reached), min(reached) * 1.001)) if reached else None
    # The palest tenth of viridis would vanish on a hollow marker.
    colours = LinearSegmentedColormap.from_list(
        "time", matplotlib.colormaps["viridis_r"](np.linspace(0.1, 1.0, 256))
    )
    clock = _Clock(scale, colours)
    made, axes = style.figure(1, 2, sharex=True, height=3.3)
    with style.applied():
        for ax, (metric, title) in zip(axes, _PANELS, strict=True):
            for basis in ("open-loop", "certified"):
                of_basis = [p for (_, b), points in found.items() if b == basis for p in points]
                _draw_front(ax, of_basis, metric, basis)
            for (series, basis), points in found.items():
                _draw_curve(ax, points, metric, names.index(series), basis, clock)
            for i, point in enumerate(plain):
                _draw_level(ax, point, getattr(point, metric), right=i % 2 == 1)
            ax.set_title(title)
            style.percent_axis(ax.yaxis)
            style.within_percent(ax.yaxis)
        epsilon_axes(study, axes, bool(found))
        if infinite:
            _draw_infinite(axes, infinite, names, clock)
        axes[0].set_ylabel("test accuracy (%)")
        if scale is not None:
            bar = made.colorbar(matplotlib.cm.ScalarMappable(scale, colours), ax=axes, aspect=30, pad=0.015)
            bar.set_label(f"time to {_target(study)} accuracy (virtual s)")
            if max(reached) > min(reached) * 1.001:
                bar.ax.yaxis.set_major_locator(MaxNLocator(5))
            else:  # all took equally long: one number, and no colour scale
                bar.set_ticks([min(reached)], labels=[f"{min(reached):g}"])
            bar.outline.set_visible(False)
        handles = _tradeoff_legend(names, {basis for _, basis in found}, any(math.isinf(t) for t in times))
        boundless = unbounded(study.summaries)
        words = [seeds_in_words(point.seeds for point in every)]
        if boundless:
            words.append(f"certified ε = ∞ (no guarantee): {', '.join(boundless)}")
        made.suptitle("; ".join(words), x=0.01, ha="left", fontsize=7, color="#444444")
        made.legend(
            handles=handles,
            loc="outside lower center",
            ncols=max(1, min(5, (len(handles) + 1) // 2)),
            columnspacing=1.4,
        )
    return made


@dataclass(frozen=True)
class _Clock:
    """Colours of the time to the target accuracy.

    Args:
        scale: seconds to 0 … 1; None if nothing reached the target.
        colours: colour map on 0 … 1.
    """

    scale: Normalize | None
    colours: Colormap

    def fill(self, point: GridPoint) -> Any:
        """Return the colour of a point; grey if half of its seeds or more never reached the target."""
        time_s = point.median_time_to_accuracy_s
        return _NEVER if self.scale is None or math.isinf(time_s) else self.colours(self.scale(time_s))


def _draw_curve(
    ax: Axes, points: Sequence[GridPoint], metric: str, index: int, basis: Basis, clock: _Clock
) -> None:
    drawn = [p for p in points if math.isfinite(getattr(p, metric).mean)]
    ax.plot(
        [p.epsilon.mean for p in drawn],
        [getattr(p, metric).mean for p in drawn],
        color=style.PALETTE[index % len(style.PALETTE)],
        ls=style.BASIS_DASH[basis],
        lw=1.1,
        zorder=2,
    )
    for p in drawn:
        _draw_point(ax, p, getattr(p, metric), p.epsilon.mean, index, clock)


def _draw_point(ax: Axes, point: GridPoint, y: Estimate, x: float, index: int, clock: _Clock) -> None:
    """Draw a marker at ``x`` with its intervals: the value of a finite ε, or the place of infinity."""
    line, marker = style.PALETTE[index % len(style.PALETTE)], style.MARKERS[index % len(style.MARKERS)]
    fill = clock.fill(point)
    _bars(ax, x, point.epsilon, y, line)
    if point.basis == "open-loop":
        # The ring shows the time, so that hollow markers keep it; the line's colour shows the series.
        ax.plot(x, y.mean, marker=marker, ms=5, mfc="white", mec=line, mew=0.7, zorder=4)
        ax.plot(x, y.mean, marker=marker, ms=3.4, mfc="white", mec=fill, mew=1.0, zorder=5)
    else:
        ax.plot(x, y.mean, marker=marker, ms=5, mfc=fill, mec=line, mew=0.8, zorder=4)


def _bars(ax: Axes, place: float, x: Estimate, y: Estimate, colour: str) -> None:
    """Draw the intervals of both, if they have any; ``place`` is the place of the marker."""
    if y.bounded:
        ax.plot([place, place], [y.low, y.high], color=colour, lw=0.7, zorder=3)
    if x.bounded and x.high > x.low:
        # An interval that reaches below zero does not fit a logarithmic axis; a very long one would be most of it.
        ends = max(x.low, x.mean / _LONGEST), min(x.high, x.mean * _LONGEST)
        ax.plot(ends, [y.mean, y.mean], color=colour, lw=0.7, zorder=3)


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
    told = "ε = ∞" if math.isinf(point.epsilon.mean) else "no ε"
    ax.annotate(
        f"{point.series} ({told})",
        (0.99 if right else 0.01, y.mean),
        ha="right" if right else "left",
        xycoords=("axes fraction", "data"),
        xytext=(0, 2.5),
        textcoords="offset points",
        fontsize=6.5,
        va="bottom",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6},
        zorder=6,
    )


def epsilon_axes(
    study: Study, axes: Sequence[Axes], any_epsilon: bool, what: str = "privacy loss ε, worst observer"
) -> None:
    """Label the horizontal axes with ε and what all runs share of its meaning; logarithmic if there are any."""
    delta = _common(study, "delta")
    terms = [
        None if delta is None else f"δ = {style.power(delta)}",
        _common(study, "unit"),
        _common(study, "adjacency"),
    ]
    about = ", ".join(str(term) for term in terms if term is not None)
    for ax in axes:
        ax.set_xlabel(what + (f"\n({about})" if about else ""))
        if any_epsilon:
            ax.set_xscale("log")
            ax.margins(x=0.08, y=0.1)
            low, high = ax.get_xlim()
            # Below two decades, powers of ten alone would leave an axis with one number.
            subs = (1.0,) if high / low > 300 else (1.0, 2.0, 5.0)
            ax.xaxis.set_major_locator(LogLocator(base=10, subs=subs))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
        else:
            ax.set_xticks([])


def _draw_infinite(
    axes: Sequence[Axes],
    infinite: dict[tuple[str, Basis], list[GridPoint]],
    names: Sequence[str],
    clock: _Clock,
) -> None:
    """Draw points of infinite ε in a separate strip at the right end of the axes, whose tick is "∞"."""
    low, high = axes[0].get_xlim()  # shared by the panels
    strip = (high / low) ** 0.08
    place = high * strip
    for ax, (metric, _) in zip(axes, _PANELS, strict=True):
        for (series, _), points in infinite.items():
            for point in points:
                if math.isfinite(getattr(point, metric).mean):
                    _draw_point(ax, point, getattr(point, metric), place, names.index(series), clock)
        ticks = [tick for tick in ax.get_xticks() if low <= tick <= high]
        ax.axvline(high, color=style.GREY, lw=0.6, ls=":", zorder=0)
        ax.set_xticks([*ticks, place], [*(f"{tick:g}" for tick in ticks), "∞"])
        ax.set_xticks([tick for tick in ax.get_xticks(minor=True) if low <= tick <= high], minor=True)
        ax.xaxis.set_minor_formatter(NullFormatter())
    axes[0].set_xlim(low, place * strip)


def _common(study: Study, key: str) -> Any:
    """Return the one value all runs share, or ``None``."""
    values = study.summaries[key].drop_nulls().unique().to_list() if key in study.summaries.columns else []
    return values[0] if len(values) == 1 else None


def _target(study: Study) -> str:
    target = _common(study, "target_accuracy")
    return "target" if target is None else f"{100 * target:g} %"


def _tradeoff_legend(names: Sequence[str], bases: set[str], any_never: bool) -> list[Line2D]:
    """Return the legend: series in the first row, meaning of line and fill in the second (filled by column)."""
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


FIGURES = (
    declared.Figure(
        "tradeoff",
        has_tradeoff,
        tradeoff_figure,
        "Accuracy against privacy loss ε{over}; colour: median time to the target accuracy. {bars} Bars are cut at "
        "0 and 100 % and at half and double ε. Filled: "
        "certified; hollow: open-loop, not a bound for adaptive training. At ∞: no guarantee.",
        of="study",
        place=60,
    ),
)
