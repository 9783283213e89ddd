"""Activity of every node over time, and the messages between them, as tables in nanoseconds.

Computing, waiting and being down are recorded intervals. Sending is derived: an uplink is busy from the instant a
message is sent until it has left, and each departure ends one slice of a busy period. With a queue (FIFO) these
slices are the transmissions themselves; where messages share the uplink, a slice is the time between two departures,
so that every arrow can start where a slice ends and slices never overlap.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from analysis.store import Run
from simulator.errors import ConfigurationError, StorageError

COMPUTING, SENDING, WAITING, DOWN = STATES = ("computing", "sending", "waiting", "down")
NEVER_ARRIVED = ("lost", "dropped", "expired")
MOST_MESSAGES = 200_000
"""Default limit on messages without an end of the window: browsers can show about this many."""

_RECORDED = (COMPUTING, WAITING, DOWN)
_NS = 1_000_000_000


@dataclass(frozen=True)
class Timeline:
    """Part of a run: all of it, or a window of time and some of the nodes.

    Args:
        name: of the scenario.
        seed: of the run.
        clock: ``"virtual time"``, or ``"real time"`` of a live run.
        nodes: those shown, ascending.
        of: number of nodes of the run.
        from_ns: start of the window.
        until_ns: its end.
        cut: whether a window was requested.
        intervals: ``node, state, from_ns, until_ns, tasks``, sorted by time, cut at the window; those of one node and
            state do not overlap (``tasks`` counts how many were merged).
        messages: ``flow`` (row of the message in the run), ``src, dst, kind, round, size_bytes, attempts, copy,
            status``, ``sent_ns, start_ns, left_ns`` (its slice of the sender's busy uplink; null if it never left)
            and ``delivered_ns`` (null if it never arrived), sorted by ``sent_ns``; whole if they touch the window.
        notes: lines for the user on what is missing or left out.
    """

    name: str
    seed: int | None
    clock: str
    nodes: tuple[int, ...]
    of: int
    from_ns: int
    until_ns: int
    cut: bool
    intervals: pl.DataFrame
    messages: pl.DataFrame
    notes: tuple[str, ...] = ()


def timeline(
    run: Run,
    *,
    nodes: Iterable[int] | None = None,
    from_s: float | None = None,
    until_s: float | None = None,
    most: int = MOST_MESSAGES,
) -> Timeline:
    """Collect the content of a timeline of ``run``.

    Args:
        run: a run folder.
        nodes: nodes to show; default all.
        from_s: start of the window in seconds; default 0.
        until_s: its end; default the end of the run, or once ``most`` messages were sent.
        most: messages shown without ``until_s``.

    Raises:
        ConfigurationError: no such node, or the window is empty.
        StorageError: a table is missing or damaged.
    """
    count = int(run.manifest["topology"]["nodes"])
    shown = tuple(sorted(set(range(count) if nodes is None else nodes)))
    if not shown or shown[0] < 0 or shown[-1] >= count:
        wrong = next((node for node in reversed(shown) if not 0 <= node < count), "none")
        raise ConfigurationError(f"there is no node {wrong} to show; this run has the nodes 0 to {count - 1}")
    messages = _messages(run, count)
    recorded = _recorded(run, count)
    end_ns = _end_ns(run, messages, recorded)
    messages = _through_uplinks(messages, end_ns)
    from_ns = 0 if from_s is None else round(from_s * _NS)
    until_ns = end_ns if until_s is None else round(until_s * _NS)
    if from_s is not None and until_s is None and from_ns >= end_ns:
        raise ConfigurationError(
            f"the run ends at {end_ns / _NS:g} s, so nothing is left to show from {from_s:g} s on"
        )
    if from_ns < 0 or until_ns < from_ns or (until_s is not None and until_ns == from_ns):
        raise ConfigurationError(
            f"from {from_ns / _NS:g} s until {until_ns / _NS:g} s is no stretch of time to show"
        )
    whole = Timeline(
        name=str(run.manifest["name"]),
        seed=run.manifest.get("seed"),
        clock="real time" if run.manifest.get("mode") == "live" else "virtual time",
        nodes=tuple(range(count)),
        of=count,
        from_ns=0,
        until_ns=end_ns,
        cut=from_s is not None or until_s is not None,
        intervals=_merged(recorded, end_ns),
        messages=messages,
        notes=_missing(run),
    )
    part = within(whole, nodes=shown, from_ns=from_ns, until_ns=until_ns)
    if until_s is None and part.messages.height > most:
        until_ns = max(from_ns, int(part.messages["sent_ns"][most]))
        note = (
            f"shown are the first {most:,} of {part.messages.height:,} messages, until {until_ns / _NS:.6g} s; "
            "choose another part with --from, --until and --nodes"
        )
        part = within(part, until_ns=until_ns)
        part = replace(part, messages=part.messages.head(most), notes=(*part.notes, note))
    return part


def within(
    whole: Timeline,
    *,
    nodes: Iterable[int] | None = None,
    from_ns: int | None = None,
    until_ns: int | None = None,
) -> Timeline:
    """Return a smaller part of a timeline: intervals are cut at its edges, messages that touch it are kept whole."""
    shown = whole.nodes if nodes is None else tuple(sorted(nodes))
    start = whole.from_ns if from_ns is None else from_ns
    end = whole.until_ns if until_ns is None else until_ns
    over = pl.coalesce("delivered_ns", "left_ns", "sent_ns")
    concerned = pl.col("src").is_in(list(shown)) | pl.col("dst").is_in(list(shown))
    return replace(
        whole,
        nodes=shown,
        from_ns=start,
        until_ns=end,
        intervals=whole.intervals.filter(pl.col("node").is_in(list(shown)))
        .with_columns(pl.col("from_ns").clip(lower_bound=start), pl.col("until_ns").clip(upper_bound=end))
        .filter(pl.col("from_ns") < pl.col("until_ns")),
        messages=whole.messages.filter(concerned & (pl.col("sent_ns") <= end) & (over >= start)),
    )


def arrows(shown: Timeline) -> pl.DataFrame:
    """Return the messages that were delivered between nodes that are shown."""
    return shown.messages.filter(
        pl.col("delivered_ns").is_not_null()
        & pl.col("src").is_in(list(shown.nodes))
        & pl.col("dst").is_in(list(shown.nodes))
    )


def never_arrived(shown: Timeline) -> pl.DataFrame:
    """Return lost, dropped or expired messages of the nodes shown, with ``at_ns``, the time of departure."""
    gone = pl.col("status").is_in(NEVER_ARRIVED) & pl.col("src").is_in(list(shown.nodes))
    return shown.messages.filter(gone).with_columns(at_ns=pl.coalesce("left_ns", "sent_ns"))


def _messages(run: Run, count: int) -> pl.DataFrame:
    path = run.path / "messages.parquet"
    delivered = pl.when(pl.col("status") == "delivered").then(_ns("delivered_s"))
    found = run.messages.with_row_index("flow").select(
        "flow", "src", "dst", "kind", "round", "size_bytes", "attempts", "copy", "status",
        _ns("sent_s"),
        _ns("left_s"),
        delivered.alias("delivered_ns"),
    )  # fmt: skip
    # Clocks of a live run are read one after another, which must not make an arrow point backwards.
    found = found.with_columns(pl.min_horizontal("left_ns", "delivered_ns").alias("left_ns"))
    late = found.filter(
        (pl.col("left_ns") < pl.col("sent_ns")) | (pl.col("delivered_ns") < pl.col("sent_ns"))
    )
    _refuse(late, "sent_ns", path, "a message arrived or left before it was sent")
    _refuse(
        found.filter(pl.col("sent_ns").is_null() | (pl.col("sent_ns") < 0)),
        "sent_ns",
        path,
        "no time of sending",
    )
    for column in ("src", "dst"):
        _refuse(
            _strangers(found, column, count),
            column,
            path,
            f"names a node that the run of {count} nodes lacks",
        )
    return found.sort("sent_ns", "flow")


def _recorded(run: Run, count: int) -> pl.DataFrame:
    if run.has("activity"):
        path = run.path / "activity.parquet"
        found = run.activity
    else:
        path = run.path / "manifest.json"
        rows = [(o.node, DOWN, o.down_s, o.up_s) for o in run.outages]
        types: Any = {"node": pl.Int64, "state": pl.String, "from_s": pl.Float64, "until_s": pl.Float64}
        found = pl.DataFrame(rows, schema=types, orient="row")
    found = found.filter(pl.col("state").is_in(_RECORDED))
    found = found.select("node", "state", _ns("from_s"), _ns("until_s"))
    bad = pl.col("from_ns").is_null() | (pl.col("from_ns") < 0) | (pl.col("until_ns") < pl.col("from_ns"))
    _refuse(found.filter(bad), "from_ns", path, "an interval has no start or ends before it")
    _refuse(
        _strangers(found, "node", count), "node", path, f"names a node that the run of {count} nodes lacks"
    )
    return found


def _end_ns(run: Run, messages: pl.DataFrame, recorded: pl.DataFrame) -> int:
    """Return the end of the run, as far as the tables and the summary tell.

    A message may have been scheduled to leave later; that does not prolong the run.
    """
    simulated_s = (run.summary or {}).get("simulated_s")
    ends = [round(float(simulated_s) * _NS)] if isinstance(simulated_s, int | float) else []
    tables: list[tuple[pl.DataFrame, tuple[str, ...]]] = [(messages, ("sent_ns", "delivered_ns"))]
    if run.has("activity"):
        # Without it the outages are only scheduled, and a later one did not prolong the run.
        tables.append((recorded, ("from_ns", "until_ns")))
    for table, columns in tables:
        ends += [int(latest) for latest in table.select(pl.max(*columns)).row(0) if latest is not None]
    return max(ends, default=0)


def _merged(recorded: pl.DataFrame, end_ns: int) -> pl.DataFrame:
    """Merge overlapping intervals of one node and state."""
    lane = ("node", "state")
    ordered = recorded.with_columns(pl.col("until_ns").fill_null(end_ns)).filter(
        pl.col("from_ns") < pl.col("until_ns")
    )
    ordered = ordered.sort(*lane, "from_ns", "until_ns")
    before = pl.col("until_ns").cum_max().shift(1).over(lane)
    return (
        ordered.with_columns(stretch=(before.is_null() | (pl.col("from_ns") >= before)).cum_sum())
        .group_by(*lane, "stretch", maintain_order=True)
        .agg(pl.col("from_ns").min(), pl.col("until_ns").max(), tasks=pl.len())
        .drop("stretch")
        .sort("from_ns", "node", "state")
    )


def _through_uplinks(messages: pl.DataFrame, end_ns: int) -> pl.DataFrame:
    """Add ``start_ns``; messages still in the uplink at the end occupy it until then."""
    stuck = pl.col("left_ns").is_null() & (pl.col("status") == "in-flight")
    left_ns = pl.when(stuck).then(end_ns).otherwise(pl.col("left_ns").clip(upper_bound=end_ns))
    messages = messages.with_columns(left_ns=left_ns)
    busy = messages.filter(pl.col("left_ns").is_not_null()).select("src", "sent_ns", "left_ns")
    ordered = busy.sort("src", "sent_ns", "left_ns")
    before = pl.col("left_ns").cum_max().shift(1).over("src")
    ordered = ordered.with_columns(stretch=(before.is_null() | (pl.col("sent_ns") >= before)).cum_sum())
    ends = (
        ordered.with_columns(start_ns=pl.col("sent_ns").first().over("stretch"))
        .select("src", "stretch", "start_ns", "left_ns")
        .unique()
        .sort("stretch", "left_ns")
        .with_columns(start_ns=pl.coalesce(pl.col("left_ns").shift(1).over("stretch"), "start_ns"))
    )
    # A message that leaves at the instant it is sent may share that instant with the end of the previous period.
    keys = ["src", "sent_ns", "left_ns"]
    slices = ordered.unique(keys).join(ends, on=["src", "stretch", "left_ns"]).select(*keys, "start_ns")
    return messages.join(slices, on=keys, how="left", maintain_order="left")


def _missing(run: Run) -> tuple[str, ...]:
    notes = []
    if not run.has_departures:
        notes.append("this run did not record when messages left the uplink: sending is shown as an instant")
    if not run.has("activity"):
        notes.append(
            "this run did not record what nodes did: computing and waiting are not shown, down is as scheduled"
        )
    return tuple(notes)


def _ns(column: str) -> pl.Expr:
    seconds = pl.col(column)
    # NaN and infinity would wrap around as integers.
    whole = pl.when(seconds.is_finite() & (seconds.abs() < 9e9)).then((seconds * _NS).round())
    return whole.cast(pl.Int64).alias(column.removesuffix("_s") + "_ns")


def _strangers(frame: pl.DataFrame, column: str, count: int) -> pl.DataFrame:
    return frame.filter(pl.col(column).is_null() | ~pl.col(column).is_between(0, count - 1))


def _refuse(wrong: pl.DataFrame, column: str, path: Any, what: str) -> None:
    if not wrong.is_empty():
        raise StorageError(f"{path}: {what} ({column} is {wrong[column][0]}, {wrong.height} such rows)")
