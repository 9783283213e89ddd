"""Fair sharing: known completion times, and the rates of an oracle that fills all capacities at once."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.core.clock import Calendar
from simulator.network.fair_uplinks import FairUplinks
from simulator.network.max_min import MaxMinSharing

S = 1_000_000_000
Link = tuple[int, int]


def filled(
    flows: Sequence[Link], up: Sequence[float], down: Sequence[float], caps: Mapping[Link, float]
) -> list[float]:
    """Max–min rates by progressive filling: all grow together, those at a full capacity stop."""
    through: dict[Any, list[int]] = {}
    room: dict[Any, float] = {}
    for i, (src, dst) in enumerate(flows):
        for name, bps in (
            (("u", src), up[src]),
            (("d", dst), down[dst]),
            ((src, dst), caps.get((src, dst), inf)),
        ):
            through.setdefault(name, []).append(i)
            room[name] = bps
    rates: dict[int, float] = {}
    while len(rates) < len(flows):
        growing = {name: [i for i in members if i not in rates] for name, members in through.items()}
        share = {name: room[name] / len(members) for name, members in growing.items() if members}
        least = min(share.values())
        full = {i for name, value in share.items() if value <= least * (1 + 1e-12) for i in growing[name]}
        for name in room:
            room[name] -= least * len(full.intersection(growing[name]))
        rates |= dict.fromkeys(full, least)
    return [rates[i] for i in range(len(flows))]


@given(st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_rates_are_max_min_fair(seed: int) -> None:
    """Relative tolerance 1e-9, a thousand times what levels are held to."""
    draw = random.Random(seed)
    nodes = draw.randint(2, 7)
    up, down = ([draw.choice([1e6, 2e6, draw.uniform(1e5, 1e7)]) for _ in range(nodes)] for _ in range(2))
    pairs = [(i, j) for i in range(nodes) for j in range(nodes) if i != j]
    caps = {pair: draw.uniform(1e5, 3e6) for pair in pairs if draw.random() < 0.3}
    env = Calendar()
    alive: dict[int, Link] = {}
    network = MaxMinSharing(env, up, down, caps, lambda token, dst: alive.pop(token) and None)
    for number in range(draw.randint(1, 25)):
        src, dst = draw.choice(pairs)
        alive[number] = (src, dst)
        network.start(src, (dst,), draw.choice([1e6, draw.uniform(1e5, 5e6)]), number)
        if draw.random() < 0.1:
            for token, _ in network.stop(src):
                del alive[token]
        env.run(until=env.now_ns + draw.choice([1, draw.randint(1, S)]))
        rates = network.rates()
        assert rates.keys() == alive.keys()
        expected = filled(list(alive.values()), up, down, caps)
        assert [rates[i] for i in alive] == pytest.approx(expected, rel=1e-9)


def ends(
    network: str, starts: Sequence[tuple[float, int, int, float]], up: Sequence[float], **rates: Any
) -> list[int]:
    """When flows (start, src, dst, bits) end, in nanoseconds, in the order given."""
    env = Calendar()
    ended: dict[int, int] = {}

    def left(token: int, dst: int = -1) -> None:
        ended[token] = env.now_ns

    down = rates.get("down", [inf] * len(up))
    shared = (
        FairUplinks(env, up, left)
        if network == "uplinks"
        else MaxMinSharing(env, up, down, rates.get("caps", inf), left)
    )
    for number, (start_s, src, dst, bits) in enumerate(starts):
        act = env.timeout(round(start_s * S))
        act.callbacks.append(lambda _, n=number, s=src, d=dst, b=bits: shared.start(s, (d,), b, n))
    env.run()
    return [ended[i] for i in range(len(starts))]


@pytest.mark.parametrize("network", ["uplinks", "everything"])
def test_flows_of_1_2_3_bits_end_after_3_5_6(network: str) -> None:
    """Three flows at 1/3 until the first ends, two at 1/2 until the second ends, the last alone."""
    assert ends(network, [(0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 1, 3)], [1.0, 1.0]) == [3 * S, 5 * S, 6 * S]


@pytest.mark.parametrize("network", ["uplinks", "everything"])
def test_a_flow_that_starts_later_shares_what_is_left(network: str) -> None:
    """4 bits at 0 s and 1 bit at 2 s, one bit per second: 2 bits alone, then both at 1/2 for two seconds, 1 left."""
    assert ends(network, [(0, 0, 1, 4), (2, 0, 1, 1)], [1.0, 1.0]) == [5 * S, 4 * S]


def test_a_full_downlink_leaves_its_share_of_the_uplink_to_others() -> None:
    """0 → 2, 1 → 2 and 0 → 3: the downlink of 2 grants 1/2 each, so 0 → 3 gets the other 3/2 of its uplink."""
    starts = [(0.0, 0, 2, 1.0), (0.0, 1, 2, 1.0), (0.0, 0, 3, 3.0)]
    assert ends("all", starts, [2.0, 2.0, 1, 1], down=[inf, inf, 1.0, inf]) == [2 * S, 2 * S, 2 * S]


def test_messages_of_a_link_share_its_capacity() -> None:
    starts = [(0.0, 0, 1, 1.0), (0.0, 0, 1, 1.0), (0.0, 0, 2, 3.0)]
    assert ends("all", starts, [10.0, 1, 1], caps={(0, 1): 1.0, (0, 2): 3.0}) == [2 * S, 2 * S, S]


@given(
    st.lists(
        st.tuples(st.integers(0, 3000), st.integers(0, 2), st.integers(1, 10**7)), min_size=1, max_size=30
    )
)
@settings(max_examples=60, deadline=None)
def test_uplinks_alone_agree_with_the_network_without_other_limits(flows: list[tuple[int, int, int]]) -> None:
    """To 2 ns: each rounds its own sums."""
    starts = [(at_ms / 1000, src, 3, float(bits)) for at_ms, src, bits in flows]
    one, other = (ends(network, starts, [1e6, 3e6, 1e7, 1.0]) for network in ("uplinks", "all"))
    assert all(abs(a - b) <= 2 for a, b in zip(one, other, strict=True))


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 10**6)), min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_an_uplink_is_never_idle_while_there_is_something_to_send(flows: list[tuple[int, int]]) -> None:
    """The last bit leaves when a plain queue would have sent its last bit, to a nanosecond a flow."""
    starts = sorted((at_ms / 1000, 0, 1, float(bits)) for at_ms, bits in flows)
    free_s = 0.0
    for at_s, _, _, bits in starts:
        free_s = max(free_s, at_s) + bits / 1e6
    assert abs(max(ends("uplinks", starts, [1e6, 1.0])) - free_s * S) <= len(flows)


@pytest.mark.parametrize("network", ["uplinks", "everything"])
def test_a_crash_frees_nothing_for_the_dead_and_everything_for_those_who_share_a_receiver(
    network: str,
) -> None:
    env = Calendar()
    ended: list[tuple[int, int]] = []
    if network == "uplinks":
        uplinks = FairUplinks(env, [1.0, 1.0], lambda token: ended.append((token, env.now_ns)))
        uplinks.start(0, (1,), 5, 1)
        env.run(until=S)
        assert uplinks.stop(0) == [1]
        uplinks.start(0, (1,), 2, 2)
        env.run()
        assert ended == [(2, 3 * S)]
        return
    both = MaxMinSharing(
        env, [1.0, 1.0, 1], [1, 1, 1.0], inf, lambda token, dst: ended.append((token, env.now_ns))
    )
    both.start(0, (2,), 5, 0)
    both.start(1, (2,), 2, 1)
    env.run(until=2 * S)
    assert both.stop(0) == [(0, 2)]
    env.run()
    assert ended == [(1, 3 * S)]


def test_an_infinite_uplink_takes_no_time() -> None:
    left: list[int] = []
    FairUplinks(Calendar(), [inf], left.append).start(0, (1,), 100, 7)
    assert left == [7]
