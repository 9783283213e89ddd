"""Attacks that take models of other nodes."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.format.tables import Node
from scenarios.kinds.attacks.base import ContentAttack

if TYPE_CHECKING:
    from protocols.attacks import byzantine
    from simulator.contract.knowledge import Knowledge

Factor: TypeAlias = Annotated[float, Field(gt=0)] | Literal["search"]
SEARCH = "; search: the one that takes the receivers' rule furthest from the honest result"


class _ReceivedModelsAttack(ContentAttack):
    """Sends what it makes of models that the coalition has received."""

    @property
    def knowledge(self) -> Knowledge:
        """Models that the coalition has received, those of the receiver and its neighbours among them."""
        return "received"


class _SearchedAttack(ContentAttack):
    """Sends what it makes of the honest models around, with a strength that is given or searched for."""

    @property
    @abstractmethod
    def strength(self) -> float | None:
        """The strength; None where it is searched for."""

    @property
    def knowledge(self) -> Knowledge:
        """Models that the coalition has received; a search takes those of all nodes."""
        return "omniscient" if self.strength is None else "received"


class AlieAttack(_SearchedAttack):
    """A little is enough (Baruch, Baruch, Goldberg 2019)."""

    kind: Literal["alie"] = Field(
        description="send the mean of the honest models around the receiver, shifted by a few standard "
        "deviations (a little is enough)"
    )
    z: float | Literal["search"] = Field(
        default=-1.5, examples=[1.0], description="standard deviations, of either sign" + SEARCH
    )

    @property
    def strength(self) -> float | None:
        """The key z."""
        return None if isinstance(self.z, str) else self.z

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.little(stage, self.strength)


class IpmAttack(_SearchedAttack):
    """Inner product manipulation (Xie, Koyejo, Gupta 2020)."""

    kind: Literal["ipm"] = Field(
        description="send minus a multiple of the mean of the honest models around the receiver (inner "
        "product manipulation)"
    )
    factor: Factor = Field(default=0.5, examples=[0.1], description="the multiple" + SEARCH)

    @property
    def strength(self) -> float | None:
        """The key factor."""
        return None if isinstance(self.factor, str) else self.factor

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.inner_product(stage, self.strength)


class MimicAttack(_ReceivedModelsAttack):
    """Mimicry of one honest node (Karimireddy, He, Jaggi 2022)."""

    kind: Literal["mimic"] = Field(
        description="send a copy of one honest node's model, which then has too much weight"
    )
    victim: Node | None = Field(
        default=None,
        examples=[3],
        description="node whose model is copied; absent: the one furthest out along the direction of most "
        "spread",
    )

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.mimic(stage, self.victim)


class EchoAttack(_ReceivedModelsAttack):
    """Echo of the receiver (Pasquini, Raynal, Troncoso 2023)."""

    kind: Literal["echo"] = Field(
        description="send each receiver its own last model: it stays close to what it learnt from its "
        "data alone, and others see that"
    )

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.echo(stage)


class DissensusAttack(_ReceivedModelsAttack):
    """Dissensus (He, Karimireddy, Jaggi 2022)."""

    kind: Literal["dissensus"] = Field(description="pull the receiver away from its honest neighbours")
    factor: float = Field(
        default=1.5,
        gt=0,
        examples=[1.0],
        description="strength; 1 keeps the receiver's model where it is (plain gossip), more moves it away",
    )

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.dissensus(stage, self.factor)


class SpectralAttack(ContentAttack):
    """Spectral heterogeneity (Gaucher, Dieuleveut, Hendrikx 2025)."""

    kind: Literal["spectral"] = Field(
        description="push the receiver along the slowest mode of disagreement of the honest graph"
    )
    factor: float = Field(default=1.0, gt=0, examples=[3.0], description="strength of the push")

    @property
    def knowledge(self) -> Knowledge:
        """Models of all nodes."""
        return "omniscient"

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.spectral(stage, self.factor)


class OverrideAttack(_ReceivedModelsAttack):
    """State override (Pasquini, Raynal, Troncoso 2023); a dead model: Pasquini, Francati, Ateniese 2022."""

    kind: Literal["state-override"] = Field(
        description="send the model with which the receiver's next one, under plain gossip, is exactly "
        "the target of the attack"
    )
    aim: Literal["start", "opposite", "dead"] = Field(
        default="start",
        examples=["opposite"],
        description="target: the public initial model, minus the mean of the honest ones around, or a "
        "model whose hidden "
        "rectified units never fire: it has no gradient but that of its output layer (model inconsistency)",
    )
    spare: Node | None = Field(
        default=None,
        examples=[3],
        description="a node that is sent the own model: its update is then the only one in a sum",
    )

    def content(self, stage: byzantine.Stage) -> byzantine.Attack:
        """Return what is sent in place of a model."""
        from protocols.attacks import byzantine

        return byzantine.override(stage, self.aim, self.spare)
