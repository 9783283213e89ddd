"""AD-PSGD: asynchronous decentralised SGD by pairwise averaging, with gradients computed during the exchange.

Lian et al. 2018 (arXiv 1710.06952): at each tick a node offers its model to one random neighbour and computes its
gradient meanwhile; the two models are averaged, and the gradient, taken at the offered model, is applied to the
average.

Averaging is done in increments. The active node offers x; the passive one answers with its model y and moves to
y + (x − y)/2; the active one, when the answer comes, moves its current model by (y − x)/2. The two increments cancel,
so
the average of all models is preserved exactly without locks: offers are answered at once while a node waits for its
    own
answer, so there is no cycle of waiting nodes, and a node may serve any number of offers while its own is open.
Without such overlaps this is the atomic average of the paper.

Losses. A lost offer changes nothing. A lost answer, or one that comes after its node has made another offer, leaves
only the passive side moved: the average of all models drifts by (x − y)/(2n). In both cases the active node has no
answer and cannot tell them apart; it records ``unanswered``. Drifts have no preferred direction, as either side may
be the active one, but they are not undone. A node that crashes restarts with its model on disk, so exchanges in
progress at a crash cause the same drift.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.gossip.asynchronous import LINGER_PERIODS, ticking
from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import show, shown
from protocols.gossip.peers import Once, chosen, draws, pump
from simulator.contract.node import Delivery, Message, Node

OFFER, ANSWER = "offer", "answer"


@dataclass(frozen=True, slots=True)
class _Open:
    """Offer without an answer yet."""

    peer: int
    round: int
    model: Model


async def pairwise(node: Node, learner: Learner, rounds: int, period_s: float, timeout_s: float) -> None:
    """Run AD-PSGD at one node: ``rounds`` local updates, one about every ``period_s`` seconds.

    Args:
        node: the node.
        learner: local training and lineage.
        rounds: local updates of each node.
        period_s: mean seconds between them, besides the wait for an answer.
        timeout_s: longest wait for an answer after the local update, seconds.

    Guarantees:
        Partners read the model: offers before the local update, answers with the current model. With noise of
        multiplier z on
        each of T updates, the node's data are protected with (√T / z)-GDP against any observer.
    """
    await _Pairwise(node, learner, timeout_s).run(rounds, period_s)


class _Pairwise:
    """AD-PSGD at one node from one start to the next; disk: each change of the model, the next round in advance."""

    def __init__(self, node: Node, learner: Learner, timeout_s: float) -> None:
        self._node = node
        self._learner = learner
        self._timeout_s = timeout_s
        self._model: Model = node.disk.get("model", learner.start)
        self._round: int = node.disk.get("round", 0)
        self._open: _Open | None = None
        self._once = Once()

    async def run(self, rounds: int, period_s: float) -> None:
        """Run all remaining rounds, starting from the state on disk."""
        node = self._node
        while (round := self._round) < rounds:
            tick, pick = draws(node, "pairwise", round, 2)
            await self._listen(ticking(period_s, tick))
            node.disk["round"] = self._round = round + 1
            around = node.links(round).to
            offered = self._open = self._offered(chosen(around, pick), round) if around else None
            self._keep(await self._learner.local_update(node, self._model, round))
            node.record("model", round=round + 1, value=self._model.params)
            await pump(node, self._handle, lambda: self._open is None, self._timeout_s)
            if self._open is not None:
                node.record("unanswered", round=round)
            if offered is not None:
                node.record("mixed", round=round, heard=int(self._open is None), of=1)
        while (
            delivery := await node.receive(timeout_s=LINGER_PERIODS * period_s + self._timeout_s)
        ) is not None:
            await self._handle(delivery)
        node.record("model", round=rounds, value=self._model.params)
        node.record("finished", rounds=rounds)

    async def _listen(self, seconds: float) -> None:
        await pump(self._node, self._handle, lambda: False, seconds)

    def _offered(self, peer: int, round: int) -> _Open:
        self._node.send(peer, self._message(OFFER, round, peer))
        return _Open(peer, round, self._model)

    def _message(self, kind: str, round: int, peer: int) -> Message:
        said = self._node.outgoing(self._model, to=peer, round=round)
        return show(self._learner, kind, round, [said])

    def _keep(self, model: Model) -> None:
        self._node.disk["model"] = self._model = model

    async def _handle(self, delivery: Delivery) -> None:
        node, src, message = self._node, delivery.src, delivery.message
        (other,) = shown(message)
        if message.kind == ANSWER:
            own = self._open
            if own is not None and (own.peer, own.round) == (src, message.round):
                self._open = None
                terms = [(1.0, self._model), (0.5, other), (-0.5, own.model)]
                self._keep(await self._learner.combine(node, self._round, terms))
                node.record("averaged", round=message.round, active=True)
        elif src in node.links(message.round).to and self._once.first(src, message.round):
            # With changing links the link back may no longer exist; then neither side moves.
            node.send(src, self._message(ANSWER, message.round, src))
            terms = [(0.5, self._model), (0.5, other)]
            self._keep(await self._learner.combine(node, self._round, terms))
            node.record("averaged", round=message.round, active=False)
