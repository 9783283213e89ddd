"""Tables of what Byzantine nodes do."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import Node
from scenarios.format.units import Fraction

Factor: TypeAlias = Annotated[float, Field(gt=0)] | Literal["search"]
SEARCH = "; search: the one that takes the receivers' rule furthest from the honest result"


class Attack(Kind):
    """What they do in place of what the protocol tells them to."""

    group: ClassVar[str] = "sottovoce.attacks"


class NoAttack(Attack):
    """Knows nothing, says the truth."""

    kind: Literal["none"] = Field(
        description="follow the protocol: what the same nodes do if nobody lies, for comparison"
    )


class SignFlipAttack(Attack):
    """Knows its own model."""

    kind: Literal["sign-flip"] = Field(description="send -scale times the own model")
    scale: float = Field(default=1.0, gt=0, examples=[2.0], description="strength of the attack")


class TwoFacedAttack(Attack):
    """Knows its own model."""

    kind: Literal["two-faced"] = Field(description="sign-flip to nodes of odd number, the truth to others")
    scale: float = Field(default=1.0, gt=0, examples=[2.0], description="strength of the attack")


class GaussianAttack(Attack):
    """Knows nothing."""

    kind: Literal["gaussian"] = Field(description="send noise around zero, another draw for every receiver")
    sigma: float = Field(
        default=1.0, gt=0, examples=[0.1], description="its standard deviation per parameter"
    )


class NotFiniteAttack(Attack):
    """Knows nothing."""

    kind: Literal["not-finite"] = Field(description="send parameters that are no numbers")
    value: Literal["nan", "inf"] = Field(
        default="nan", examples=["inf"], description="which: not a number, or infinity"
    )


class FreeRiderAttack(Attack):
    """Knows nothing."""

    kind: Literal["free-rider"] = Field(
        description="send the public initial model for ever, and receive the others'"
    )


class NoiseFreeRiderAttack(Attack):
    """Knows its own data."""

    kind: Literal["noise-free-rider"] = Field(
        description="follow the protocol but add no noise: others rely on a share that is not there"
    )


class InconsistentSharesAttack(Attack):
    """Knows its own vector."""

    kind: Literal["inconsistent-shares"] = Field(
        description="deal shares that lie on no polynomial: different holders together find different vectors"
    )


class LabelFlipAttack(Attack):
    """Knows its own data."""

    kind: Literal["label-flip"] = Field(description="train honestly on labels c turned into classes - 1 - c")


class BackdoorAttack(Attack):
    """Knows its own data; with a boost, what others sent."""

    kind: Literal["backdoor"] = Field(
        description="train on samples with a trigger and a label of its own; success is measured beside accuracy"
    )
    fraction: Fraction = Field(
        default=0.5, gt=0, le=1, examples=["30 %"], description="of the node's samples that get the trigger"
    )
    target: int = Field(default=0, ge=0, examples=[7], description="the class that the trigger is to mean")
    features: int = Field(
        default=3,
        ge=1,
        examples=[4],
        description="how many features, the last ones of a sample, the trigger sets to their maximum",
    )
    boost: float = Field(
        default=1.0,
        ge=1,
        description="how far the model is moved away from the mean of those seen",
    )


class AlieAttack(Attack):
    """Knows models of others."""

    kind: Literal["alie"] = Field(
        description="the mean of the honest models around the receiver, a little off (a little is enough)"
    )
    z: float | Literal["search"] = Field(
        default=-1.5, examples=[1.0], description="standard deviations, of either sign" + SEARCH
    )


class IpmAttack(Attack):
    """Knows models of others."""

    kind: Literal["ipm"] = Field(
        description="minus a multiple of the mean of the honest models around the receiver (inner product)"
    )
    factor: Factor = Field(default=0.5, examples=[0.1], description="the multiple" + SEARCH)


class MimicAttack(Attack):
    """Knows models of others."""

    kind: Literal["mimic"] = Field(
        description="the model of one honest node once more, so that it counts too much"
    )
    victim: Node | None = Field(
        default=None,
        examples=[3],
        description="whose; absent: the one furthest out along the direction of most spread",
    )


class EchoAttack(Attack):
    """Knows the receiver's model."""

    kind: Literal["echo"] = Field(
        description="send each receiver its own last model: it stays close to what it learnt alone, for others to see"
    )


class DissensusAttack(Attack):
    """Knows models of the receiver and its neighbours."""

    kind: Literal["dissensus"] = Field(description="pull the receiver away from its honest neighbours")
    factor: float = Field(
        default=1.5,
        gt=0,
        examples=[1.0],
        description="1 holds it where it is (plain gossip), more drives it away",
    )


class SpectralAttack(Attack):
    """Knows everybody's models."""

    kind: Literal["spectral"] = Field(
        description="push the receiver along the slowest mode of disagreement of the honest graph"
    )
    factor: float = Field(default=1.0, gt=0, examples=[3.0], description="how far")


class OverrideAttack(Attack):
    """Knows models of the receiver and its neighbours."""

    kind: Literal["state-override"] = Field(
        description="what makes the receiver's next model, under plain gossip, exactly what the attacker wants"
    )
    aim: Literal["start", "opposite", "dead"] = Field(
        default="start",
        examples=["opposite"],
        description="the public initial model, minus the mean of the honest ones around, or a model whose hidden "
        "rectified units never fire: it has no gradient but that of its output layer (model inconsistency)",
    )
    spare: Node | None = Field(
        default=None,
        examples=[3],
        description="a node that is told the truth: its update is then the only one in a sum",
    )


def knowledge_needed(attack: Attack) -> str:
    """The least level of knowledge with which an attack is what its name says."""
    match attack:
        case SpectralAttack() | AlieAttack(z="search") | IpmAttack(factor="search"):
            return "omniscient"
        case AlieAttack() | IpmAttack() | MimicAttack() | EchoAttack() | DissensusAttack() | OverrideAttack():
            return "received"
        case BackdoorAttack(boost=boost) if boost > 1:
            return "received"
        case _:
            return "own"


def speaks(attack: Attack) -> bool:
    """Whether an attack is in what a node says."""
    return not isinstance(attack, NoAttack) and not poisons(attack)


def poisons(attack: Attack) -> bool:
    """Whether an attack is in what a node trains on, adds or deals, and not in what it says."""
    return isinstance(attack, LabelFlipAttack | NoiseFreeRiderAttack | InconsistentSharesAttack) or (
        isinstance(attack, BackdoorAttack) and attack.boost == 1
    )
