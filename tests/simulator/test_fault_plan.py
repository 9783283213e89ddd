"""Plans of faults: what they mean at an instant, and which are refused."""

from __future__ import annotations

import pickle
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.errors import ConfigurationError
from simulator.faults.plan import (
    Arrival,
    Churn,
    Cut,
    Fault,
    Hold,
    Outage,
    Slow,
    check,
    leaves_ns,
    partition,
    region_outage,
    severed,
)
from simulator.streams import Law


def hours(value: float) -> Law:
    return lambda u: np.full(np.shape(u), float(value))


@pytest.mark.parametrize(
    ("faults", "told"),
    [
        ([Outage(4, 1.0)], "outage of node 4, but nodes are 0..3"),
        ([Outage(-1, 1.0)], "outage of node -1, but nodes are 0..3"),
        ([Outage(0, -1.0)], "outage of node 0 at -1.0 s; times are finite and not before 0"),
        ([Outage(0, nan)], "outage of node 0 at nan s; times are finite and not before 0"),
        ([Outage(0, 1.0, inf)], "outage of node 0 at inf s; times are finite and not before 0"),
        ([Outage(1, 2.0, 2.0)], "node 1 would return before it is down: 2.0 s <= 2.0 s"),
        (
            [Outage(1, 2.0, 5.0), Outage(0, 2.0, 5.0), Outage(1, 4.0, 7.0)],
            "node 1 goes down at 4.0 s, but only returns at 5.0 s",
        ),
        (
            [Outage(1, 2.0, 5.0), Outage(1, 5.0, 7.0)],
            "node 1 goes down at 5.0 s, but only returns at 5.0 s",
        ),
        ([Outage(1, 9.0), Outage(1, 2.0)], "node 1 goes down at 9.0 s, but never returns after 2.0 s"),
        ([Arrival(4, 1.0)], "arrival of node 4, but nodes are 0..3"),
        ([Arrival(2, -0.5)], "arrival of node 2 at -0.5 s; times are finite and not before 0"),
        (
            [Arrival(2, 1.0), Arrival(2, 3.0)],
            "node 2 arrives twice; later returns are the ends of outages",
        ),
        ([Outage(2, 1.0, 2.0), Arrival(2, 3.0)], "node 2 arrives at 3.0 s, after its outage at 1.0 s"),
        ([Cut(frozenset({(0, 4)}))], "cut of node 4, but nodes are 0..3"),
        ([Cut(frozenset({(1, 1)}))], "cut of the link from node 1 to itself; a link joins two nodes"),
        (
            [Hold(frozenset({(0, 1)}), 2.0, 1.0)],
            "hold from 2.0 s would end at 1.0 s; the end is later than the beginning",
        ),
        (
            [Cut()],
            "the cut concerns no link; name links, or groups with nodes on each side",
        ),
        (
            [Cut(groups=(frozenset(range(4)),))],
            "the cut concerns no link; name links, or groups with nodes on each side",
        ),
        ([Cut(groups=(frozenset({0, 1}), frozenset({1})))], "node 1 is in two groups of the cut"),
        ([Cut(groups=(frozenset({0}), frozenset()))], "a group of the cut is empty"),
        ([Slow(9, 2.0)], "slow period of node 9, but nodes are 0..3"),
        ([Slow(0, 0.0)], "slow period of node 0: a factor is finite and above 0, not 0.0"),
        ([Slow(0, inf)], "slow period of node 0: a factor is finite and above 0, not inf"),
        (
            [Slow(0, 2.0, 1.0, 1.0)],
            "slow period of node 0 from 1.0 s would end at 1.0 s; the end is later than the beginning",
        ),
        ([Churn([0, 7], hours(1), hours(1))], "sessions of node 7, but nodes are 0..3"),
        ([Churn([], hours(1), hours(1))], "sessions of no nodes; name at least one"),
        ([Churn([1, 1], hours(1), hours(1))], "sessions name a node twice"),
        (
            [Churn([1], hours(1), hours(0))],
            "the law of the down times of sessions gives 0.0 to 0.0 s; times are above 0",
        ),
        (
            [Churn([1], hours(1), hours(1)), Churn([0, 1], hours(2), hours(1))],
            "node 1 is in two sessions of one kind; it would follow both alike",
        ),
        (
            [Arrival(1, 3.0), Churn([1], hours(1), hours(1))],
            "node 1 arrives at 3.0 s, after its sessions at 0.0 s",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(faults: list[Fault], told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check(faults, 4)
    assert (str(caught.value), caught.value.key) == (told, "fault")


def test_what_can_be_passes() -> None:
    check(
        [
            Outage(1, 2.0, 5.0),
            Outage(1, 6.0),
            Outage(0, 2.0, 5.0, keeps_disk=False),
            Arrival(2, 1.0),
            Outage(2, 2.0),
            Cut(frozenset({(0, 1), (1, 0)}), 1.0, 2.0),
            Hold(groups=(frozenset({0}), frozenset({1, 2})), at_s=1.0),
            Slow(3, 5.0, 1.0, 2.0),
            Slow(3, 0.5),
            Churn([0, 3], hours(1), hours(2)),
            Churn([3, 1], hours(1), hours(2), together=True),
        ],
        4,
    )
    check([], 1)


def test_nodes_in_no_group_are_one_more_group() -> None:
    cut = partition([[0, 1], [2, 3]], 1.0, 2.0, 6)
    sides = [0, 0, 1, 1, 2, 2]
    for src in range(6):
        for dst in range(6):
            assert cut.severs(src, dst) == (sides[src] != sides[dst])
    alone = partition([[3]], 1.0, None, 6)
    assert {node for node in range(6) if alone.severs(node, 3)} == {0, 1, 2, 4, 5}
    assert not alone.severs(0, 5)


def test_links_are_cut_in_the_direction_given() -> None:
    cut = Cut(frozenset({(0, 1)}))
    assert cut.severs(0, 1)
    assert not cut.severs(1, 0)


def test_a_partition_of_many_nodes_costs_no_pairs() -> None:
    """100,000 nodes have 10^10 pairs; listing them would take minutes and all memory."""
    cut = partition([range(50_000)], 0.0, None, 100_000)
    assert cut.severs(0, 99_999)
    assert not cut.severs(0, 1)


def test_a_partition_that_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="node 1 is in two groups"):
        partition([[0, 1], [1, 2]], 0.0, None, 4)
    with pytest.raises(ConfigurationError, match="concerns no link"):
        partition([], 0.0, None, 4)


def test_a_message_is_dropped_while_its_link_is_cut() -> None:
    cuts = [Cut(frozenset({(0, 1)}), 1.0, 2.0), partition([[0]], 3.0, None, 3)]
    fates = [severed(cuts, 0, 1, t) for t in (0, 10**9, 2 * 10**9 - 1, 2 * 10**9, 3 * 10**9)]
    assert fates == [False, True, True, False, True]
    assert not severed(cuts, 1, 2, 3 * 10**9)


def test_a_message_waits_until_no_hold_is_in_force() -> None:
    link = frozenset({(0, 1)})
    holds = [Hold(link, 2.0, 4.0), Hold(link, 1.0, 2.5), Hold(link, 9.0)]
    times = (0, 10**9, 2 * 10**9, 4 * 10**9, 9 * 10**9)
    assert [leaves_ns(holds, 0, 1, t) for t in times] == [0, 4 * 10**9, 4 * 10**9, 4 * 10**9, None]
    assert leaves_ns(holds, 1, 0, 10**9) == 10**9


@given(
    spans=st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), max_size=6),
    t_s=st.integers(0, 30),
)
def test_a_held_message_leaves_at_the_first_free_instant(spans: list[tuple[int, int]], t_s: int) -> None:
    holds = [Hold(frozenset({(0, 1)}), at, at + length) for at, length in spans]
    free = next(t for t in range(t_s, 100) if not any(at <= t < at + length for at, length in spans))
    assert leaves_ns(holds, 0, 1, t_s * 10**9) == free * 10**9


def test_a_region_goes_down_at_once_or_spread_out() -> None:
    assert region_outage([2, 0, 2], 1.0, 3.0, keeps_disk=False) == [
        Outage(0, 1.0, 3.0, False),
        Outage(2, 1.0, 3.0, False),
    ]
    spread = region_outage(range(50), 1.0, 3.0, spread_s=0.5, seed=7)
    assert all(1.0 < o.down_s < 1.5 and o.up_s == pytest.approx(o.down_s + 2.0) for o in spread)
    assert len({o.down_s for o in spread}) == 50
    assert region_outage(range(30), 1.0, 3.0, spread_s=0.5, seed=7) == spread[:30]
    assert region_outage(range(50), 1.0, 3.0, spread_s=0.5, seed=8) != spread
    assert all(o.up_s is None for o in region_outage(range(3), 1.0, spread_s=0.5))
    check(spread, 50)


def test_plans_are_values() -> None:
    cut = partition([[0, 1]], 1.0, 2.0, 4)
    assert cut.severs(0, 2)
    assert pickle.loads(pickle.dumps(cut)) == cut == partition([[1, 0]], 1.0, 2.0, 4)
    assert len({cut, partition([[1, 0]], 1.0, 2.0, 4)}) == 1
    assert cut != Hold(groups=cut.groups, at_s=1.0, until_s=2.0)
