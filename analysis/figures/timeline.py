"""Static timeline of a run: a few nodes, a few rounds, one lane per node."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures import style
from analysis.tables.timeline import (
    COMPUTING,
    DOWN,
    SENDING,
    WAITING,
    Timeline,
    arrows,
    never_arrived,
    within,
)
from simulator.errors import StorageError

MOST_NODES, MOST_ARROWS, MOST_CROSSES, ROUNDS = 24, 400, 100, 4
CLEAR_ARROWS, FEWEST_NODES = 130, 6
"""Number of messages up to which arrows can be followed; nodes that are shown at least, to get there."""
_ARROWS_WITHOUT_ROUNDS = 150

_ARROW = "#3c3c3c"
_LOOK: dict[str, dict[str, Any]] = {
    WAITING: {"facecolor": "#e0e4e7", "edgecolor": "white", "linewidth": 0.3},
    COMPUTING: {"facecolor": style.BLUE, "edgecolor": "white", "linewidth": 0.3},
    SENDING: {"facecolor": style.ORANGE, "edgecolor": "white", "linewidth": 0.3},
    DOWN: {"facecolor": "white", "edgecolor": "#555555", "linewidth": 0.5, "hatch": "//////"},
}
_HALF = 0.3
"""Half the height of a bar, in lanes; sending covers its lower part."""
_LONG_LABEL = 5000
"""Milliseconds from which a window that did not start long after zero is labelled in seconds."""
_UNITS = (("h", 3600e9, 20), ("min", 60e9, 20), ("s", 1e9, 1), ("ms", 1e6, 1), ("µs", 1e3, 1), ("ns", 1.0, 0))
"""Unit, nanoseconds, and how many of them a window must last to be labelled with it."""


def write_timeline(shown: Timeline, folder: Path, kind: style.Format = "png") -> Path:
    """Write ``plots/timeline.png`` (or of another format) into ``folder``.

    Raises:
        ConfigurationError: there is no such format.
        StorageError: the file cannot be written.
    """
    target = folder / "plots" / f"timeline.{style.known_format(kind)}"
    try:
        return style.save(timeline_figure(shown), target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror or error})") from error


def timeline_figure(shown: Timeline) -> Figure:
    """Draw at most 24 nodes and 400 messages; the line above the lanes states the selection.

    Without a requested window it is two to four rounds long, from the start or from just before the first outage, as
    many as have at most 130 messages. If nodes do not fit, or two rounds have more messages, a node that went down,
    or the first, is shown with those it exchanges messages with. A requested window is drawn whole.
    """
    part, words = _close_up(shown)
    drawn = _between(part, arrows(part))
    gone = _between(part, never_arrived(part))
    few, crosses = _thinned(drawn, MOST_ARROWS), _thinned(gone, MOST_CROSSES)
    for all_, kept, what in ((drawn, few, "delivered"), (gone, crosses, "lost")):
        if kept.height < all_.height:
            words.append(f"{kept.height} of {all_.height:,} {what} messages drawn")
    lanes = {node: lane for lane, node in enumerate(part.nodes)}
    count = len(part.nodes)
    made, (ax,) = style.figure(height=1.0 + count * (0.32 if count <= 12 else 0.27))
    unit, scale, origin_ns = _clock(part)
    with style.applied():
        _bars(ax, part, lanes, origin_ns, scale)
        _arrows(ax, few, lanes, origin_ns, scale)
        _crosses(ax, crosses, few, lanes, origin_ns, scale)
        ax.set_xlim((part.from_ns - origin_ns) / scale, max(part.until_ns - origin_ns, 1) / scale)
        ax.set_ylim(count - 0.45, -0.55)
        ax.set_yticks(range(count), [str(node) for node in part.nodes])
        ax.set_ylabel("node")
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="y", linewidth=0.3)
        ax.spines["left"].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(9, steps=[1, 2, 2.5, 5, 10]))
        since = f" since {origin_ns / 1e9:.9g} s" if origin_ns else ""
        ax.set_xlabel(f"{part.clock}{since} ({unit})")
        ax.set_title("; ".join(words), fontsize=7, color="#444444")
        made.legend(handles=_legend(part, few, crosses), loc="outside lower center", ncols=6)
    return made


# ---------------------------------------------------------------- selection


def _close_up(shown: Timeline) -> tuple[Timeline, list[str]]:
    """Select the nodes and the window that fit a picture, and describe the selection."""
    nodes, words = _nodes(shown, MOST_NODES)
    part = within(shown, nodes=nodes)
    if shown.cut:
        return part, words
    sent = _between(part, part.messages)
    rounds = _rounds(part, sent)
    while rounds is not None and rounds.messages > CLEAR_ARROWS and len(nodes) > FEWEST_NODES:
        nodes, words = _nodes(shown, max(FEWEST_NODES, len(nodes) * 3 // 4))
        part = within(shown, nodes=nodes)
        rounds = _rounds(part, _between(part, part.messages))
    if rounds is not None:
        first, last = rounds.first, rounds.last
        words.append(f"rounds {first} to {last}" if last > first else f"round {first}")
        return within(part, from_ns=rounds.from_ns, until_ns=rounds.until_ns), words
    if sent.height > _ARROWS_WITHOUT_ROUNDS:
        words.append(f"the first {_ARROWS_WITHOUT_ROUNDS} messages")
        return within(part, until_ns=int(sent["sent_ns"][_ARROWS_WITHOUT_ROUNDS])), words
    return part, words


def _nodes(shown: Timeline, most: int) -> tuple[tuple[int, ...], list[str]]:
    """Select at most so many nodes, and describe the selection."""
    every = len(shown.nodes) == shown.of
    if len(shown.nodes) <= most:
        return shown.nodes, [f"all {shown.of} nodes" if every else f"{len(shown.nodes)} of {shown.of} nodes"]
    down = shown.intervals.filter(pl.col("state") == DOWN)
    centre = shown.nodes[0] if down.is_empty() else int(down["node"][0])
    peers: dict[int, list[int]] = {}
    for src, dst in (
        _between(shown, shown.messages).select("src", "dst").unique().sort("src", "dst").iter_rows()
    ):
        peers.setdefault(src, []).append(dst)
    found, queue = {centre: None}, deque([centre])
    while queue:
        for peer in peers.get(queue.popleft(), []):
            if peer not in found:
                found[peer] = None
                queue.append(peer)
    chosen = [*found, *(node for node in shown.nodes if node not in found)][:most]
    why = "" if down.is_empty() else ", which goes down,"
    return tuple(sorted(chosen)), [
        f"{len(chosen)} of {shown.of} nodes: node {centre}{why} and those around it"
    ]


class _Rounds(NamedTuple):
    """First and last round of a window, its start and end, and the messages sent in it."""

    first: int
    last: int
    from_ns: int
    until_ns: int
    messages: int


def _rounds(part: Timeline, sent: pl.DataFrame) -> _Rounds | None:
    """Return as many rounds as have few enough messages, four at most and two at least; None without rounds."""
    starts = sent.filter(pl.col("round") >= 0).group_by("round").agg(pl.col("sent_ns").min())
    begun = [(int(r), int(t)) for r, t in starts.sort("round").iter_rows()]
    if not begun:
        return None
    down = part.intervals.filter((pl.col("state") == DOWN) & (pl.col("from_ns") > begun[0][1]))
    # From a whole round before the first outage, so that the change is visible.
    start = 0 if down.is_empty() else sum(t <= int(down["from_ns"][0]) for _, t in begun) - 2
    for length in range(ROUNDS, 1, -1):
        first = max(0, min(start, len(begun) - length))
        last = min(first + length, len(begun))
        from_ns = begun[first][1] if first else part.from_ns
        until_ns = begun[last][1] if last < len(begun) else part.until_ns
        count = sent.filter(pl.col("sent_ns").is_between(from_ns, until_ns, closed="left")).height
        if count <= CLEAR_ARROWS:
            break
    return _Rounds(begun[first][0], begun[last - 1][0], from_ns, until_ns, count)


def _between(part: Timeline, messages: pl.DataFrame) -> pl.DataFrame:
    shown = list(part.nodes)
    return messages.filter(pl.col("src").is_in(shown) & pl.col("dst").is_in(shown))


def _thinned(messages: pl.DataFrame, most: int) -> pl.DataFrame:
    """Select about ``most`` messages, spread evenly: multiples of the golden ratio, modulo one."""
    if messages.height <= most:
        return messages
    spread = np.arange(messages.height) * ((math.sqrt(5) - 1) / 2) % 1
    return messages.filter(pl.Series(np.argsort(np.argsort(spread)) < most))


# ---------------------------------------------------------------- drawing


def _bars(ax: Axes, part: Timeline, lanes: dict[int, int], origin_ns: int, scale: float) -> None:
    uplink = part.messages.filter(pl.col("start_ns").is_not_null() & pl.col("src").is_in(list(lanes)))
    slices = (
        uplink.select(node="src", from_ns="start_ns", until_ns="left_ns").unique().sort("from_ns", "node")
    )
    for zorder, state in enumerate((WAITING, COMPUTING, SENDING, DOWN), start=1):
        rows = slices if state == SENDING else part.intervals.filter(pl.col("state") == state)
        boxes = []
        for node, from_ns, until_ns in rows.select("node", "from_ns", "until_ns").iter_rows():
            left, right = (from_ns - origin_ns) / scale, (until_ns - origin_ns) / scale
            top, bottom = lanes[node] + (0.0 if state == SENDING else -_HALF), lanes[node] + _HALF
            boxes.append([(left, top), (right, top), (right, bottom), (left, bottom)])
        # Without recorded departures no sending has a duration, but its time should be visible.
        instants = state == SENDING and bool((slices["until_ns"] == slices["from_ns"]).all())
        look = _LOOK[state] | ({"edgecolor": style.ORANGE, "linewidth": 0.8} if instants else {})
        ax.add_collection(PolyCollection(boxes, zorder=zorder, **look), autolim=False)


def _arrows(ax: Axes, few: pl.DataFrame, lanes: dict[int, int], origin_ns: int, scale: float) -> None:
    if few.is_empty():
        return
    tail_x, head_x = ((few[c].to_numpy() - origin_ns) / scale for c in ("left_ns", "delivered_ns"))
    tail_y, head_y = _ends(few, lanes)
    # Fewer arrows can be bolder.
    bold = 1.0 if few.height <= 150 else 0.85
    ax.quiver(
        tail_x, tail_y, head_x - tail_x, head_y - tail_y,
        angles="xy", scale_units="xy", scale=1, units="dots", width=1.05 * bold,
        headwidth=6, headlength=9, headaxislength=8, minlength=0,
        color=_ARROW, alpha=0.6 * bold, linewidth=0, zorder=6,
    )  # fmt: skip


def _crosses(
    ax: Axes, crosses: pl.DataFrame, few: pl.DataFrame, lanes: dict[int, int], origin_ns: int, scale: float
) -> None:
    if crosses.is_empty():
        return
    typical_ns = few.select(pl.col("delivered_ns") - pl.col("left_ns"))["delivered_ns"].median()
    usual = float(typical_ns) if isinstance(typical_ns, int | float) else 0.0
    tail_x = (crosses["at_ns"].to_numpy() - origin_ns) / scale
    tail_y, head_y = _ends(crosses, lanes)
    x, y = tail_x + 0.45 * usual / scale, tail_y + 0.45 * (head_y - tail_y)
    for i in range(crosses.height):
        ax.plot((tail_x[i], x[i]), (tail_y[i], y[i]), color=style.VERMILION, lw=0.9, zorder=7)
    ax.plot(x, y, ls="", marker="x", ms=4.5, mew=1.3, color=style.VERMILION, zorder=8)


def _ends(messages: pl.DataFrame, lanes: dict[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where arrows start (in the sending bar) and where they end (near edge of the receiver's bar)."""
    src, dst = (
        np.array([lanes[node] for node in messages[c].to_list()], dtype=np.float64) for c in ("src", "dst")
    )
    return src + _HALF / 2, dst - np.sign(dst - src) * _HALF


def _clock(part: Timeline) -> tuple[str, float, int]:
    """Return the unit of the axis, its nanoseconds, and its origin."""
    span_ns = part.until_ns - part.from_ns
    name, scale = next((name, scale) for name, scale, least in _UNITS if span_ns >= least * scale)
    # Otherwise close-ups late in a run would have labels of seven digits of which two differ.
    if part.from_ns > 50 * span_ns:
        return name, scale, part.from_ns
    if name == "ms" and part.until_ns >= _LONG_LABEL * scale:
        return "s", 1e9, 0
    return name, scale, 0


def _legend(part: Timeline, few: pl.DataFrame, crosses: pl.DataFrame) -> list[Patch | Line2D]:
    states = set(part.intervals["state"].unique().to_list())
    handles: list[Patch | Line2D] = [
        Patch(**look, label=state) for state, look in _LOOK.items() if state == SENDING or state in states
    ]
    if few.height:
        handles.append(Line2D([], [], color=_ARROW, lw=0.8, marker=">", ms=3.5, mew=0, label="message"))
    if crosses.height:
        cross: dict[str, Any] = {"color": style.VERMILION, "lw": 0.9, "marker": "x", "ms": 4.5, "mew": 1.3}
        handles.append(Line2D([], [], **cross, label="message that never arrives"))
    return handles
