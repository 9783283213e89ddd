"""Timeline of a run for Perfetto or Chrome (Trace Event Format, JSON, gzip).

One process per node (its number is the node's) with the tracks ``computing``, ``sending``, ``waiting`` and ``down``,
whose slices have their true lengths, ``received`` for the instants at which messages arrived and ``lost`` for
messages that never arrive. An arrow joins the slice in which a message left its sender to its arrival.

Perfetto drops a slice that partly overlaps another of its track, truncates times to whole nanoseconds, and binds an
arrow to the latest slice of a track that has begun. Slices here are therefore adjacent but never overlap, every
number survives truncation, and simultaneous events are written in the order in which arrows bind.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from gzip import GzipFile
from io import BufferedWriter
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from analysis.tables.timeline import COMPUTING, DOWN, SENDING, WAITING, Timeline, arrows, never_arrived
from simulator.errors import StorageError

TRACKS: Mapping[str, int] = {COMPUTING: 1, SENDING: 2, "received": 3, WAITING: 4, DOWN: 5, "lost": 6}
"""Thread number of each track, counted from the number of nodes on."""


# Simultaneous events are written in this order, so that arrows bind to their own slice.
_INSTANT, _OF_INSTANT, _LASTING, _OF_LASTING = range(4)

_FINE_NS = 4_000_000 * 10**9
_Event = tuple[int, int, dict[str, Any]]
"""Time (ns), order among simultaneous events, and the event itself."""


def write_trace(shown: Timeline, folder: Path) -> Path:
    """Write ``trace.json.gz``; open it at ui.perfetto.dev or chrome://tracing.

    The same timeline always gives the same bytes.

    Args:
        shown: timeline to write.
        folder: target folder; made if it does not exist.

    Raises:
        StorageError: the file cannot be written.
    """
    target = folder / "trace.json.gz"
    part = target.with_name(target.name + ".part")
    encode = msgspec.json.Encoder().encode
    about = {"name": shown.name, "seed": shown.seed, "clock": shown.clock, "notes": list(shown.notes)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # Writing events one by one would take longer than compressing them.
        with part.open("wb") as file, BufferedWriter(GzipFile("", "wb", 6, file, mtime=0), 2**18) as packed:
            packed.write(b'{"displayTimeUnit":"ms","otherData":' + encode(about) + b',"traceEvents":[')
            for count, event in enumerate(trace_events(shown)):
                packed.write((b",\n" if count else b"\n") + encode(event))
            packed.write(b"\n]}\n")
        part.replace(target)
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error.strerror or error})") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return target


def trace_events(shown: Timeline) -> Iterator[dict[str, Any]]:
    """Yield the events of :func:`write_trace` in order of time; times in microseconds, exact to the nanosecond."""
    streams = (_recorded(shown), _sent(shown), _received(shown), _tails(shown), _heads(shown), _gone(shown))
    merged = heapq.merge(*streams, key=lambda entry: entry[:2])
    for event in chain(_names(shown), (event for _, _, event in merged)):
        # Perfetto takes a thread with the number of its process for the main one and shows it separately.
        yield event | {"tid": shown.of + event["tid"]}


def _names(shown: Timeline) -> Iterator[dict[str, Any]]:
    used = set(shown.intervals.select("node", "state").iter_rows())
    for track, of, column in (
        (SENDING, _departing(shown), "src"),
        ("received", _arriving(shown), "dst"),
        ("lost", never_arrived(shown), "src"),
    ):
        used |= {(node, track) for node in of[column].unique().to_list()}
    for node in shown.nodes:
        tracks = [(tid, track) for track, tid in TRACKS.items() if (node, track) in used]
        # Naming a process names a thread too; one that does not exist would be made up and shown.
        first = tracks[0][0] if tracks else TRACKS[COMPUTING]
        yield _meta("process_name", node, first, name="node")
        yield _meta("process_sort_index", node, first, sort_index=node)
        for tid, track in tracks:
            yield _meta("thread_name", node, tid, name=track)
            yield _meta("thread_sort_index", node, tid, sort_index=tid)


def _meta(name: str, node: int, tid: int, /, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": node, "tid": tid, "args": args}


def _recorded(shown: Timeline) -> Iterator[_Event]:
    for node, state, from_ns, until_ns, tasks in shown.intervals.iter_rows():
        args = {"tasks": tasks} if tasks > 1 else {}
        yield _slice(state, node, TRACKS[state], from_ns, until_ns, args)


def _departing(shown: Timeline) -> pl.DataFrame:
    return shown.messages.filter(pl.col("start_ns").is_not_null() & pl.col("src").is_in(list(shown.nodes)))


def _arriving(shown: Timeline) -> pl.DataFrame:
    return shown.messages.filter(
        pl.col("delivered_ns").is_not_null() & pl.col("dst").is_in(list(shown.nodes))
    )


def _sent(shown: Timeline) -> Iterator[_Event]:
    lasts = pl.col("left_ns") > pl.col("start_ns")
    slices = _together(_departing(shown), "src", "start_ns", "left_ns").sort("start_ns", lasts, "src")
    for row in slices.iter_rows(named=True):
        args = _told(row, "to", "dst")
        yield _slice(_title(row), row["src"], TRACKS[SENDING], row["start_ns"], row["left_ns"], args)


def _received(shown: Timeline) -> Iterator[_Event]:
    for row in (
        _together(_arriving(shown), "dst", "delivered_ns").sort("delivered_ns", "dst").iter_rows(named=True)
    ):
        at = row["delivered_ns"]
        yield _slice(_title(row), row["dst"], TRACKS["received"], at, at, _told(row, "from", "src"))


def _together(messages: pl.DataFrame, *by: str) -> pl.DataFrame:
    """Merge the messages that share a slice into one row; columns that differ become lists."""
    return messages.group_by(by, maintain_order=True).all()


def _title(row: Mapping[str, Any]) -> str:
    return str(row["kind"][0]) if len(row["kind"]) == 1 else f"{len(row['kind'])} messages"


def _told(row: Mapping[str, Any], word: str, peer: str) -> dict[str, Any]:
    """Return the details shown for a slice."""
    if len(row["kind"]) == 1:
        return {word: row[peer][0]} | _details(
            {key: value[0] if isinstance(value, list) else value for key, value in row.items()}
        )
    return {
        "kinds": sorted(set(row["kind"])),
        word: row[peer],
        "size_bytes": sum(row["size_bytes"]),
        "status": sorted(set(row["status"])),
    }


def _details(message: Mapping[str, Any]) -> dict[str, Any]:
    told = {key: message[key] for key in ("round", "size_bytes", "status") if message[key] is not None}
    told["sent_s"] = message["sent_ns"] / 1e9
    if message["attempts"] != 1:
        told["attempts"] = message["attempts"]
    return told | ({"copy": True} if message["copy"] else {})


def _tails(shown: Timeline) -> Iterator[_Event]:
    """Yield the starts of arrows: just inside the end of their slice, as the next may begin at the end itself."""
    order = pl.when(pl.col("left_ns") > pl.col("start_ns")).then(_OF_LASTING).otherwise(_OF_INSTANT)
    tails = arrows(shown).select(
        "flow", "src", "kind", order.alias("order"), at=pl.max_horizontal("start_ns", pl.col("left_ns") - 1)
    )
    for flow, src, kind, order_, at in tails.sort("at", "order", "src", "flow").iter_rows():
        yield at, order_, {"ph": "s", "name": kind, "cat": "message", "id": flow, **_place(src, SENDING, at)}


def _heads(shown: Timeline) -> Iterator[_Event]:
    heads = arrows(shown).select("flow", "dst", "kind", "delivered_ns").sort("delivered_ns", "dst", "flow")
    for flow, dst, kind, at in heads.iter_rows():
        event = {"ph": "f", "bp": "e", "name": kind, "cat": "message", "id": flow}
        yield at, _OF_INSTANT, event | _place(dst, "received", at)


def _gone(shown: Timeline) -> Iterator[_Event]:
    for row in never_arrived(shown).sort("at_ns", "src", "flow").iter_rows(named=True):
        at, args = row["at_ns"], {"to": row["dst"], "kind": row["kind"]} | _details(row)
        event = {
            "ph": "i",
            "s": "t",
            "name": row["status"],
            "cat": "message",
            **_place(row["src"], "lost", at),
        }
        yield at, _INSTANT, event | {"args": args}


def _slice(name: str, node: int, tid: int, from_ns: int, until_ns: int, args: Mapping[str, Any]) -> _Event:
    event = {
        "ph": "X",
        "name": name,
        "pid": node,
        "tid": tid,
        "ts": _us(_held(from_ns)),
        "dur": _us(_held(until_ns) - _held(from_ns)),
    }
    return from_ns, _LASTING if until_ns > from_ns else _INSTANT, event | ({"args": args} if args else {})


def _place(node: int, track: str, ns: int) -> dict[str, Any]:
    return {"pid": node, "tid": TRACKS[track], "ts": _us(_held(ns))}


def _held(ns: int) -> int:
    """Truncate ``ns`` to microseconds once a float of microseconds no longer holds nanoseconds (after 46 days)."""
    return ns if ns < _FINE_NS else ns - ns % 1000


def _us(ns: int) -> float | int:
    """Return microseconds that a reader converts back to ``ns`` by multiplication and truncation."""
    if ns % 1000 == 0:
        return ns // 1000
    us = ns / 1000
    return us if int(us * 1000) == ns else math.nextafter(us, math.inf)
