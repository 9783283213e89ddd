"""Robust rules in which the own model counts for more than a neighbour's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.format.units import Fraction
from scenarios.kinds.robust_rules.base import CentredRule, Need, Wrong

if TYPE_CHECKING:
    import jax

    from protocols.gossip.robust_mix import Heard

Outsiders: TypeAlias = Annotated[
    int, Field(ge=0, examples=[1], description="Byzantine models among a node's neighbours")
]
Budget: TypeAlias = Annotated[
    Fraction,
    Field(
        gt=0,
        lt=1,
        examples=["20 %"],
        description="largest fraction of a node's mixing weight that Byzantine neighbours have together",
    ),
]
Radius: TypeAlias = Annotated[float, Field(gt=0)] | Literal["adaptive", "oracle"]


class NearestRule(CentredRule):
    """By distances to the own model (Farhadkhani et al. 2022, 2023)."""

    kind: Literal["nearest"] = Field(
        description="the mean of the n - f models nearest the own one (MoNNA, NNA)"
    )
    f: Wrong

    @property
    def least(self) -> int:
        """Fewer than half are wrong."""
        return 2 * self.f + 1

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import rules

        return rules.nearest_mean(heard.models, self.f, 0)


class CentredClippingRule(CentredRule):
    """Around the own model (Karimireddy, He, Jaggi 2021).

    The expected squared error is of order δ ρ²: δ is the fraction of Byzantine models, ρ² the spread of the others.
    """

    kind: Literal["centred-clipping"] = Field(
        description="the own model, moved by the mean of all differences to it, each cut to a radius"
    )
    radius: float = Field(gt=0, examples=[0.5], description="longest difference that counts in full")
    steps: int = Field(
        default=1, ge=1, le=100, examples=[3], description="iterations, each around the last result"
    )

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import rules

        return rules.centred_clipping(heard.models, heard.models[0], self.radius, self.steps)


class ClippedGossipRule(CentredRule):
    """Around the own model, by the weights of links (He, Karimireddy, Jaggi 2022).

    Proven for Byzantine neighbours of weight δ = O(γ²), γ being the spectral gap of the honest graph, with the radius
    of the oracle.
    """

    kind: Literal["clipped-gossip"] = Field(
        description="the own model, moved by the weighted sum of all differences to it, each cut to a radius"
    )
    radius: Radius = Field(
        examples=["adaptive"],
        description="longest difference that counts in full; adaptive: the second largest of the round; "
        "oracle: the proven radius, computed with knowledge of the honest nodes",
    )

    @property
    def needs(self) -> frozenset[Need]:
        """The proven radius takes knowing who is honest."""
        return frozenset({"honest nodes"}) if self.radius == "oracle" else frozenset()

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import weighted

        radius: jax.Array | float
        if self.radius == "adaptive":
            radius = weighted.second_furthest(heard.models)
        elif self.radius == "oracle":
            radius = weighted.oracle_radius(heard.models, heard.weights, heard.honest)
        else:
            radius = self.radius
        return weighted.clipped_gossip(heard.models, heard.weights, radius)


class ClippedGossipHeRule(CentredRule):
    """Around the own model, by the weights of links (He et al. 2022; radius as in Gaucher et al. 2025)."""

    kind: Literal["clipped-gossip-he"] = Field(
        description="clipped gossip with the proven radius, the furthest models being taken for Byzantine "
        "ones"
    )
    budget: Budget

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import weighted

        return weighted.clipped_gossip(
            heard.models, heard.weights, weighted.budget_radius(heard.models, heard.weights, self.budget)
        )


class CsPlusRule(CentredRule):
    """Around the own model, by the weights of links (Gaucher, Dieuleveut, Hendrikx 2025: near-optimal breakdown)."""

    kind: Literal["cs-plus"] = Field(
        description="clipped gossip with the largest distance beyond which models of twice the budget lie "
        "(CS+)"
    )
    budget: Budget

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import weighted

        return weighted.clipped_sum(heard.models, heard.weights, self.budget)


class GtsRule(CentredRule):
    """Around the own model, by the weights of links (Gaucher, Dieuleveut, Hendrikx 2025)."""

    kind: Literal["gts"] = Field(
        description="gossip without the furthest models, up to the weight of the budget (NNA with weights)"
    )
    budget: Budget

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import weighted

        return weighted.trimmed_sum(heard.models, heard.weights, self.budget)


class IosRule(CentredRule):
    """By the weights of links (Wu, Chen, Ling 2023)."""

    kind: Literal["ios"] = Field(
        description="f times the model furthest from the weighted mean is left out, never the own one (IOS)"
    )
    f: Outsiders

    @property
    def least(self) -> int:
        """One neighbour is left."""
        return self.f + 2

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import weighted

        return weighted.outliers_cut(heard.models, heard.weights, self.f)


class RemoveFurthestRule(CentredRule):
    """Around the own model, by the weights of links; with equal weights nearest-neighbour averaging."""

    kind: Literal["remove-furthest"] = Field(
        description="gossip without the f models furthest from the own one, whose weight falls to it"
    )
    f: Outsiders

    @property
    def least(self) -> int:
        """One neighbour is left."""
        return self.f + 2

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import weighted

        return weighted.without_furthest(heard.models, heard.weights, self.f)


class UbarRule(CentredRule):
    """By distances to the own model and by losses on the own samples (Guo et al. 2022)."""

    kind: Literal["ubar"] = Field(
        description="of the nearest models, the mean of those no worse than the own one on the own "
        "samples (UBAR)"
    )
    keep: Fraction = Field(
        default=0.5,
        gt=0,
        le=1,
        examples=["30 %"],
        description="fraction of the neighbours, the nearest ones, whose models are compared",
    )
    own_share: Fraction = Field(default=0.5, ge=0, le=1, description="weight of the own model in the result")

    @property
    def least(self) -> int:
        """One neighbour to look at."""
        return 2

    @property
    def needs(self) -> frozenset[Need]:
        """Losses on the own samples."""
        return frozenset({"own samples"})

    def mix(self, heard: Heard) -> jax.Array:
        """Return the mixed model of what a node has heard."""
        from protocols.robust import weighted

        near = max(1, int(self.keep * (heard.models.shape[0] - 1)))
        return weighted.useful_mean(heard.models, heard.losses(), near, self.own_share)
