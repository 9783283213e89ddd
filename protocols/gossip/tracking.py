"""Gradient tracking: beside its model a node mixes an estimate of the average step of all nodes.

DIGing of Nedić, Olshevsky and Shi 2017 (arXiv 1607.03218) in the adapt-then-combine form that D-PSGD has here too,
which is NEXT of Di Lorenzo and Scutari 2016 (arXiv 1602.00591) with unscaled steps. With the local step
d = local_update(x) − x, which is −step times the (clipped and noised) gradient,

    y_r = Σ W y_{r−1} + d_r − d_{r−1},        x_{r+1} = Σ W (x_r + y_r),        y_0 = d_0,

where Σ W y_{r−1} is the mix of what neighbours sent in the round before. (DIGing itself moves after mixing,
x_{r+1} = Σ W x_r + y_r, and needs far smaller steps on sparse graphs.) The sum of all y is the sum of all d at any
time, so that y tends to the average step and, without noise, x to the optimum of the average loss itself: D-PSGD
with a constant step keeps a bias when nodes hold different data. Both vectors, x + y and y, travel in one message
of twice the size. One gradient a round; rounds are kept in step by the local barrier of D-PSGD. Weights have to be
doubly stochastic.

Losses. The weight of a missing neighbour falls to the own x and y of that round. Rows still sum to 1; the sum of y no
longer equals the sum of d and is never corrected, so lost messages bias the later steps. A node that returns
continues
with the tracker on its disk, for the same reason: a new one would lose its part of the sum. Long runs on lossy links
should use a reliable transport.
"""

from __future__ import annotations

from functools import partial

from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import show, shown, tell
from protocols.gossip.peers import Barrier, shares
from simulator.contract.node import Node


async def tracking(node: Node, learner: Learner, rounds: int, timeout_s: float) -> None:
    """Run gradient tracking at one node.

    The disk holds model, tracker, last step and the next round *before* a round begins, so a node that crashes in the
    middle never repeats a round, and with it never reuses that round's noise.

    Args:
        node: the node; its links may change, their weights must be doubly stochastic.
        learner: local training and lineage.
        rounds: local updates of each node.
        timeout_s: longest wait for a neighbour in a round, seconds.

    Guarantees:
        Neighbours read model and tracker, both linear in the noisy local updates. With noise of multiplier z on each
        of T updates, the node's data are protected with (√T / z)-GDP against any observer. The tracker carries the
        noise of one round twice, added and subtracted: tracking suffers more from noise than D-PSGD.
    """
    barrier = Barrier(node, "model", timeout_s)
    disk = node.disk
    model: Model = disk.get("model", learner.start)
    tracker: Model | None = disk.get("tracker")
    last: Model | None = disk.get("last")
    round: int = disk.get("round", 0)
    if "model" in disk:
        round = max(round, await barrier.catch_up())
    while round < rounds:
        disk.update(model=model, tracker=tracker, last=last, round=round + 1)
        stepped = await learner.local_update(node, model, round)
        step = await learner.combine(node, round, [(1.0, stepped), (-1.0, model)])
        if tracker is None or last is None:
            tracker = step
        else:
            tracker = await learner.combine(node, round, [(1.0, tracker), (1.0, step), (-1.0, last)])
        last = step
        moved = await learner.combine(node, round, [(1.0, model), (1.0, tracker)])
        links = node.links(round)
        tell(node, links.to, round, [moved, tracker], partial(show, learner, "model", round))
        heard = await barrier.collect(round, links.sources)
        own, weights = shares(links.weights, heard)
        theirs = {v: shown(said) for v, said in heard.items()}
        node.record("mixed", round=round, heard=len(heard), of=len(links.sources))
        models = [(own, moved), *((weights[v], x) for v, (x, _) in theirs.items())]
        trackers = [(own, tracker), *((weights[v], y) for v, (_, y) in theirs.items())]
        model = await learner.combine(node, round, models)
        tracker = await learner.combine(node, round, trackers)
        round += 1
        node.record("model", round=round, value=model.params)
    disk.update(model=model, tracker=tracker, last=last, round=rounds)
    node.record("finished", rounds=rounds)
