"""Figure of the cost of secure sums: traffic and time against members, parameters and dropouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from analysis.figures import declared, style
from analysis.store import Study
from analysis.tables.summary import MIB
from simulator.errors import StorageError
from simulator.units import DURATIONS, parse

_NAMES = {
    "trusted": "trusted aggregator",
    "masks": "masks",
    "masks, recover": "masks, recovered",
    "masks, rerun": "masks, re-run",
    "bonawitz": "Bonawitz et al.",
    "bonawitz, active": "Bonawitz et al., active",
    "secagg+": "SecAgg+",
    "lightsecagg": "LightSecAgg",
    "sharing": "sharing",
    "sparse": "sparsified masks",
    "correlated": "correlated noise",
}
_AXES = {
    "members": "clients",
    "parameters": "parameters",
    "dropout": "clients that are down (%)",
}
"""Quantities a series may vary, in the order of the search, and the labels of their axes."""


@dataclass(frozen=True)
class Cost:
    """Traffic and duration of one run's sums.

    Args:
        protocol: of the sums, in words.
        series: of the study.
        x: members, parameters and dropout of the run.
        mib: sent for one sum and member, with the setup before the first sum spread over all.
        time_s: virtual seconds of a round.
        opened: fraction of sums that were opened.
    """

    protocol: str
    series: str
    x: Mapping[str, float]
    mib: float
    time_s: float
    opened: float


def has_costs(study: Study) -> bool:
    """Return whether a study is a sweep of protocols for secure sums against another quantity."""
    found = costs(study) if study.kind == "sweep" else []
    return len({cost.protocol for cost in found}) > 1 and any(_varied(found, s) for s in _series(found))


def costs(study: Study) -> list[Cost]:
    """List the finished runs of a study in which one server opens secure sums."""
    found = []
    for identity, series in study.summaries.select("id", "series").iter_rows():
        if not (study.path / "runs" / identity / "manifest.json").is_file():
            continue  # its folder was moved; the table of summaries is still there
        run = study.run(identity)
        scenario, summary = run.manifest["scenario"], run.summary
        secure, protocol = scenario.get("secure"), scenario.get("protocol", {})
        if summary is None or secure is None or protocol.get("kind") != "fedavg":
            continue
        members = run.manifest["topology"]["nodes"] - 1
        rounds = summary.get("rounds_done_max") or summary["rounds"]  # older runs: planned
        sums = summary["sums_opened"] + summary["sums_skipped"]
        if not rounds or not sums:
            continue
        x = {
            "members": members,
            "parameters": run.manifest["parameters"],
            "dropout": 100 * _away(scenario),
        }
        found.append(
            Cost(
                _label(secure["aggregation"]),
                series or "",
                x,
                summary["bytes_sent"] / MIB / rounds / members,
                summary["simulated_s"] / rounds,
                summary["sums_opened"] / sums,
            )
        )
    return found


def cost_figure(study: Study) -> Figure:
    """Draw traffic per member and duration of a round, for every series against what it varies; means over seeds.

    Bars show the range over seeds. With churn, also the fraction of sums that were opened.

    Raises:
        StorageError: no run of the study opened a secure sum at a server.
    """
    found = costs(study)
    if not found:
        raise StorageError(f"{study.path}: no run of this study opened a secure sum at a server")
    protocols = list(dict.fromkeys(cost.protocol for cost in found))
    panels = [(series, key) for series in _series(found) if (key := _varied(found, series))]
    made, axes = style.figure(2, len(panels) + 1, height=4.0)
    columns = len(panels) + 1
    with style.applied():
        for column, (series, key) in enumerate(panels):
            top, bottom = axes[column], axes[columns + column]
            shown = [cost for cost in found if cost.series == series]
            _draw(top, shown, protocols, key, lambda cost: cost.mib)
            _draw(bottom, shown, protocols, key, lambda cost: cost.time_s)
            for ax in (top, bottom):
                _scale(ax, shown, key)
            top.set_yscale("log")
            bottom.set_yscale("log")
            for ax in (top, bottom):
                low, high = ax.get_ylim()
                if high < 50 * low:
                    ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                ax.yaxis.set_minor_formatter(NullFormatter())
            bottom.set_xlabel(_AXES[key])
        axes[0].set_ylabel("traffic of a client and sum (MiB)")
        axes[columns].set_ylabel("duration of a sum (virtual s)")
        _corner(axes[columns - 1], axes[-1], found, protocols)
    return made


def _corner(top: Axes, legend: Axes, found: Sequence[Cost], protocols: Sequence[str]) -> None:
    """Draw the fraction of opened sums, and the legend of the lines."""
    away = [cost for cost in found if _varied(found, cost.series) == "dropout"]
    if away:
        _draw(top, away, protocols, "dropout", lambda cost: 100 * cost.opened)
        _scale(top, away, "dropout")
        top.set_xlabel(_AXES["dropout"])
        top.set_title("sums opened (%)")
        top.set_ylim(-4, 104)
    else:
        top.set_axis_off()
    legend.set_axis_off()
    for index, protocol in enumerate(protocols):
        legend.plot([], [], label=protocol, **_look(index))
    legend.legend(loc="center left", bbox_to_anchor=(-0.12, 0.5), handlelength=2.6, fontsize=6.5)


def _draw(
    ax: Axes,
    shown: Sequence[Cost],
    protocols: Sequence[str],
    key: str,
    value: Callable[[Cost], float],
) -> None:
    for index, protocol in enumerate(protocols):
        points: dict[float, list[float]] = {}
        for cost in shown:
            if cost.protocol == protocol:
                points.setdefault(cost.x[key], []).append(value(cost))
        xs = sorted(points)
        means = [fmean(points[x]) for x in xs]
        below = [max(0.0, mean - min(points[x])) for x, mean in zip(xs, means, strict=True)]
        above = [max(0.0, max(points[x]) - mean) for x, mean in zip(xs, means, strict=True)]
        ax.errorbar(xs, means, yerr=(below, above), elinewidth=0.6, **_look(index))


def _scale(ax: Axes, shown: Sequence[Cost], key: str) -> None:
    xs = sorted({cost.x[key] for cost in shown})
    if key != "dropout":
        ax.set_xscale("log")
    ax.set_xticks(xs, [style.power(x) if xs[-1] >= 1000 else f"{x:g}" for x in xs])
    ax.xaxis.set_minor_formatter(NullFormatter())


def _look(index: int) -> dict[str, Any]:
    count = len(style.PALETTE)
    return {
        "color": style.PALETTE[index % count],
        "marker": style.MARKERS[(index + index // count) % len(style.MARKERS)],
        "linestyle": style.DASHES[(2 * (index // count) + index) % len(style.DASHES)],
        "markersize": 3.2,
        "linewidth": 1.0,
    }


def _series(found: Sequence[Cost]) -> list[str]:
    return list(dict.fromkeys(cost.series for cost in found))


def _varied(found: Sequence[Cost], series: str) -> str | None:
    """Return the quantity that differs between the runs of a series."""
    for key in ("dropout", "members", "parameters"):
        if len({cost.x[key] for cost in found if cost.series == series}) > 1:
            return key
    return None


def _away(scenario: Mapping[str, Any]) -> float:
    """Return the fraction of time that members under churn are down."""
    for fault in scenario.get("fault", ()):
        if fault["kind"] == "sessions":
            up, down = (parse(fault[law]["mean"], DURATIONS, "12 s") for law in ("up", "down"))
            return down / (up + down)
    return 0.0


def _label(aggregation: Mapping[str, Any]) -> str:
    kind = aggregation["kind"]
    if aggregation.get("on_dropout", "skip") != "skip":
        kind = f"{kind}, {aggregation['on_dropout']}"
    if aggregation.get("active"):
        kind = f"{kind}, active"
    name = _NAMES.get(kind, kind)
    packing = aggregation.get("packing", 1)
    return f"{name}, {packing} packed" if packing > 1 else name


FIGURES = (
    declared.Figure(
        "cost",
        has_costs,
        cost_figure,
        "Traffic and duration of secure sums against what each series varies{over}. {range}",
        of="study",
        place=10,
        alone=True,
    ),
)
