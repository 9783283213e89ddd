"""Asynchronous push gossip: step on the own data, push the model to one random neighbour, never wait.

After Ormándi, Hegedűs and Jelasity 2013 (arXiv 1109.1396, gossip learning). A received model is merged when the
receiver's clock next ticks; see :class:`~protocols.gossip.merging.MergeRules` for how.
"""

from __future__ import annotations

from protocols.gossip.asynchronous import Gossiper, Manners, Pace
from protocols.gossip.learner import Learner
from simulator.contract.node import Node

PUSH = Manners("push", shows=True, asks=False)


async def push(node: Node, learner: Learner, pace: Pace) -> None:
    """One node's program: ``rounds`` local updates, one about every ``period_s`` seconds.

    A lost push loses nothing but its influence: the sender keeps its model.

    Guarantees:
        As for a direct exchange: receivers read the model. With noise of multiplier z on each of T updates,
        the node's data are protected with (√T / z)-GDP against any observer.
    """
    await Gossiper(node, learner, pace, PUSH).run()
