"""Interface between a synchronous gossip protocol and its exchange of models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from protocols.gossip.learner import Model
from simulator.contract.node import Node


class Exchange(Protocol):
    """Exchange of models at one node; a new instance after every restart."""

    async def join(self) -> None:
        """Prepare for the first round (key agreement, for example)."""
        ...

    async def catch_up(self) -> int:
        """Receive messages after an outage, and return the round the neighbours are in (−1 if none is known)."""
        ...

    @property
    def pace(self) -> int:
        """Return the round a node must keep up with, if only nodes in step can mix; otherwise, or if unknown, −1."""
        ...

    def begin(self, round: int) -> None:
        """Tell the neighbours that this node is in ``round``."""
        ...

    async def mix(self, round: int, mine: Model) -> Model:
        """Offer the node's updated model to its neighbourhood; return the mixed model, settled."""
        ...

    def settle(self, round: int, model: Model) -> Model:
        """Return the model as local updates may start from it: within the public range, where there is one."""
        ...

    async def linger(self, rounds: int) -> None:
        """Serve neighbours that are still behind after the last round, for a bounded time."""
        ...


ExchangeFactory: TypeAlias = Callable[[Node], Exchange]
