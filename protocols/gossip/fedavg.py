"""Federated averaging on a star: the server asks some clients to train from its model and averages what comes back.

McMahan et al. 2017 (arXiv 1602.05629). The server is node 0, in the middle; it may hold data like everybody else. A
baseline for gossip: it has one point where everything meets, which sees every client's update and whose crash stops
the run until it is back.

A local update moves a model by a fixed public factor times the *sum* of gradients over a node's samples. With one
update between averages (``mix_every = 1``) equal weights therefore already follow the gradient over all samples;
weights by samples count those with much data twice then, and are meant for updates that are normalised per sample.
"""

from __future__ import annotations

from protocols.gossip.federation import FederationPlan, Member
from protocols.gossip.learner import Learner
from simulator.contract.node import Node


async def fedavg(node: Node, learner: Learner, plan: FederationPlan) -> None:
    """One node's program; the tree of ``plan`` has one level below its root.

    A client reports the last model the server sent to it, not the one it is working on.

    Guarantees:
        The server reads every client's model, clients read the server's. With noise of multiplier z on each of T
        updates, a node's data are protected with (√T / z)-GDP against any observer; a client that is asked less often
        loses less, and sampling of clients is not counted as amplification.
    """
    await Member(node, learner, plan).run()
