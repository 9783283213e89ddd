"""The two networks give the same events for what both can do; then each station, to the nanosecond."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.adversary import Adversary
from simulator.faults import Cut, Fault, Hold, Outage
from simulator.latency import constant, lognormal
from simulator.latency import given as base_of
from simulator.links import LinkModel, Reordering
from simulator.tampering import drop, only
from simulator.taps import Wiretap
from tests.networks import LATER_S, NEVER_CUT, Played, chatter, complete, play, same

RING4: list[tuple[int, ...]] = [(1, 3), (0, 2), (1, 3), (0, 2)]

# ---------------------------------------------------------------- both networks alike

WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "a cut that never comes": lambda: {"faults": [NEVER_CUT]},
    "a hold that never comes": lambda: {"faults": [Hold(frozenset({(0, 1)}), LATER_S)]},
    "a tap on a link": lambda: {"adversary": Adversary(wires=Wiretap(frozenset({(0, 1)})))},
    "a tap on all links": lambda: {"adversary": Adversary(wires=Wiretap())},
    "a tamper that waits": lambda: {"adversary": Adversary(tamper={0: only(drop(), from_s=LATER_S)})},
    "an attacker that waits": lambda: {
        "adversary": Adversary(on_links={(0, 1): only(drop(), from_s=LATER_S)})
    },
}
"""Worlds that differ from Direct's only in how the events come about."""


def outages(grain_s: float) -> st.SearchStrategy[list[Fault]]:
    """Up to three, of different nodes; on a grid if there is one."""

    def times(last: int) -> st.SearchStrategy[float]:
        steps = st.integers(0, last)
        return steps.map(lambda i: i * grain_s) if grain_s else steps.map(lambda i: i * 0.0037)

    one = st.tuples(st.integers(0, 3), times(100), st.one_of(st.none(), times(40)))
    return st.lists(one, max_size=3, unique_by=lambda o: o[0]).map(
        lambda found: [
            Outage(node, down, None if length is None else down + length + (grain_s or 0.001))
            for node, down, length in found
        ]
    )


LINKS = {
    "slow uplinks": LinkModel(lognormal(0.03, 0.6), 1e6),
    "some slow": LinkModel(lognormal(0.03, 0.6), (2e5, 1e6, 1e7, 1e15), loss=0.2, header_bytes=40),
    "no uplinks": LinkModel(lognormal(0.03, 0.6), loss=0.1, link_loss={(0, 1): 0.5, (1, 0): 0.0}),
    "detours": LinkModel(
        lognormal(0.01, 0.3),
        1e6,
        base_s=base_of({(0, 1): 0.05, (2, 1): 0.01}),
        reordering=Reordering(0.4, 0.1),
    ),
}
ON_A_GRID = LinkModel(constant(0.01), 8e5, loss=0.1, reordering=Reordering(0.3, 0.02))
"""Messages of 0, 500, 1000… bytes take multiples of 5 ms, so that everything happens at the same instants."""


def alike(name: str, link: LinkModel, faults: list[Fault], grain_s: float, **options: Any) -> None:
    program = partial(chatter, grain_s=grain_s)
    plain = play(program, link, RING4, stations=False, faults=faults, **options)
    way = WAYS[name]()
    way["faults"] = [*faults, *way.get("faults", ())]
    same(plain, play(program, link, RING4, **way, **options))


@settings(max_examples=60, deadline=None)
@given(
    way=st.sampled_from(sorted(WAYS)),
    link=st.sampled_from(sorted(LINKS)),
    faults=outages(0.0),
    seed=st.integers(0, 1000),
    until_s=st.one_of(st.none(), st.floats(0, 1)),
)
def test_both_networks_give_the_same_events(
    way: str, link: str, faults: list[Fault], seed: int, until_s: float | None
) -> None:
    alike(way, LINKS[link], faults, 0.0, seed=seed, until_s=until_s)


@settings(max_examples=60, deadline=None)
@given(
    way=st.sampled_from(sorted(WAYS)),
    faults=outages(0.005),
    seed=st.integers(0, 1000),
    until=st.one_of(st.none(), st.integers(0, 100)),
)
def test_both_networks_give_the_same_events_where_many_coincide(
    way: str, faults: list[Fault], seed: int, until: int | None
) -> None:
    until_s = None if until is None else until * 0.005
    alike(way, ON_A_GRID, faults, 0.005, seed=seed, until_s=until_s)
