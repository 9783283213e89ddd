"""The two networks give the same events for what both can do; then each station, to the nanosecond."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.adversary.coalition import Adversary
from simulator.adversary.tampering import alter, chain, delay, drop, equivocate, only, replay
from simulator.adversary.wiretap import Wiretap
from simulator.contract.node import Message, Node, Program
from simulator.faults.plan import Cut, Fault, Hold, Outage, partition
from simulator.network.latency import constant, lognormal, uniform
from simulator.network.latency import given as base_of
from simulator.network.links import LinkModel, Reordering, Transport
from simulator.network.packet_loss import BurstPath, Bursts
from tests.support.networks import LATER_S, NEVER_CUT, Played, chatter, complete, crowd, play, same

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
WAYS["a listener"] = lambda: {"released": lambda *event: None}
WAYS["a tap at a node"] = lambda: {"adversary": Adversary(frozenset({1}), lambda node, delivery: None)}
"""Worlds that differ from DirectNetwork's only in how the events come about."""


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


PROGRAMS = {"chatter": chatter, "crowd": crowd}


def alike(talk: str, name: str, link: LinkModel, faults: list[Fault], grain_s: float, **options: Any) -> None:
    program = partial(PROGRAMS[talk], grain_s=grain_s)
    plain = play(program, link, RING4, stations=False, faults=faults, **options)
    way = WAYS[name]()
    way["faults"] = [*faults, *way.get("faults", ())]
    same(plain, play(program, link, RING4, **way, **options))


@settings(max_examples=60, deadline=None)
@given(
    talk=st.sampled_from(sorted(PROGRAMS)),
    way=st.sampled_from(sorted(WAYS)),
    link=st.sampled_from(sorted(LINKS)),
    faults=outages(0.0),
    seed=st.integers(0, 1000),
    until_s=st.one_of(st.none(), st.floats(0, 1)),
)
def test_both_networks_give_the_same_events(
    talk: str, way: str, link: str, faults: list[Fault], seed: int, until_s: float | None
) -> None:
    alike(talk, way, LINKS[link], faults, 0.0, seed=seed, until_s=until_s)


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
    alike("chatter", way, ON_A_GRID, faults, 0.005, seed=seed, until_s=until_s)


# ---------------------------------------------------------------- stations, to the nanosecond

MS = 1_000_000
LINK = LinkModel(constant(0.01), 8e5)
"""1000 bytes take 10 ms of uplink, and 10 ms of air."""


def burst(*sends: tuple[float, int, int], src: int = 0, until_s: float = 3.0) -> Program:
    """Node ``src`` sends (when, to whom, bytes), round 0, 1, …; the others report what they receive."""

    async def program(node: Node) -> None:
        if node.id == src and not node.disk:
            node.disk["begun"] = True
            for i, (at_s, dst, size) in enumerate(sends):
                await node.sleep(max(0.0, at_s - node.now_s))
                node.send(dst, Message("bulk", i, None, size))
        while (left_s := until_s - node.now_s) > 0:
            got = await node.receive(timeout_s=left_s)
            if got is not None:
                node.record("heard", value=(got.message.round, round(node.now_s * 1e9)))

    return program


def times(played: Played, name: str = "delivered_ns", kind: str = "bulk") -> list[float]:
    """A column in milliseconds; -1 stays what it is."""
    return [t if t < 0 else t / MS for t in (row[name] for row in played.of(kind))]


def statuses(played: Played, kind: str = "bulk") -> list[str]:
    return [row["status"] for row in played.of(kind)]


THREE = burst((0, 1, 1000), (0, 1, 1000), (0, 1, 1000))


def test_a_cut_drops_what_would_leave_meanwhile_and_lets_arrive_what_is_under_way() -> None:
    """Messages leave at 10, 20 and 30 ms; the first is in the air when the link is cut from 15 to 25 ms."""
    played = play(THREE, LINK, faults=[Cut(frozenset({(0, 1)}), 0.015, 0.025)])
    assert statuses(played) == ["delivered", "dropped", "delivered"]
    assert times(played) == [20, -1, 40]
    assert times(played, "left_ns") == [10, -1, 30]


@pytest.mark.parametrize(("at_s", "until_s", "through"), [(0.01, 0.02, [0, 1, 1]), (0.011, 0.03, [1, 0, 1])])
def test_a_cut_holds_its_beginning_and_not_its_end(at_s: float, until_s: float, through: list[int]) -> None:
    played = play(THREE, LINK, faults=[Cut(frozenset({(0, 1)}), at_s, until_s)])
    assert [int(status == "delivered") for status in statuses(played)] == through


def test_a_cut_link_has_another_direction() -> None:
    played = play(burst((0, 0, 1000), src=1), LINK, faults=[Cut(frozenset({(0, 1)}))])
    assert statuses(played) == ["delivered"]


def test_a_partition_heals() -> None:
    async def program(node: Node) -> None:
        for r in range(4):
            node.multicast(node.neighbors, Message("bulk", r, None, 0))
            got = await node.gather("bulk", r, node.neighbors, timeout_s=0.1)
            node.record("met", value=tuple(sorted(got)))
            await node.sleep(0.1 * (r + 1) - node.now_s)

    split = partition([[0, 1]], 0.1, 0.25, 4)
    played = play(program, LinkModel(constant(0.01)), complete(4), faults=[split])
    assert played.values("met", 0) == [(1, 2, 3), (1,), (1,), (1, 2, 3)]
    assert played.values("met", 3) == [(0, 1, 2), (2,), (2,), (0, 1, 2)]


def test_what_is_held_leaves_in_order_when_the_hold_is_over() -> None:
    held = [Hold(frozenset({(0, 1)}), 0.0, 0.025), Hold(frozenset({(0, 1)}), 0.02, 0.0275)]
    played = play(THREE, LINK, faults=held)
    assert times(played, "left_ns") == [27.5, 27.5, 30]
    assert times(played) == [37.5, 37.5, 40]
    assert [value[0] for value in played.values("heard")] == [0, 1, 2]


def test_what_is_held_for_ever_stays_in_flight_unless_its_sender_goes_down() -> None:
    for_ever = Hold(frozenset({(0, 1)}))
    assert statuses(play(THREE, LINK, faults=[for_ever])) == ["in-flight"] * 3
    crash = Outage(0, 0.025, 0.5)
    played = play(THREE, LINK, faults=[for_ever, crash])
    assert statuses(played) == ["dropped"] * 3
    assert times(played, "left_ns") == [-1, -1, -1]


def test_a_hold_does_not_keep_the_uplink_from_others() -> None:
    program = burst((0, 1, 1000), (0, 2, 1000))
    played = play(program, LINK, complete(3), faults=[Hold(frozenset({(0, 1)}), 0, 0.1)])
    assert times(played) == [110, 30]


def test_a_link_has_a_queue_of_its_own() -> None:
    """Two links of 10 ms uplink each and 25 ms of link for the first: they do not wait for each other."""
    link = LinkModel(constant(0.01), 8e5, link_bps={(0, 1): 3.2e5})
    played = play(burst(*[(0, dst, 1000) for dst in (1, 2, 1, 2)]), link, complete(3))
    assert times(played, "left_ns") == [10, 20, 30, 40]
    assert times(played) == [10 + 25 + 10, 30, 35 + 25 + 10, 50]


def test_a_downlink_takes_one_message_after_another_in_order_of_arrival() -> None:
    """At node 2, 1000 bytes take 40 ms: from 20 ms (node 0's, by its number), and 1500 ns per 1000 rounded once."""
    neighbors = complete(3)

    async def program(node: Node) -> None:
        if node.id < 2:
            node.send(2, Message("bulk", node.id, None, 1000))
            await node.sleep(0.021)
            node.send(2, Message("bulk", node.id, None, 1))
        await node.sleep(1)

    played = play(program, LinkModel(constant(0.01), 8e5, downlink_bps=(1e9, 1e9, 2e5)), neighbors)
    assert times(played) == [60, 100, 100.04, 100.08]
    assert times(played, "left_ns") == [10, 10, 21.01, 21.01]
    fine = play(burst((0, 1, 1), (0, 1, 1)), LinkModel(constant(0.01), downlink_bps=3e9))
    assert [row["delivered_ns"] for row in fine.of("bulk")] == [
        10_000_003,
        10_000_006,
    ]  # 8/3 ns each, rounded


def test_what_waits_in_the_downlink_of_a_node_that_goes_down_is_dropped() -> None:
    link = LinkModel(constant(0.01), 8e5, downlink_bps=2e5)
    played = play(THREE, link, faults=[Outage(1, 0.07, 0.13)])
    assert statuses(played) == ["delivered", "dropped", "delivered"]
    assert times(played) == [60, -1, 140]


def test_a_second_copy_has_a_row_and_a_delay_of_its_own_and_takes_no_uplink() -> None:
    link = LinkModel(uniform(0.01, 0.05), 8e5, duplication=1.0, header_bytes=10, link_bps=8e5)
    played = play(THREE, link)
    rows = played.of("bulk")
    assert [row["copy"] for row in rows] == [False] * 3 + [True] * 3
    originals, copies = rows[:3], sorted(rows[3:], key=lambda row: row["round"])
    for original, copy in zip(originals, copies, strict=True):
        assert [copy[c] for c in ("sent_ns", "left_ns")] == [original[c] for c in ("sent_ns", "left_ns")]
        assert copy["delivered_ns"] != original["delivered_ns"]
        assert copy["status"] == original["status"] == "delivered"
    assert played.kernel.log.bytes_total == 3 * 1010
    assert sorted(r for r, _ in played.values("heard")) == [0, 0, 1, 1, 2, 2]
    assert sorted(t for _, t in played.values("heard")) == sorted(row["delivered_ns"] for row in rows)
    single = play(THREE, replace(link, duplication=0.0))
    assert times(single) == [row["delivered_ns"] / MS for row in originals]


def test_a_share_of_the_messages_is_copied() -> None:
    """4000 messages at 0.3: outside 1200 ± 160 with probability below 1e-6 (5.5 standard deviations)."""
    played = play(burst(*[(0, 1, 1)] * 4000), LinkModel(constant(0.01), duplication=0.3))
    assert abs(int(played.columns["copy"].sum()) - 1200) < 160


def test_a_detour_lets_later_messages_overtake() -> None:
    link = LinkModel(constant(0.01), 8e5, reordering=Reordering(0.5, 0.1))
    played = play(burst(*[(0, 1, 1000)] * 20), link)
    left = times(played, "left_ns")
    extra = {round(t - from_ms) for t, from_ms in zip(times(played), left, strict=True)}
    assert extra == {10, 110}
    heard = [r for r, _ in played.values("heard")]
    assert heard != sorted(heard)
    assert sorted(heard) == list(range(20))


def test_bursts_lose_what_leaves_in_them() -> None:
    bursts = Bursts(0.3, 0.1)
    played = play(burst(*[(i / 100, 1, 1) for i in range(250)]), LinkModel(constant(0.01), bursts=bursts))
    path = BurstPath(bursts, 1, 0, 1)
    expected = ["lost" if path.loss_at(i * 10 * MS) else "delivered" for i in range(250)]
    assert statuses(played) == expected
    assert len(set(expected)) == 2


# ---------------------------------------------------------------- a reliable transport

STUBBORN = Transport(timeout_s=0.05, backoff=3.0, attempts=4)


def reliable(transport: Transport = STUBBORN, **options: Any) -> LinkModel:
    return LinkModel(constant(0.01), 8e5, transport=transport, **options)


def test_lost_messages_are_sent_again_after_time_outs_that_grow() -> None:
    """The last bit leaves at 10 ms; time-outs of 50, 150, 450 ms and 10 ms of uplink for each attempt."""
    played = play(burst((0, 1, 1000)), reliable(loss=1.0))
    assert statuses(played) == ["expired"]
    assert (times(played), times(played, "left_ns")) == ([-1], [10])
    assert [row["attempts"] for row in played.of("bulk")] == [4]
    assert played.kernel.log.bytes_total == 4000
    wires = Wiretap()
    play(burst((0, 1, 1000)), reliable(loss=1.0), adversary=Adversary(wires=wires))
    assert [row.left_s for row in wires.rows()] == [0.01, 0.07, 0.23, 0.69]
    assert all(row.arrived_s is None for row in wires.rows())


def test_a_transport_gets_past_a_cut() -> None:
    played = play(burst((0, 1, 1000)), reliable(), faults=[Cut(frozenset({(0, 1)}), 0.0, 0.1)])
    assert statuses(played) == ["delivered"]
    assert times(played) == [240]  # tried at 10 and 70 ms, and through at 230
    assert times(played, "left_ns") == [230]
    assert played.of("bulk")[0]["attempts"] == 3


def test_messages_behind_a_hole_wait_and_go_on_when_it_is_filled_or_given_up() -> None:
    cut = Cut(frozenset({(0, 1)}), 0.0, 0.015)
    filled = play(THREE, reliable(), faults=[cut])
    assert times(filled) == [80, 80, 80]  # the first goes again at 60 and leaves at 70 ms
    assert [r for r, _ in filled.values("heard")] == [0, 1, 2]
    unordered = play(THREE, reliable(replace(STUBBORN, ordered=False)), faults=[cut])
    assert times(unordered) == [80, 30, 40]
    given_up = play(THREE, reliable(replace(STUBBORN, attempts=1)), faults=[cut])
    assert statuses(given_up) == ["expired", "delivered", "delivered"]
    assert times(given_up) == [-1, 30, 40]
    late = play(THREE, reliable(replace(STUBBORN, attempts=2)), faults=[Cut(frozenset({(0, 1)}), 0.0, 0.085)])
    assert statuses(late) == ["expired", "expired", "delivered"]


def test_a_sender_that_goes_down_forgets_what_it_would_send_again() -> None:
    cut = Cut(frozenset({(0, 1)}), 0.0, 0.015)
    played = play(THREE, reliable(), faults=[cut, Outage(0, 0.05, 0.055)])
    assert statuses(played) == ["dropped", "delivered", "delivered"]
    assert times(played) == [-1, 50, 50]  # nothing comes any more that the others would have to wait for


def test_a_sender_that_was_down_does_not_send_again_what_failed_since() -> None:
    """It leaves at 10 ms and is refused at 1010 ms; in between its sender has been down and is back."""
    link = LinkModel(constant(1.0), 8e5, transport=STUBBORN)
    played = play(burst((0, 1, 1000)), link, faults=[Outage(0, 0.5, 0.6), Outage(1, 0.9, 1.1)])
    assert statuses(played) == ["dropped"]
    assert played.of("bulk")[0]["attempts"] == 1
    again = play(burst((0, 1, 1000)), link, faults=[Outage(1, 0.9, 1.1)])
    assert statuses(again) == ["delivered"]
    assert times(again) == [1010 + 10 + 1000]  # its time-out is long over, so it goes again at once
    assert [r for r, _ in again.values("heard")] == [0]


def test_what_a_receiver_held_back_when_it_went_down_is_lost_and_holds_nobody_up() -> None:
    """The second and third wait at the receiver for the first when it goes down; they were acknowledged."""
    cut = Cut(frozenset({(0, 1)}), 0.0, 0.015)
    played = play(THREE, reliable(), faults=[cut, Outage(1, 0.05, 0.06)])
    assert statuses(played) == ["delivered", "dropped", "dropped"]
    assert times(played) == [80, -1, -1]


def test_a_transport_repeats_with_draws_of_its_own() -> None:
    link = reliable(loss=0.5, header_bytes=7)
    played = play(burst(*[(i / 10, 1, 100) for i in range(20)]), link)
    rows = played.of("bulk")
    assert {row["attempts"] for row in rows} > {1, 2}
    assert played.kernel.log.bytes_total == sum(row["size_bytes"] * row["attempts"] for row in rows)
    assert [r for r, _ in played.values("heard")] == [r["round"] for r in rows if r["status"] == "delivered"]


# ---------------------------------------------------------------- adversaries


def others(played: Played, src: int = 0) -> list[tuple[Any, ...]]:
    """Messages of everybody but one."""
    return [row for row in played.rows if row[3] != src]


def air(played: Played, dsts: tuple[int, ...] = (1, 3)) -> dict[tuple[Any, ...], Any]:
    """How long each of node 0's own messages was under way, by what it is; None if it was not delivered."""
    found: dict[tuple[Any, ...], Any] = {}
    for kind in ("model", "word"):
        for row in played.of(kind):
            if row["src"] == 0 and row["dst"] in dsts and not row["copy"]:
                key = (
                    kind,
                    row["round"],
                    row["dst"],
                    sum(k[:3] == (kind, row["round"], row["dst"]) for k in found),
                )
                found[key] = (
                    row["delivered_ns"] - row["left_ns"] if row["delivered_ns"] >= 0 else row["status"]
                )
    return found


def negated(body: Any, rng: Any) -> Any:
    return (body[0], body[1], f"not {body[2]}")


TAMPERS: dict[str, Any] = {
    "drop": drop(0.5),
    "delay": delay(0.02),
    "replay": replay(0.01),
    "alter": alter(negated),
    "equivocate": equivocate({1: negated}),
    "chain": chain(replay(0.01, 0.5), delay(0.005), drop(0.3)),
}
LOSSY = LinkModel(lognormal(0.03, 0.6), 1e7, loss=0.2)


async def sayings(node: Node) -> None:
    """As much talk as ever, whatever one hears."""
    for r in range(8):
        node.multicast(node.neighbors, Message("model", r, (node.id, r, "all"), 1000))
        if r % 2:
            node.send(node.neighbors[0], Message("word", r, (node.id, r, "one"), 100))
        await node.sleep(0.05)
    await node.sleep(1)


@pytest.mark.parametrize("name", sorted(TAMPERS))
@pytest.mark.parametrize("where", ["node", "link"])
def test_tampering_changes_the_draws_of_no_other_message(name: str, where: str) -> None:
    plain = play(sayings, LOSSY, RING4)
    at = {"tamper": {0: TAMPERS[name]}} if where == "node" else {"on_links": {(0, 1): TAMPERS[name]}}
    changed = play(sayings, LOSSY, RING4, adversary=Adversary(encrypted=False, **at))
    assert others(changed) == others(plain)
    before, after = air(plain), air(changed)
    assert before.keys() == after.keys()
    for key, flight in before.items():
        if where == "link" and key[2] == 3:
            assert after[key] == flight
        elif where == "node":
            assert after[key] in (flight, "dropped")
    if name != "alter" and name != "equivocate":
        assert changed.rows != plain.rows


def test_a_message_that_its_node_drops_takes_no_uplink() -> None:
    played = play(THREE, LINK, adversary=Adversary(tamper={0: only(drop(), rounds=range(1, 2))}))
    assert statuses(played) == ["delivered", "dropped", "delivered"]
    assert times(played, "left_ns") == [10, -1, 20]
    assert played.kernel.log.bytes_total == 2000


def test_a_message_that_its_node_delays_does_not_keep_later_ones_waiting() -> None:
    late = Adversary(tamper={0: only(delay(0.1), rounds=range(1))})
    for link in (LINK, reliable()):
        played = play(THREE, link, adversary=late)
        assert times(played, "left_ns") == [110, 10, 20]
        assert times(played) == [120, 20, 30]


def test_an_attacker_on_a_link_acts_once_a_message_has_left() -> None:
    """Replayed copies have rows; they take no uplink, and what is dropped has left and did not arrive."""
    copied = play(THREE, LINK, adversary=Adversary(on_links={(0, 1): replay(0.005)}))
    rows = copied.of("bulk")
    assert [row["delivered_ns"] / MS for row in rows if not row["copy"]] == [20, 30, 40]
    assert [row["left_ns"] / MS for row in rows if row["copy"]] == [10, 20, 30]
    assert [row["delivered_ns"] / MS for row in rows if row["copy"]] == [25, 35, 45]
    assert copied.kernel.log.bytes_total == 3000
    gone = play(THREE, LINK, adversary=Adversary(on_links={(0, 1): drop()}))
    assert (statuses(gone), times(gone, "left_ns")) == (["dropped"] * 3, [10, 20, 30])
    late = play(THREE, LINK, adversary=Adversary(on_links={(0, 1): delay(0.1)}))
    assert times(late) == [120, 130, 140]


def test_a_tap_notes_when_messages_left_and_arrived() -> None:
    wires = Wiretap(frozenset({(0, 1)}))
    link = LinkModel(constant(0.01), 8e5, header_bytes=100, link_loss={(0, 1): 0.4})
    played = play(burst(*[(0, 1, 900)] * 10), link, adversary=Adversary(wires=wires), until_s=0.105)
    rows = played.of("bulk")
    assert [row.left_s for row in wires.rows()] == [i / 100 for i in range(1, 11)]
    assert {row.size_bytes for row in wires.rows()} == {1000}
    arrived = [-1 if row.arrived_s is None else round(row.arrived_s * 1e9) for row in wires.rows()]
    assert arrived == [row["delivered_ns"] for row in rows]
    assert {row["status"] for row in rows} == {"lost", "delivered", "in-flight"}


def test_a_tap_hears_what_reaches_a_receiver_that_is_down() -> None:
    wires = Wiretap()
    played = play(THREE, LINK, adversary=Adversary(wires=wires), faults=[Outage(1, 0.025, 0.035)])
    assert statuses(played) == ["delivered", "dropped", "delivered"]
    assert [row.arrived_s for row in wires.rows()] == [0.02, 0.03, 0.04]


@settings(max_examples=15, deadline=None)
@given(faults=outages(0.0), seed=st.integers(0, 1000))
def test_who_watches_changes_nothing(faults: list[Fault], seed: int) -> None:
    """Taps at nodes and on links, listeners and monitors; nodes come and go."""
    plain = play(chatter, LINKS["some slow"], RING4, faults=faults, seed=seed)
    seen: list[Any] = []
    for wires in (None, Wiretap()):
        watched = play(
            chatter,
            LINKS["some slow"],
            RING4,
            faults=faults,
            seed=seed,
            released=lambda *event: seen.append(event),
            monitor=seen.append,
            monitor_s=0.05,
            adversary=Adversary(frozenset({0, 2}), lambda node, delivery: seen.append(delivery), wires=wires),
        )
        same(plain, watched)
