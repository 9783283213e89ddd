"""Gradient tracking."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import written
from scenarios.kinds.protocols.base import (
    Conditions,
    InTheClear,
    LinkNeeds,
    Need,
    ProtocolContext,
    Rounds,
    TimedProtocol,
    Timeout,
)

if TYPE_CHECKING:
    from simulator.contract.node import Program


class TrackingProtocol(TimedProtocol):
    """Gradient tracking: neighbours mix models and estimates of the average step."""

    kind: Literal["gradient-tracking"] = Field(
        description="synchronous rounds; nodes send their models and estimates of the average step of all "
        "nodes"
    )
    rounds: Rounds
    exchange: InTheClear
    timeout: Timeout = written("500 ms")

    mixes_linearly: ClassVar[bool] = True

    @property
    def messages(self) -> tuple[str, ...]:
        """Models with trackers."""
        return ("model",)

    @property
    def links(self) -> LinkNeeds:
        """The sum of all trackers is kept only by doubly stochastic weights."""
        return LinkNeeds(doubly_stochastic=True)

    def need(self, conditions: Conditions) -> Need:
        """Return a model and a tracker of every neighbour."""
        return Need(1, 2 * conditions.neighbours, 0.0, certain=False)

    def build(self, context: ProtocolContext) -> Program:
        """Return gradient tracking."""
        from protocols.gossip.tracking import tracking

        learner, rounds, timeout_s = context.learner, self.rounds, self.timeout
        return lambda node: tracking(node, learner, rounds, timeout_s)
