"""Direct exchange: every neighbour receives the model itself. The baseline, plain or with local noise (LDP)."""

from __future__ import annotations

from protocols.gossip.learner import VALUE_BYTES, Learner, Model
from protocols.gossip.peers import Peers, pump
from protocols.privacy.lineage import Visible
from simulator.node import Delivery, Message, Node

HEADER_BYTES = 8
"""Round and element count."""


class DirectExchange:
    """Sends the model to every neighbour and averages what arrives in time.

    Guarantees:
        None beyond the noise already in the model: every neighbour (and anybody on the link) reads it. With
        noise of multiplier z on every update, T updates are (√T / z)-GDP for the node's own data against any
        observer.
    """

    def __init__(self, node: Node, learner: Learner, timeout_s: float) -> None:
        self._node = node
        self._learner = learner
        self._timeout_s = timeout_s
        self._peers = Peers(node, timeout_s)
        self._models: dict[tuple[int, int], Model] = {}
        self._current = -1

    async def join(self) -> None:
        """Nothing to agree on."""

    async def catch_up(self) -> int:
        """Listen for one time-out."""
        await pump(self._node, self._handle, lambda: False, self._timeout_s)
        return self._peers.typical_round

    def begin(self, round: int) -> None:
        """The model itself is the sign of life."""
        self._current = round
        self._models = {key: model for key, model in self._models.items() if key[0] >= round}

    async def mix(self, round: int, mine: Model) -> Model:
        """Send to all, wait for all that seem alive, average over those heard."""
        node = self._node
        links = node.links(round)
        said = {peer: node.outgoing(mine, to=peer, round=round) for peer in links.to}
        if all(claim is mine for claim in said.values()):
            node.multicast(links.to, self._message(round, mine))
        else:
            for peer, claim in said.items():
                node.send(peer, self._message(round, claim))
        self._peers.meet(links.sources)
        # A later model may overtake this round's, so only the model itself ends the wait for it.
        await pump(
            node,
            self._handle,
            lambda: all((round, v) in self._models for v in self._peers.alive.intersection(links.sources)),
            self._timeout_s,
        )
        heard = [v for v in links.sources if (round, v) in self._models]
        weights = {v: links.weights[v] for v in heard}
        terms = [(1.0 - sum(weights.values()), mine)]
        terms += [(weights[v], self._models[round, v]) for v in heard]
        node.record("mixed", round=round, heard=len(heard))
        return await self._learner.combine(node, round, terms)

    async def linger(self, rounds: int) -> None:
        """Nobody needs this node any more: its models are all sent."""

    def _message(self, round: int, said: Model) -> Message:
        size = HEADER_BYTES + VALUE_BYTES * self._learner.size
        return Message("model", round, said.params, size, release=Visible(said.state))

    async def _handle(self, delivery: Delivery) -> None:
        message = delivery.message
        self._peers.heard(delivery.src, message.round)
        if message.kind == "model" and message.round >= self._current:
            self._models[message.round, delivery.src] = Model(message.body, message.release.state)
