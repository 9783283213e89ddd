"""Robust rules for which the own model is one like the others. ``n`` is the number of models compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scenarios.kinds.robust_rules.base import PreparedRule, UncentredRule, Wrong

if TYPE_CHECKING:
    import jax


class MedianRule(UncentredRule):
    """Position by position (Yin et al. 2018). Breaks down when half of the models are Byzantine."""

    kind: Literal["median"] = Field(description="the median of every parameter")

    def aggregate(self, x: jax.Array) -> jax.Array:
        """Return one vector for stacked ones."""
        from protocols.robust import rules

        return rules.median(x)


class TrimmedMeanRule(PreparedRule):
    """Position by position (Yin et al. 2018). Every value lies between honest ones if at most f are Byzantine."""

    kind: Literal["trimmed-mean"] = Field(
        description="the mean without the f smallest and largest of every parameter"
    )

    @property
    def least_compared(self) -> int:
        """One value is left when f are cut at either end."""
        return 2 * self.f + 1

    def aggregate(self, x: jax.Array) -> jax.Array:
        """Return one vector for stacked ones."""
        from protocols.robust import rules

        return rules.trimmed_mean(x, f=self.f)


class MeanAroundMedianRule(PreparedRule):
    """Position by position (Xie, Koyejo, Gupta 2018). The median must be bounded by right values: f < n / 2."""

    kind: Literal["mean-around-median"] = Field(
        description="the mean of all but the f values of every parameter that are furthest from its median"
    )

    @property
    def least_compared(self) -> int:
        """Fewer than half are wrong."""
        return 2 * self.f + 1

    def aggregate(self, x: jax.Array) -> jax.Array:
        """Return one vector for stacked ones."""
        from protocols.robust import rules

        return rules.mean_around_median(x, f=self.f)


class KrumRule(PreparedRule):
    """By distances (Blanchard et al. 2017). Proven for n > 2 f + 2."""

    kind: Literal["krum"] = Field(
        description="the mean of the models with the smallest sums of squared distances to their nearest ones"
    )
    chosen: int = Field(
        default=1,
        ge=1,
        examples=[2],
        description="number of models that are averaged (1: Krum; more: Multi-Krum)",
    )
    scores: Literal["others", "blanchard"] = Field(
        default="blanchard",
        examples=["others"],
        description="a score counts n - f - 2 nearest ones (blanchard, as published) or n - f - 1 (others)",
    )

    @property
    def least_compared(self) -> int:
        """One distance is left for a score, and there are as many models as are averaged."""
        return max(self.chosen, self.f + (3 if self.scores == "blanchard" else 2))

    def aggregate(self, x: jax.Array) -> jax.Array:
        """Return one vector for stacked ones."""
        from protocols.robust import rules

        return rules.krum(x, f=self.f, chosen=self.chosen, scores=self.scores)


class GeometricMedianRule(UncentredRule):
    """By distances (Pillutla, Kakade, Harchaoui 2022). Breaks down when half of the models are Byzantine."""

    kind: Literal["geometric-median"] = Field(description="the point with the least sum of distances")
    steps: int | None = Field(
        default=None,
        ge=1,
        le=10_000,
        examples=[3],
        description="steps of smoothed Weiszfeld from zero, converged or not; absent: until it has converged",
    )
    smoothing: float = Field(default=0.1, gt=0, description="with steps: least distance that is divided by")

    def aggregate(self, x: jax.Array) -> jax.Array:
        """Return one vector for stacked ones."""
        from protocols.robust import rules

        if self.steps is None:
            return rules.geometric_median(x)
        return rules.smoothed_geometric_median(x, nu=self.smoothing, steps=self.steps)


class MinimumDiameterRule(UncentredRule):
    """By distances (El Mhamdi, Guerraoui, Rouault 2018, MDA). Needs n > 2 f."""

    kind: Literal["minimum-diameter"] = Field(
        description="the mean of the n - f models that are closest together (MDA); all sets are compared"
    )
    f: Wrong

    @property
    def least(self) -> int:
        """Fewer than half are wrong."""
        return 2 * self.f + 1

    def aggregate(self, x: jax.Array) -> jax.Array:
        """Return one vector for stacked ones."""
        from protocols.robust import rules

        return rules.minimum_diameter_mean(x, f=self.f)
