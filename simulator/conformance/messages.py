"""Clauses of the node contract about what a node knows, sends and receives."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.adversary.coalition import Adversary
from simulator.conformance.harness import LINE, TICK_S, Case, Said, equal, message, nothing, require, said_of
from simulator.contract.knowledge import Context
from simulator.contract.node import Match, Node
from simulator.errors import ContractError

# ---------------------------------------------------------------- what a node knows


async def _knows(node: Node) -> None:
    fixed = (node.id, node.neighbors, node.members(0), round(node.weight(0, receiver=1), 6))
    node.record("facts", value=fixed)
    node.record("row", value=round(node.weight(node.id) + sum(node.weight(v) for v in node.neighbors), 9))


def _check_knows(said: Said) -> None:
    equal(sorted(said_of(said, "facts"))[0], (0, (1, 2), (1, 2), round(1 / 3, 6)))
    equal(said_of(said, "row"), [1.0, 1.0, 1.0])


async def _links(node: Node) -> None:
    for links in (node.links(), node.links(7)):
        node.record("links", value=(node.id, links.to, links.sources))
        node.record("alike", value=all(links.weights[v] == node.weight(v) for v in links.sources))
    node.record("nobody", value=node.suspects)


def _check_links(said: Said) -> None:
    expected = [(0, (1,), (1,)), (1, (0, 2), (0, 2)), (2, (1,), (1,))]
    equal(sorted(said_of(said, "links")), sorted(expected * 2))
    equal(said_of(said, "alike"), [True] * 6)
    equal(said_of(said, "nobody"), [frozenset()] * 3)


async def _draws(node: Node) -> None:
    first = [node.rng("a", 1).random(), node.rng("b", 1).random(), node.rng("a", 1).random()]
    node.record(
        "draws", value=(first[0] == first[2], first[0] != first[1], node.rng("a", 2).random() != first[0])
    )
    drawn = [node.uniform("a", 1), node.uniform("b", 1), node.uniform("a", 1), node.uniform("a", 2)]
    apart = len(set(drawn)) == 3 and drawn[0] == drawn[2] and all(0 < u < 1 for u in drawn)
    node.record("uniforms", value=apart)
    node.record("own", value=node.rng("a", 1).random())
    node.record("secret", value=(len(node.secret("k", 32)), node.secret("k", 32) != node.secret("l", 32)))


def _check_draws(said: Said) -> None:
    equal(said_of(said, "draws"), [(True, True, True)] * 2)
    equal(said_of(said, "uniforms"), [True] * 2)
    equal(len(set(said_of(said, "own"))), 2)
    equal(said_of(said, "secret"), [(32, True)] * 2)


# ---------------------------------------------------------------- messages


async def _sends_beyond_its_links(node: Node) -> None:
    if node.id == 0:
        node.send(2, message("hello"))


async def _bodies(node: Node) -> None:
    body = (1, -2.5, "three", b"four", None, True, (5, (6,)), np.arange(4, dtype=np.uint32))
    if node.id == 0:
        node.send(1, message("all", 7, body))
        return
    got = await node.receive(timeout_s=100 * TICK_S)
    require(got is not None, "nothing arrived")
    assert got is not None
    node.record("body", value=got.message.body[:-1] == body[:-1])
    array = got.message.body[-1]
    node.record("array", value=(array.dtype == np.uint32, array.tolist(), got.message.round, got.src))
    node.record("times", value=got.sent_s <= got.delivered_s <= node.now_s)


def _check_bodies(said: Said) -> None:
    equal(said_of(said, "body"), [True])
    equal(said_of(said, "array"), [(True, [0, 1, 2, 3], 7, 0)])
    equal(said_of(said, "times"), [True])


def _is(kind: str) -> Match:
    return lambda delivery: delivery.message.kind == kind


async def _selects(node: Node) -> None:
    if node.id == 0:
        for i in range(3):
            node.send(1, message("even" if i % 2 == 0 else "odd", i))
            await node.sleep(TICK_S)
        return
    for kind in ("odd", "even", "even"):
        got = await node.receive(_is(kind), timeout_s=100 * TICK_S)
        node.record("got", value=None if got is None else got.message.round)
    node.record("polled", value=await node.receive(timeout_s=0))


def _check_selects(said: Said) -> None:
    equal(said_of(said, "got"), [1, 0, 2])
    equal(said_of(said, "polled"), [None])


async def _drains(node: Node) -> None:
    if node.id == 0:
        for i in range(4):
            node.send(1, message("numbered", i))
            await node.sleep(TICK_S)
        return
    node.record("nothing", value=node.arrived())
    taken = await node.receive(lambda delivery: delivery.message.round == 1, timeout_s=100 * TICK_S)
    rounds = [delivery.message.round for delivery in node.arrived()]
    while len(rounds) < 3:
        await node.sleep(TICK_S)
        rounds += [delivery.message.round for delivery in node.arrived()]
    node.record("drained", value=(taken is not None, rounds, node.arrived()))


def _check_drains(said: Said) -> None:
    equal(said_of(said, "nothing"), [[]])
    equal(said_of(said, "drained"), [(True, [0, 2, 3], [])])


async def _expires(node: Node) -> None:
    """A receive that expired does not consume the message that comes after."""
    if node.id == 0:
        await node.sleep(4 * TICK_S)
        node.send(1, message("late"))
        return
    node.record("expired", value=await node.receive(timeout_s=TICK_S))
    got = await node.receive(timeout_s=100 * TICK_S)
    node.record("kept", value=None if got is None else got.message.kind)


def _check_expires(said: Said) -> None:
    equal(said_of(said, "expired"), [None])
    equal(said_of(said, "kept"), ["late"])


async def _cancelled_receive(node: Node) -> None:
    if node.id == 0:
        await node.sleep(3 * TICK_S)
        node.send(1, message("for the second"))
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
        node.send(1, message("any"))
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
        node.send(1, message("seen", 3, release="tag"))
    await node.sleep(4 * TICK_S)


def _check_released(said: Said) -> None:
    equal([f for n, k, f in said if k == "released" and n == 1], [{"tag": "tag", "round": 3}])


async def _substitutes(node: Node) -> None:
    for peer in node.neighbors:
        node.record("says", value=(node.id, peer, node.outgoing(10, to=peer, round=1)))


def _check_substitutes(said: Said) -> None:
    equal(sorted(said_of(said, "says")), [(0, 1, 10), (1, 0, -10), (1, 2, 30), (2, 1, 10)])


def _negated_or_tripled(known: Context, node: Node, content: Any, to: int, round: int) -> Any:
    return -content if to == 0 else 3 * content


MESSAGES: tuple[Case, ...] = (
    Case("a node knows its neighbours, members and weights", _knows, _check_knows, ((1, 2), (0, 2), (0, 1))),
    Case("links name the neighbours; without a detector none is suspected", _links, _check_links, LINE),
    Case("streams depend on node, purpose and key alone", _draws, _check_draws),
    Case(
        "sending to a node without a link is refused",
        _sends_beyond_its_links,
        nothing,
        LINE,
        fails=ContractError,
    ),
    Case("bodies arrive as they were sent", _bodies, _check_bodies),
    Case("a receive takes the oldest match", _selects, _check_selects),
    Case("everything that has arrived is taken at once, in order", _drains, _check_drains),
    Case("an expired receive takes nothing", _expires, _check_expires),
    Case(
        "a cancelled receive takes nothing",
        _cancelled_receive,
        lambda said: equal(said_of(said, "got"), ["for the second"]),
    ),
    Case(
        "a match that raises fails its own receive and loses nothing",
        _failing_match,
        lambda said: equal(
            sorted((k, f.get("value")) for _, k, f in said), [("kept", True), ("sender lives", None)]
        ),
    ),
    Case("a release is reported at delivery although no program receives", _released, _check_released),
    Case(
        "a Byzantine node may send each neighbour something else",
        _substitutes,
        _check_substitutes,
        LINE,
        adversary=Adversary(byzantine={1: _negated_or_tripled}),
    ),
)
