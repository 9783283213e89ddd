"""D-PSGD: a local step in every round, then a weighted average with the neighbours.

Adapt-then-combine form of Lian et al. 2017 (arXiv 1705.09056): x_v ← Σ_w W_vw (x_w − η·g_w), synchronised by
local barriers: a node enters a round when it has finished the one before, so neighbours stay within about a time-out
of each other and no node waits for the whole network. With several local updates between mixes it is local (or
periodic) decentralised SGD (Koloskova et al. 2020, arXiv 2003.10422). On links that are redrawn every round it is
epidemic learning (de Vos et al. 2023, arXiv 2310.01972). With several mixes after an update it gossips averages: one
round of them is Muffliato (Cyffers et al. 2022, arXiv 2206.05091) without its acceleration.
"""

from __future__ import annotations

from protocols.gossip.exchange import ExchangeFactory
from protocols.gossip.learner import Learner, Model
from simulator.contract.node import Node


async def dsgd(
    node: Node,
    learner: Learner,
    exchange_for: ExchangeFactory,
    rounds: int,
    mix_every: int = 1,
    mixes: int = 1,
) -> None:
    """Run D-PSGD at one node: a round is one local update, and every ``mix_every``-th ends with ``mixes`` mixes.

    The disk holds the model and the next round *before* a round begins, so a node that crashes within it never
    repeats a round, and never reuses that round's noise or masks. After outages and skipped rounds there can be more
    than ``mix_every`` updates between two mixes; the model is then brought into the public range in between.
    """
    exchange = exchange_for(node)
    returning = "model" in node.disk
    model: Model = node.disk.get("model", learner.start)
    round: int = node.disk.get("round", 0)
    updates: int = node.disk.get("updates", 0)  # since the model was last in the public range
    await exchange.join()
    if returning:
        round = max(round, await exchange.catch_up() // mixes)
    round = max(
        round, exchange.pace // mixes
    )  # the key agreement takes time, and the neighbours did not wait
    while round < rounds:
        if updates >= mix_every:
            model, updates = exchange.settle(round, model), 0
        node.disk.update(model=model, round=round + 1, updates=updates)
        step = range(round * mixes, (round + 1) * mixes) if (round + 1) % mix_every == 0 else range(0)
        if step:
            exchange.begin(step[0])
        model = await learner.local_update(node, model, round)
        updates += 1
        for number in step:
            if number > step[0]:
                exchange.begin(number)
            model, updates = await exchange.mix(number, model), 0
        round += 1
        node.record("model", round=round, value=model.params)
        round = max(round, exchange.pace // mixes)
    node.disk.update(model=model, round=rounds)
    node.record("finished", rounds=round)
    await exchange.linger(rounds * mixes)
