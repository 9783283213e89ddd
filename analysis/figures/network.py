"""Figure of a run: its graph, with roles, nodes that are down and final accuracies."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import networkx as nx
import polars as pl
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import declared, style
from analysis.store import Run

ROLES = {"honest": (style.SKY, "o"), "curious": (style.ORANGE, "D"), "Byzantine": (style.VERMILION, "s")}
"""Fill and marker of a node by role; the marker shows the role in greyscale print."""

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

    The layout depends on the graph alone, so figures of two runs on one graph can be laid side by side.
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(int(run.manifest["topology"]["nodes"])))
    graph.add_edges_from((int(i), int(j)) for i, j in run.manifest["topology"]["edges"])
    kind = str((run.manifest["scenario"].get("topology") or {}).get("kind"))
    where = _layout(graph, kind, run.manifest["scenario"].get("topology") or {})
    accuracy, role, down = _final_accuracy(run), roles(run), set(run.manifest.get("down_at_end") or ())
    count = graph.number_of_nodes()
    size = min(11.0, max(3.0, 60 / math.sqrt(count)))
    made, (ax,) = style.figure(width=style.COLUMN_INCHES * 1.3, height=3.4)
    with style.applied():
        ax.set_axis_off()
        ax.set_aspect("equal")
        ax.margins(0.09)
        for i, j in graph.edges:
            ax.plot(
                *zip(where[i], where[j], strict=True),
                color=style.LIGHT,
                lw=0.8 if count <= 100 else 0.3,
                zorder=1,
            )
        low, high = (min(accuracy.values()), max(accuracy.values())) if accuracy else (0.0, 1.0)
        scale = Normalize(low, high if high > low else low + 0.01)
        colours = matplotlib.colormaps["cividis"]
        for node in graph.nodes:
            fill, marker = ROLES[role[node]]
            ring = colours(scale(accuracy[node])) if node in accuracy else style.LIGHT
            gone = node in down
            # In a crowded picture the few special nodes would be hard to see.
            ms = size * 1.6 if count > 60 and (gone or role[node] != "honest") else size
            look: dict[str, Any] = {"marker": marker, "ls": "", "ms": ms, "mew": size / 4.5}
            ax.plot(*where[node], mec=ring, mfc="white" if gone else fill, zorder=2, **look)
            if gone:
                ax.plot(*where[node], marker="x", ms=ms * 0.6, mew=1.2, color=style.BLACK, zorder=3)
            if count <= 60:
                ax.annotate(
                    str(node),
                    where[node],
                    xytext=_label_offset(where, node, size),
                    textcoords="offset points",
                    ha="center",
                    va="center",
                    fontsize=6 if count <= 30 else 5,
                )
        if accuracy:
            bar = made.colorbar(
                matplotlib.cm.ScalarMappable(scale, colours), ax=ax, shrink=0.7, aspect=25, pad=0.03
            )
            bar.set_label("ring: final test accuracy (%)")
            style.percent_axis(bar.ax.yaxis)
            bar.outline.set_visible(False)
        made.legend(handles=_legend(set(role.values()), bool(down)), loc="outside lower center", ncols=4)
    return made


def _layout(graph: nx.Graph, kind: str, topology: dict[str, Any]) -> dict[int, tuple[float, float]]:
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
    elif kind in ("ring", "complete", "small-world") or count <= 2:
        found = layouts.circular_layout(graph)
    elif count <= _FORCE_LIMIT:
        found = (
            layouts.kamada_kawai_layout(graph)
            if nx.is_connected(graph)
            else layouts.spring_layout(graph, seed=1)
        )
    else:
        found = layouts.spring_layout(graph, seed=1, iterations=30)
    return {int(node): (float(x), float(y)) for node, (x, y) in found.items()}


def _label_offset(where: dict[int, tuple[float, float]], node: int, size: float) -> tuple[float, float]:
    """Return the offset outwards from the middle, clear of the marker."""
    middle = [sum(p[axis] for p in where.values()) / len(where) for axis in (0, 1)]
    dx, dy = where[node][0] - middle[0], where[node][1] - middle[1]
    length = math.hypot(dx, dy)
    reach = 0.95 * size + 2.0
    return (0.0, reach) if length < 1e-9 else (reach * dx / length, reach * dy / length)


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
        "The network. Shape and fill: role; ring: final accuracy (grey: not evaluated).",
        place=40,
    ),
)
