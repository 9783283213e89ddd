"""Attacks that take nothing but the own model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scenarios.kinds.attacks.base import ContentAttack, Part, TruthfulAttack

if TYPE_CHECKING:
    from protocols.attacks import byzantine
    from simulator.contract.knowledge import Knowledge


class NoAttack(TruthfulAttack):
    """Control: follows the protocol."""

    kind: Literal["none"] = Field(
        description="follow the protocol: what the same nodes do without an attack, for comparison"
    )

    @property
    def knowledge(self) -> Knowledge:
        """Nothing."""
        return "own"

    @property
    def part(self) -> Part:
        """Nowhere."""
        return "nothing"


class _OwnModelAttack(ContentAttack):
    """Sends what it makes of its own model or of nothing."""

    @property
    def knowledge(self) -> Knowledge:
        """Its own model is enough."""
        return "own"


class SignFlipAttack(_OwnModelAttack):
    """The own model with its sign changed."""

    kind: Literal["sign-flip"] = Field(description="send -scale times the own model")
    scale: float = Field(default=1.0, gt=0, examples=[2.0], description="strength of the attack")

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.sign_flip(stage, self.scale)


class TwoFacedAttack(_OwnModelAttack):
    """Equivocation between nodes of odd and even number."""

    kind: Literal["two-faced"] = Field(
        description="sign-flip to nodes of odd number, the own model to others"
    )
    scale: float = Field(default=1.0, gt=0, examples=[2.0], description="strength of the attack")

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.two_faced(stage, self.scale)


class GaussianAttack(_OwnModelAttack):
    """Noise in place of a model."""

    kind: Literal["gaussian"] = Field(description="send noise around zero, another draw for every receiver")
    sigma: float = Field(
        default=1.0, gt=0, examples=[0.1], description="standard deviation of the noise per parameter"
    )

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.gaussian(stage, self.sigma)


class NotFiniteAttack(_OwnModelAttack):
    """Parameters that are not finite."""

    kind: Literal["not-finite"] = Field(description="send parameters that are not finite")
    value: Literal["nan", "inf"] = Field(
        default="nan", examples=["inf"], description="value of the parameters: not a number, or infinity"
    )

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.not_finite(stage, self.value)


class FreeRiderAttack(_OwnModelAttack):
    """Free riding on the work of others."""

    kind: Literal["free-rider"] = Field(
        description="send the public initial model in every round, and receive the models of others"
    )

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.stale(stage)
