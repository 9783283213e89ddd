"""Figure of a run: privacy loss per victim and observer at its end, and by their distance."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import networkx as nx
import numpy as np
import polars as pl
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures import declared, style
from analysis.figures.run import by_basis
from analysis.store import Run
from analysis.tables.estimate import median
from simulator.errors import StorageError

FEWEST = 4
"""Number of single observers below which there is nothing to compare."""
MOST = 300
"""Number of nodes above which a heat map has more cells than pixels."""


def has_victims(run: Run) -> bool:
    """Return whether a run with fixed links was accounted for several single observers."""
    return (
        run.has("privacy")
        and run.manifest["topology"].get("fixed", True)
        and run.manifest["topology"]["nodes"] <= MOST
        and _single(run)["observers"].n_unique() >= FEWEST
    )


def victims_figure(run: Run) -> Figure:
    """Draw a heat map of ε by victim and observer, and ε against graph distance on every basis: medians and ranges.

    The map is of the open-loop basis if available. Infinite ε are red in the map, signs at the top beside it.

    Raises:
        StorageError: not enough single observers were accounted for.
    """
    rows = _single(run)
    if rows["observers"].n_unique() < FEWEST:
        raise StorageError(f"{run.path}: fewer than {FEWEST} single observers were accounted for")
    bases = by_basis(run, rows)
    shown = "open-loop" if "open-loop" in bases else next(iter(bases))
    made, (heat, against) = style.figure(1, 2, height=3.0)
    with style.applied():
        _heat(made, heat, bases[shown], run.manifest["topology"]["nodes"], shown)
        graph = nx.Graph(map(tuple, run.manifest["topology"]["edges"]))
        hops = dict(nx.all_pairs_shortest_path_length(graph))
        for basis, part in bases.items():
            points: dict[int, list[float]] = {}
            for victim, observer, epsilon in part.select("victim", "observers", "epsilon").iter_rows():
                far = hops.get(int(observer), {}).get(victim)
                if far:
                    points.setdefault(far, []).append(epsilon)
            _distances(against, points, basis, list(bases).index(basis))
        first = rows.row(0, named=True)
        against.set_xlabel("distance of victim and observer (links)")
        against.set_ylabel(f"ε at δ = {style.power(first['delta'])}")
        against.set_title(f"unit: {first['unit']}, adjacency: {first['adjacency']}", color="#444444")
        against.set_ylim(bottom=0)
        if rows["epsilon"].is_infinite().any():
            against.set_ylim(top=1.2 * against.get_ylim()[1])  # room for the signs of infinity
        against.xaxis.set_major_locator(style.WholeLocator())
        against.legend(loc="best")
    return made


def _single(run: Run) -> pl.DataFrame:
    """Return losses at the end towards single nodes."""
    rows = run.privacy.filter(pl.col("epsilon").is_not_null() & pl.col("observers").str.contains(r"^\d+$"))
    return rows if rows.is_empty() else rows.filter(pl.col("t_s") == rows["t_s"].max())


def _heat(made: Figure, ax: Any, rows: pl.DataFrame, nodes: int, basis: str) -> None:
    table: NDArray[np.float64] = np.full((nodes, nodes), np.nan)
    for victim, observer, epsilon in rows.select("victim", "observers", "epsilon").iter_rows():
        table[victim, int(observer)] = epsilon
    finite = table[np.isfinite(table)]
    top = float(finite.max()) if finite.size else 1.0
    colours = matplotlib.colormaps["cividis"].with_extremes(over=style.VERMILION)
    shown = np.where(np.isinf(table), 2 * top, table)  # beyond the scale
    image = ax.imshow(shown, cmap=colours, vmin=0, vmax=top, interpolation="nearest")
    bar = made.colorbar(image, ax=ax, shrink=0.85, pad=0.02)
    notes = [
        *(["not a bound"] if basis == "open-loop" else []),
        *(["red: ∞, no guarantee"] if np.isinf(table).any() else []),
    ]
    bar.set_label(f"ε, {basis}" + (f" ({', '.join(notes)})" if notes else ""))
    ax.set_xlabel("observer (node)")
    ax.set_ylabel("victim (node)")
    ax.grid(visible=False)


def _distances(ax: Any, points: dict[int, list[float]], basis: str, index: int) -> None:
    """Draw median and range over pairs at each distance; "∞" on top for an infinite median, "↑ ∞" for the largest."""
    middles = {far: median(found) for far, found in points.items()}
    for far, found in points.items():
        if math.isinf(max(found)):
            what = "∞" if math.isinf(middles[far]) else "↑ ∞"
            ax.text(
                far + 0.06 * index,
                0.99 - 0.06 * index,
                what,
                transform=ax.get_xaxis_transform(),
                ha="center",
                va="top",
                fontsize=7,
                color=style.BASIS_COLOUR[basis],
            )
    xs = sorted(far for far, middle in middles.items() if math.isfinite(middle))
    middle = [middles[far] for far in xs]
    below = [max(0.0, m - min(points[far])) for m, far in zip(middle, xs, strict=True)]
    largest = [max(e for e in points[far] if math.isfinite(e)) for far in xs]
    above = [max(0.0, high - m) for m, high in zip(middle, largest, strict=True)]
    label = basis + (" (not a bound)" if basis == "open-loop" else "")
    ax.errorbar(
        [x + 0.06 * index for x in xs],
        middle,
        yerr=(below, above),
        color=style.BASIS_COLOUR[basis],
        ls=style.BASIS_DASH[basis],
        marker=style.MARKERS[index],
        elinewidth=0.7,
        capsize=1.5,
        label=label,
    )


FIGURES = (
    declared.Figure(
        "victims",
        has_victims,
        victims_figure,
        "Privacy loss ε at the end of every victim towards every single node (left), and by their distance in"
        " links (right: medians over pairs of nodes, bars from the least to the largest). Open-loop is not a "
        "bound for adaptive training.",
        place=30,
    ),
)
