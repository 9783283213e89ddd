"""How good models are on what a node holds itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp

from protocols.learning.task import Task


@lru_cache(maxsize=64)
def own_losses(task: Task) -> Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]:
    """``fn(models (n, d), x, y, mask) -> (n,)``: the mean loss of each model over one node's samples.

    What travels behind the parameters of a model is ignored. A node without samples finds every model equal.
    """

    def losses(models: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array) -> jax.Array:
        def mean(params: jax.Array) -> jax.Array:
            each = jax.vmap(task.loss, in_axes=(None, 0, 0))(params[: task.size], x, y)
            return jnp.sum(jnp.where(mask, each, 0.0)) / jnp.maximum(jnp.sum(mask), 1)

        return jax.vmap(mean)(models)

    return losses
