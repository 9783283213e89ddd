"""Asynchronous gossip with one random neighbour at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import Problems, written
from scenarios.kinds.protocols.base import (
    InTheClear,
    LinkNeeds,
    Period,
    ProtocolContext,
    Rounds,
    UntimedProtocol,
)

if TYPE_CHECKING:
    from simulator.contract.node import Program


class AsynchronousProtocol(UntimedProtocol):
    """Asynchronous gossip: each node trains, and exchanges models with a random neighbour, by its own clock."""

    kind: Literal["push", "pull", "push-pull"] = Field(
        description="asynchronous, one random neighbour at a time: send the model (push), ask for one "
        "(pull) or both"
    )
    rounds: Rounds
    exchange: InTheClear
    period: Period = written("250 ms")
    merge: Literal["merge-update", "update-merge"] = Field(
        default="merge-update",
        examples=["update-merge"],
        description="merge-update (merge what arrived, then make the local step) or update-merge (make it "
        "on what "
        "arrived, then merge)",
    )
    merge_weight: Literal["half", "updates"] = Field(
        default="half",
        examples=["updates"],
        description="weight of a received model: half, or updates (in proportion to the updates it has "
        "been through)",
    )
    staleness: Literal["accept", "discard", "weight"] = Field(
        default="accept",
        examples=["weight"],
        description="models whose sender has made fewer local updates: accept, discard (beyond "
        "stale_after) or "
        "weight (divided by 1 + how many fewer)",
    )
    stale_after: int | None = Field(
        default=None,
        ge=0,
        examples=[10],
        description="local updates a sender may be behind; only with staleness = discard",
    )

    takes_weights: ClassVar[bool] = False

    @property
    def messages(self) -> tuple[str, ...]:
        """Models, and what asks for them."""
        return {"push": ("model",), "pull": ("request", "model"), "push-pull": ("offer", "model")}[self.kind]

    @property
    def links(self) -> LinkNeeds:
        """Requests and offers are answered; a push is not."""
        return LinkNeeds(both_ways=self.kind != "push")

    def problems(self) -> Problems:
        """Yield a bound on staleness that is missing, or not used."""
        if self.staleness == "discard" and self.stale_after is None:
            yield (
                (),
                'staleness = "discard" needs stale_after, the number of local updates a sender may be behind',
            )
        elif self.staleness != "discard" and self.stale_after is not None:
            yield (
                ("stale_after",),
                f'stale_after has no effect with staleness = "{self.staleness}"; remove it or use "discard"',
            )

    def build(self, context: ProtocolContext) -> Program:
        """Return push, pull or push-pull gossip."""
        from protocols.gossip.asynchronous import Pace, pull, push, push_pull
        from protocols.gossip.merging import MergeRules

        rules = MergeRules(self.merge, self.merge_weight, self.staleness, self.stale_after or 0)
        pace, learner = Pace(self.rounds, self.period, rules), context.learner
        program = {"push": push, "pull": pull, "push-pull": push_pull}[self.kind]
        return lambda node: program(node, learner, pace)
