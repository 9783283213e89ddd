"""Losses of models on a node's own samples."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp

from protocols.learning.task import Task


@lru_cache(maxsize=64)
def own_losses(task: Task) -> Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]:
    """Return ``fn(models (n, d), x, y, mask) -> (n,)``: the mean loss of each model over one node's samples.

    Elements after the parameters of a model are ignored. For a node without samples all losses are equal.
    """

    def losses(models: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array) -> jax.Array:
        def mean(params: jax.Array) -> jax.Array:
            each = jax.vmap(task.loss, in_axes=(None, 0, 0))(params[: task.size], x, y)
            return jnp.sum(jnp.where(mask, each, 0.0)) / jnp.maximum(jnp.sum(mask), 1)

        return jax.vmap(mean)(models)

    return losses
