"""Crashes, returns and ends, as clauses of the node contract."""

from __future__ import annotations

from simulator.conformance.harness import TICK_S, Case, Said, equal, message, nothing, said_of
from simulator.contract.node import Node
from simulator.errors import ContractError
from simulator.faults.detector import HeartbeatDetector
from simulator.faults.plan import Outage

# ---------------------------------------------------------------- outages


async def _crashes(node: Node) -> None:
    lives = node.disk.get("lives", 0) + 1
    node.disk["lives"] = lives
    node.record("life", value=lives)
    if node.id == 0:
        await node.sleep(12 * TICK_S)
        return
    if lives == 2:
        node.record("mailbox", value=await node.receive(timeout_s=0))
        return
    try:
        while True:
            try:
                await node.sleep(TICK_S / 2)
            except Exception:
                node.record("survived")
    finally:
        node.record("cleaned up", value=node.id)


def _check_crashes(said: Said) -> None:
    equal(said_of(said, "life", 1), [1, 2])
    equal(said_of(said, "mailbox"), [None])
    equal(said_of(said, "survived"), [])
    equal(said_of(said, "cleaned up"), [1])


async def _down_receivers(node: Node) -> None:
    if node.id == 0:
        await node.sleep(4 * TICK_S)
        node.send(1, message("into the void"))
        await node.sleep(6 * TICK_S)
        node.send(1, message("after the return"))
        await node.sleep(2 * TICK_S)
        return
    while "returned" not in node.disk:
        node.disk["returned"] = True
        await node.sleep(1000 * TICK_S)
    got = await node.receive(timeout_s=100 * TICK_S)
    node.record("first", value=None if got is None else got.message.kind)


async def _awaits_at_the_end(node: Node) -> None:
    try:
        await node.sleep(10 * TICK_S)
    finally:
        await node.sleep(TICK_S)


async def _sends_as_it_ends(node: Node) -> None:
    if node.id == 0:
        try:
            await node.sleep(1000 * TICK_S)
        finally:
            node.send(1, message("too late"))
    else:
        node.record("heard", value=await node.receive(timeout_s=6 * TICK_S))


async def _nested_crash(node: Node) -> None:
    if node.id == 0:
        await node.sleep(4 * TICK_S)
        return

    async def deep(name: str) -> None:
        try:
            await node.sleep(1000 * TICK_S)
        finally:
            node.record("end", value=name)

    async def shallow() -> None:
        async with node.tasks() as inner:
            inner.spawn(deep("grandchild"))

    async with node.tasks() as outer:
        outer.spawn(deep("child"))
        outer.spawn(shallow())


async def _suspects(node: Node) -> None:
    """Node 1 is down from tick 6 to tick 20; a detector with a time-out of six ticks suspects it until it returns."""
    heard = []
    for tick in (4, 18, 30):
        await node.sleep(max(0.0, tick * TICK_S - node.now_s))
        if node.id != 1:
            node.record("suspects", value=(node.id, tick, sorted(node.suspects)))
        heard.append(await node.receive(timeout_s=0))
    node.record("heard", value=[got for got in heard if got is not None])


def _check_suspects(said: Said) -> None:
    expected = [(node, tick, [1] if tick == 18 else []) for node in (0, 2) for tick in (4, 18, 30)]
    equal(sorted(said_of(said, "suspects")), expected)
    equal(said_of(said, "heard"), [[]] * len(said_of(said, "heard")))


async def _ends(node: Node) -> None:
    """End a run of programs that return at once."""


LIFE: tuple[Case, ...] = (
    Case(
        "a node that goes down may clean up but not wait",
        _awaits_at_the_end,
        nothing,
        faults=(Outage(0, TICK_S),),
        fails=ContractError,
    ),
    Case(
        "what a node sends while it goes down is dropped",
        _sends_as_it_ends,
        lambda said: equal(said_of(said, "heard"), [None]),
        faults=(Outage(0, 2 * TICK_S),),
    ),
    Case(
        "a crash ends the tasks of nested groups",
        _nested_crash,
        lambda said: equal(sorted(said_of(said, "end")), ["child", "grandchild"]),
        faults=(Outage(1, TICK_S),),
    ),
    Case(
        "a crash ends tasks, clears memory, keeps the disk",
        _crashes,
        _check_crashes,
        faults=(Outage(1, 3 * TICK_S, 6 * TICK_S),),
    ),
    Case(
        "messages to a node that is down are lost to it",
        _down_receivers,
        lambda said: equal(said_of(said, "first"), ["after the return"]),
        faults=(Outage(1, 2 * TICK_S, 8 * TICK_S),),
    ),
    Case(
        "a silent node is suspected until it is heard again, and programs receive no heartbeats",
        _suspects,
        _check_suspects,
        ((1, 2), (0, 2), (0, 1)),
        faults=(Outage(1, 6 * TICK_S, 20 * TICK_S),),
        detector=HeartbeatDetector(TICK_S, 6 * TICK_S),
    ),
    Case("a run without work ends", _ends, nothing),
)
