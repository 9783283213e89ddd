"""A node of the contract on any engine: only key material and the price of computing depend on the kind of run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator import streams
from simulator.clock import to_ns
from simulator.compute import Handle, Input, Op, Vector, values_of
from simulator.errors import ContractError
from simulator.mailbox import Held, Mailbox
from simulator.node import Delivery, Match, Message
from simulator.tasks import SimTaskGroup, Wait

if TYPE_CHECKING:
    from simulator.engine import Engine


class Participant(ABC):
    """What every engine's node does in the same way."""

    def __init__(self, engine: Engine, id: int) -> None:
        self._engine = engine
        self._world = engine.world
        self._id = id
        self._links = frozenset(engine.world.neighbors[id])
        self._disk: dict[str, Any] = {}
        self.mailbox = Mailbox(engine.env)

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return self._engine.now_s

    @property
    def id(self) -> int:
        """Index in the topology."""
        return self._id

    @property
    def neighbors(self) -> tuple[int, ...]:
        """Neighbours in ascending order."""
        return self._world.neighbors[self._id]

    @property
    def disk(self) -> dict[str, Any]:
        """What survives a crash."""
        return self._disk

    def rng(self, purpose: str, *key: int) -> np.random.Generator:
        """A fresh generator of the named stream; the same in both engines, so that both add the same noise."""
        return streams.generator(self._world.seed, "node", self._id, purpose, *key)

    @abstractmethod
    def secret(self, purpose: str, size: int) -> bytes:
        """Key material."""

    def weight(self, source: int, receiver: int | None = None) -> float:
        """W[receiver, source]."""
        return float(self._world.weights[self._id if receiver is None else receiver, source])

    def members(self, aggregator: int) -> tuple[int, ...]:
        """The neighbourhood of an aggregator."""
        return self._world.neighbors[aggregator]

    def send(self, to: int, message: Message) -> None:
        """Hand a message to the uplink."""
        if to not in self._links:
            raise ContractError(f"node {self._id} has no link to node {to}; it has links to {self.neighbors}")
        self._engine.transmit(self._id, to, message)

    async def receive(self, match: Match | None = None, timeout_s: float | None = None) -> Delivery | None:
        """Selective receive; None at the time-out."""
        held = self.mailbox.take(match)
        if held is not None or (timeout_s is not None and timeout_s <= 0):
            return held
        event = self.mailbox.wait(match, None if timeout_s is None else to_ns(timeout_s))
        try:
            taken: Held | None = await Wait(event)
        except BaseException:
            self.mailbox.abandon(event)
            raise
        return None if taken is None else taken.delivery

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await Wait(self._engine.env.timeout(to_ns(seconds)))

    @abstractmethod
    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Submit model mathematics."""

    def read(self, value: Handle | Vector) -> Vector:
        """The value of a handle or array."""
        return values_of(self._world.executor, [value])[0]

    def outgoing(self, content: Any, to: int, round: int) -> Any:
        """What this node claims."""
        return self._world.adversary.outgoing(self, content, to, round)

    def tasks(self) -> SimTaskGroup:
        """A group of concurrent tasks."""
        return SimTaskGroup(self._engine.runner)

    def record(self, kind: str, **fields: Any) -> None:
        """A measurement."""
        self._world.record(self.now_s, self._id, kind, fields)
