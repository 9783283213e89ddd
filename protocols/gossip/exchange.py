"""What a synchronous gossip protocol asks of the way models are exchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from protocols.gossip.learner import Model
from simulator.contract.node import Node


class Exchange(Protocol):
    """One node's side of the exchange; a new one for every life of the node."""

    async def join(self) -> None:
        """Whatever must happen before the first round (agreeing on keys, say)."""
        ...

    async def catch_up(self) -> int:
        """After an outage: listen, and return the round the neighbours are in (−1 for silence)."""
        ...

    @property
    def pace(self) -> int:
        """The round a node must not fall behind, where only nodes in step can mix; −1 otherwise, and for silence."""
        ...

    def begin(self, round: int) -> None:
        """Tell the neighbours that this node is in ``round``."""
        ...

    async def mix(self, round: int, mine: Model) -> Model:
        """Offer the node's updated model to its neighbourhood; return the mixed model, settled."""
        ...

    def settle(self, round: int, model: Model) -> Model:
        """The model as local updates may start from it, where what is offered must be in a range known before."""
        ...

    async def linger(self, rounds: int) -> None:
        """After the last round: serve neighbours that are still behind, for a bounded time."""
        ...


ExchangeFactory: TypeAlias = Callable[[Node], Exchange]
