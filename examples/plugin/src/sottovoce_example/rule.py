"""A robust rule."""

from typing import Literal

from pydantic import Field

from scenarios.kinds.robust_rules import UncentredRule


class PhocasRule(UncentredRule):
    """Position by position, means around the trimmed mean (Xie, Koyejo, Gupta 2018, arXiv 1805.09682)."""

    kind: Literal["phocas"] = Field(
        description="the mean of all but the f values of every parameter that are furthest from its trimmed mean"
    )
    f: int = Field(ge=0, examples=[1], description="Byzantine models among those compared")

    @property
    def least(self):
        """One value is left when f are cut at either end."""
        return 2 * self.f + 1

    def aggregate(self, x):
        """Return one vector, (d,), for stacked ones, (n, d)."""
        import jax.numpy as jnp

        count = len(x)
        trimmed = jnp.mean(jnp.sort(x, axis=0)[self.f : count - self.f], axis=0)
        nearest = jnp.argsort(jnp.abs(x - trimmed), axis=0)[: count - self.f]
        return jnp.mean(jnp.take_along_axis(x, nearest, axis=0), axis=0)
