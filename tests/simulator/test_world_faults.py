"""Lives of nodes in a world that goes wrong: starts, returns, arrivals, slowness, suspicion, links that change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from simulator.adversary.coalition import Adversary
from simulator.adversary.tampering import Forward
from simulator.contract.compute import Op
from simulator.contract.knowledge import Context, Knowledge
from simulator.contract.node import Message, Node
from simulator.core.clock import to_ns
from simulator.errors import ContractError, ProgramError
from simulator.faults.detector import HeartbeatDetector
from simulator.faults.plan import Arrival, Churn, Cut, Hold, Outage, Slow
from simulator.faults.speeds import Speeds
from simulator.network.latency import constant, exponential
from simulator.network.links import LinkModel
from simulator.topology.overlays import epidemic, one_peer_exponential, schedule
from simulator.topology.repair import churn_driven
from tests.support.networks import Played, complete, play

LINK = LinkModel(constant(0.01))
MS = 1_000_000
BOTH = pytest.mark.parametrize("stations", [False, True])


async def lives(node: Node) -> None:
    """Say when a life begins and what the disk holds then."""
    node.record("life", value=(node.id, node.now_s, dict(node.disk)))
    node.disk["born"] = node.now_s
    await node.sleep(1.0)
    node.record("done", value=(node.id, node.now_s))


# ---------------------------------------------------------------- starts, returns, arrivals


def test_a_node_that_is_down_from_the_beginning_does_not_start() -> None:
    played = play(lives, LINK, complete(3), faults=[Outage(0, 0.0), Outage(1, 0.0, 0.5)])
    assert played.values("life") == [(2, 0.0, {}), (1, 0.5, {})]
    assert played.ending.down == {0}
    assert played.ending.t_s == 1.5


def test_a_node_arrives_and_starts_for_the_first_time() -> None:
    played = play(lives, LINK, complete(3), faults=[Arrival(1, 4.0), Arrival(2, 0.0)])
    assert played.values("life") == [(0, 0.0, {}), (2, 0.0, {}), (1, 4.0, {})]
    assert played.ending.t_s == 5.0
    assert not played.ending.down


def test_a_run_waits_for_those_who_will_arrive_and_not_for_those_who_return() -> None:
    assert play(lives, LINK, faults=[Arrival(1, 100.0)]).ending.t_s == 101.0
    ended = play(lives, LINK, faults=[Outage(1, 0.5, 100.0)]).ending
    assert (ended.t_s, ended.down) == (1.0, {1})


def test_nobody_is_there_at_first() -> None:
    played = play(lives, LINK, faults=[Arrival(0, 1.0), Arrival(1, 2.0)])
    assert [node for node, *_ in played.values("life")] == [0, 1]
    played = play(lives, LINK, faults=[Outage(0, 0.0, 1.0), Outage(1, 0.0, 2.0)])
    assert [node for node, *_ in played.values("life")] == [0, 1]
    assert play(lives, LINK, faults=[Outage(0, 0.0), Outage(1, 0.0)]).ending.t_s == 0.0


@pytest.mark.parametrize("tie_seed", [None, *range(6, 12)])
def test_arriving_into_an_outage_ends_the_run_if_nobody_else_is_there(tie_seed: int | None) -> None:
    """The session begins the very moment the node would arrive, whichever of the two is first."""
    away = Churn([1], exponential(1e-9), exponential(1e6), stationary=True, from_s=5.0)
    played = play(lives, LINK, faults=[Arrival(1, 5.0), away], tie_seed=tie_seed, until_s=50.0)
    assert played.ending.t_s == 5.0
    assert played.ending.down == {1}


def test_what_was_sent_to_a_node_before_it_arrived_is_dropped() -> None:
    async def program(node: Node) -> None:
        if node.id == 0:
            for r in range(4):
                node.send(1, Message("model", r, None, 0))
                await node.sleep(0.1)
        else:
            got = await node.receive(timeout_s=1.0)
            node.record("first", value=None if got is None else got.message.round)

    played = play(program, LINK, faults=[Arrival(1, 0.15)])
    assert played.values("first") == [2]
    assert [row["status"] for row in played.of("model")] == ["dropped", "dropped", "delivered", "delivered"]


def test_a_disk_is_kept_or_not() -> None:
    faults = [Outage(0, 0.1, 0.2), Outage(1, 0.1, 0.2, keeps_disk=False)]
    played = play(lives, LINK, complete(3), faults=faults)
    assert played.values("life", 0)[1] == (0, 0.2, {"born": 0.0})
    assert played.values("life", 1)[1] == (1, 0.2, {})


def test_sessions_bring_nodes_down_and_up_until_the_programs_are_done() -> None:
    """Nodes 1 to 3 come and go for ever; the run ends when everybody who is up has finished."""
    sessions = Churn([1, 2, 3], exponential(0.8), exponential(0.2))
    played = play(lives, LINK, complete(4), faults=[sessions])
    assert played.ending.t_s >= 1.0
    assert not played.ending.unfinished
    done = {node for node, _ in played.values("done")}
    assert done | played.ending.down == {0, 1, 2, 3}
    assert len(played.values("life")) > 4
    stopped = play(lives, LINK, complete(4), faults=[sessions], until_s=0.3)
    assert stopped.ending.t_s == 0.3
    assert stopped.ending.unfinished | stopped.ending.down == {0, 1, 2, 3}


def test_a_run_survives_that_everybody_is_away() -> None:
    together = Churn([0, 1], exponential(0.3), exponential(0.2), together=True)
    played = play(lives, LINK, faults=[together])
    assert len(played.values("life")) > 2
    assert {node for node, _ in played.values("done")} == {0, 1}


# ---------------------------------------------------------------- speed


_NEGATE = Op("negate", lambda x: -x)


async def computes(node: Node) -> None:
    await node.sleep(0.5)
    await node.compute(_NEGATE, np.ones(2), size=2, cost_s=1.0)
    node.record("computed", value=(node.id, to_ns(node.now_s)))


def computed(**options: Any) -> dict[int, int]:
    return dict(play(computes, LINK, complete(3), **options).values("computed"))


def test_computing_takes_as_long_as_the_node_is_slow() -> None:
    assert computed() == {0: 1500 * MS, 1: 1500 * MS, 2: 1500 * MS}
    assert computed(speeds=Speeds((1.0, 2.5, 0.5))) == {0: 1500 * MS, 1: 3000 * MS, 2: 1000 * MS}


def test_a_slow_period_stretches_what_falls_into_it() -> None:
    """Half of the second is done when node 1 becomes four times as slow; 0.25 s of the rest take one second."""
    slow = Slow(1, 4.0, 1.0, 2.0)
    expected = {0: 1500 * MS, 1: 2250 * MS, 2: 1500 * MS}
    assert computed(speeds=Speeds(slow=[slow])) == expected
    assert computed(faults=[slow]) == expected
    assert computed(faults=[slow], speeds=Speeds(slow=[slow])) == expected
    assert computed(faults=[slow], speeds=Speeds((1.0, 1.0, 2.0))) == {**expected, 2: 2500 * MS}


# ---------------------------------------------------------------- what nodes were busy with


def spans(played: Played, node: int) -> list[tuple[str, float, float]]:
    """(state, from, until) in milliseconds."""
    found = zip(*(column.tolist() for column in played.kernel.activity.columns().values()), strict=True)
    return [
        (state, since / MS, until / MS if until >= 0 else -1)
        for who, state, since, until in found
        if who == node
    ]


@BOTH
def test_spans_of_computing_waiting_and_being_down_are_exact(stations: bool) -> None:
    async def program(node: Node) -> None:
        if node.id == 1:
            await node.sleep(0.3)
            node.send(0, Message("model", 0, None, 0))
        if node.id:
            await node.sleep(10)
        await node.compute(_NEGATE, np.ones(1), size=1, cost_s=0.1)
        await node.receive()
        await node.sleep(0.09)
        await node.gather("model", 1, (1,), timeout_s=0.05)
        await node.receive(timeout_s=0)
        await node.compute(_NEGATE, np.ones(1), size=1, cost_s=10.0)

    crash = [Outage(0, 0.6, 0.75), Outage(1, 0.4)]
    played = play(program, LINK, complete(3), stations=stations, faults=crash, until_s=0.95)
    assert spans(played, 0) == [
        ("computing", 0, 100),
        ("waiting", 100, 310),
        ("waiting", 400, 450),
        ("computing", 450, 600),
        ("down", 600, 750),
        ("computing", 750, 850),
        ("waiting", 850, 950),
    ]
    assert spans(played, 1) == [("down", 400, -1)]
    activity = played.kernel.activity
    assert activity.who(activity.DOWN, 600 * MS) == {0, 1}
    assert activity.who(activity.DOWN, 750 * MS) == {1}
    assert activity.who(activity.WAITING, 310 * MS - 1) == {0}
    assert activity.who(activity.WAITING, 310 * MS) == frozenset()


# ---------------------------------------------------------------- suspicion


WATCH = HeartbeatDetector(period_s=0.1, timeout_s=0.35)


@BOTH
def test_a_silent_node_is_suspected_from_the_first_nanosecond_and_until_it_is_heard(stations: bool) -> None:
    """What the program sees at the instants around the first and the last of suspicion."""
    crash = Outage(1, 1.02, 2.0)

    async def sleeper(node: Node) -> None:
        await node.sleep(4.0 - node.now_s)

    dry = play(sleeper, LINK, complete(3), stations=stations, detector=WATCH, faults=[crash])
    to_0 = [r["delivered_ns"] for r in dry.of("heartbeat") if r["src"] == 1 and r["dst"] == 0]
    last_ns = max(t for t in to_0 if 0 <= t < 1.5e9)
    again_ns = min(t for t in to_0 if t > 1.5e9)
    from_ns = last_ns + to_ns(WATCH.timeout_s) + 1
    moments = [from_ns - 1, from_ns, again_ns - 1, again_ns, again_ns + to_ns(0.3)]

    async def program(node: Node) -> None:
        if node.id == 0:
            for t_ns in moments:
                await node.sleep((t_ns - to_ns(node.now_s)) / 1e9)
                assert to_ns(node.now_s) == t_ns
                node.record("suspects", value=set(node.suspects))
        await node.sleep(4.0 - node.now_s)

    played = play(program, LINK, complete(3), stations=stations, detector=WATCH, faults=[crash])
    assert played.values("suspects") == [set(), {1}, {1}, set(), set()]
    assert played.kernel.log.trace_hash == dry.kernel.log.trace_hash


@BOTH
def test_a_false_suspicion_ends(stations: bool) -> None:
    hold = Hold(frozenset({(1, 0)}), 0.5, 1.5)
    cut = Cut(frozenset({(1, 0)}), 0.5, 1.5)

    async def program(node: Node) -> None:
        for _ in range(25):
            await node.sleep(0.1)
            if node.id == 0:
                node.record("suspects", value=set(node.suspects))

    if not stations:
        calm = play(program, LINK, stations=False, detector=WATCH)
        assert calm.values("suspects") == [set()] * 25
        return
    for closure in (hold, cut):
        seen = play(program, LINK, detector=WATCH, faults=[closure]).values("suspects")
        assert seen[:5] == [set()] * 5
        assert seen[9:14] == [{1}] * 5
        assert seen[16:] == [set()] * 9


def test_any_message_is_a_sign_of_life() -> None:
    async def program(node: Node) -> None:
        for r in range(30):
            if node.id == 1:
                node.send(0, Message("word", r, None, 0))
            await node.sleep(0.1)
            node.record("suspects", value=(node.id, set(node.suspects)))

    slow = HeartbeatDetector(100.0, 200.0)
    quiet = play(program, LINK, detector=slow)
    assert {frozenset(s) for _, s in quiet.values("suspects")} == {frozenset()}
    only_words = play(program, LINK, detector=HeartbeatDetector(0.299, 0.3))
    assert {frozenset(s) for node, s in only_words.values("suspects") if node == 0} == {frozenset()}


def test_a_node_that_returns_has_forgotten_whom_it_suspected() -> None:
    async def program(node: Node) -> None:
        while node.now_s < 3.0:
            if node.id == 0:
                node.record("suspects", value=(round(node.now_s, 3), set(node.suspects)))
            await node.sleep(0.1)

    faults = [Outage(1, 0.5), Outage(0, 1.5, 2.0)]
    played = play(program, LINK, complete(3), detector=WATCH, faults=faults)
    seen = dict(played.values("suspects"))
    assert seen[1.4] == {1}
    assert seen[2.0] == seen[2.3] == set()
    assert seen[2.5] == {1}


def test_without_a_detector_nobody_is_suspected() -> None:
    async def program(node: Node) -> None:
        await node.sleep(10)
        node.record("suspects", value=node.suspects)

    played = play(program, LINK, faults=[Outage(1, 1.0)])
    assert played.values("suspects") == [frozenset()]
    assert len(played.kernel.log) == 0


def test_heartbeats_go_on_when_a_program_has_ended_and_stop_with_its_node() -> None:
    async def program(node: Node) -> None:
        if node.id == 0:
            await node.sleep(2.0)
            node.record("suspects", value=node.suspects)

    played = play(program, LINK, detector=WATCH)
    assert played.values("suspects") == [frozenset()]
    sent = [row["sent_ns"] for row in played.of("heartbeat") if row["src"] == 1]
    assert np.diff(sent).tolist() == [100 * MS] * (len(sent) - 1)
    assert len(sent) == 20
    crashed = play(program, LINK, detector=WATCH, faults=[Outage(1, 1.0)])
    assert max(row["sent_ns"] for row in crashed.of("heartbeat") if row["src"] == 1) < 1000 * MS


# ---------------------------------------------------------------- nothing can happen any more


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"monitor_s": 0.05},
        {"detector": WATCH},
        {"detector": WATCH, "monitor_s": 0.07},
        {"released": lambda *event: None},
    ],
    ids=["plain", "monitor", "heartbeats", "both", "listener"],
)
@pytest.mark.parametrize("how", ["receive", "gather"])
def test_a_deadlock_is_told_with_its_names(options: dict[str, Any], how: str) -> None:
    async def program(node: Node) -> None:
        await node.sleep(0.3)
        if node.id == 0:
            return
        node.send(node.neighbors[-1], Message("word", 0, None, 0))
        if how == "gather":
            await node.gather("model", 0, node.neighbors)
        else:
            await node.receive(lambda delivery: delivery.message.kind == "model")

    with pytest.raises(ProgramError, match=r"nodes \[1, 2\] wait for messages that cannot come") as caught:
        play(program, LINK, complete(3), **options)
    assert caught.value.node == 1


def test_a_deadlock_is_seen_once_the_last_fault_is_over() -> None:
    async def program(node: Node) -> None:
        if node.id == 1:
            await node.receive()
        await node.sleep(0.1)

    with pytest.raises(ProgramError, match=r"node 1 failed at 5\.100000 s: nodes \[1\] wait"):
        play(program, LINK, complete(3), faults=[Outage(2, 0.05, 5.0), Outage(0, 0.05)])


# ---------------------------------------------------------------- links that change


def test_links_change_by_the_round() -> None:
    overlay = one_peer_exponential(4)

    async def program(node: Node) -> None:
        for r in range(4):
            links = node.links(r)
            node.record("links", value=(node.id, r, links.to, links.sources))
            node.multicast(links.to, Message("model", r, None, 0))
            got = await node.gather("model", r, links.sources)
            node.record("got", value=tuple(got) == links.sources)

    played = play(program, LINK, complete(4), overlay=overlay)
    assert all(played.values("got"))
    for node, r, to, sources in played.values("links"):
        hop = 1 << r % 2
        assert (to, sources) == (((node + hop) % 4,), ((node - hop) % 4,))


@pytest.mark.parametrize("many", [False, True])
def test_sending_to_a_link_of_another_round_is_refused(many: bool) -> None:
    overlay = epidemic(8, 2, 3)
    now, later = (overlay.links(0, epoch).to for epoch in (0, 1))
    gone = next(peer for peer in now if peer not in later)

    async def program(node: Node) -> None:
        if node.id:
            return
        for r in (0, 1):
            if many:
                node.multicast((gone,), Message("model", r, None, 0))
            else:
                node.send(gone, Message("model", r, None, 0))
            node.record("sent", value=r)

    said: list[Any] = []
    with pytest.raises(ProgramError, match=f"node 0 has no link to node {gone}; it has links to") as caught:
        play(program, LINK, complete(8), overlay=overlay, released=lambda *event: said.append(event))
    assert isinstance(caught.value.__cause__, ContractError)


def test_links_change_by_the_clock() -> None:
    overlay = schedule(3, [(0.0, [(0, 1)]), (1.0, [(1, 2)])])

    async def program(node: Node) -> None:
        for _ in range(2):
            node.record("near", value=(node.id, node.neighbors))
            node.multicast(node.neighbors, Message("model", 0, None, 0))
            await node.sleep(1.0)

    played = play(program, LINK, complete(3), overlay=overlay)
    assert played.values("near") == [(0, (1,)), (1, (0,)), (2, ()), (0, ()), (1, (2,)), (2, (1,))]
    assert {row["status"] for row in played.of("model")} == {"delivered"}


def test_an_overlay_that_repairs_itself_sees_crashes_and_returns() -> None:
    overlay = churn_driven(8, 3, 5, repair_s=0.5)
    before = overlay.links(0, 0).to
    gone = before[0]

    async def program(node: Node) -> None:
        while node.now_s < 4.0:
            node.record("near", value=(round(node.now_s, 2), node.id, node.neighbors))
            await node.sleep(0.25)

    played = play(program, LINK, complete(8), overlay=overlay, faults=[Outage(gone, 1.1, 3.1)])
    near = {(t_s, node): peers for t_s, node, peers in played.values("near")}
    assert near[1.5, 0] == before  # not given up yet
    assert gone not in near[1.75, 0]
    assert all(gone not in peers for (t_s, _), peers in near.items() if 1.6 < t_s < 3.1)
    assert all(len(peers) == 3 for (t_s, node), peers in near.items() if t_s > 3.1 and node != gone)
    assert near[3.1, gone] != ()
    assert any(gone in near[3.25, node] for node in range(8) if node != gone)


def test_a_node_that_is_down_from_the_beginning_has_no_links_after_repair() -> None:
    overlay = churn_driven(6, 2, 5, repair_s=0.0)

    async def program(node: Node) -> None:
        node.record("near", value=node.neighbors)
        await node.sleep(0.1)

    played = play(program, LINK, complete(6), overlay=overlay, faults=[Outage(4, 0.0)])
    assert all(4 not in peers for peers in played.values("near"))


def test_a_new_neighbour_is_not_suspected_for_its_silence_before() -> None:
    overlay = schedule(3, [(0.0, [(0, 1)]), (2.0, [(0, 2)])])

    async def program(node: Node) -> None:
        while node.now_s < 4.0:
            node.record("suspects", value=(node.id, round(node.now_s, 3), set(node.suspects)))
            await node.sleep(0.05)

    played = play(program, LINK, complete(3), overlay=overlay, detector=WATCH)
    assert {frozenset(found) for _, _, found in played.values("suspects")} == {frozenset()}
    dead = play(program, LINK, complete(3), overlay=overlay, detector=WATCH, faults=[Outage(2, 0.5)])
    seen = {t_s: found for node, t_s, found in dead.values("suspects") if node == 0}
    assert seen[2.0] == seen[2.3] == set()
    assert seen[2.5] == {2}


# ---------------------------------------------------------------- what an adversary hears, and when


@pytest.mark.parametrize("level", ["received", "rushing"])
def test_a_coalition_knows_what_its_members_have_received_by_now(level: Knowledge) -> None:
    """Node 0 tampers; node 1, which sleeps all the time, is curious. What reached node 1 is known at once."""
    known: list[tuple[float, list[tuple[int, int]]]] = []

    def spy(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        known.append((context.now_s, [(d.src, d.message.round) for d in context.seen]))
        return [Forward(0.0, dst, message)]

    async def program(node: Node) -> None:
        if node.id == 2:
            for r in range(3):
                node.send(1, Message("word", r, None, 0))
                await node.sleep(0.1)
        if node.id == 0:
            for at_s in (0.005, 0.01, 0.015, 0.111, 0.3):
                await node.sleep(at_s - node.now_s)
                node.send(2, Message("model", 0, None, 0))
        await node.sleep(1.0 - node.now_s)

    adversary = Adversary(frozenset({1}), tamper={0: spy}, knowledge=level)
    play(program, LINK, complete(3), adversary=adversary)
    assert [len(seen) for _, seen in known] in ([0, 0, 1, 2, 3], [0, 1, 1, 2, 3])
    assert known[-1][1] == [(2, 0), (2, 1), (2, 2)]


def test_a_coalition_does_not_hear_what_its_member_missed() -> None:
    known: list[int] = []

    def spy(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        known.append(len(context.seen))
        return [Forward(0.0, dst, message)]

    async def program(node: Node) -> None:
        for r in range(10):
            if node.id == 2:
                node.send(1, Message("word", r, None, 0))
            await node.sleep(0.1)
        if node.id == 0:
            node.send(2, Message("model", 0, None, 0))
        await node.sleep(0.1)

    adversary = Adversary(frozenset({1}), tamper={0: spy}, knowledge="received")
    played = play(program, LINK, complete(3), adversary=adversary, faults=[Outage(1, 0.25, 0.65)])
    assert known == [6]
    assert [row["status"] for row in played.of("word")] == ["delivered"] * 3 + ["dropped"] * 4 + [
        "delivered"
    ] * 3
