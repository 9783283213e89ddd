"""An attack on models that are sent."""

from functools import cache
from typing import ClassVar, Literal

from pydantic import Field

from scenarios.kinds.attacks import ContentAttack


class MinMaxAttack(ContentAttack):
    """As far off as the honest models are from each other (Shejwalkar, Houmansadr 2021, NDSS)."""

    kind: Literal["min-max"] = Field(
        description="the mean of honest models minus so many deviations that it is no further off than two of them"
    )
    knowledge: ClassVar[str] = "received"

    def content(self, stage):
        """Return what is sent in place of a model; ``scene.said`` records it as no linear function of models."""
        return lambda scene: scene.said(_operation(len(models := scene.models())), models)


@cache  # one operation for each number of models, so that it is compiled once
def _operation(count):
    import jax.numpy as jnp

    from simulator.contract.compute import Op

    def sent(*models):
        x = jnp.stack(models)
        mean, deviation = jnp.mean(x, axis=0), jnp.std(x, axis=0)
        widest = jnp.max(jnp.sum((x[:, None] - x) ** 2, axis=2))
        factors = jnp.linspace(0.0, 10.0, 101)
        furthest = jnp.max(jnp.sum((mean - factors[:, None, None] * deviation - x) ** 2, axis=2), axis=1)
        return mean - jnp.max(jnp.where(furthest <= widest, factors, 0.0)) * deviation

    return Op(f"min-max of {count}", sent)
