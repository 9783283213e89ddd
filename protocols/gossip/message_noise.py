"""Noise added to the models that neighbours see, in addition to the noise of updates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from protocols.gossip.learner import Model
from simulator.contract.node import Delivery


class MessageNoise(ABC):
    """Message noise at one node; a new instance after every restart."""

    def announce(self) -> None:
        """Send the neighbours what they need before the first round."""
        return

    def ready(self) -> bool:
        """Return whether all neighbours have done so."""
        return True

    def take(self, delivery: Delivery) -> bool:
        """Handle such a message; return whether it was one."""
        return False

    @abstractmethod
    async def cover(
        self, round: int, model: Model, weights: Mapping[int, float]
    ) -> tuple[Model, Mapping[int, Model]]:
        """Return the model the node continues with, and the model that each neighbour sees.

        Args:
            round: round of the mix.
            model: model after the local update.
            weights: mixing weight of the model at each neighbour.
        """
