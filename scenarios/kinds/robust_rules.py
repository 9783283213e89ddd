"""Tables of robust rules for mixing."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.units import Fraction

Wrong: TypeAlias = Annotated[
    int, Field(ge=0, description="wrong models among those compared: a node's neighbours and itself")
]
Outsiders: TypeAlias = Annotated[int, Field(ge=0, description="wrong models among a node's neighbours")]
Budget: TypeAlias = Annotated[
    Fraction,
    Field(gt=0, lt=1, description="of a node's mixing weight that wrong neighbours may have together"),
]
Radius: TypeAlias = Annotated[float, Field(gt=0)] | Literal["adaptive", "oracle"]
Before: TypeAlias = Annotated[
    Literal["nothing", "nearest-mixing", "adaptive-clipping", "bucketing"],
    Field(
        description="what is done to the models first: nearest-mixing (NNM, each replaced by the mean of its "
        "nearest), adaptive-clipping (ARC, the longest cut) or bucketing (means of random pairs, the last one alone "
        "if they are odd: f of these may be wrong)"
    ),
]


class RobustRule(Kind):
    """How a node mixes what it hears with its own model, if not by weights."""

    group: ClassVar[str] = "sottovoce.robust_rules"


class MedianRule(RobustRule):
    """Position by position."""

    kind: Literal["median"] = Field(description="the median of every parameter")


class TrimmedMeanRule(RobustRule):
    """Position by position."""

    kind: Literal["trimmed-mean"] = Field(
        description="the mean without the f smallest and largest of every parameter"
    )
    f: Wrong
    before: Before = "nothing"


class MeanAroundMedianRule(RobustRule):
    """Position by position."""

    kind: Literal["mean-around-median"] = Field(
        description="the mean of all but the f values of every parameter that are furthest from its median"
    )
    f: Wrong
    before: Before = "nothing"


class KrumRule(RobustRule):
    """By distances."""

    kind: Literal["krum"] = Field(description="the mean of the models that are nearest to their nearest ones")
    f: Wrong
    chosen: int = Field(
        default=1, ge=1, examples=[2], description="how many are averaged (1: Krum; more: Multi-Krum)"
    )
    scores: Literal["others", "blanchard"] = Field(
        default="blanchard",
        examples=["others"],
        description="a score counts n - f - 2 nearest ones (blanchard, as published) or n - f - 1 (others)",
    )
    before: Before = "nothing"


class GeometricMedianRule(RobustRule):
    """By distances."""

    kind: Literal["geometric-median"] = Field(description="the point with the least sum of distances")
    steps: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        examples=[3],
        description="steps of smoothed Weiszfeld from zero, converged or not; absent: until it has converged",
    )
    smoothing: float = Field(default=0.1, gt=0, description="with steps: least distance that is divided by")


class MinimumDiameterRule(RobustRule):
    """By distances."""

    kind: Literal["minimum-diameter"] = Field(
        description="the mean of the n - f models that are closest together (MDA); all sets are looked at"
    )
    f: Wrong


class NearestRule(RobustRule):
    """By distances to the own model."""

    kind: Literal["nearest"] = Field(
        description="the mean of the n - f models nearest the own one (MoNNA, NNA)"
    )
    f: Wrong


class CentredClippingRule(RobustRule):
    """Around the own model."""

    kind: Literal["centred-clipping"] = Field(
        description="the own model, moved by the mean of all differences to it, each cut to a radius"
    )
    radius: float = Field(gt=0, examples=[0.5], description="longest difference that counts in full")
    steps: int = Field(
        default=1, ge=1, le=100, examples=[3], description="how often, each time around the last result"
    )


class ClippedGossipRule(RobustRule):
    """Around the own model, by the weights of links."""

    kind: Literal["clipped-gossip"] = Field(
        description="the own model, moved by the weighted sum of all differences to it, each cut to a radius"
    )
    radius: Radius = Field(
        examples=["adaptive"],
        description="longest difference that counts in full; adaptive: the second largest of the round; oracle: the "
        "proven one, which takes knowing who is honest",
    )


class ClippedGossipHeRule(RobustRule):
    """Around the own model, by the weights of links."""

    kind: Literal["clipped-gossip-he"] = Field(
        description="clipped gossip with the proven radius, the furthest models being taken for the wrong ones"
    )
    budget: Budget


class CsPlusRule(RobustRule):
    """Around the own model, by the weights of links."""

    kind: Literal["cs-plus"] = Field(
        description="clipped gossip with the largest distance beyond which models of twice the budget lie (CS+)"
    )
    budget: Budget


class GtsRule(RobustRule):
    """Around the own model, by the weights of links."""

    kind: Literal["gts"] = Field(
        description="gossip without the furthest models, up to the weight of the budget (NNA with weights)"
    )
    budget: Budget


class IosRule(RobustRule):
    """By the weights of links."""

    kind: Literal["ios"] = Field(
        description="f times the model furthest from the weighted mean is left out, never the own one (IOS)"
    )
    f: Outsiders


class RemoveFurthestRule(RobustRule):
    """Around the own model, by the weights of links."""

    kind: Literal["remove-furthest"] = Field(
        description="gossip without the f models furthest from the own one, whose weight falls to it"
    )
    f: Outsiders


class UbarRule(RobustRule):
    """By distances to the own model and by losses on the own samples."""

    kind: Literal["ubar"] = Field(
        description="of the nearest models, the mean of those no worse than the own one on the own samples (UBAR)"
    )
    keep: Fraction = Field(
        default=0.5,
        gt=0,
        le=1,
        examples=["30 %"],
        description="fraction of the neighbours that is looked at, the nearest ones",
    )
    own_share: Fraction = Field(default=0.5, ge=0, le=1, description="weight of the own model in the result")


UNCENTRED = (
    MedianRule,
    TrimmedMeanRule,
    MeanAroundMedianRule,
    KrumRule,
    GeometricMedianRule,
    MinimumDiameterRule,
)
"""Rules for which the own model is one like the others."""


def least_models(rule: RobustRule) -> int:
    """How many models a rule has to see, the own one included."""
    if getattr(rule, "before", None) == "bucketing":  # as many pairs, or one alone
        return 2 * least_models(rule.model_copy(update={"before": "nothing"})) - 1
    match rule:
        case TrimmedMeanRule(f=f):
            return 2 * f + 1
        case KrumRule(f=f, chosen=chosen, scores=scores):
            return max(chosen, f + (3 if scores == "blanchard" else 2))
        case MeanAroundMedianRule(f=f) | MinimumDiameterRule(f=f) | NearestRule(f=f):
            return 2 * f + 1
        case IosRule(f=f) | RemoveFurthestRule(f=f):
            return f + 2
        case UbarRule():
            return 2
        case _:
            return 1
