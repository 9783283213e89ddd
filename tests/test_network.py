"""Links: serialisation, loss."""

from __future__ import annotations

from simulator import latency
from simulator.clock import to_ns, to_s
from simulator.kernel import Kernel
from simulator.links import LinkModel
from simulator.mixing import metropolis
from simulator.node import Message, Node
from simulator.records import LOST
from simulator.testing import ImmediateExecutor
from simulator.world import World


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
