"""Sessions and availability traces: reproducible, independent, in order, read with care."""

from __future__ import annotations

from itertools import islice, pairwise
from math import inf
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.faults.churn import availability, availability_trace, downtimes, session_times, weibull
from simulator.faults.plan import Arrival, Churn, Outage, check, region_outage
from simulator.streams import Law

HOUR = Churn(range(20), weibull(3600.0, 0.5), weibull(600.0))


def fixed(value: float) -> Law:
    return lambda u: np.full(np.shape(u), value)


def heavy(tail: float) -> Law:
    return lambda u: (1 - u) ** (-1 / tail)


def first(sessions: Churn, node: int, seed: int = 1, count: int = 50) -> list[tuple[float, float]]:
    return list(islice(session_times(sessions, node, seed), count))


@given(
    seed=st.integers(0, 10_000),
    shape=st.floats(0.3, 3.0),
    stationary=st.booleans(),
    from_s=st.floats(0, 1e6),
)
@settings(max_examples=50, deadline=None)
def test_a_node_is_up_and_down_in_turn(seed: int, shape: float, stationary: bool, from_s: float) -> None:
    sessions = Churn([4], weibull(100, shape), weibull(10, shape), stationary=stationary, from_s=from_s)
    flat = [t for pair in first(sessions, 4, seed) for t in pair]
    assert len(flat) == 100
    assert flat[0] >= to_ns(from_s) / 1e9
    assert all(before < after for before, after in pairwise(flat))
    assert flat == [t for pair in first(sessions, 4, seed) for t in pair]


def test_known_lengths_give_known_times() -> None:
    sessions = Churn([0], fixed(3.0), fixed(1.5), from_s=2.0)
    assert first(sessions, 0, count=3) == [(5.0, 6.5), (9.5, 11.0), (14.0, 15.5)]


def test_a_nodes_sessions_are_nobody_elses_business() -> None:
    alone = Churn([7], HOUR.up, HOUR.down)
    assert first(alone, 7) == first(HOUR, 7)
    assert first(HOUR, 7) != first(HOUR, 8)
    assert first(HOUR, 7) != first(HOUR, 7, seed=2)
    interleaved = [session_times(HOUR, node, 1) for node in range(20)]
    rounds = [[next(times) for times in interleaved] for _ in range(50)]
    assert [row[7] for row in rounds] == first(HOUR, 7)


def test_a_site_comes_and_goes_as_one_and_apart_from_other_sites() -> None:
    here, there = (Churn(nodes, HOUR.up, HOUR.down, together=True) for nodes in ([3, 1, 2], [4, 5]))
    assert first(here, 1) == first(here, 2) == first(here, 3)
    assert first(there, 4) == first(there, 5) != first(here, 1)


def test_a_stationary_start_changes_the_first_change_only() -> None:
    """Lengths after the first change are those of the fresh start, so that both are paired."""
    fresh = first(HOUR, 0)
    started = first(Churn([0], HOUR.up, HOUR.down, stationary=True), 0)
    lengths = [[b - a for a, b in pairwise(t for pair in times for t in pair)] for times in (fresh, started)]
    assert lengths[0][1:] == pytest.approx(lengths[1][1:])


def test_times_that_never_end_end_the_sequence() -> None:
    assert first(Churn([0], fixed(inf), fixed(1.0)), 0) == []
    assert first(Churn([0], fixed(2.0), fixed(inf)), 0) == [(2.0, inf)]


def test_a_length_is_at_least_a_nanosecond() -> None:
    times = first(Churn([0], fixed(1e-12), fixed(1e-12)), 0, count=2)
    assert times == [(1e-9, 2e-9), (3e-9, 4e-9)]


@pytest.mark.parametrize("tail", [0.01, 0.8, 1.0])
def test_equilibrium_needs_a_mean(tail: float) -> None:
    endless = Churn([0], heavy(tail), weibull(1.0), stationary=True)
    with pytest.raises(ConfigurationError, match="infinite mean"):
        session_times(endless, 0, 1)
    session_times(Churn([0], heavy(tail), weibull(1.0)), 0, 1)


# ---------------------------------------------------------------- outages and sessions together


def test_a_region_that_is_down_keeps_its_churning_nodes_down() -> None:
    sessions = Churn([0, 1], fixed(4.0), fixed(2.0), keeps_disk=True)  # down in [4, 6), [10, 12), [16, 18)
    faults = [sessions, *region_outage([0, 2], 5.0, 11.0, keeps_disk=False)]
    check(faults, 3)
    plans = downtimes(faults, 1)
    assert list(islice(plans[0], 2)) == [Outage(0, 4.0, 12.0, False), Outage(0, 16.0, 18.0)]
    assert list(islice(plans[1], 2)) == [Outage(1, 4.0, 6.0), Outage(1, 10.0, 12.0)]
    assert list(plans[2]) == [Outage(2, 5.0, 11.0, False)]


def test_a_node_that_never_returns_has_no_more_sessions() -> None:
    plans = downtimes([Outage(0, 5.0), Churn([0], fixed(4.0), fixed(2.0))], 1)
    assert list(plans[0]) == [Outage(0, 4.0)]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=8))
def test_joined_outages_cover_what_any_of_them_covers(spans: list[tuple[int, int]]) -> None:
    outages = [Outage(0, at, at + length) for at, length in spans]
    joined = list(downtimes(outages, 1).get(0, iter(())))
    for t in range(40):
        covered = any(at <= t < at + length for at, length in spans)
        assert covered == any(o.down_s <= t < (o.up_s or inf) for o in joined)
    assert all((a.up_s or inf) < b.down_s for a, b in pairwise(joined))


# ---------------------------------------------------------------- traces


def trace(folder: Path, text: str) -> Path:
    file = folder / "trace.csv"
    file.write_text(text)
    return file


def test_a_trace_becomes_arrivals_and_outages(tmp_path: Path) -> None:
    file = trace(
        tmp_path,
        "node, up_s, down_s\n3,20,30.5\n3,0,10\n\n1,5,\n4,0,7\n4,7,9\n0,0,\n",
    )
    plan = availability_trace(file, 5, keeps_disk=False)
    assert plan == [
        Arrival(1, 5.0),
        Outage(3, 10.0, 20.0, False),
        Outage(3, 30.5, None, False),
        Outage(4, 9.0, None, False),
    ]
    check(plan, 5)


def test_columns_may_stand_in_any_order(tmp_path: Path) -> None:
    assert availability_trace(trace(tmp_path, "\ufeffup_s,node,down_s\n2,1,\n")) == [Arrival(1, 2.0)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "FILE:1: the columns are node, up_s, down_s, not none"),
        ("node,up,down\n", "FILE:1: the columns are node, up_s, down_s, not node, up, down"),
        ("node,up_s,down_s\n0,1\n", "FILE:2: 2 cells, but 3 columns"),
        ("node,up_s,down_s\n0,1,2\nx,1,2\n", "FILE:3: node is a number from 0, not 'x'"),
        ("node,up_s,down_s\n-1,1,2\n", "FILE:2: node is a number from 0, not '-1'"),
        ("node,up_s,down_s\n9,1,2\n", "FILE:2: node 9, but nodes are 0..4"),
        ("node,up_s,down_s\n0,,2\n", "FILE:2: up_s is seconds from 0, not ''"),
        ("node,up_s,down_s\n0,nan,2\n", "FILE:2: up_s is seconds from 0, not 'nan'"),
        ("node,up_s,down_s\n0,1,soon\n", "FILE:2: down_s is seconds from 0, not 'soon'"),
        ("node,up_s,down_s\n0,3,2\n", "FILE:2: down_s 2.0 is not later than up_s 3.0"),
        ("node,up_s,down_s\n0,5,9\n\n0,0,6\n", "FILE:2: node 0 is there already since line 4"),
        ("node,up_s,down_s\n0,0,\n0,5,9\n", "FILE:3: node 0 is there already since line 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, told: str) -> None:
    file = trace(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        availability_trace(file, 5)
    assert (str(caught.value), caught.value.key) == (told.replace("FILE", str(file)), "fault")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        availability_trace(tmp_path / "none.csv")
    with pytest.raises(ConfigurationError, match="no readable CSV"):
        availability_trace(tmp_path)
    (tmp_path / "raw.csv").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ConfigurationError, match="no readable CSV"):
        availability_trace(tmp_path / "raw.csv")


def test_availability_is_the_share_of_the_means() -> None:
    assert availability(HOUR) == pytest.approx(3600 / 4200, rel=1e-4)
    assert availability(Churn([0], fixed(3.0), fixed(1.0))) == pytest.approx(0.75, rel=1e-6)
