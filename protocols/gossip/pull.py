"""Asynchronous pull gossip: step on the own data, ask one random neighbour for its model.

The neighbour answers at once with the model it has then. Pulling spreads what few know more slowly than pushing, and
what nearly all know faster (Karp et al. 2000, FOCS; Jelasity et al. 2005, ACM TOCS 23(3), for averages).
"""

from __future__ import annotations

from protocols.gossip.asynchronous import Gossiper, Manners, Pace
from protocols.gossip.learner import Learner
from simulator.contract.node import Node

PULL = Manners("pull", shows=False, asks=True)


async def pull(node: Node, learner: Learner, pace: Pace) -> None:
    """One node's program: ``rounds`` local updates, one about every ``period_s`` seconds.

    A request or an answer that is lost costs that exchange and nothing else; nobody waits for it. A node that has
    made its last step goes on answering until nobody has asked for two periods.

    Guarantees:
        Whoever asks reads the model, as often as it asks: a curious neighbour decides itself how many of the states
        it sees. The bound does not depend on that: with noise of multiplier z on each of T updates, the node's data
        are protected with (√T / z)-GDP against any observer.
    """
    await Gossiper(node, learner, pace, PULL).run()
