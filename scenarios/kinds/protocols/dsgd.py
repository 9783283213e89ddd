"""Synchronous decentralised SGD."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import Problems, written
from scenarios.kinds.protocols.base import (
    Conditions,
    Exchange,
    LinkNeeds,
    Need,
    ProtocolContext,
    Rounds,
    TimedProtocol,
    Timeout,
)
from scenarios.kinds.robust_rules import RobustRule

if TYPE_CHECKING:
    from protocols.gossip.exchange import ExchangeFactory
    from simulator.contract.node import Program


class DsgdProtocol(TimedProtocol):
    """Synchronous decentralised SGD (D-PSGD): train, exchange with all neighbours, average, round by round."""

    kind: Literal["dsgd"] = Field(
        description="synchronous rounds: train, exchange with all neighbours, average (D-PSGD)"
    )
    rounds: Rounds
    exchange: Exchange
    timeout: Timeout = written("500 ms")
    mix_every: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        examples=[5],
        description="local updates between two mixes with the neighbours",
    )
    mixes: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        examples=[10],
        description="mixes with the neighbours, one after another, when it is time to mix; many of them "
        "average "
        "(rounds = 1: Muffliato)",
    )
    robust: RobustRule | None = Field(
        default=None,
        description="robust rule that replaces the weighted average of the models that a node hears and "
        "its own",
    )
    missing: Literal["own", "rescale"] = Field(
        default="own",
        examples=["rescale"],
        description="weight of neighbours that are not heard: own (added to the own model) or rescale "
        "(divided among all models heard, in proportion); secure sums take only own",
    )

    takes_message_noise: ClassVar[bool] = True
    mixes_linearly: ClassVar[bool] = True
    shows_mix_and_update: ClassVar[bool] = True

    @property
    def messages(self) -> tuple[str, ...]:
        """Models."""
        return ("model",)

    @property
    def links(self) -> LinkNeeds:
        """Any."""
        return LinkNeeds()

    @property
    def rule(self) -> RobustRule | None:
        """The robust rule, over the own model and the neighbours'."""
        return self.robust

    @property
    def updates_between_sums(self) -> int:
        """Local updates between two mixes."""
        return self.mix_every

    def need(self, conditions: Conditions) -> Need:
        """Return the models of all neighbours, or a request of each and its answer where sums are secure."""
        if self.exchange == "secure":
            return Need(2, conditions.neighbours, 0.0, certain=True)
        return Need(1, conditions.neighbours, 0.0, certain=False)

    def compared(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the number of neighbours and the node itself."""
        return None if neighbours is None else neighbours + 1

    def problems(self) -> Problems:
        """Yield keys that contradict one another or have no effect."""
        if self.exchange == "secure" and self.missing == "rescale":
            yield (
                ("missing",),
                'missing = "rescale" needs exchange = "plain" or "ldp": a secure sum is opened with the '
                "weights it "
                'was made with; use missing = "own"',
            )
        if self.mix_every > self.rounds:
            yield (
                ("mix_every",),
                f"mix_every = {self.mix_every} is more than rounds = {self.rounds}, so nodes would never "
                "mix; use at "
                'most rounds, or protocol.kind = "local"',
            )
        if self.robust is None or self.exchange == "secure":
            return
        if self.missing != "own":
            yield (
                ("missing",),
                'robust needs missing = "own": the weight of models that are missing falls to the own '
                "one; remove "
                "this key",
            )
        if "own samples" in self.robust.needs and self.exchange == "ldp":
            yield (
                ("robust",),
                f"{self.robust.kind} chooses models by the node's own samples, and noise on updates does "
                "not cover "
                'that choice; use another rule, or exchange = "plain"',
            )

    def build(self, context: ProtocolContext) -> Program:
        """Return D-PSGD over direct exchanges or secure sums."""
        from protocols.gossip.dsgd import dsgd

        exchange = self._exchange(context)
        learner, rounds, mix_every, mixes = context.learner, self.rounds, self.mix_every, self.mixes
        return lambda node: dsgd(node, learner, exchange, rounds, mix_every, mixes)

    def _exchange(self, context: ProtocolContext) -> ExchangeFactory:
        from protocols.gossip.plain_exchange import DirectExchange
        from protocols.gossip.secure_exchange import NeighbourhoodExchange

        learner, robust, sums, noise = context.learner, context.robust, context.sums, context.message_noise
        if sums is not None:
            return lambda node: NeighbourhoodExchange(node, learner, sums.rules, sums.suite(node), robust)
        return lambda node: DirectExchange(
            node,
            learner,
            self.timeout,
            rescale=self.missing == "rescale",
            noise=None if noise is None else noise(node),
            robust=robust,
            late=context.late,
        )
