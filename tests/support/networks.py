"""Small networks whose every message is looked at: programs that talk at random, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.conformance.harness import ImmediateExecutor
from simulator.contract.node import Delivery, Message, Node, Program
from simulator.core.clock import to_ns
from simulator.faults.plan import Cut, Fault
from simulator.network.arrivals import DirectNetwork
from simulator.network.links import LinkModel
from simulator.network.stations import StationNetwork
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import Ending, World
from simulator.topology import graphs
from simulator.topology.mixing import metropolis

PAIR: list[tuple[int, ...]] = [(1,), (0,)]
LATER_S = 1e6
"""After the end of any run here."""
NEVER_CUT = Cut(frozenset({(0, 1)}), LATER_S)
"""Changes nothing, but takes every message from station to station."""


@dataclass
class Played:
    """A run and what its nodes said."""

    kernel: Kernel
    ending: Ending
    said: list[tuple[float, int, str, dict[str, Any]]] = field(default_factory=list)

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        return self.kernel.log.columns()

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Messages as tuples, sorted, so that nodes that act at the same instant may be told in any order."""
        return sorted(zip(*(column.tolist() for column in self.columns.values()), strict=True))

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Messages of a kind, in the order of sending."""
        columns = self.columns
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [row for values in rows if (row := dict(zip(columns, values, strict=True)))["kind"] == kind]

    def values(self, kind: str, node: int | None = None) -> list[Any]:
        """What nodes recorded as ``value``, in order."""
        return [f["value"] for _, n, k, f in self.said if k == kind and node in (None, n)]


def play(
    program: Program,
    link: LinkModel,
    neighbors: Sequence[tuple[int, ...]] = PAIR,
    *,
    until_s: float | None = None,
    stations: bool | None = None,
    faults: Sequence[Fault] = (),
    **options: Any,
) -> Played:
    """Run a program; ``stations`` says by which network (None: whichever it is)."""
    said: list[tuple[float, int, str, dict[str, Any]]] = []
    options.setdefault("seed", 1)
    world = World(
        neighbors=list(neighbors),
        weights=metropolis(list(neighbors)),
        executor=ImmediateExecutor(),
        faults=[*faults, *([NEVER_CUT] if stations else [])],
        record=lambda t_s, node, kind, fields: said.append((t_s, node, kind, dict(fields))),
        **options,
    )
    kernel = Kernel(world, link, program)
    if stations is not None:
        assert isinstance(kernel.network, StationNetwork if stations else DirectNetwork)
    return Played(kernel, kernel.run(until_s), said)


def complete(nodes: int) -> list[tuple[int, ...]]:
    """Everybody knows everybody."""
    return graphs.neighborhoods(graphs.complete(nodes))


def told(node: Node, delivery: Delivery | None) -> None:
    """Record a message that the program has."""
    if delivery is not None:
        message = delivery.message
        heard = (
            delivery.src,
            message.kind,
            message.round,
            message.body,
            delivery.sent_s,
            delivery.delivered_s,
        )
        node.record("heard", value=heard)


async def chatter(node: Node, rounds: int = 5, grain_s: float = 0.0) -> None:
    """Talk at random: bursts, multicasts, gathers that run out, polls, single messages of any size.

    Everything follows from the node's own streams, so two runs differ only if their networks do. Times are
    multiples of ``grain_s``, if it is above 0, so that many things happen at the same instant.
    """
    life = node.disk["lives"] = node.disk.get("lives", 0) + 1
    rng = node.rng("chatter", life)

    def some_s(most_s: float) -> float:
        drawn = float(rng.uniform(0, most_s))
        return drawn if not grain_s else grain_s * round(drawn / grain_s)

    for r in range(rounds):
        await node.sleep(some_s(0.05))
        node.multicast(
            node.neighbors, Message("model", r, (node.id, life, "all"), int(rng.integers(4)) * 1000)
        )
        for i in range(int(rng.integers(3))):
            peer = int(rng.choice(node.neighbors))
            node.send(peer, Message("word", r, (node.id, life, i), int(rng.integers(3)) * 500))
        if rng.random() < 0.5:
            told(node, await node.receive(timeout_s=some_s(0.05)))
        if rng.random() < 0.3:
            told(node, await node.receive(lambda d: d.message.kind == "word", timeout_s=0))
        got = await node.gather("model", r, node.neighbors, timeout_s=some_s(0.3))
        node.record("gathered", value=(r, {src: message.body for src, message in got.items()}))
    while (delivery := await node.receive(timeout_s=0.5)) is not None:
        told(node, delivery)


async def crowd(node: Node, rounds: int = 4, grain_s: float = 0.0) -> None:
    """Talk at random with many tasks that wait beside each other, run out of time and are cancelled."""
    life = node.disk["lives"] = node.disk.get("lives", 0) + 1

    def some_s(rng: np.random.Generator, most_s: float) -> float:
        drawn = float(rng.uniform(0, most_s))
        return drawn if not grain_s else grain_s * round(drawn / grain_s)

    async def speaks() -> None:
        rng = node.rng("speaks", life)
        for r in range(rounds):
            for kind in ("model", "word", "model")[: int(rng.integers(1, 4))]:
                node.multicast(node.neighbors, Message(kind, r, (node.id, life), int(rng.integers(4)) * 500))
            await node.sleep(some_s(rng, 0.05))

    async def gathers(who: int) -> None:
        rng = node.rng("gathers", life, who)
        for r in range(rounds):
            timeout_s = None if rng.random() < 0.1 else some_s(rng, 0.2)
            sources = [peer for peer in node.neighbors if rng.random() < 0.7]
            got = await node.gather("model", r, sources, timeout_s)
            node.record("gathered", value=(who, r, to_ns(node.now_s), sorted(got)))
            await node.sleep(some_s(rng, 0.02))

    async def listens(who: int) -> None:
        rng = node.rng("listens", life, who)
        for _ in range(3 * rounds):
            kind = "word" if rng.random() < 0.8 else "model"
            got = await node.receive(lambda d, k=kind: d.message.kind == k, timeout_s=some_s(rng, 0.1))
            told(node, got)

    async with node.tasks() as outer:
        outer.spawn(speaks())
        async with node.tasks() as inner:
            for who in range(2):
                inner.spawn(gathers(who))
                inner.spawn(listens(who))
            await node.sleep(some_s(node.rng("patience", life), 0.5))
            inner.cancel()
    while (delivery := await node.receive(timeout_s=0.3)) is not None:
        told(node, delivery)


def same(one: Played, other: Played) -> None:
    """Both runs went alike: messages, nodes' experience, spans and ends."""
    assert one.rows == other.rows
    assert one.kernel.log.trace_hash == other.kernel.log.trace_hash
    assert one.kernel.log.bytes_total == other.kernel.log.bytes_total
    assert sorted(one.said, key=repr) == sorted(other.said, key=repr)
    for name, column in one.kernel.activity.columns().items():
        np.testing.assert_array_equal(column, other.kernel.activity.columns()[name], name)
    assert one.ending == other.ending
