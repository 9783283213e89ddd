"""Direct exchange: every neighbour receives the model itself. The baseline, plain or with local noise (LDP)."""

from __future__ import annotations

from functools import partial

from protocols.aggregation.keyring import TRIES
from protocols.gossip.learner import Learner, Model
from protocols.gossip.message_noise import MessageNoise
from protocols.gossip.messages import show, shown, tell
from protocols.gossip.peers import Barrier, shares
from protocols.gossip.robust_mix import RobustMix
from simulator.contract.node import Node


class DirectExchange:
    """Sends the model to every neighbour and averages what arrives in time.

    The weight of neighbours that are not heard falls to the node's own model, or is spread over everybody who is
    there in proportion (``rescale``). Either way rows of the mixing matrix sum to 1, and only without losses do
    columns. With a robust rule it decides what weights mean (:mod:`protocols.gossip.robust_mix`). Nodes that rush
    (``late``) hear all others before they speak.

    Guarantees:
        None beyond the noise already in the model: every neighbour (and anybody on the link) reads it. With
        noise of multiplier z on every update, T updates are (√T / z)-GDP for the node's own data against any
        observer.
    """

    def __init__(
        self,
        node: Node,
        learner: Learner,
        timeout_s: float,
        *,
        rescale: bool = False,
        noise: MessageNoise | None = None,
        robust: RobustMix | None = None,
        late: frozenset[int] = frozenset(),
    ) -> None:
        self._node = node
        self._robust = robust
        self._late = late
        self._timeout_s = timeout_s
        self._noise = noise
        self._learner = learner
        self._rescale = rescale
        self._barrier = Barrier(node, "model", timeout_s, None if noise is None else noise.take)

    pace = -1
    """A model from an earlier round is as good as none to others, but hurts nobody."""

    async def join(self) -> None:
        """Agree on what the noise of messages needs; without any, return at once."""
        for _ in range(TRIES if self._noise is not None else 0):
            assert self._noise is not None
            self._noise.announce()
            if await self._barrier.listen(self._noise.ready):
                return

    async def catch_up(self) -> int:
        """Listen for one time-out."""
        return await self._barrier.catch_up()

    def begin(self, round: int) -> None:
        """The model itself is the sign of life."""

    def settle(self, round: int, model: Model) -> Model:
        """Any model can be sent."""
        return model

    async def mix(self, round: int, mine: Model) -> Model:
        """Send to all, wait for all that seem alive, average over those heard."""
        node = self._node
        links = node.links(round)
        message = partial(show, self._learner, "model", round)
        if node.id in self._late:
            await self._barrier.wait(round, [v for v in links.sources if v not in self._late])
        if self._noise is None:
            tell(node, links.to, round, [mine], message)
        else:
            mine, said = await self._noise.cover(round, mine, links.weights)
            for peer in links.to:
                tell(node, (peer,), round, [said[peer]], message)
        heard = await self._barrier.collect(round, links.sources)
        own, weights = shares(links.weights, heard, rescale=self._rescale)
        if self._robust is not None:
            node.record("mixed", round=round, heard=len(heard), of=len(links.sources))
            compared = {v: (weights[v], shown(message)[0]) for v, message in heard.items()}
            return await self._robust.mix(node, round, mine, own, compared)
        terms = [(own, mine), *((weights[v], shown(message)[0]) for v, message in heard.items())]
        node.record("mixed", round=round, heard=len(heard), of=len(links.sources))
        return await self._learner.combine(node, round, terms)

    async def linger(self, rounds: int) -> None:
        """Nobody needs this node any more: its models are all sent."""
