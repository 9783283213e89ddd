"""Projection of a node's model into the public range before local updates start from it."""

from __future__ import annotations

from protocols.aggregation.public_range import PublicRange
from protocols.gossip.learner import Model
from protocols.privacy.lineage import Lineage
from simulator.contract.node import Node

CONFINED = "confined"
"""Kind of the record of a model that was outside the range."""


def settled(node: Node, lineage: Lineage, known: PublicRange | None, round: int, model: Model) -> Model:
    """Return the model if it is in the range, or if there is no range; otherwise a replacement in the range.

    A replacement is recorded, and is no linear function of the model: it is opaque in the lineage.

    Args:
        node: owner of the model.
        lineage: record of the run.
        known: the public range; None where there is none.
        round: current round of the node.
        model: result of mixing with others, which may be Byzantine.

    Guarantees:
        The result is in the range for every input, NaN and infinity included. Nothing is sent, and no time passes:
        a replacement is visible only in what the node sends next, which is charged as such.
    """
    if known is None or known.holds(values := node.read(model.params)):
        return model
    node.record(CONFINED, round=round)
    state = lineage.opaque(node.now_s, node.id, round, [model.state])
    return Model(known.nearest(values), state)
