"""Asynchronous SGD with pairwise averaging."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import written
from scenarios.format.units import Duration
from scenarios.kinds.protocols.base import (
    Conditions,
    InTheClear,
    LinkNeeds,
    Need,
    Period,
    ProtocolContext,
    Rounds,
    TimedProtocol,
)

if TYPE_CHECKING:
    from simulator.contract.node import Program


class PairwiseProtocol(TimedProtocol):
    """AD-PSGD: asynchronous SGD with pairwise averaging."""

    kind: Literal["ad-psgd"] = Field(
        description="asynchronous SGD that averages with one random neighbour at a time (AD-PSGD)"
    )
    rounds: Rounds
    exchange: InTheClear
    period: Period = written("250 ms")
    timeout: Duration = Field(
        default=written("500 ms"), gt=0, description='longest wait for the answer to an offer: "500 ms"'
    )

    takes_weights: ClassVar[bool] = False

    @property
    def messages(self) -> tuple[str, ...]:
        """Models, offered and in answer."""
        return ("offer", "answer")

    @property
    def links(self) -> LinkNeeds:
        """Offers are answered."""
        return LinkNeeds(both_ways=True)

    def need(self, conditions: Conditions) -> Need:
        """Return an offer and its answer; the local update is made while they travel."""
        return Need(2, 2, -conditions.step_cost_s, certain=False)

    def build(self, context: ProtocolContext) -> Program:
        """Return AD-PSGD."""
        from protocols.gossip.pairwise import pairwise

        learner, rounds, period_s, timeout_s = context.learner, self.rounds, self.period, self.timeout
        return lambda node: pairwise(node, learner, rounds, period_s, timeout_s)
