"""Centralised training on pooled data: a baseline for comparison, with no privacy claim.

All samples are at node 0 when the run is built, and so is all training; the other nodes only report the same model.
An update has as many steps as a node's, each with as many samples as all nodes take together, in the virtual time of
one node's step. With full batches and one step it equals, up to rounding, D-PSGD on a complete graph without losses,
at no cost in messages. It is no upper bound by any theorem: with batches every sample has the same weight here,
whereas an average of nodes' batches gives the samples of small nodes more weight.
"""

from __future__ import annotations

from protocols.gossip.learner import Learner, Model
from simulator.contract.node import Node

POOL = 0
"""Node that holds all data."""


async def centralised(node: Node, learner: Learner, rounds: int) -> None:
    """Run centralised training at one node: ``rounds`` updates with all data at node 0, nothing at the others.

    Guarantees:
        None, and none is claimed: the data were pooled before the run began.
    """
    model: Model = learner.start
    for round in range(rounds if node.id == POOL else 0):
        model = await learner.local_update(node, model, round)
        node.record("common model", round=round + 1, value=model.params)
    node.record("finished", rounds=rounds)
