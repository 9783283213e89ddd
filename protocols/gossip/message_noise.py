"""Noise that a node adds to its model when neighbours are to see it, beside that of its updates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeAlias

from protocols.gossip.learner import Model
from simulator.contract.node import Delivery, Node


class MessageNoise(ABC):
    """One node's side; a new one for every life of the node."""

    def announce(self) -> None:
        """Tell the neighbours what they need to know before the first round."""
        return

    def ready(self) -> bool:
        """Whether all of them have."""
        return True

    def take(self, delivery: Delivery) -> bool:
        """Whether a message was one of those; takes it in."""
        return False

    @abstractmethod
    async def cover(
        self, round: int, model: Model, weights: Mapping[int, float]
    ) -> tuple[Model, Mapping[int, Model]]:
        """What the node itself goes on with, and what each neighbour sees.

        Args:
            round: of the mix.
            model: after the local update.
            weights: with which each neighbour takes it.
        """


MessageNoiseFactory: TypeAlias = Callable[[Node], MessageNoise]
