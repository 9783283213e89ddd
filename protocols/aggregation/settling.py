"""Bringing a node's model into the public range before local updates start from it."""

from __future__ import annotations

from protocols.aggregation.public_range import PublicRange
from protocols.gossip.learner import Model
from protocols.privacy.lineage import Lineage
from simulator.contract.node import Node

CONFINED = "confined"
"""Kind of the record of a model that others had led out of the range."""


def settled(node: Node, lineage: Lineage, known: PublicRange | None, round: int, model: Model) -> Model:
    """The model itself if it is in the range, or if there is none to be in; otherwise what replaces it.

    A replacement is counted, and is no linear function of the model: the lineage has it as opaque.

    Args:
        node: whose.
        lineage: of the run.
        known: the range.
        round: the node is in.
        model: what others, among them Byzantine ones, have made of it.

    Guarantees:
        The result is in the range, whatever the model was, NaN and infinity included. Nothing is sent, and no time
        passes: whether a model was replaced shows in what the node sends next, which is charged as what it is.
    """
    if known is None or known.holds(values := node.read(model.params)):
        return model
    node.record(CONFINED, round=round)
    state = lineage.opaque(node.now_s, node.id, round, [model.state])
    return Model(known.nearest(values), state)
