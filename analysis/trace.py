"""A timeline of a run for Perfetto or Chrome (Trace Event Format, JSON, gzip).

One group of tracks per node: ``send``, ``receive`` and ``state``. A slice on ``send`` or ``receive`` marks
the instant a message was sent or delivered; its length is drawn for the eye (the record holds instants,
not how long the uplink was busy). Arrows join the two ends of a delivered message; a lost or dropped one is
an instant mark on the sender's track. Scheduled outages are slices named ``down`` on ``state``.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from analysis.store import Run
from simulator.errors import StorageError

SEND, RECEIVE, STATE = 1, 2, 3
_TRACKS = {SEND: "send", RECEIVE: "receive", STATE: "state"}
_DRAWN_US = 1000.0


def write_trace(run: Run) -> Path:
    """Write ``trace.json.gz`` into the run folder; open it at ui.perfetto.dev or chrome://tracing.

    The same run always gives the same bytes.

    Raises:
        StorageError: the messages are missing or damaged, or the file cannot be written.
    """
    target = run.path / "trace.json.gz"
    content = {
        "displayTimeUnit": "ms",
        "otherData": {"name": run.manifest["name"], "seed": run.manifest.get("seed")},
        "traceEvents": list(trace_events(run)),
    }
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    try:
        target.write_bytes(gzip.compress(text, mtime=0))
    except OSError as error:
        raise StorageError(f"{target}: cannot be written ({error})") from error
    return target


def trace_events(run: Run) -> Iterator[dict[str, Any]]:
    """The events of :func:`write_trace`, times in microseconds of virtual time."""
    for node in range(int(run.manifest["topology"]["nodes"])):
        yield {"ph": "M", "name": "process_name", "pid": node, "args": {"name": f"node {node}"}}
        yield {"ph": "M", "name": "process_sort_index", "pid": node, "args": {"sort_index": node}}
        for track, name in _TRACKS.items():
            yield {"ph": "M", "name": "thread_name", "pid": node, "tid": track, "args": {"name": name}}
    messages = run.messages.sort("sent_s", "src", "dst", "kind", maintain_order=True).with_row_index("flow")
    yield from _outages(run, messages)
    yield from _sent(messages)
    delivered = messages.filter((pl.col("status") == "delivered") & pl.col("delivered_s").is_not_null())
    yield from _delivered(delivered.sort("delivered_s", "dst", maintain_order=True))


def _sent(messages: pl.DataFrame) -> Iterator[dict[str, Any]]:
    lengths = _lengths(messages, "src", "sent_s")
    for row, length_us in zip(messages.iter_rows(named=True), lengths, strict=True):
        at = {"pid": row["src"], "tid": SEND, "ts": row["sent_s"] * 1e6}
        args = {"to": row["dst"], "size_bytes": row["size_bytes"], "status": row["status"]}
        yield {"ph": "X", "name": row["kind"], "cat": "send", "dur": length_us, "args": args, **at}
        if row["status"] == "delivered" and row["delivered_s"] is not None:
            yield {"ph": "s", "name": row["kind"], "cat": "message", "id": row["flow"], **at}
        elif row["status"] in ("lost", "dropped"):
            name = f"{row['status']}: {row['kind']} to {row['dst']}"
            yield {"ph": "i", "name": name, "cat": "lost", "s": "t", **at}


def _delivered(messages: pl.DataFrame) -> Iterator[dict[str, Any]]:
    lengths = _lengths(messages, "dst", "delivered_s")
    for row, length_us in zip(messages.iter_rows(named=True), lengths, strict=True):
        at = {"pid": row["dst"], "tid": RECEIVE, "ts": row["delivered_s"] * 1e6}
        args = {"from": row["src"], "size_bytes": row["size_bytes"]}
        yield {"ph": "X", "name": row["kind"], "cat": "receive", "dur": length_us, "args": args, **at}
        yield {"ph": "f", "bp": "e", "name": row["kind"], "cat": "message", "id": row["flow"], **at}


def _lengths(messages: pl.DataFrame, node: str, time: str) -> Iterable[float]:
    """Drawn length of each slice: at most to the next instant on its track, so that none overlap in part."""
    instants = messages.select(node, time).unique().sort(node, time)
    gaps = instants.with_columns(gap=pl.col(time).shift(-1).over(node) - pl.col(time))
    joined = messages.select(node, time).join(gaps, on=[node, time], how="left", maintain_order="left")
    return (
        joined.select(pl.min_horizontal(pl.col("gap").fill_null(float("inf")) * 1e6, pl.lit(_DRAWN_US)))
        .to_series()
        .to_list()
    )


def _outages(run: Run, messages: pl.DataFrame) -> Iterator[dict[str, Any]]:
    instants = [t for column in ("sent_s", "delivered_s") for t in messages[column].drop_nulls().to_list()]
    end_s = max(instants, default=0.0)
    if run.summary is not None and run.summary.get("simulated_s") is not None:
        end_s = max(end_s, float(run.summary["simulated_s"]))
    for outage in run.outages:
        if outage.down_s > end_s:
            continue
        until_s = end_s if outage.up_s is None else min(outage.up_s, end_s)
        start_us = outage.down_s * 1e6
        at = {"pid": outage.node, "tid": STATE, "ts": start_us, "dur": until_s * 1e6 - start_us}
        yield {"ph": "X", "name": "down", "cat": "fault", "args": {"returns": outage.up_s is not None}, **at}
