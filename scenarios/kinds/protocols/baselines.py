"""Baselines without messages: every node alone, and all data at one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.kinds.protocols.base import (
    InTheClear,
    LinkNeeds,
    ProtocolContext,
    Rounds,
    UntimedProtocol,
)

if TYPE_CHECKING:
    from simulator.contract.node import Program


class _Silent(UntimedProtocol):
    """Base class of protocols without messages."""

    takes_weights: ClassVar[bool] = False

    @property
    def messages(self) -> tuple[str, ...]:
        """None."""
        return ()

    @property
    def links(self) -> LinkNeeds:
        """None are used."""
        return LinkNeeds()


class LocalProtocol(_Silent):
    """No messages: every node trains alone."""

    kind: Literal["local"] = Field(description="baseline: every node trains alone")
    rounds: Rounds
    exchange: InTheClear

    def build(self, context: ProtocolContext) -> Program:
        """Return local training."""
        from protocols.gossip.local import local

        learner, rounds = context.learner, self.rounds
        return lambda node: local(node, learner, rounds)


class CentralisedProtocol(_Silent):
    """All data at one place."""

    kind: Literal["centralised"] = Field(
        description="baseline: one model is trained on the pooled data, each step on as many samples "
        "as all nodes take together"
    )
    rounds: Rounds
    exchange: Literal["plain"] = Field(
        examples=["plain"], description="plain: data are pooled, and no privacy is claimed"
    )

    pools_data: ClassVar[bool] = True

    def build(self, context: ProtocolContext) -> Program:
        """Return training at the node that has all data."""
        from protocols.gossip.centralised import centralised

        learner, rounds = context.learner, self.rounds
        return lambda node: centralised(node, learner, rounds)
