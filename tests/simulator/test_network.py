"""Links: serialisation, loss, and when a receiver goes on."""

from __future__ import annotations

import pytest

from simulator.adversary.coalition import Adversary
from simulator.conformance.harness import ImmediateExecutor
from simulator.contract.node import Delivery, Message, Node
from simulator.core.clock import to_ns, to_s
from simulator.core.records import LOST
from simulator.faults.plan import Outage
from simulator.network import latency
from simulator.network.links import LinkModel, Reordering
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import World
from simulator.topology.mixing import metropolis
from tests.support.networks import NEVER_CUT, complete, play


def sending(messages: int, size: int, link: LinkModel, *, extra: int = 0, seed: int = 1) -> Kernel:
    """Node 0 sends a burst to node 1; node 2 sends ``extra`` messages of its own."""
    neighbors: list[tuple[int, ...]] = [(1, 2), (0, 2), (0, 1)]

    async def program(node: Node) -> None:
        if node.id == 0:
            for i in range(messages):
                node.send(1, Message("burst", i, None, size))
        if node.id == 2:
            for i in range(extra):
                node.send(1, Message("noise", i, None, size))
        await node.sleep(1000)

    made = Kernel(World(seed, neighbors, metropolis(neighbors), ImmediateExecutor()), link, program)
    made.run()
    return made


def test_an_uplink_sends_one_message_after_another_to_the_nanosecond() -> None:
    made = sending(5, 1000, LinkModel(latency.constant(0.05), 10e6, header_bytes=40))
    each_ns = 1040 * 8 * 100  # at 10 Mbit/s a bit takes 100 ns
    columns = made.log.columns()
    assert columns["delivered_ns"].tolist() == [50_000_000 + (i + 1) * each_ns for i in range(5)]
    assert columns["left_ns"].tolist() == [(i + 1) * each_ns for i in range(5)]
    assert set(columns["size_bytes"]) == {1040}


def test_loss_has_its_frequency() -> None:
    """20,000 messages at 5 %: outside 1000 ± 160 with probability below 1e-6 (5.2 standard deviations)."""
    made = sending(20_000, 1, LinkModel(latency.constant(0.001), 1e9, loss=0.05))
    assert abs(made.log.count(LOST) - 1000) < 160


def test_other_traffic_shifts_nobodys_latency_or_loss() -> None:
    link = LinkModel(latency.lognormal(0.05, 0.5), 10e6, loss=0.1)
    alone, crowded = sending(200, 100, link), sending(200, 100, link, extra=500)

    def fates(made: Kernel) -> list[tuple[int, str]]:
        columns = made.log.columns()
        mine = columns["kind"] == "burst"
        return list(zip(columns["delivered_ns"][mine], columns["status"][mine], strict=True))

    assert fates(alone) == fates(crowded)


def test_times_round_trip() -> None:
    assert to_ns(1.5) == 1_500_000_000
    assert to_s(to_ns(0.123456789)) == 0.123456789


# ---------------------------------------------------------------- when a gather ends


def gathering(
    sends: list[tuple[float, int, str, int]],
    base_s: dict[tuple[int, int], float],
    *,
    sources: tuple[int, ...] = (1, 2),
    stations: bool,
    timeout_s: float | None = None,
    **options: object,
) -> tuple[int, list[int]]:
    """When node 0's gather of round 1 ends (ns), and from whom it has something. Sends: (s, src, kind, round)."""

    async def program(node: Node) -> None:
        for at_s, src, kind, r in sends:
            if src == node.id:
                await node.sleep(at_s - node.now_s)
                node.send(0, Message(kind, r, None, 0))
        if node.id == 0:
            got = await node.gather("model", 1, sources, timeout_s)
            node.record("ended", value=(to_ns(node.now_s), list(got)))

    link = LinkModel(latency.constant(0.01), base_s=latency.given(base_s))
    played = play(program, link, complete(4), stations=stations, **options)
    ((ended_ns, got),) = played.values("ended")
    return ended_ns, got


BOTH = pytest.mark.parametrize("stations", [False, True])


@BOTH
def test_a_gather_ends_when_the_last_of_its_own_is_there(stations: bool) -> None:
    sends = [(0.0, 1, "model", 1), (0.05, 2, "model", 1), (0.0, 3, "model", 0), (0.0, 3, "word", 1)]
    assert gathering(sends, {}, stations=stations) == (60_000_000, [1, 2])


@BOTH
def test_a_gather_does_not_wait_for_strangers_that_are_late(stations: bool) -> None:
    """Node 3's message is a second under way and was not asked for."""
    sends = [(0.0, 1, "model", 1), (0.0, 3, "model", 1), (0.05, 2, "model", 1)]
    assert gathering(sends, {(3, 0): 1.0}, stations=stations) == (60_000_000, [1, 2])


@BOTH
def test_a_gather_does_not_wait_for_repeats(stations: bool) -> None:
    sends = [(0.0, 1, "model", 1), (0.0, 1, "model", 1), (0.02, 1, "model", 1), (0.05, 2, "model", 1)]
    assert gathering(sends, {}, stations=stations) == (60_000_000, [1, 2])


@BOTH
def test_a_gather_ends_when_repeats_overtake(stations: bool) -> None:
    """Detours: any of node 1's three messages may be the first to arrive, and that one counts."""

    async def program(node: Node) -> None:
        if node.id == 0:
            got = await node.gather("model", 1, (1, 2))
            node.record("ended", value=(to_ns(node.now_s), [message.body for message in got.values()]))
            return
        for i in range(3 if node.id == 1 else 1):
            await node.sleep(0.05 * (node.id - 1))
            node.send(0, Message("model", 1, (node.id, i), 0))

    detours = LinkModel(latency.constant(0.01), reordering=Reordering(0.5, 1.0))
    ends = set()
    for seed in range(20):
        played = play(program, detours, complete(3), stations=stations, seed=seed)
        ((ended_ns, bodies),) = played.values("ended")
        arrivals: dict[int, list[int]] = {1: [], 2: []}
        for row in played.of("model"):
            arrivals[row["src"]].append(row["delivered_ns"] if row["delivered_ns"] >= 0 else 2_000_000_000)
        assert ended_ns == max(min(arrivals[1]), min(arrivals[2]))
        assert bodies[0] == (1, arrivals[1].index(min(arrivals[1])))
        ends.add(ended_ns)
    assert len(ends) > 1


@BOTH
def test_a_gather_is_not_woken_for_what_its_sender_took_down_with_it(stations: bool) -> None:
    """Node 1's message still waits for its uplink when it crashes; only that of its second life comes."""

    async def program(node: Node) -> None:
        if node.id == 0:
            got = await node.gather("model", 1, (1, 2))
            node.record("ended", value=(to_ns(node.now_s), [message.body for message in got.values()]))
            return
        life = node.disk["lives"] = node.disk.get("lives", 0) + 1
        node.send(0, Message("model", 1, life, 1000))
        await node.sleep(1)

    link = LinkModel(latency.constant(0.01), 8e5)
    played = play(program, link, complete(3), stations=stations, faults=[Outage(1, 0.005, 0.5)])
    assert played.values("ended") == [(520_000_000, [2, 1])]


@BOTH
def test_a_gather_runs_out_of_time_to_the_nanosecond_and_has_what_arrives_then(stations: bool) -> None:
    sends = [(0.04, 1, "model", 1), (0.05, 2, "model", 1)]
    assert gathering(sends, {}, stations=stations, timeout_s=0.05) == (50_000_000, [1])
    assert gathering(sends, {}, stations=stations, timeout_s=0.049999999) == (49_999_999, [])
    assert gathering([], {}, stations=stations, timeout_s=0.0) == (0, [])
    assert gathering([], {}, stations=stations, timeout_s=1e-12) == (1, [])


@BOTH
def test_a_gather_that_is_watched_ends_at_the_same_time(stations: bool) -> None:
    seen: list[object] = []
    sends = [(0.0, 1, "model", 1), (0.0, 3, "model", 1), (0.05, 2, "model", 1)]
    watched = Adversary(
        frozenset({0}), lambda node, delivery: seen.append((delivery.src, delivery.delivered_s))
    )
    found = gathering(sends, {(3, 0): 1.0}, stations=stations, adversary=watched)
    assert found == (60_000_000, [1, 2])
    assert seen == [(1, 0.01), (2, 0.06)]


@BOTH
def test_a_tap_sees_a_delivery_the_moment_it_happens(stations: bool) -> None:
    """Although its node gathers, sleeps, or has ended."""
    seen: list[tuple[float, float]] = []
    made: list[Kernel] = []

    async def program(node: Node) -> None:
        if node.id == 0:
            await node.gather("model", 0, node.neighbors)
            await node.sleep(0.2)
            return
        for r in range(5):
            await node.sleep(0.01 * node.id)
            node.send(0, Message("model", r, None, 0))
        await node.sleep(1)

    def tap(node: int, delivery: Delivery) -> None:
        seen.append((made[0].now_s, delivery.delivered_s))

    neighbors = complete(3)
    faults = [NEVER_CUT] if stations else []
    world = World(
        1,
        neighbors,
        metropolis(neighbors),
        ImmediateExecutor(),
        faults,
        adversary=Adversary(frozenset({0}), tap),
    )
    made.append(Kernel(world, LinkModel(latency.constant(0.005)), program))
    made[0].run()
    assert len(seen) == 10
    assert all(now_s == delivered_s for now_s, delivered_s in seen)


@BOTH
def test_a_tap_at_a_node_that_is_down_sees_nothing(stations: bool) -> None:
    seen: list[float] = []

    async def program(node: Node) -> None:
        for r in range(10):
            if node.id == 1:
                node.send(0, Message("model", r, None, 0))
            await node.sleep(0.1)
        node.record("mailbox", value=(await node.receive(timeout_s=0)) is not None)

    tapped = Adversary(frozenset({0}), lambda node, delivery: seen.append(delivery.delivered_s))
    crash = Outage(0, 0.15, 0.75)
    link = LinkModel(latency.constant(0.01))
    played = play(program, link, complete(2), stations=stations, adversary=tapped, faults=[crash])
    plain = play(program, link, complete(2), stations=stations, faults=[crash])
    assert seen == [0.01, 0.11, 0.81, 0.91]
    assert played.rows == plain.rows
    assert played.kernel.log.counts() == {
        "delivered": 4,
        "dropped": 6,
        "lost": 0,
        "expired": 0,
        "in-flight": 0,
    }


@BOTH
def test_what_has_no_size_waits_its_turn_and_goes_down_with_its_sender(stations: bool) -> None:
    async def program(node: Node) -> None:
        if node.id == 0 and not node.disk:
            node.disk["sent"] = True
            node.send(1, Message("model", 0, None, 1000))
            node.send(1, Message("model", 1, None, 0))
        await node.sleep(1)

    for down_s, counts in ((0.005, {"dropped": 2}), (0.01, {"delivered": 2})):
        played = play(
            program,
            LinkModel(latency.constant(0.01), 8e5),
            stations=stations,
            faults=[Outage(0, down_s, 0.5)],
        )
        assert +played.kernel.log.counts() == counts
