"""Stochastic gradient push."""

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


class PushSumProtocol(TimedProtocol):
    """Stochastic gradient push: models with weights, on links with or without a direction."""

    kind: Literal["push-sum"] = Field(
        description="stochastic gradient push: weights travel with models, and links may be directed"
    )
    rounds: Rounds
    exchange: InTheClear
    timeout: Timeout = written("500 ms")
    reliable: Literal["none", "running-sums"] = Field(
        default="none",
        examples=["running-sums"],
        description="none (lost messages take their weight along) or running-sums (the next message "
        "brings it)",
    )

    takes_weights: ClassVar[bool] = False

    @property
    def messages(self) -> tuple[str, ...]:
        """Models."""
        return ("model",)

    @property
    def links(self) -> LinkNeeds:
        """Any."""
        return LinkNeeds()

    def need(self, conditions: Conditions) -> Need:
        """Return the models of all neighbours."""
        return Need(1, conditions.neighbours, 0.0, certain=False)

    def build(self, context: ProtocolContext) -> Program:
        """Return stochastic gradient push."""
        from protocols.gossip.push_sum import push_sum

        learner, rounds, timeout_s, reliable = context.learner, self.rounds, self.timeout, self.reliable
        return lambda node: push_sum(node, learner, rounds, timeout_s, reliable)
