"""Figure of coalitions: ε and loss per round against the number of colluders, one line per series."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from analysis.figures import declared, style
from analysis.store import Study
from analysis.tables.estimate import estimate, seeds_in_words
from simulator.errors import StorageError

FEWEST = 3
"""Number of coalition sizes below which there is no curve."""


@dataclass(frozen=True)
class Seen:
    """Result of one coalition of one run, at its end.

    Args:
        series: of the study.
        observers: the coalition.
        size: number of nodes in it.
        around: whether they are all neighbours of one node.
        basis: of the claims.
        worst: the largest ε of a victim.
        median: the median ε over victims.
        loss: the largest μ² of a victim divided by rounds, in units of the loss of one update released alone.
        middle: the median of the same.
    """

    series: str
    observers: str
    size: int
    around: bool
    basis: str
    worst: float
    median: float
    loss: float
    middle: float


def has_coalitions(study: Study) -> bool:
    """Return whether a sweep's runs were accounted for coalitions of several sizes."""
    if study.kind != "sweep":
        return False
    try:
        return len({(seen.size) for seen in coalitions(study)}) >= FEWEST
    except StorageError:
        return False


def coalitions(study: Study) -> list[Seen]:
    """List every coalition of nodes of every finished run, on every basis."""
    found = []
    for identity, series in study.summaries.select("id", "series").iter_rows():
        run = study.run(identity)
        privacy = run.manifest["scenario"].get("privacy")
        if privacy is None or privacy.get("observers", "each node") == "each node" or not run.has("privacy"):
            continue
        rows = run.privacy.filter(pl.col("observers").str.contains(r"^\d+(,\d+)*$"))
        if rows.is_empty():
            continue
        rounds = run.manifest["scenario"]["protocol"]["rounds"]
        factor = 2.0 if privacy["adjacency"] == "replace" else 1.0
        alone = (factor / privacy["noise_multiplier"]) ** 2 if privacy.get("noise_multiplier") else math.nan
        last = rows.filter(pl.col("t_s") == rows["t_s"].max())
        labels = last["observers"].unique(maintain_order=True).to_list()
        around = {
            label
            for label, asked in zip(labels, privacy["observers"], strict=False)
            if isinstance(asked, str) and asked.startswith("neighbours:")
        }
        for (observers, basis), part in last.group_by("observers", "basis", maintain_order=True):
            losses = part["mu2"] / rounds / alone
            found.append(
                Seen(
                    series or "",
                    str(observers),
                    str(observers).count(",") + 1,
                    observers in around,
                    str(basis),
                    _number(part["epsilon"].max()),
                    _number(part["epsilon"].median()),
                    _number(losses.max()),
                    _number(losses.median()),
                )
            )
    return found


def collusion_figure(study: Study) -> Figure:
    """Draw ε of the worst and of the median victim against coalition size, for every series; means over seeds.

    Lines are the open-loop figures, thin dotted ones the certified; hollow markers stand for all neighbours of one
    node. Where the mean is infinite there is "∞" at the top: large for open-loop, small for certified.

    Raises:
        StorageError: too few sizes of coalitions were accounted for.
    """
    found = coalitions(study)
    if len({seen.size for seen in found}) < FEWEST:
        raise StorageError(f"{study.path}: fewer than {FEWEST} sizes of coalitions were accounted for")
    made, axes = style.figure(1, 2, height=2.9, sharey=True)
    names = list(dict.fromkeys(seen.series for seen in found))
    with style.applied():
        for ax, title, worst in zip(axes, ("worst victim", "median victim"), (True, False), strict=True):
            for index, name in enumerate(names):
                for basis in ("certified", "open-loop"):
                    mine = [seen for seen in found if seen.series == name and seen.basis == basis]
                    _line(ax, mine, worst, index, name, basis)
            ax.set_title(title)
            ax.set_xscale("log")
            ax.set_yscale("log")
            sizes = sorted({seen.size for seen in found})
            ax.set_xticks(sizes, [str(size) for size in sizes])
            ax.xaxis.set_minor_formatter(NullFormatter())
            ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            ax.set_xlabel("colluding nodes")
        first = study.run(study.summaries["id"][0]).privacy.row(0, named=True)
        axes[0].set_ylabel(f"ε at δ = {style.power(first['delta'])}")
        made.legend(
            *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=min(4, len(names))
        )
        made.suptitle(
            "solid: open-loop, no bound; dotted: certified; hollow: all neighbours of one node\n"
            f"(unit: {first['unit']}, adjacency: {first['adjacency']}; {_seeds(study)})",
            fontsize=7,
            color="#444444",
            x=0.01,
            ha="left",
        )
    return made


def _line(ax: Axes, mine: Sequence[Seen], worst: bool, index: int, name: str, basis: str) -> None:
    certified = basis == "certified"
    colour = style.PALETTE[index % len(style.PALETTE)]
    marker = style.MARKERS[index % len(style.MARKERS)]
    for seen in mine:
        value = seen.worst if worst else seen.median
        if seen.around and not certified and math.isfinite(value):
            ax.plot([seen.size], [value], marker=marker, ms=6, mfc="white", mec=colour, ls="", zorder=4)
        elif seen.around and math.isinf(value):
            _infinity(ax, seen.size, index, colour, "(∞)", certified)
    points: dict[int, list[float]] = {}
    for seen in mine:
        if seen.around:
            continue
        points.setdefault(seen.size, []).append(seen.worst if worst else seen.median)
    xs = sorted(points)
    means = [estimate(points[x]).mean for x in xs]
    for x, mean in zip(xs, means, strict=True):
        if math.isinf(mean):
            _infinity(ax, x, index, colour, "∞", certified)
    if not xs:
        return
    ax.plot(
        xs,
        [
            mean if math.isfinite(mean) and mean > 0 else math.nan for mean in means
        ],  # NaN leaves a gap in the line
        color=colour,
        ls=(0, (1, 1.5)) if certified else "-",
        lw=0.9 if certified else 1.4,
        marker="" if certified else marker,
        label=None if certified else name,
    )


def _infinity(ax: Axes, size: int, index: int, colour: str, sign: str, certified: bool) -> None:
    """Draw a sign at the top of the axes, lower for every further series so that none hides another."""
    ax.text(
        size,
        0.99 - 0.055 * index,
        sign,
        transform=ax.get_xaxis_transform(),
        ha="right" if certified else "left",
        va="top",
        fontsize=6 if certified else 9,
        color=colour,
    )


def _seeds(study: Study) -> str:
    """Return the number of seeds in words."""
    counts = study.summaries.group_by("series").agg(pl.col("seed").n_unique())["seed"]
    return seeds_in_words(counts.to_list())


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


FIGURES = (
    declared.Figure(
        "collusion",
        has_coalitions,
        collusion_figure,
        "Privacy loss ε against the number of nodes that pool their views{over}. ∞: no guarantee.",
        of="study",
        place=20,
        alone=True,
    ),
)
