"""Training alone: every node makes its local updates and says nothing. What gossip has to be better than."""

from __future__ import annotations

from protocols.gossip.learner import Learner, Model
from simulator.contract.node import Node


async def local(node: Node, learner: Learner, rounds: int) -> None:
    """One node's program: ``rounds`` local updates, one after another.

    Guarantees:
        Nothing is sent, so nobody learns anything; this says nothing about publishing the models afterwards.
    """
    model: Model = node.disk.get("model", learner.start)
    for round in range(node.disk.get("round", 0), rounds):
        node.disk.update(model=model, round=round + 1)
        model = await learner.local_update(node, model, round)
        node.record("model", round=round + 1, value=model.params)
    node.disk.update(model=model, round=rounds)
    node.record("finished", rounds=rounds)
