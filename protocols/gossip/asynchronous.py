"""Asynchronous gossip: a local step on the node's own clock, then one exchange with one random neighbour.

Push, pull and push-pull differ only in which side sends its model (:class:`ExchangeStyle`). A round is one local
update of a node; no node waits for another. Received models are kept until the node's next tick and merged then
(:class:`~protocols.gossip.merging.MergeRules`); requests are answered at once, between local steps.

Sources: push after Ormándi, Hegedűs and Jelasity 2013 (arXiv 1109.1396, gossip learning). Pulling spreads information
more slowly than pushing while few nodes have it, and faster once nearly all have it (Karp et al. 2000, FOCS; Jelasity
et al. 2005, ACM TOCS 23(3), for averages). In push-pull the two models are merged at different times, each as it is
then, so averages are preserved only approximately (Jelasity, Montresor and Babaoglu 2005, ACM TOCS 23(3)), unlike
:mod:`protocols.gossip.pairwise`.
"""

from __future__ import annotations

from dataclasses import dataclass

from protocols.gossip.learner import Learner
from protocols.gossip.merging import Aged, MergeRules
from protocols.gossip.messages import call, numbers_of, show, shown
from protocols.gossip.peers import chosen, pump
from simulator.contract.node import Delivery, Message, Node

JITTER = 0.1
"""Relative spread of a node's period, so that nodes do not tick in step."""
LINGER_PERIODS = 2
"""Number of periods without a message after which a node that made its last local step stops listening."""

MODEL, OFFER, REQUEST = "model", "offer", "request"


@dataclass(frozen=True)
class ExchangeStyle:
    """Direction of an exchange with a random neighbour.

    Args:
        name: name of the protocol; names its random streams.
        shows: whether the node sends its model.
        asks: whether it requests the neighbour's model.
    """

    name: str
    shows: bool
    asks: bool


PUSH = ExchangeStyle("push", shows=True, asks=False)
PULL = ExchangeStyle("pull", shows=False, asks=True)
PUSH_PULL = ExchangeStyle("push-pull", shows=True, asks=True)


@dataclass(frozen=True)
class Pace:
    """Number and timing of local updates, and the rules of merging.

    Args:
        rounds: local updates of each node.
        period_s: seconds between them, on average.
        rules: treatment of received models.
    """

    rounds: int
    period_s: float
    rules: MergeRules


async def push(node: Node, learner: Learner, pace: Pace) -> None:
    """Run push gossip at one node: ``rounds`` local updates, one about every ``period_s`` seconds.

    A lost push has no effect: the sender keeps its model.

    Guarantees:
        As for a direct exchange: receivers read the model. With noise of multiplier z on each of T updates,
        the node's data are protected with (√T / z)-GDP against any observer.
    """
    await Gossiper(node, learner, pace, PUSH).run()


async def pull(node: Node, learner: Learner, pace: Pace) -> None:
    """Run pull gossip at one node: ``rounds`` local updates, one about every ``period_s`` seconds.

    A neighbour that is asked answers at once with its current model. A lost request or answer costs that exchange
    only; no node waits for it. A node that has made its last step goes on answering until no request has come for two
    periods.

    Guarantees:
        A requesting node reads the model, as often as it asks: an honest-but-curious neighbour itself decides how
        many states it sees. The bound does not depend on that: with noise of multiplier z on each of T updates, the
        node's data are protected with (√T / z)-GDP against any observer.
    """
    await Gossiper(node, learner, pace, PULL).run()


async def push_pull(node: Node, learner: Learner, pace: Pace) -> None:
    """Run push-pull gossip at one node: ``rounds`` local updates, one about every ``period_s`` seconds.

    The offer carries the own model, the answer the neighbour's model when the offer arrives; each side merges the
    received model at its next tick. A lost offer costs the whole exchange, a lost answer half of it. A node that has
    made its last step goes on answering until nothing has come for two periods.

    Guarantees:
        As for a direct exchange: partners read the model. With noise of multiplier z on each of T updates, the node's
        data are protected with (√T / z)-GDP against any observer.
    """
    await Gossiper(node, learner, pace, PUSH_PULL).run()


def ticking(pace_s: float, u: float) -> float:
    """Return the length of one period from a uniform number."""
    return pace_s * (1 + JITTER * (2 * u - 1))


class Gossiper:
    """Asynchronous gossip at one node, from one start or restart to the next.

    The disk holds the model and the number of local steps *before* each of them, so a node that crashes never repeats
    one, and never reuses its noise. Models received but not yet merged are lost.
    """

    def __init__(self, node: Node, learner: Learner, pace: Pace, style: ExchangeStyle) -> None:
        self._node = node
        self._learner = learner
        self._pace = pace
        self._style = style
        self._mine: Aged = node.disk.get("aged", Aged(learner.start, 0, 0))
        self._arrived: list[Aged] = []

    async def run(self) -> None:
        """Run all remaining rounds, starting from the state on disk."""
        node, pace, name = self._node, self._pace, self._style.name
        while (round := self._mine.steps) < pace.rounds:
            await self._listen(ticking(pace.period_s, node.uniform(name, round, 0)))
            mine, arrived = self._mine, self._arrived
            self._arrived = []
            node.disk["aged"] = Aged(mine.model, mine.updates, round + 1)
            self._mine = await pace.rules.round(node, self._learner, mine, arrived)
            node.record("model", round=round + 1, value=self._mine.model.params)
            around = node.links(round).to
            if around:
                self._address(chosen(around, node.uniform(name, round, 1)), round)
        await self._linger()
        self._mine = await pace.rules.last(node, self._learner, self._mine, self._arrived)
        node.disk["aged"] = self._mine
        node.record("model", round=pace.rounds, value=self._mine.model.params)
        node.record("finished", rounds=pace.rounds)

    async def _listen(self, seconds: float) -> None:
        node = self._node
        if self._style.asks:
            await pump(node, self._handle, lambda: False, seconds)
            return
        await node.sleep(seconds)  # no answer is expected, so one look at the mailbox is enough
        for delivery in node.arrived():
            self._take(delivery)

    async def _linger(self) -> None:
        if not self._style.asks:
            await self._listen(LINGER_PERIODS * self._pace.period_s)
            return
        while (
            delivery := await self._node.receive(timeout_s=LINGER_PERIODS * self._pace.period_s)
        ) is not None:
            await self._handle(delivery)

    def _address(self, peer: int, round: int) -> None:
        if self._style.shows:
            self._show(peer, round, OFFER if self._style.asks else MODEL)
        else:
            self._node.send(peer, call(REQUEST, round))

    def _show(self, peer: int, round: int, kind: str) -> None:
        said = self._node.outgoing(self._mine.model, to=peer, round=round)
        numbers = (self._mine.updates, self._mine.steps)
        self._node.send(peer, show(self._learner, kind, round, [said], numbers))

    async def _handle(self, delivery: Delivery) -> None:
        self._take(delivery)

    def _take(self, delivery: Delivery) -> None:
        message = delivery.message
        if message.kind in (MODEL, OFFER):
            self._arrived.append(received(message))
        # An answer belongs to the round of its request; with changing links the link back may no longer exist.
        if message.kind in (REQUEST, OFFER) and delivery.src in self._node.links(message.round).to:
            self._show(delivery.src, message.round, MODEL)


def received(message: Message) -> Aged:
    """Return the model in a message, with its public numbers."""
    updates, steps = numbers_of(message)
    return Aged(shown(message)[0], updates, steps)
