"""Direct exchange: every neighbour receives the model itself. Baseline without noise or with local noise (LDP)."""

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
    """Sends the model to every neighbour and averages the models that arrive in time.

    The weight of missing neighbours falls to the node's own model, or is spread in proportion over all models present
    (``rescale``). Either way rows of the mixing matrix sum to 1; columns do only if no message is lost. A robust rule
    defines its own use of weights (:mod:`protocols.gossip.robust_mix`). Rushing nodes (``late``) receive all other
    models before they send.

    Guarantees:
        None beyond the noise already in the model: every neighbour (and any observer of the link) reads it. With
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
    """An outdated model is not used by others and does no harm, so there is no round to catch up with."""

    async def join(self) -> None:
        """Agree on what message noise needs; without message noise, return at once."""
        for _ in range(TRIES if self._noise is not None else 0):
            assert self._noise is not None
            self._noise.announce()
            if await self._barrier.listen(self._noise.ready):
                return

    async def catch_up(self) -> int:
        """Receive messages for one time-out."""
        return await self._barrier.catch_up()

    def begin(self, round: int) -> None:
        """Send nothing: the model message itself proves liveness."""

    def settle(self, round: int, model: Model) -> Model:
        """Return the model unchanged: any model can be sent."""
        return model

    async def mix(self, round: int, mine: Model) -> Model:
        """Send to all, wait for all neighbours considered alive, and average over the received models."""
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
        """Return at once: all messages of this node have been sent."""
