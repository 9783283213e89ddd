"""Tables of robust rules for mixing."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.tables import Table

Wrong: TypeAlias = Annotated[
    int, Field(ge=0, description="wrong models among those compared: a node's neighbours and itself")
]
Before: TypeAlias = Annotated[
    Literal["nothing", "nearest-mixing", "adaptive-clipping"],
    Field(
        description="what is done to the models first: nearest-mixing (NNM, each replaced by the mean of its "
        "nearest) or adaptive-clipping (ARC, the longest cut)"
    ),
]


class MedianRule(Table):
    """Position by position."""

    kind: Literal["median"] = Field(description="the median of every parameter")


class TrimmedMeanRule(Table):
    """Position by position."""

    kind: Literal["trimmed-mean"] = Field(
        description="the mean without the f smallest and largest of every parameter"
    )
    f: Wrong
    before: Before = "nothing"


class MeanAroundMedianRule(Table):
    """Position by position."""

    kind: Literal["mean-around-median"] = Field(
        description="the mean of all but the f values of every parameter that are furthest from its median"
    )
    f: Wrong
    before: Before = "nothing"


class KrumRule(Table):
    """By distances."""

    kind: Literal["krum"] = Field(description="the mean of the models that are nearest to their nearest ones")
    f: Wrong
    chosen: int = Field(default=1, ge=1, description="how many are averaged (1: Krum; more: Multi-Krum)")
    scores: Literal["others", "blanchard"] = Field(
        default="blanchard",
        description="a score counts n - f - 2 nearest ones (blanchard, as published) or n - f - 1 (others)",
    )
    before: Before = "nothing"


class GeometricMedianRule(Table):
    """By distances."""

    kind: Literal["geometric-median"] = Field(description="the point with the least sum of distances")


class MinimumDiameterRule(Table):
    """By distances."""

    kind: Literal["minimum-diameter"] = Field(
        description="the mean of the n - f models that are closest together (MDA); all sets are looked at"
    )
    f: Wrong


class NearestRule(Table):
    """By distances to the own model."""

    kind: Literal["nearest"] = Field(
        description="the mean of the n - f models nearest the own one (MoNNA, NNA)"
    )
    f: Wrong


class CentredClippingRule(Table):
    """Around the own model."""

    kind: Literal["centred-clipping"] = Field(
        description="the own model, moved by the mean of all differences to it, each cut to a radius"
    )
    radius: float = Field(gt=0, description="longest difference that counts in full")
    steps: int = Field(default=1, ge=1, le=100, description="how often, each time around the last result")


RobustRule: TypeAlias = Annotated[
    MedianRule
    | TrimmedMeanRule
    | MeanAroundMedianRule
    | KrumRule
    | GeometricMedianRule
    | MinimumDiameterRule
    | NearestRule
    | CentredClippingRule,
    Field(
        discriminator="kind",
        description="how a node mixes what it hears with its own model, if not by weights",
    ),
]


def least_models(rule: RobustRule) -> int:
    """How many models a rule has to see, the own one included."""
    match rule:
        case TrimmedMeanRule(f=f):
            return 2 * f + 1
        case KrumRule(f=f, chosen=chosen, scores=scores):
            return max(chosen, f + (3 if scores == "blanchard" else 2))
        case MeanAroundMedianRule(f=f) | MinimumDiameterRule(f=f) | NearestRule(f=f):
            return 2 * f + 1
        case _:
            return 1
