"""Training alone: every node makes its local updates and sends nothing. Lower baseline for gossip."""

from __future__ import annotations

from protocols.gossip.learner import Learner, Model
from simulator.contract.node import Node


async def local(node: Node, learner: Learner, rounds: int) -> None:
    """Run local training at one node: ``rounds`` local updates, one after another.

    Guarantees:
        Nothing is sent, so no node learns anything; publishing the models afterwards is not covered.
    """
    model: Model = node.disk.get("model", learner.start)
    for round in range(node.disk.get("round", 0), rounds):
        node.disk.update(model=model, round=round + 1)
        model = await learner.local_update(node, model, round)
        node.record("model", round=round + 1, value=model.params)
    node.disk.update(model=model, round=rounds)
    node.record("finished", rounds=rounds)
