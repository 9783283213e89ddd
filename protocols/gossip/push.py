"""Asynchronous push gossip: step on the own data, push the model to one random neighbour, never wait.

After Ormándi, Hegedűs and Jelasity 2013 (gossip learning), with the plain rule "merge what arrived, then
update": every received model is averaged half and half into the node's own, in the order of arrival.
"""

from __future__ import annotations

from protocols.gossip.direct import HEADER_BYTES
from protocols.gossip.learner import VALUE_BYTES, Learner, Model
from protocols.privacy.lineage import Visible
from simulator.node import Message, Node

JITTER = 0.1
"""Relative spread of a node's period, so that nodes do not march in step."""


async def push(node: Node, learner: Learner, rounds: int, period_s: float) -> None:
    """One node's program: ``rounds`` local updates, one about every ``period_s`` seconds.

    Guarantees:
        As for a direct exchange: receivers read the model. With noise of multiplier z on each of T updates,
        the node's data are protected with (√T / z)-GDP against any observer.
    """
    model: Model = node.disk.get("model", learner.start)
    first: int = node.disk.get("round", 0)
    for round in range(first, rounds):
        draw = node.rng("push", round)
        await node.sleep(period_s * (1 + JITTER * (2 * draw.random() - 1)))
        model = await _merge(node, learner, model, round)
        node.disk.update(model=model, round=round + 1)
        model = await learner.local_update(node, model, round)
        node.record("model", round=round + 1, value=model.params)
        around = node.links(round).to
        if not around:
            continue
        peer = int(draw.choice(around))
        said: Model = node.outgoing(model, to=peer, round=round)
        size = HEADER_BYTES + VALUE_BYTES * learner.size
        node.send(peer, Message("model", round, said.params, size, release=Visible(said.state)))
    await node.sleep(2 * period_s)
    model = await _merge(node, learner, model, rounds)
    node.disk.update(model=model, round=rounds)
    node.record("model", round=rounds, value=model.params)
    node.record("finished", rounds=rounds)


async def _merge(node: Node, learner: Learner, model: Model, round: int) -> Model:
    """Average every model in the mailbox into the own one."""
    while (delivery := await node.receive(timeout_s=0)) is not None:
        received = Model(delivery.message.body, delivery.message.release.state)
        model = await learner.combine(node, round, [(0.5, model), (0.5, received)])
    return model
