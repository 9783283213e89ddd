"""The clauses of the node contract as small programs and checks of what they record."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np

from simulator.adversary import Adversary
from simulator.compute import Op
from simulator.errors import ContractError, NodeDown
from simulator.faults import Outage
from simulator.node import Match, Message, Node
from simulator.testing import TICK_S, Case, Said, require


def _equal(found: Any, expected: Any) -> None:
    require(found == expected, f"found {found!r}, expected {expected!r}")


def _of(said: Said, kind: str, node: int | None = None) -> list[Any]:
    return [f.get("value") for n, k, f in said if k == kind and node in (None, n)]


def _message(kind: str, round: int = 0, body: Any = None, release: Any = None) -> Message:
    return Message(kind, round, body, 8, release)


# ---------------------------------------------------------------- what a node knows


async def _knows(node: Node) -> None:
    fixed = (node.id, node.neighbors, node.members(0), round(node.weight(0, receiver=1), 6))
    node.record("facts", value=fixed)
    node.record("row", value=round(node.weight(node.id) + sum(node.weight(v) for v in node.neighbors), 9))


def _check_knows(said: Said) -> None:
    _equal(sorted(_of(said, "facts"))[0], (0, (1, 2), (1, 2), round(1 / 3, 6)))
    _equal(_of(said, "row"), [1.0, 1.0, 1.0])


async def _draws(node: Node) -> None:
    first = [node.rng("a", 1).random(), node.rng("b", 1).random(), node.rng("a", 1).random()]
    node.record(
        "draws", value=(first[0] == first[2], first[0] != first[1], node.rng("a", 2).random() != first[0])
    )
    node.record("own", value=node.rng("a", 1).random())
    node.record("secret", value=(len(node.secret("k", 32)), node.secret("k", 32) != node.secret("l", 32)))


def _check_draws(said: Said) -> None:
    _equal(_of(said, "draws"), [(True, True, True)] * 2)
    _equal(len(set(_of(said, "own"))), 2)
    _equal(_of(said, "secret"), [(32, True)] * 2)


# ---------------------------------------------------------------- messages


async def _stranger(node: Node) -> None:
    if node.id == 0:
        node.send(2, _message("hello"))


async def _bodies(node: Node) -> None:
    body = (1, -2.5, "three", b"four", None, True, (5, (6,)), np.arange(4, dtype=np.uint32))
    if node.id == 0:
        node.send(1, _message("all", 7, body))
        return
    got = await node.receive(timeout_s=100 * TICK_S)
    require(got is not None, "nothing arrived")
    assert got is not None
    node.record("body", value=got.message.body[:-1] == body[:-1])
    array = got.message.body[-1]
    node.record("array", value=(array.dtype == np.uint32, array.tolist(), got.message.round, got.src))
    node.record("times", value=got.sent_s <= got.delivered_s <= node.now_s)


def _check_bodies(said: Said) -> None:
    _equal(_of(said, "body"), [True])
    _equal(_of(said, "array"), [(True, [0, 1, 2, 3], 7, 0)])
    _equal(_of(said, "times"), [True])


def _is(kind: str) -> Match:
    return lambda delivery: delivery.message.kind == kind


async def _selects(node: Node) -> None:
    if node.id == 0:
        for i in range(3):
            node.send(1, _message("even" if i % 2 == 0 else "odd", i))
            await node.sleep(TICK_S)
        return
    for kind in ("odd", "even", "even"):
        got = await node.receive(_is(kind), timeout_s=100 * TICK_S)
        node.record("got", value=None if got is None else got.message.round)
    node.record("polled", value=await node.receive(timeout_s=0))


def _check_selects(said: Said) -> None:
    _equal(_of(said, "got"), [1, 0, 2])
    _equal(_of(said, "polled"), [None])


async def _expires(node: Node) -> None:
    """The lost race: a receive that expired must not swallow the message that comes after."""
    if node.id == 0:
        await node.sleep(4 * TICK_S)
        node.send(1, _message("late"))
        return
    node.record("expired", value=await node.receive(timeout_s=TICK_S))
    got = await node.receive(timeout_s=100 * TICK_S)
    node.record("kept", value=None if got is None else got.message.kind)


def _check_expires(said: Said) -> None:
    _equal(_of(said, "expired"), [None])
    _equal(_of(said, "kept"), ["late"])


async def _cancelled_receive(node: Node) -> None:
    if node.id == 0:
        await node.sleep(3 * TICK_S)
        node.send(1, _message("for the second"))
        return

    async def first() -> None:
        await node.receive()

    async with node.tasks() as group:
        group.spawn(first())
        await node.sleep(TICK_S)
        group.cancel()
    got = await node.receive(timeout_s=100 * TICK_S)
    node.record("got", value=None if got is None else got.message.kind)


async def _failing_match(node: Node) -> None:
    if node.id == 0:
        await node.sleep(TICK_S)
        node.send(1, _message("any"))
        await node.sleep(2 * TICK_S)
        node.record("sender lives")
        return

    def broken(delivery: Any) -> bool:
        raise KeyError("match")

    try:
        await node.receive(broken, timeout_s=100 * TICK_S)
    except KeyError:
        got = await node.receive(timeout_s=100 * TICK_S)
        node.record("kept", value=got is not None)


async def _released(node: Node) -> None:
    if node.id == 0:
        node.send(1, _message("seen", 3, release="tag"))
    await node.sleep(4 * TICK_S)


def _check_released(said: Said) -> None:
    _equal([f for n, k, f in said if k == "released" and n == 1], [{"tag": "tag", "round": 3}])


async def _lies(node: Node) -> None:
    for peer in node.neighbors:
        node.record("says", value=(node.id, peer, node.outgoing(10, to=peer, round=1)))


def _check_lies(said: Said) -> None:
    _equal(sorted(_of(said, "says")), [(0, 1, 10), (1, 0, -10), (1, 2, 30), (2, 1, 10)])


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
    _equal(_of(said, "slept"), [True, True])
    _equal(_of(said, "order", 0), [1, 3, 5])


_DOUBLE = Op("double", lambda x: 2 * x)


async def _computes(node: Node) -> None:
    value = np.array([1.0, 2.0])
    first = await node.compute(_DOUBLE, value, size=2, cost_s=TICK_S)
    value[:] = 99.0
    second = await node.compute(_DOUBLE, first, size=2)
    node.record("computed", value=(node.read(second).tolist(), second.size))
    if node.id == 0:
        node.send(1, _message("handle", 0, second))
        return
    got = await node.receive(timeout_s=100 * TICK_S)
    assert got is not None
    node.record("carried", value=node.read(got.message.body).tolist())
    third = await node.compute(_DOUBLE, got.message.body, size=2)
    node.record("fed on", value=node.read(third).tolist())


def _check_computes(said: Said) -> None:
    _equal(_of(said, "computed"), [([4.0, 8.0], 2)] * 2)
    _equal(_of(said, "carried"), [[4.0, 8.0]])
    _equal(_of(said, "fed on"), [[8.0, 16.0]])


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
    _equal(_of(said, "child", 0), [1, 2, "after"])


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
    _equal([k for n, k, _ in said if n == 0], ["sibling ended", "caught"])
    _equal(_of(said, "caught", 0), ["from the child"])


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
    _equal([k for n, k, _ in said if n == 0], ["inner caught", "bystander lives"])


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


async def _awaits_at_the_end(node: Node) -> None:
    try:
        await node.sleep(10 * TICK_S)
    finally:
        await node.sleep(TICK_S)


async def _last_words(node: Node) -> None:
    if node.id == 0:
        try:
            await node.sleep(1000 * TICK_S)
        finally:
            node.send(1, _message("last words"))
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
    _equal(_of(said, "life", 1), [1, 2])
    _equal(_of(said, "mailbox"), [None])
    _equal(_of(said, "survived"), [])
    _equal(_of(said, "cleaned up"), [1])


async def _down_receivers(node: Node) -> None:
    if node.id == 0:
        await node.sleep(4 * TICK_S)
        node.send(1, _message("into the void"))
        await node.sleep(6 * TICK_S)
        node.send(1, _message("after the return"))
        await node.sleep(2 * TICK_S)
        return
    while "returned" not in node.disk:
        node.disk["returned"] = True
        await node.sleep(1000 * TICK_S)
    got = await node.receive(timeout_s=100 * TICK_S)
    node.record("first", value=None if got is None else got.message.kind)


async def _ends(node: Node) -> None:
    """Nothing to do: a run of programs that return at once ends at once."""


def _nothing(said: Said) -> None:
    """Whatever was said conforms."""


def _liar(node: Node, content: Any, to: int, round: int) -> Any:
    return -content if to == 0 else 3 * content


_LINE = ((1,), (0, 2), (1,))

BATTERY: tuple[Case, ...] = (
    Case("a node knows its neighbours, members and weights", _knows, _check_knows, ((1, 2), (0, 2), (0, 1))),
    Case("streams depend on node, purpose and key alone", _draws, _check_draws),
    Case("sending to a stranger is refused", _stranger, _nothing, _LINE, fails=ContractError),
    Case("bodies arrive as they were sent", _bodies, _check_bodies),
    Case("a receive takes the oldest match", _selects, _check_selects),
    Case("an expired receive takes nothing", _expires, _check_expires),
    Case(
        "a cancelled receive takes nothing",
        _cancelled_receive,
        lambda said: _equal(_of(said, "got"), ["for the second"]),
    ),
    Case(
        "a match that raises fails its own receive and loses nothing",
        _failing_match,
        lambda said: _equal(
            sorted((k, f.get("value")) for _, k, f in said), [("kept", True), ("sender lives", None)]
        ),
    ),
    Case("a release is reported at delivery although nobody receives", _released, _check_released),
    Case(
        "a Byzantine node may tell each neighbour something else",
        _lies,
        _check_lies,
        _LINE,
        adversary=Adversary(byzantine={1: _liar}),
    ),
    Case("sleeping takes time and keeps order", _sleeps, _check_sleeps),
    Case("computing fixes its inputs and handles travel", _computes, _check_computes),
    Case("a group waits for its tasks", _waits_for_tasks, _check_waits),
    Case(
        "a failing task ends its siblings and the body, and is itself raised",
        _child_fails,
        _check_child_fails,
    ),
    Case("groups nest", _nested, _check_nested),
    Case("what the contract does not offer cannot be awaited", _foreign, _nothing, fails=ContractError),
    Case(
        "cancelled tasks see NodeDown, and the body goes on",
        _cancelled_tasks,
        lambda said: _equal(_of(said, "end", 0), ["NodeDown", "finally", "body goes on"]),
    ),
    Case(
        "a task that cancels its own group ends at its next await",
        _cancels_itself,
        lambda said: _equal(_of(said, "end", 0), ["to its next await", "left"]),
    ),
    Case(
        "an error of the body ends the tasks first",
        _body_fails,
        lambda said: _equal(_of(said, "end", 0), ["child ended", "of the body"]),
    ),
    Case(
        "a group of errors raised by a task stays what it is",
        _groups_of_errors,
        lambda said: _equal(_of(said, "end", 0), [2]),
    ),
    Case(
        "nothing is spawned once the block is left",
        _spawns_too_late,
        lambda said: _equal(said, []),
        fails=ContractError,
    ),
    Case(
        "a node that goes down may clean up but not wait",
        _awaits_at_the_end,
        _nothing,
        faults=(Outage(0, TICK_S),),
        fails=ContractError,
    ),
    Case(
        "what a node says while it goes down is not heard",
        _last_words,
        lambda said: _equal(_of(said, "heard"), [None]),
        faults=(Outage(0, 2 * TICK_S),),
    ),
    Case(
        "a crash ends the tasks of nested groups",
        _nested_crash,
        lambda said: _equal(sorted(_of(said, "end")), ["child", "grandchild"]),
        faults=(Outage(1, TICK_S),),
    ),
    Case("an error of a program names its node", _raises, _nothing, fails=ValueError),
    Case(
        "a crash ends tasks, clears memory, keeps the disk",
        _crashes,
        _check_crashes,
        faults=(Outage(1, 3 * TICK_S, 6 * TICK_S),),
    ),
    Case(
        "messages to a node that is down are lost to it",
        _down_receivers,
        lambda said: _equal(_of(said, "first"), ["after the return"]),
        faults=(Outage(1, 2 * TICK_S, 8 * TICK_S),),
    ),
    Case("a run without work ends", _ends, _nothing),
)
