"""Time, computing and task groups, as clauses of the node contract."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from simulator.conformance.harness import TICK_S, Case, Said, equal, message, nothing, said_of
from simulator.contract.compute import Op
from simulator.contract.node import Node
from simulator.errors import ContractError, NodeDown

# ---------------------------------------------------------------- time and computing


async def _sleeps(node: Node) -> None:
    before = node.now_s
    await node.sleep(2 * TICK_S)
    node.record("slept", value=node.now_s - before >= 1.9 * TICK_S)

    async def after(ticks: int) -> None:
        await node.sleep(ticks * TICK_S)
        node.record("order", value=ticks)

    async with node.tasks() as group:
        for ticks in (5, 1, 3):
            group.spawn(after(ticks))


def _check_sleeps(said: Said) -> None:
    equal(said_of(said, "slept"), [True, True])
    equal(said_of(said, "order", 0), [1, 3, 5])


_DOUBLE = Op("double", lambda x: 2 * x)


async def _computes(node: Node) -> None:
    value = np.array([1.0, 2.0])
    first = await node.compute(_DOUBLE, value, size=2, cost_s=TICK_S)
    value[:] = 99.0
    second = await node.compute(_DOUBLE, first, size=2)
    node.record("computed", value=(node.read(second).tolist(), second.size))
    if node.id == 0:
        node.send(1, message("handle", 0, second))
        return
    got = await node.receive(timeout_s=100 * TICK_S)
    assert got is not None
    node.record("carried", value=node.read(got.message.body).tolist())
    third = await node.compute(_DOUBLE, got.message.body, size=2)
    node.record("fed on", value=node.read(third).tolist())


def _check_computes(said: Said) -> None:
    equal(said_of(said, "computed"), [([4.0, 8.0], 2)] * 2)
    equal(said_of(said, "carried"), [[4.0, 8.0]])
    equal(said_of(said, "fed on"), [[8.0, 16.0]])


# ---------------------------------------------------------------- task groups


async def _waits_for_tasks(node: Node) -> None:
    async def child(ticks: int) -> None:
        await node.sleep(ticks * TICK_S)
        node.record("child", value=ticks)

    async with node.tasks() as group:
        group.spawn(child(2))
        group.spawn(child(1))
    node.record("child", value="after")


def _check_waits(said: Said) -> None:
    equal(said_of(said, "child", 0), [1, 2, "after"])


async def _child_fails(node: Node) -> None:
    async def fails() -> None:
        await node.sleep(TICK_S)
        raise LookupError("from the child")

    async def sibling() -> None:
        try:
            await node.sleep(1000 * TICK_S)
        finally:
            node.record("sibling ended")

    try:
        async with node.tasks() as group:
            group.spawn(fails())
            group.spawn(sibling())
            await node.sleep(1000 * TICK_S)
            node.record("body went on")
    except LookupError as error:
        node.record("caught", value=str(error))


def _check_child_fails(said: Said) -> None:
    equal([k for n, k, _ in said if n == 0], ["sibling ended", "caught"])
    equal(said_of(said, "caught", 0), ["from the child"])


async def _nested(node: Node) -> None:
    async def fails() -> None:
        await node.sleep(TICK_S)
        raise LookupError("inner")

    async with node.tasks() as outer:

        async def bystander() -> None:
            await node.sleep(4 * TICK_S)
            node.record("bystander lives")

        outer.spawn(bystander())
        try:
            async with node.tasks() as inner:
                inner.spawn(fails())
        except LookupError:
            node.record("inner caught")


def _check_nested(said: Said) -> None:
    equal([k for n, k, _ in said if n == 0], ["inner caught", "bystander lives"])


async def _raises(node: Node) -> None:
    await node.sleep(TICK_S)
    if node.id == 1:
        raise ValueError("the program's own")
    await node.sleep(2 * TICK_S)


class _Foreign:
    """Awaitable, but not by way of the contract."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def _foreign(node: Node) -> None:
    await _Foreign()


async def _cancelled_tasks(node: Node) -> None:
    async def child() -> None:
        try:
            await node.sleep(1000 * TICK_S)
        except NodeDown:
            node.record("end", value="NodeDown")
            raise
        finally:
            node.record("end", value="finally")

    async with node.tasks() as group:
        group.spawn(child())
        await node.sleep(TICK_S)
        group.cancel()
        node.record("end", value="body goes on")


async def _cancels_itself(node: Node) -> None:
    async with node.tasks() as group:

        async def child() -> None:
            group.cancel()
            node.record("end", value="to its next await")
            await node.sleep(TICK_S)
            node.record("end", value="beyond")

        group.spawn(child())
    node.record("end", value="left")


async def _body_fails(node: Node) -> None:
    async def child() -> None:
        try:
            await node.sleep(1000 * TICK_S)
        finally:
            node.record("end", value="child ended")

    try:
        async with node.tasks() as group:
            group.spawn(child())
            await node.sleep(TICK_S)
            raise LookupError("of the body")
    except LookupError as error:
        node.record("end", value=str(error))


async def _groups_of_errors(node: Node) -> None:
    async def child() -> None:
        raise ExceptionGroup("the program's own", [ValueError(1), KeyError(2)])

    try:
        async with node.tasks() as group:
            group.spawn(child())
    except ExceptionGroup as error:
        node.record("end", value=len(error.exceptions))


async def _spawns_too_late(node: Node) -> None:
    async def child() -> None:
        node.record("outlived the block")

    async with node.tasks() as group:
        pass
    group.spawn(child())


TASKS: tuple[Case, ...] = (
    Case("sleeping takes time and keeps order", _sleeps, _check_sleeps),
    Case("computing fixes its inputs and handles travel", _computes, _check_computes),
    Case("a group waits for its tasks", _waits_for_tasks, _check_waits),
    Case(
        "a failing task ends its siblings and the body, and is itself raised",
        _child_fails,
        _check_child_fails,
    ),
    Case("groups nest", _nested, _check_nested),
    Case("what the contract does not offer cannot be awaited", _foreign, nothing, fails=ContractError),
    Case(
        "cancelled tasks see NodeDown, and the body goes on",
        _cancelled_tasks,
        lambda said: equal(said_of(said, "end", 0), ["NodeDown", "finally", "body goes on"]),
    ),
    Case(
        "a task that cancels its own group ends at its next await",
        _cancels_itself,
        lambda said: equal(said_of(said, "end", 0), ["to its next await", "left"]),
    ),
    Case(
        "an error of the body ends the tasks first",
        _body_fails,
        lambda said: equal(said_of(said, "end", 0), ["child ended", "of the body"]),
    ),
    Case(
        "a group of errors raised by a task stays what it is",
        _groups_of_errors,
        lambda said: equal(said_of(said, "end", 0), [2]),
    ),
    Case(
        "nothing is spawned once the block is left",
        _spawns_too_late,
        lambda said: equal(said, []),
        fails=ContractError,
    ),
    Case("an error of a program names its node", _raises, nothing, fails=ValueError),
)
