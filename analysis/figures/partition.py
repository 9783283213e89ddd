"""Figure of a run: samples of each class at each node, and training samples of each node."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from analysis.figures import declared, style
from analysis.store import Run
from simulator.errors import StorageError

FEW_NODES, FEW_CLASSES = 40, 30
"""Largest numbers of nodes and classes with a bubble for each."""

_TICK_POINTS = 8


def has_partition(run: Run) -> bool:
    """Return whether a run recorded its partition; runs of early versions did not."""
    return bool(run.manifest.get("samples_per_node"))


def partition_figure(run: Run) -> Figure:
    """Draw ``samples_per_node`` and ``labels_per_node`` of the manifest.

    Few nodes and classes are shown as bubbles, their areas the numbers of samples, under bars of the nodes' totals.
    More are shown as a heat map of the classes' shares, nodes in the order of their most frequent class, beside a
    histogram of totals. Without classes there are totals only.

    Raises:
        StorageError: the run did not record its partition.
    """
    sizes = np.asarray(run.manifest.get("samples_per_node") or (), dtype=np.int64)
    if not len(sizes):
        raise StorageError(f"{run.path / 'manifest.json'}: does not say how many samples each node holds")
    found = run.manifest.get("labels_per_node")
    if found is None:
        return _totals(sizes)
    counts = np.asarray(found, dtype=np.int64)
    if counts.ndim != 2 or len(counts) != len(sizes):
        raise StorageError(
            f"{run.path / 'manifest.json'}: labels_per_node has shape {counts.shape}, expected a row for each "
            f"of {len(sizes)} nodes"
        )
    names = (run.manifest.get("data") or {}).get("classes") or [str(i) for i in range(counts.shape[1])]
    few = len(sizes) <= FEW_NODES and counts.shape[1] <= FEW_CLASSES
    return (_bubbles if few else _heat_map)(counts, [_short(str(name)) for name in names])


def _short(name: str) -> str:
    return name if len(name) <= 14 else name[:13] + "…"


def _bubbles(counts: NDArray[np.int64], names: list[str]) -> Figure:
    nodes, classes = counts.shape
    width = min(style.PAGE_INCHES, max(style.COLUMN_INCHES, 1.0 + 0.22 * nodes))
    rows = max(1.1, 0.19 * classes)
    made, (top, ax) = style.figure(
        2, 1, width=width, height=rows + 1.6, sharex=True, height_ratios=[0.75, rows]
    )
    with style.applied():
        top.bar(range(nodes), counts.sum(axis=1), color=style.GREY, width=0.7)
        top.set_ylabel("training\nsamples")
        top.yaxis.set_major_locator(style.WholeLocator(3))
        top.grid(visible=False, axis="x")
        # A cell is as wide as a node and as high as a class; a full bubble nearly fills the smaller of the two.
        cell = 72 * min((width - 0.9) / (nodes + 1), rows / (classes + 1))
        largest = max(1, int(counts.max()))
        widest = (0.95 * cell) ** 2
        node, label = np.nonzero(counts)
        ax.scatter(node, label, s=widest * counts[node, label] / largest, color=style.BLUE, lw=0, zorder=2)
        ax.set_xlim(-0.7, nodes - 0.3)
        ax.set_ylim(classes - 0.4, -0.6)
        ax.set_xlabel("node")
        ax.set_ylabel("class")
        ax.set_yticks(range(classes), names)
        ax.xaxis.set_major_locator(style.WholeLocator(min(nodes, int(width * 72 / 22))))
        shown = [n for n in _steps(largest) if widest * n / largest >= 1.5]
        handles = [
            Line2D(
                [],
                [],
                ls="",
                marker="o",
                color=style.BLUE,
                mew=0,
                ms=float(np.sqrt(widest * n / largest)),
                label=f"{n}",
            )
            for n in shown
        ]
        made.legend(
            handles=handles,
            loc="outside upper right",
            ncols=len(handles),
            title="training samples of a class",
            title_fontsize=7,
            handlelength=max(1.0, float(np.sqrt(widest)) / 7),  # in units of the font size
        )
    return made


def _steps(largest: int) -> list[int]:
    """Return three round numbers that span the bubbles: 1, 2 or 5 times a power of ten."""
    digit = 10 ** int(np.log10(largest))
    top = max(step * digit for step in (1, 2, 5) if step * digit <= largest)
    return sorted({max(1, top // 10), max(1, round(top / 2)), top})


def _heat_map(counts: NDArray[np.int64], names: list[str]) -> Figure:
    classes = counts.shape[1]
    sizes = counts.sum(axis=1)
    with np.errstate(invalid="ignore"):  # a node without samples has no shares and stays white
        shares = counts / sizes[:, None]
    leading = np.where(sizes > 0, counts.argmax(axis=1), classes)
    order = np.lexsort((-np.nan_to_num(shares.max(axis=1)), leading))
    height = 1.2 + min(4.5, max(1.4, 0.13 * classes))
    made, (ax, right) = style.figure(1, 2, height=height, width_ratios=[2.6, 1])
    with style.applied():
        ax.grid(visible=False)
        drawn = ax.imshow(
            shares[order].T, aspect="auto", cmap="Blues", vmin=0, interpolation="nearest", rasterized=True
        )
        ax.set_xlabel("rank of the node, by its most frequent class")
        ax.set_ylabel("class")
        every = max(1, -(-classes * _TICK_POINTS // int(72 * (height - 1.0))))
        ax.set_yticks(range(0, classes, every), names[::every])
        ax.xaxis.set_major_locator(style.WholeLocator(6))
        bar = made.colorbar(drawn, ax=ax, pad=0.02, aspect=30)
        bar.set_label("share of the node's samples (%)")
        style.percent_axis(bar.ax.yaxis)
        bar.outline.set_visible(False)
        _histogram(right, sizes)
    return made


def _totals(sizes: NDArray[np.int64]) -> Figure:
    made, (ax,) = style.figure(width=style.COLUMN_INCHES, height=2.2)
    with style.applied():
        if len(sizes) > FEW_NODES:
            _histogram(ax, sizes)
            return made
        ax.bar(range(len(sizes)), sizes, color=style.GREY, width=0.7)
        ax.grid(visible=False, axis="x")
        ax.set_xlabel("node")
        ax.set_ylabel("training samples")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(style.WholeLocator(8))
    return made


def _histogram(ax: Axes, sizes: NDArray[np.int64]) -> None:
    low, high = int(sizes.min()), int(sizes.max())
    look: dict[str, Any] = {"color": style.GREY, "edgecolor": "white", "linewidth": 0.4}
    skewed = low > 0 and high > 50 * low
    if skewed:
        ax.set_xscale("log")
        # Between whole numbers, or small sizes would fall into every other bar.
        edges = np.unique(np.rint(np.geomspace(low, high + 1, 18))) - 0.5
    else:
        width = max(1, -(-(high - low + 1) // 25))
        # Bars around whole numbers; a single size gets some space, not the whole axis.
        edges = np.arange(low - 0.5, high + width + 0.5, width)
        if low == high:
            ax.set_xlim(low - 5.5, high + 5.5)
        ax.xaxis.set_major_locator(style.WholeLocator(4))
    ax.hist(sizes, bins=edges.tolist(), **look)
    ax.set_xlabel("training samples of a node")
    ax.set_ylabel("nodes")
    ax.yaxis.set_major_locator(style.WholeLocator(5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:g}"))


FIGURES = (
    declared.Figure(
        "partition",
        has_partition,
        partition_figure,
        "Training data: samples of each class at each node, and total samples of each node.",
        place=50,
    ),
)
