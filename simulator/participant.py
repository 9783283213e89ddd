"""What a node of either engine knows without its engine: the public facts of its world and its own disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from simulator import streams
from simulator.compute import Handle, Vector, values_of
from simulator.errors import ContractError
from simulator.world import World


class Participant(ABC):
    """The part of the node contract that does not depend on how time passes and messages travel."""

    def __init__(self, world: World, id: int) -> None:
        self._world = world
        self._id = id
        self._links = frozenset(world.neighbors[id])
        self._disk: dict[str, Any] = {}

    @property
    @abstractmethod
    def now_s(self) -> float:
        """Seconds since the start."""

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

    def weight(self, source: int, receiver: int | None = None) -> float:
        """W[receiver, source]."""
        return float(self._world.weights[self._id if receiver is None else receiver, source])

    def members(self, aggregator: int) -> tuple[int, ...]:
        """The neighbourhood of an aggregator."""
        return self._world.neighbors[aggregator]

    def read(self, value: Handle | Vector) -> Vector:
        """The value of a handle or array."""
        return values_of(self._world.executor, [value])[0]

    def record(self, kind: str, **fields: Any) -> None:
        """A measurement."""
        self._world.record(self.now_s, self._id, kind, fields)

    def _require_link(self, to: int) -> None:
        if to not in self._links:
            raise ContractError(f"node {self._id} has no link to node {to}; it has links to {self.neighbors}")
