"""Sending to several at once and waiting for several at once, as clauses of the node contract."""

from __future__ import annotations

from simulator.conformance.harness import LINE, TICK_S, Case, Said, equal, message, nothing, require, said_of
from simulator.contract.node import Node
from simulator.errors import ContractError

_LONG_S = 100 * TICK_S
_STAR = ((1, 2, 3), (0,), (0,), (0,))


async def _multicasts(node: Node) -> None:
    if node.id == 0:
        body = (1, (2.5, "three"))
        node.multicast((2, 1, 3), message("all", 4, body))
        node.multicast((), message("nobody"))
        node.send(1, message("last"))
        return
    got = await node.receive(timeout_s=_LONG_S)
    require(got is not None, "nothing arrived")
    assert got is not None
    node.record("got", value=(got.src, got.message.kind, got.message.round, got.message.body))
    if node.id == 1:
        after = await node.receive(timeout_s=_LONG_S)
        node.record("after", value=None if after is None else after.message.kind)


def _check_multicasts(said: Said) -> None:
    equal(said_of(said, "got"), [(0, "all", 4, (1, (2.5, "three")))] * 3)
    equal(said_of(said, "after"), ["last"])


async def _multicast_beyond_its_links(node: Node) -> None:
    if node.id == 0:
        node.multicast((1, 2), message("hello"))
    else:
        await node.sleep(4 * TICK_S)


async def _multicast_twice_to_one(node: Node) -> None:
    if node.id == 1:
        node.multicast((0, 2, 0), message("hello"))
    else:
        node.record("heard", value=await node.receive(timeout_s=4 * TICK_S))


async def _refusal_can_be_caught(node: Node) -> None:
    if node.id == 1:
        got = await node.receive(timeout_s=4 * TICK_S)
        node.record("heard", value=None if got is None else got.message.kind)
        return
    if node.id == 0:
        try:
            node.multicast((1, 2), message("refused"))
        except ContractError:
            node.send(1, message("sent"))


async def _order(node: Node) -> None:
    if node.id:
        for r in range(5):
            node.multicast(node.neighbors, message("count", r))
        return
    found = []
    while (got := await node.receive(timeout_s=4 * TICK_S)) is not None:
        found.append((got.src, got.message.round))
    node.record("in order", value=all([r for s, r in found if s == src] == [*range(5)] for src in (1, 2, 3)))


async def _gathers(node: Node) -> None:
    """From all that were named, in the order in which they were named, and from no other."""
    if node.id:
        await node.sleep(node.id * TICK_S)
        node.send(0, message("model", 1, node.id))
        return
    got = await node.gather("model", 1, (2, 1))
    node.record("got", value=[(src, m.body) for src, m in got.items()])
    rest = await node.receive(timeout_s=_LONG_S)
    node.record("rest", value=None if rest is None else rest.src)


def _check_gathers(said: Said) -> None:
    equal(said_of(said, "got"), [[(2, 2), (1, 1)]])
    equal(said_of(said, "rest"), [3])


async def _gathers_by_the_deadline(node: Node) -> None:
    if node.id:
        await node.sleep((1 if node.id < 3 else 12) * TICK_S)
        node.send(0, message("model", 1, node.id))
        return
    got = await node.gather("model", 1, node.neighbors, timeout_s=6 * TICK_S)
    node.record("got", value=sorted(got))
    late = await node.gather("model", 1, (3,), timeout_s=_LONG_S)
    node.record("late", value=sorted(late))


def _check_deadline(said: Said) -> None:
    equal(said_of(said, "got"), [[1, 2]])
    equal(said_of(said, "late"), [[3]])


async def _leaves_the_rest(node: Node) -> None:
    if node.id == 1:
        for kind, r in (("other", 1), ("model", 0), ("model", 1), ("model", 2)):
            node.send(0, message(kind, r))
        return
    got = await node.gather("model", 1, (1,), timeout_s=_LONG_S)
    node.record("got", value=[m.round for m in got.values()])
    for _ in range(3):
        rest = await node.receive(timeout_s=_LONG_S)
        node.record("rest", value=None if rest is None else (rest.message.kind, rest.message.round))


def _check_rest(said: Said) -> None:
    equal(said_of(said, "got"), [[1]])
    equal(said_of(said, "rest"), [("other", 1), ("model", 0), ("model", 2)])


async def _takes_the_oldest(node: Node) -> None:
    if node.id == 1:
        for body in ("first", "second", "third"):
            node.send(0, message("model", 1, body))
        return
    if node.id == 2:
        await node.sleep(4 * TICK_S)
        node.send(0, message("model", 1, "late"))
        return
    if node.id == 0:
        got = await node.gather("model", 1, (1, 2), timeout_s=_LONG_S)
        node.record("got", value=[m.body for m in got.values()])
        again = await node.gather("model", 1, (1,), timeout_s=_LONG_S)
        node.record("got", value=[m.body for m in again.values()])
        rest = await node.receive(timeout_s=_LONG_S)
        node.record("got", value=[None if rest is None else rest.message.body])


def _check_oldest(said: Said) -> None:
    equal(said_of(said, "got"), [["first", "late"], ["second"], ["third"]])


async def _polls(node: Node) -> None:
    """A gather without time gives what has arrived, and what comes later is not its own."""
    if node.id:
        await node.sleep((1 if node.id == 1 else 8) * TICK_S)
        node.send(0, message("model", 1, node.id))
        return
    node.record("got", value=sorted(await node.gather("model", 1, node.neighbors, timeout_s=0)))
    await node.sleep(4 * TICK_S)
    node.record("got", value=sorted(await node.gather("model", 1, node.neighbors, timeout_s=0)))
    node.record("got", value=sorted(await node.gather("model", 1, (2, 3), timeout_s=_LONG_S)))
    node.record("left", value=await node.receive(timeout_s=2 * TICK_S))


def _check_polls(said: Said) -> None:
    equal(said_of(said, "got"), [[], [1], [2, 3]])
    equal(said_of(said, "left"), [None])


async def _finds_what_is_held(node: Node) -> None:
    """Part has been looked at, part has arrived unseen, part is still to come."""
    if node.id:
        await node.sleep((0, 1, 4, 9)[node.id] * TICK_S)
        node.send(0, message("model", 1, node.id))
        return
    await node.sleep(2 * TICK_S)
    node.record("polled", value=await node.receive(lambda d: d.message.kind == "none", timeout_s=0))
    await node.sleep(4 * TICK_S)
    node.record("got", value=list(await node.gather("model", 1, node.neighbors, timeout_s=_LONG_S)))
    node.record("got", value=list(await node.gather("model", 1, (), timeout_s=_LONG_S)))


async def _names_a_source_twice(node: Node) -> None:
    if node.id == 0:
        node.record("got", value=list(await node.gather("model", 1, (1, 1), timeout_s=_LONG_S)))
        node.record("in time", value=node.now_s < _LONG_S / 2)
    else:
        node.send(0, message("model", 1))


async def _cancelled_gather(node: Node) -> None:
    """Received messages return to their places, before later and after earlier ones."""
    if node.id == 1:
        for i, (kind, r) in enumerate((("word", 0), ("model", 1), ("word", 2))):
            await node.sleep(TICK_S)
            node.send(0, message(kind, r, i))
        return
    if node.id:
        return

    async def first() -> None:
        await node.gather("model", 1, (1, 2))

    async with node.tasks() as group:
        group.spawn(first())
        await node.sleep(6 * TICK_S)
        group.cancel()
    for _ in range(3):
        got = await node.receive(timeout_s=_LONG_S)
        node.record("got", value=None if got is None else got.message.body)


async def _concurrent_gathers(node: Node) -> None:
    """First come, first served; each ends as soon as it has its own."""
    if node.id:
        for i in range(2):
            await node.sleep(2 * TICK_S)
            node.send(0, message("model", 1, (node.id, i)))
        if node.id == 3:
            node.send(0, message("word", 1, (node.id, 2)))
        return

    async def waits(name: str, kind: str, *sources: int) -> None:
        got = await node.gather(kind, 1, sources, timeout_s=_LONG_S)
        node.record(name, value=[m.body for m in got.values()])

    async with node.tasks() as group:
        group.spawn(waits("first", "model", 1, 2))
        group.spawn(waits("second", "model", 1, 3))
        group.spawn(waits("third", "word", 3))
    got = []
    while (rest := await node.receive(timeout_s=4 * TICK_S)) is not None:
        got.append(rest.message.body)
    node.record("rest", value=sorted(got))


def _check_concurrent(said: Said) -> None:
    equal(said_of(said, "first"), [[(1, 0), (2, 0)]])
    equal(said_of(said, "second"), [[(1, 1), (3, 0)]])
    equal(said_of(said, "third"), [[(3, 2)]])
    equal(said_of(said, "rest"), [[(2, 1), (3, 1)]])


async def _receives_beside_a_gather(node: Node) -> None:
    """A receive that ends, or is cancelled, leaves the gather beside it waiting for all it wants."""
    if node.id:
        node.send(0, message("word", 0, node.id))
        await node.sleep((2 + 3 * node.id) * TICK_S)
        node.send(0, message("model", 1, node.id))
        return

    async def gathers() -> None:
        got = await node.gather("model", 1, node.neighbors)
        node.record("got", value=list(got))

    async def listens() -> None:
        for _ in range(3):
            got = await node.receive(lambda d: d.message.kind == "word", timeout_s=_LONG_S)
            node.record("word", value=None if got is None else got.src)
        await node.receive(lambda d: d.message.kind == "nothing")

    async with node.tasks() as outer:
        outer.spawn(gathers())
        async with node.tasks() as inner:
            inner.spawn(listens())
            await node.sleep(4 * TICK_S)
            inner.cancel()


def _check_beside(said: Said) -> None:
    equal(sorted(said_of(said, "word")), [1, 2, 3])
    equal(said_of(said, "got"), [[1, 2, 3]])


GATHERS: tuple[Case, ...] = (
    Case("a multicast is the same message to all", _multicasts, _check_multicasts, _STAR),
    Case(
        "a multicast to a node without a link is refused",
        _multicast_beyond_its_links,
        nothing,
        LINE,
        fails=ContractError,
    ),
    Case(
        "a multicast twice to one node is refused, and no node receives it",
        _multicast_twice_to_one,
        lambda said: equal([v for v in said_of(said, "heard") if v is not None], []),
        LINE,
        fails=ContractError,
    ),
    Case(
        "what is refused is not sent at all",
        _refusal_can_be_caught,
        lambda said: equal(said_of(said, "heard"), ["sent"]),
        LINE,
    ),
    Case(
        "messages of one sender arrive in their order",
        _order,
        lambda said: equal(said_of(said, "in order"), [True]),
        _STAR,
    ),
    Case("a gather waits for all it named", _gathers, _check_gathers, _STAR),
    Case("a gather out of time has what is there", _gathers_by_the_deadline, _check_deadline, _STAR),
    Case("a gather leaves what it does not want", _leaves_the_rest, _check_rest),
    Case("a gather takes the oldest of each source", _takes_the_oldest, _check_oldest, _STAR),
    Case("a gather without time does not wait", _polls, _check_polls, _STAR),
    Case(
        "a gather finds what was there before it",
        _finds_what_is_held,
        lambda said: equal(said_of(said, "got"), [[1, 2, 3], []]),
        _STAR,
    ),
    Case(
        "a source named twice is one source",
        _names_a_source_twice,
        lambda said: equal((said_of(said, "got"), said_of(said, "in time")), ([[1]], [True])),
    ),
    Case(
        "a cancelled gather gives everything back in order",
        _cancelled_gather,
        lambda said: equal(said_of(said, "got"), [0, 1, 2]),
        _STAR,
    ),
    Case("gathers beside each other are served in turn", _concurrent_gathers, _check_concurrent, _STAR),
    Case("a receive beside a gather takes nothing from it", _receives_beside_a_gather, _check_beside, _STAR),
)
