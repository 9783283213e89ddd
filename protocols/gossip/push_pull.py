"""Asynchronous push-pull gossip: step on the own data, swap models with one random neighbour.

The offer shows the own model, the answer the neighbour's as it is when the offer comes; each side merges what it got
when its own clock next ticks. Both moves are made at different times and from different models, so that averages are
kept only roughly, unlike :mod:`protocols.gossip.pairwise` (Jelasity, Montresor and Babaoglu 2005, ACM TOCS 23(3)).
"""

from __future__ import annotations

from protocols.gossip.asynchronous import Gossiper, Manners, Pace
from protocols.gossip.learner import Learner
from simulator.contract.node import Node

PUSH_PULL = Manners("push-pull", shows=True, asks=True)


async def push_pull(node: Node, learner: Learner, pace: Pace) -> None:
    """One node's program: ``rounds`` local updates, one about every ``period_s`` seconds.

    A lost offer costs the whole exchange, a lost answer its half. A node that has made its last step goes on
    answering until nothing has come for two periods.

    Guarantees:
        As for a direct exchange: partners read the model. With noise of multiplier z on each of T updates, the node's
        data are protected with (√T / z)-GDP against any observer.
    """
    await Gossiper(node, learner, pace, PUSH_PULL).run()
