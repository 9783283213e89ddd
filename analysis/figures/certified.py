"""Figure of a sweep: accuracy at equal certified ε, with the time and traffic of a run beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures import declared, style
from analysis.figures.tradeoff import epsilon_axes
from analysis.store import Study
from analysis.tables.estimate import seeds_in_words
from analysis.tables.summary import MIB
from analysis.tables.tradeoff import GridPoint, curves, grid_points
from simulator.errors import StorageError

FEWEST = 3
"""Series with a certified curve below which the figure of the trade-off says as much."""
_ACCURACIES = (
    ("accuracy_mean", "mean over honest nodes", "test accuracy (%)"),
    ("accuracy_worst", "worst honest node", ""),
)


def has_certified(study: Study) -> bool:
    """Return whether several series of a sweep have certified curves of several points."""
    return study.kind != "whatif" and len(_certified(study)) >= FEWEST


def certified_figure(study: Study) -> Figure:
    """Draw mean and worst accuracy against certified ε (log axis), and what a run of each series takes.

    Bars of accuracies are 95 % t intervals over seeds. Time and traffic hardly depend on ε: they are means over all
    runs of a series.

    Raises:
        StorageError: fewer than three series have a certified ε at several settings.
    """
    found = _certified(study)
    if len(found) < FEWEST:
        raise StorageError(f"{study.path}: fewer than {FEWEST} series have certified ε at several settings")
    made, axes = style.figure(2, 2, height=5.4)
    top, bottom = axes[:2], axes[2:]
    with style.applied():
        for ax, (metric, title, what) in zip(top, _ACCURACIES, strict=True):
            for index, points in enumerate(found.values()):
                _curve(ax, points, metric, index)
            ax.set_title(title)
            ax.set_ylabel(what)
            style.percent_axis(ax.yaxis)
            style.within_percent(ax.yaxis)
        epsilon_axes(study, top, True, "certified ε, worst observer")
        _totals(bottom[0], found, lambda point: point.simulated_s.mean, "virtual time of a run (s)")
        _totals(bottom[1], found, lambda point: point.bytes_sent.mean / MIB, "traffic of all nodes (MiB)")
        bottom[1].tick_params(labelleft=False)
        seeds = seeds_in_words(point.seeds for points in found.values() for point in points)
        made.suptitle(seeds, x=0.01, ha="left", fontsize=7, color="#444444")
        made.legend(*top[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return made


def _certified(study: Study) -> dict[str, list[GridPoint]]:
    """Return the certified points of every series that has several, in the order of the study."""
    found = curves(study.summaries)
    order = dict.fromkeys(point.series for point in grid_points(study.summaries))
    certified = {series: found.get((series, "certified"), []) for series in order}
    return {series: points for series, points in certified.items() if len(points) > 1}


def _curve(ax: Axes, points: Sequence[GridPoint], metric: str, index: int) -> None:
    drawn = [point for point in points if math.isfinite(getattr(point, metric).mean)]
    colour = style.PALETTE[index % len(style.PALETTE)]
    ax.plot(
        [point.epsilon.mean for point in drawn],
        [getattr(point, metric).mean for point in drawn],
        color=colour,
        marker=style.MARKERS[index % len(style.MARKERS)],
        ms=max(3.0, 7.0 - 1.5 * index),  # a curve that lies on an earlier one leaves its marker visible
        lw=1.1,
        label=points[0].series,
    )
    for point in drawn:
        y = getattr(point, metric)
        if y.bounded:
            ax.plot([point.epsilon.mean] * 2, [y.low, y.high], color=colour, lw=0.7)


def _totals(
    ax: Axes, found: dict[str, list[GridPoint]], total: Callable[[GridPoint], float], what: str
) -> None:
    """Draw a horizontal bar for every series, from the top in the order of the legend."""
    means = [sum(map(total, points)) / len(points) for points in found.values()]
    places = range(len(means))
    ax.barh(places, means, color=[style.PALETTE[i % len(style.PALETTE)] for i in places], height=0.7)
    ax.set_yticks(list(places), list(found))
    ax.invert_yaxis()
    ax.set_xlabel(what)
    ax.set_xlim(left=0)
    ax.grid(visible=False, axis="y")


FIGURES = (
    declared.Figure(
        "certified",
        has_certified,
        certified_figure,
        "Accuracy at certified privacy loss ε{over}, and the mean time and traffic of a run. {bars} A certified ε "
        "is a bound also for adaptive training; noise of every series was chosen for its own certificate.",
        of="study",
        place=55,
    ),
)
