"""Training on everybody's data at one place: a yardstick, no protocol, for nobody would have to give its data away.

All samples are with node 0 when the run is built, and so is the only training; the other nodes are there to report
the same model. An update has as many steps as a node's, and each of them takes as many samples as all nodes take
together, in the time that one of them takes. With full batches and one step that is what D-PSGD on a loss-free
complete graph does, up to rounding, at no cost in messages. It is no upper bound by any theorem: with batches every
sample counts alike here, where an average of nodes' batches weighs the samples of small nodes more.
"""

from __future__ import annotations

from protocols.gossip.learner import Learner, Model
from simulator.contract.node import Node

POOL = 0
"""The node that has all data."""


async def centralised(node: Node, learner: Learner, rounds: int) -> None:
    """One node's program: ``rounds`` updates with all data at node 0, nothing at the others.

    Guarantees:
        None, and none is claimed: the data were pooled before the run began.
    """
    model: Model = learner.start
    for round in range(rounds if node.id == POOL else 0):
        model = await learner.local_update(node, model, round)
        node.record("common model", round=round + 1, value=model.params)
    node.record("finished", rounds=rounds)
