"""Figure of a run: its graph, with roles, nodes that are down and final accuracies."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import matplotlib
import networkx as nx
import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import offset_copy

from analysis.figures import declared, style
from analysis.store import Run

ROLES = {"honest": (style.SKY, "o"), "curious": (style.ORANGE, "D"), "Byzantine": (style.VERMILION, "s")}
"""Fill and marker of a node by role; the marker shows the role in greyscale print."""

Positions: TypeAlias = dict[int, tuple[float, float]]

_LABELLED = 60
"""Largest number of nodes whose numbers are shown."""
_NAMED_PLACES = 12
_TRIED = 40
"""Number of layouts by forces of which the clearest is drawn."""
_FORCE_LIMIT = 300


def roles(run: Run) -> dict[int, str]:
    """Return the role of every node; a Byzantine node that is also curious counts as Byzantine."""
    byzantine, curious = set(run.manifest.get("byzantine") or ()), set(run.manifest.get("curious") or ())
    return {
        node: "Byzantine" if node in byzantine else "curious" if node in curious else "honest"
        for node in range(int(run.manifest["topology"]["nodes"]))
    }


def network_figure(run: Run) -> Figure:
    """Draw the graph: fill and shape by role, ring by final accuracy (grey: none), × for down at the end.

    Nodes of known coordinates are at their places; others are placed by the graph alone, so figures of two runs on
    one graph can be laid side by side.
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(int(run.manifest["topology"]["nodes"])))
    graph.add_edges_from((int(i), int(j)) for i, j in run.manifest["topology"]["edges"])
    where = positions(graph, run.manifest)
    accuracy, count = _final_accuracy(run), graph.number_of_nodes()
    made, (ax,) = style.figure(width=style.COLUMN_INCHES * 1.3, height=3.6)
    with style.applied():
        ax.set_axis_off()
        ax.set_aspect("equal", adjustable="datalim")
        ax.margins(0.07)
        ax.add_collection(
            LineCollection(
                [(where[i], where[j]) for i, j in graph.edges],
                colors="#b8b8b8" if count <= _LABELLED else style.LIGHT,
                linewidths=0.8 if count <= 100 else 0.3,
                zorder=1,
            )
        )
        low, high = (min(accuracy.values()), max(accuracy.values())) if accuracy else (0.0, 1.0)
        scale = Normalize(low, high if high > low else low + 0.01)
        colours = matplotlib.colormaps["cividis"]
        rings = {node: colours(scale(value)) for node, value in accuracy.items()}
        down = set(run.manifest.get("down_at_end") or ())
        _draw_nodes(made, ax, where, roles(run), rings, down)
        _draw_places(ax, where, run.manifest)
        if accuracy:
            bar = made.colorbar(
                matplotlib.cm.ScalarMappable(scale, colours), ax=ax, shrink=0.7, aspect=25, pad=0.03
            )
            bar.set_label("ring: final test accuracy (%)")
            style.percent_axis(bar.ax.yaxis)
            bar.outline.set_visible(False)
        made.legend(
            handles=_legend(set(roles(run).values()), bool(down)), loc="outside lower center", ncols=4
        )
    return made


def _draw_nodes(
    made: Figure,
    ax: Axes,
    where: Positions,
    role: Mapping[int, str],
    rings: Mapping[int, Any],
    down: Collection[int],
) -> None:
    """Draw markers with the number of the node inside, where there are few; "×" beside those that are down."""
    count = len(where)
    labelled = count <= _LABELLED
    size = (14.0 if count <= 30 else 11.0) if labelled else max(3.0, 60 / math.sqrt(count))
    for node, at in where.items():
        fill, marker = ROLES[role[node]]
        gone = node in down
        # In a crowded picture the few special nodes would be hard to see.
        ms = size * 1.6 if count > _LABELLED and (gone or role[node] != "honest") else size
        ms *= 0.85 if marker == "D" else 1.0  # a diamond is as wide as its diagonal
        look: dict[str, Any] = {"marker": marker, "ls": "", "ms": ms, "mew": 2.0 if labelled else size / 4.5}
        ax.plot(*at, mec=rings.get(node, style.LIGHT), mfc="white" if gone else fill, zorder=2, **look)
        if labelled:
            text: dict[str, Any] = {
                "ha": "center",
                "va": "center_baseline",
                "fontsize": 6.5 if count <= 30 else 5.5,
            }
            ax.annotate(str(node), at, zorder=4, **text)
        if gone:
            beside = 0.62 * ms if labelled else 0.0
            moved = offset_copy(ax.transData, fig=made, x=beside, y=beside, units="points")
            cross: dict[str, Any] = {"marker": "x", "ms": 5.0, "mew": 1.3, "color": style.BLACK}
            ax.plot(*at, transform=moved, zorder=3, **cross)


def _draw_places(ax: Axes, where: Positions, manifest: Mapping[str, Any]) -> None:
    """Name the places, where nodes are at coordinates and the places are few."""
    network = manifest.get("network") or {}
    names = network.get("places") or []
    if not network.get("coordinates_deg") or len(set(names)) > _NAMED_PLACES:
        return
    for name in dict.fromkeys(names):
        there = [where[node] for node, other in enumerate(names) if other == name]
        below = min(there, key=lambda at: at[1])
        look: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 6, "color": "#444444", "zorder": 5}
        ax.annotate(name, below, xytext=(0, -9), textcoords="offset points", **look)


# ---------------------------------------------------------------- positions


def positions(graph: nx.Graph, manifest: Mapping[str, Any]) -> Positions:
    """Return where the nodes are drawn: at their coordinates if they have any, otherwise by the graph.

    Args:
        graph: of all nodes.
        manifest: of the run.

    Returns:
        Node to (x, y); neither depends on a generator of random numbers.
    """
    coordinates = (manifest.get("network") or {}).get("coordinates_deg")
    if coordinates:
        return _by_place(coordinates)
    topology = manifest["scenario"].get("topology") or {}
    return _by_graph(graph, str(topology.get("kind")), topology)


def _by_place(coordinates: Sequence[Sequence[float]]) -> Positions:
    """Place nodes by longitude and latitude, at true scale in the middle latitude; those of one place on a circle."""
    together: dict[tuple[float, float], list[int]] = {}
    for node, (latitude, longitude) in enumerate(coordinates):
        together.setdefault((float(latitude), float(longitude)), []).append(node)
    narrow = math.cos(math.radians(sum(lat for lat, _ in together) / len(together)))
    centres = {place: (place[1] * narrow, place[0]) for place in together}
    extent = max(
        *(max(at[i] for at in centres.values()) - min(at[i] for at in centres.values()) for i in (0, 1)), 1.0
    )
    where: Positions = {}
    for place, nodes in together.items():
        x, y = centres[place]
        radius = 0.0 if len(nodes) == 1 else 0.06 * extent * max(1.0, len(nodes) / 6)
        for i, node in enumerate(nodes):
            angle = 2 * math.pi * i / len(nodes) + math.pi / 2
            where[node] = (x + radius * math.cos(angle), y + radius * math.sin(angle))
    return where


def _by_graph(graph: nx.Graph, kind: str, topology: Mapping[str, Any]) -> Positions:
    count = graph.number_of_nodes()
    layouts: Any = nx  # its layout functions carry no types
    columns = topology.get("columns")
    if kind in ("grid", "torus") and isinstance(columns, int) and columns > 0:
        return {node: (float(node % columns), -float(node // columns)) for node in graph.nodes}
    if kind == "path":
        # Boustrophedon: a long path in one line would be unreadable.
        wide = max(1, math.ceil(math.sqrt(count)))
        return {
            node: (float(c if r % 2 == 0 else wide - 1 - c), -float(r))
            for node in graph.nodes
            for r, c in [divmod(node, wide)]
        }
    if kind == "star":
        found = layouts.shell_layout(graph, [[0], list(range(1, count))] if count > 1 else None)
    elif kind in ("ring", "complete", "small-world", "exponential") or count <= 2:
        found = layouts.circular_layout(graph)
    elif count <= _LABELLED:
        found = _clearest(graph)
    else:
        found = layouts.spring_layout(graph, seed=1, iterations=60 if count <= _FORCE_LIMIT else 30)
    return {int(node): (float(x), float(y)) for node, (x, y) in found.items()}


def _clearest(graph: nx.Graph) -> Mapping[int, Any]:
    """Return the layout by forces in which links keep the largest distance from nodes that they do not end at."""
    layouts: Any = nx
    tried = [layouts.spring_layout(graph, seed=seed, iterations=200) for seed in range(_TRIED)]
    if nx.is_connected(graph):
        tried.append(layouts.kamada_kawai_layout(graph))
    return max(tried, key=lambda where: clearance(graph, where))


def clearance(graph: nx.Graph, where: Mapping[int, Any]) -> float:
    """Return the least distance of a node from another node or from a link of others / the extent of the layout."""
    nodes = list(graph.nodes)
    at = np.array([where[node] for node in nodes], np.float64)
    extent = float(np.ptp(at, axis=0).max())
    index = {node: i for i, node in enumerate(nodes)}
    least = extent
    for i, j in graph.edges:
        if i == j:
            continue
        a, b = at[index[i]], at[index[j]]
        others = np.delete(at, [index[i], index[j]], axis=0)
        along = np.clip((others - a) @ (b - a) / max(float((b - a) @ (b - a)), 1e-12), 0.0, 1.0)
        gaps = np.linalg.norm(others - (a + along[:, None] * (b - a)), axis=1)
        least = min(least, float(np.linalg.norm(b - a)), float(gaps.min(initial=math.inf)))
    return least / max(extent, 1e-12)


def _final_accuracy(run: Run) -> dict[int, float]:
    if not run.has("metrics"):
        return {}
    rows = run.metrics.filter((pl.col("metric") == "accuracy") & (pl.col("node") >= 0))
    last = rows.filter(pl.col("t_s") == pl.col("t_s").max())
    return {int(n): float(v) for n, v in zip(last["node"], last["value"], strict=True) if v is not None}


def _legend(present: set[str], any_down: bool) -> list[Line2D]:
    look: dict[str, Any] = {"ls": "", "ms": 5.5, "mec": style.GREY}
    handles = [
        Line2D([], [], mfc=fill, marker=marker, label=role, **look)
        for role, (fill, marker) in ROLES.items()
        if role in present
    ]
    if any_down:
        handles.append(Line2D([], [], marker="x", color=style.BLACK, ls="", ms=4.5, label="down at the end"))
    return handles


FIGURES = (
    declared.Figure(
        "network",
        lambda _: True,
        network_figure,
        "The network; nodes of known coordinates are at their places. Shape and fill: role; ring: final "
        "accuracy (grey: not evaluated); ×: down at the end.",
        place=40,
    ),
)
