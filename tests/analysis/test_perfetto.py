"""The timeline: its tables, the file for Perfetto and the picture."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.figures import style
from analysis.figures.timeline import timeline_figure
from analysis.store import read_run
from analysis.tables.perfetto import TRACKS, trace_events, write_trace
from analysis.tables.timeline import Timeline, arrows, never_arrived, timeline
from scenarios.commands import cli
from tests.support.synthetic_gossip import make_barrier_run, make_tiny_run
from tests.support.synthetic_runs import make_run

Event = dict[str, Any]


def shown(path: Path, **options: Any) -> Timeline:
    return timeline(read_run(path), **options)


def written(path: Path) -> list[Event]:
    found: list[Event] = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return found


def ns(us: float | int) -> int:
    """As Perfetto reads a time: multiplied, and cut off if it was no whole number."""
    return int(us * 1000)


def faults(events: Sequence[Event]) -> list[str]:
    """What a reader of the Trace Event Format would stumble over; empty if the file is sound."""
    wrong: list[str] = []
    named = {(e["name"], e["pid"], e["tid"]) for e in events if e["ph"] == "M"}
    processes = {pid for name, pid, _ in named if name == "process_name"}
    rest = [e for e in events if e["ph"] != "M"]
    if any(e["ph"] == "M" for e in events[len(events) - len(rest) :]):
        wrong.append("metadata after the events it names")
    for e in rest:
        if e["pid"] not in processes or ("thread_name", e["pid"], e["tid"]) not in named:
            wrong.append(f"nameless track: {e}")
        if e["tid"] in processes:
            wrong.append(f"a track taken for the main thread of a process: {e}")
        if e["ts"] < 0 or e.get("dur", 0) < 0:
            wrong.append(f"negative time: {e}")
    wrong += [f"back in time: {b}" for a, b in pairwise(rest) if b["ts"] < a["ts"]]
    open_: dict[tuple[int, int], list[Event]] = {}
    ends: dict[tuple[str, int], list[tuple[Event, Event | None]]] = {}
    for e in rest:
        stack = open_.setdefault((e["pid"], e["tid"]), [])
        if e["ph"] == "X":
            start, end = ns(e["ts"]), ns(e["ts"]) + ns(e["dur"])
            while stack and ns(stack[-1]["ts"]) + ns(stack[-1]["dur"]) <= start:
                stack.pop()
            if stack and end > ns(stack[-1]["ts"]) + ns(stack[-1]["dur"]):
                wrong.append(f"partly overlaps {stack[-1]}: {e}")
            stack.append(e)
        elif e["ph"] in "sf":
            ends.setdefault((e["ph"], e["id"]), []).append((e, stack[-1] if stack else None))
        elif e["ph"] != "i":
            wrong.append(f"unknown phase: {e}")
    if {i for phase, i in ends if phase == "s"} != {i for phase, i in ends if phase == "f"}:
        wrong.append("an arrow has one end only")
    for (phase, flow), found in ends.items():
        for e, bound in found:
            at = ns(e["ts"])
            if bound is None or not ns(bound["ts"]) <= at <= ns(bound["ts"]) + max(0, ns(bound["dur"]) - 1):
                wrong.append(f"no slice under an arrow: {e}")
            elif phase == "s" and ("f", flow) in ends:
                head = ends["f", flow][0][0]
                if head["ts"] < e["ts"] or head.get("bp") != "e":
                    wrong.append(f"arrow points backwards: {e}")
        if len(found) != 1:
            wrong.append(f"arrow {flow} has {len(found)} events {phase}")
    return wrong


def test_a_small_trace_is_this_one(tmp_path: Path) -> None:
    messages = [
        (0.1, 0.2, 0.25, 0, 1, "model", "delivered"),
        (0.1, 0.3, None, 0, 1, "share", "lost"),
    ]
    activity = [
        (0, "computing", 0.0, 0.1),
        (1, "waiting", 0.0, 0.2),
        (1, "waiting", 0.1, 0.25),
        (1, "down", 0.9, None),
    ]
    events = list(trace_events(shown(make_tiny_run(tmp_path / "run", messages, activity))))
    assert faults(events) == []
    names = [(e["name"], e["pid"], e["tid"], *e["args"].values()) for e in events if e["ph"] == "M"]
    assert names == [
        ("process_name", 0, 3, "node"),
        ("process_sort_index", 0, 3, 0),
        ("thread_name", 0, 3, "computing"),
        ("thread_sort_index", 0, 3, 1),
        ("thread_name", 0, 4, "sending"),
        ("thread_sort_index", 0, 4, 2),
        ("thread_name", 0, 8, "lost"),
        ("thread_sort_index", 0, 8, 6),
        ("process_name", 1, 5, "node"),
        ("process_sort_index", 1, 5, 1),
        ("thread_name", 1, 5, "received"),
        ("thread_sort_index", 1, 5, 3),
        ("thread_name", 1, 6, "waiting"),
        ("thread_sort_index", 1, 6, 4),
        ("thread_name", 1, 7, "down"),
        ("thread_sort_index", 1, 7, 5),
    ]
    model = {"round": 0, "size_bytes": 100, "status": "delivered", "sent_s": 0.1}
    share = model | {"status": "lost"}
    flow = {"name": "model", "cat": "message", "id": 0}
    assert [e for e in events if e["ph"] != "M"] == [
        {"ph": "X", "name": "computing", "pid": 0, "tid": 3, "ts": 0, "dur": 100_000},
        {"ph": "X", "name": "waiting", "pid": 1, "tid": 6, "ts": 0, "dur": 250_000, "args": {"tasks": 2}},
        {"ph": "X", "name": "model", "pid": 0, "tid": 4, "ts": 100_000, "dur": 100_000, "args": {"to": 1, **model}},
        {"ph": "s", **flow, "pid": 0, "tid": 4, "ts": 199_999.999},
        {"ph": "X", "name": "share", "pid": 0, "tid": 4, "ts": 200_000, "dur": 100_000, "args": {"to": 1, **share}},
        {"ph": "X", "name": "model", "pid": 1, "tid": 5, "ts": 250_000, "dur": 0, "args": {"from": 0, **model}},
        {"ph": "f", "bp": "e", **flow, "pid": 1, "tid": 5, "ts": 250_000},
        {"ph": "i", "s": "t", "name": "lost", "cat": "message", "pid": 0, "tid": 8, "ts": 300_000,
         "args": {"to": 1, "kind": "share", **share}},
        {"ph": "X", "name": "down", "pid": 1, "tid": 7, "ts": 900_000, "dur": 100_000},
    ]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"fair": True}, {"old": True}, {"nodes": 40, "rounds": 6}])
def test_a_file_is_sound_and_holds_every_message_once(tmp_path: Path, options: dict[str, Any]) -> None:
    run = read_run(make_barrier_run(tmp_path / "run", **options))
    target = write_trace(timeline(run), tmp_path / "out")
    first = target.read_bytes()
    assert first == write_trace(timeline(run), tmp_path / "out").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["trace.json.gz"]
    events = written(target)
    assert faults(events) == []
    count = Counter(run.messages["status"].to_list())
    phases = Counter(e["ph"] for e in events)
    assert phases["s"] == phases["f"] == count["delivered"]
    assert phases["i"] == count["lost"] + count["dropped"]
    assert {e["pid"] for e in events} == set(range(options.get("nodes", 8)))


def test_a_run_with_outages_is_sound(tmp_path: Path) -> None:
    events = list(trace_events(shown(make_run(tmp_path / "run"))))
    assert faults(events) == []
    down = [(e["pid"], e["ts"] / 1e6, e["dur"] / 1e6) for e in events if e["name"] == "down"]
    assert down == [(3, 8.0, 6.5), (4, 22.0, 18.0)]


def test_the_check_finds_what_is_wrong(tmp_path: Path) -> None:
    sound = list(trace_events(shown(make_barrier_run(tmp_path / "run"))))
    first = next(i for i, e in enumerate(sound) if e["ph"] == "X")
    longer = sound[first] | {"dur": sound[first]["dur"] + 1e5}
    tail = next(i for i, e in enumerate(sound) if e["ph"] == "s")
    for damaged, words in (
        ([*sound[:first], longer, *sound[first + 1 :]], "partly overlaps"),
        ([e for e in sound if e["ph"] != "f"], "one end only"),
        ([*sound[: tail + 1], sound[tail], *sound[tail + 1 :]], "has 2 events"),
        ([*sound[:tail], sound[tail] | {"tid": TRACKS["lost"] + 8}, *sound[tail + 1 :]], "no slice under"),
        ([e for e in sound if e["name"] != "thread_name"], "nameless"),
        ([*sound, sound[first]], "back in time"),
    ):
        assert any(words in fault for fault in faults(damaged)), words


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15), st.integers(0, 9)), min_size=1, max_size=25)
)
@settings(max_examples=40, deadline=None)
def test_an_uplink_is_busy_while_something_is_in_it(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[tuple[int, int, int]]
) -> None:
    messages = [
        (sent / 100, (sent + stay) / 100, (sent + stay + trip) / 100, 0, 1, "m", "delivered")
        for sent, stay, trip in drawn
    ]
    path = make_tiny_run(tmp_path_factory.mktemp("run"), messages, [])
    events = list(trace_events(shown(path)))
    assert faults(events) == []
    slices = [(e["ts"], e["ts"] + e["dur"]) for e in events if e["ph"] == "X" and e["pid"] == 0]
    busy = {t for sent, stay, _ in drawn for t in range(sent, sent + stay)}
    covered = [t for start, end in slices for t in range(round(start / 1e4), round(end / 1e4))]
    assert sorted(covered) == sorted(busy)
    assert {round(end / 1e4) for _, end in slices} == {sent + stay for sent, stay, _ in drawn}


def test_a_queue_shows_each_transmission_and_sharing_shows_when_all_have_left(tmp_path: Path) -> None:
    def lengths(name: str, **options: Any) -> set[float]:
        events = trace_events(shown(make_barrier_run(tmp_path / name, **options)))
        return {e["dur"] for e in events if e["ph"] == "X" and e["tid"] == 8 + TRACKS["sending"]}

    one_us = 26_040 * 8 / 10e6 * 1e6
    assert all(length == pytest.approx(one_us) for length in lengths("queue"))
    assert max(lengths("shared", fair=True)) == pytest.approx(4 * one_us)
    names = {e["name"] for e in trace_events(shown(tmp_path / "shared"))}
    assert "4 messages" in names


@given(st.integers(0, 3_999_999_999_999_999))
def test_times_survive_a_reader_that_cuts_off(t_ns: int) -> None:
    from analysis.tables.perfetto import _us

    assert ns(_us(t_ns)) == t_ns == round(_us(t_ns) * 1000)


def test_years_of_virtual_time_do_not_overlap(tmp_path: Path) -> None:
    starts = 3e8 + np.arange(200) * 1.234567e-3
    rows = [(0, "waiting", a, b) for a, b in pairwise(starts.tolist())]
    assert faults(list(trace_events(shown(make_tiny_run(tmp_path / "run", [], rows))))) == []


def test_a_window(tmp_path: Path) -> None:
    run = read_run(make_barrier_run(tmp_path / "run"))
    part = timeline(run, from_s=0.3, until_s=0.6)
    assert (part.intervals["from_ns"].min(), part.intervals["until_ns"].max()) == (300_000_000, 600_000_000)
    over = pl.coalesce("delivered_s", "left_s")
    assert part.messages.height == run.messages.filter((pl.col("sent_s") <= 0.6) & (over >= 0.3)).height
    assert faults(list(trace_events(part))) == []
    assert part.notes == ()
    whole = timeline(run)
    assert whole.until_ns == round(float((run.summary or {})["simulated_s"]) * 1e9)
    assert timeline(run, from_s=0.0).intervals.equals(whole.intervals)


def test_some_nodes(tmp_path: Path) -> None:
    part = shown(make_barrier_run(tmp_path / "run"), nodes=[5, 4, 7])
    assert part.nodes == (4, 5, 7)
    events = list(trace_events(part))
    assert faults(events) == []
    assert {e["pid"] for e in events} == {4, 5, 7}
    pairs = set(arrows(part).select("src", "dst").iter_rows())
    assert pairs == {(4, 5), (5, 4), (4, 7), (7, 4)}
    assert set(never_arrived(part)["src"]) <= {4, 5, 7}


def test_a_big_run_is_shown_from_its_start(tmp_path: Path) -> None:
    run = read_run(make_barrier_run(tmp_path / "run"))
    part = timeline(run, most=50)
    assert part.messages.height == 50
    assert part.until_ns < timeline(run).until_ns
    (note,) = part.notes
    assert note.startswith("shown are the first 50 of 124 messages, until ")
    assert "\n" not in note
    assert faults(list(trace_events(part))) == []
    assert timeline(run, most=50, until_s=2.0).messages.height == 124
    assert (
        timeline(run, most=50, from_s=0.5).messages["sent_ns"].max()
        <= timeline(run, most=50, from_s=0.5).until_ns
    )


def test_an_empty_run_and_one_message_that_is_still_under_way(tmp_path: Path) -> None:
    assert shown(make_tiny_run(tmp_path / "empty", [], [])).messages.is_empty()
    late = [(0.4, None, None, 0, 1, "m", "in-flight"), (0.4, 1.5, None, 0, 1, "m", "in-flight")]
    part = shown(make_tiny_run(tmp_path / "late", late, []))
    (one,) = [e for e in trace_events(part) if e["ph"] == "X"]
    assert (one["name"], one["ts"], one["dur"]) == ("2 messages", 400_000, 600_000)
    for run in ("empty", "late"):
        assert style.save(timeline_figure(shown(tmp_path / run)), tmp_path / "x.png").stat().st_size > 5000


# ---------------------------------------------------------------- the command


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], list[str]]:
    with pytest.raises(SystemExit) as left:
        cli.main(["trace", *arguments])
    told = capsys.readouterr()
    assert isinstance(left.value.code, int)
    return left.value.code, told.out.splitlines(), told.err.splitlines()


def test_the_command_writes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_barrier_run(tmp_path / "run")
    code, out, err = call(capsys, str(path))
    assert (code, out, err) == (0, [str(path / "trace.json.gz"), str(path / "plots" / "timeline.png")], [])
    elsewhere = tmp_path / "a" / "b"
    options = ("--from", "300 ms", "--until", "0.6s", "--nodes", "4,5", "--out", str(elsewhere))
    code, out, _ = call(capsys, str(path), *options)
    assert (code, out) == (0, [str(elsewhere / "trace.json.gz"), str(elsewhere / "plots" / "timeline.png")])
    assert {e["pid"] for e in written(elsewhere / "trace.json.gz")} == {4, 5}


def test_an_older_run_is_shown_and_what_is_missing_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = call(capsys, str(make_barrier_run(tmp_path / "run", old=True)))
    assert (code, len(out), len(err)) == (0, 2, 2)
    assert "when messages left the uplink" in err[0]
    assert "what nodes did" in err[1]
    events = written(tmp_path / "run" / "trace.json.gz")
    assert [(e["pid"], e["ts"], e["dur"]) for e in events if e["name"] == "down"] == [(5, 550_000, 380_000)]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--from", "2"),
        ("--from", "-1s"),
        ("--until", "0s"),
        ("--nodes", "a"),
        ("--nodes", "8"),
        ("--nodes", ""),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    code, out, err = call(capsys, str(make_barrier_run(tmp_path / "run")), *arguments)
    assert (code, out, len(err)) == (2, [], 1)


@pytest.mark.parametrize("table", ["messages", "activity"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "columns", "out"])
def test_bad_folders_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, damage: str
) -> None:
    path = make_barrier_run(tmp_path / "run")
    file = path / f"{table}.parquet"
    extra: tuple[str, ...] = ()
    if damage == "out":
        extra = ("--out", str(file))
    elif damage == "columns":
        pl.DataFrame({"t_s": [1.0]}).write_parquet(file)
    elif damage == "truncated":
        file.write_bytes(file.read_bytes()[:100])
    else:
        file.unlink()
    code, _, err = call(capsys, str(path), *extra)
    assert len(err) == 1
    assert code == (0 if (table, damage) == ("activity", "missing") else 2)
