"""Hierarchical federated averaging on a tree: aggregators average their leaves often, the root everybody now and
then.

HierFAVG, Liu et al. 2020 (arXiv 1905.06641): ``mix_every`` local updates between averages at the aggregators, and
``global_every`` of those between averages at the root. On deeper trees every further level averages ``global_every``
times more rarely. A result counts by what is in it: the nodes, or the samples, that its average holds.
"""

from __future__ import annotations

from protocols.gossip.federation import FederationPlan, Member
from protocols.gossip.learner import Learner
from simulator.contract.node import Node


async def hierarchical(node: Node, learner: Learner, plan: FederationPlan) -> None:
    """One node's program.

    Leaves report the last model their aggregator sent, aggregators and the root what they averaged last.

    Guarantees:
        An aggregator reads the models of those just below it, and everybody the model from above. With noise of
        multiplier z on each of T updates, a node's data are protected with (√T / z)-GDP against any observer.
    """
    await Member(node, learner, plan).run()
