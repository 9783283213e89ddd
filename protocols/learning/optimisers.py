"""Optimisers from optax, with their state as one flat vector that can be kept, sent and averaged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from simulator.errors import ConfigurationError


@dataclass(frozen=True)
class Optimiser:
    """Transformation of a gradient before it is multiplied by the step size.

    Args:
        transform: optax's form of it, without the step size. Runs share compiled programs only if this is the same
            object, so take it from a cached function such as :func:`adam`.
        linear: whether a step is the gradient times the step size and nothing else; ``transform`` is skipped then.
    """

    transform: optax.GradientTransformation
    linear: bool = False

    def state_size(self, size: int) -> int:
        """Return the elements of the flat state for ``size`` parameters."""
        return _form(self, size).size

    def fresh(self, size: int) -> NDArray[np.float32]:
        """Return the flat state before the first step."""
        leaves = jax.tree.leaves(self.transform.init(jnp.zeros(size)))
        flat = [np.asarray(leaf, np.float32).ravel() for leaf in leaves]
        return np.concatenate([np.zeros(0, np.float32), *flat])


@lru_cache(maxsize=64)
def sgd(weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Return the gradient itself, with optional weight decay.

    Args:
        weight_decay: λ ≥ 0: λ · parameters is added to the gradient.

    Raises:
        ConfigurationError: a value out of its range.
    """
    return _chain(weight_decay)


@lru_cache(maxsize=64)
def momentum(
    momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """Return a running sum of gradients: heavy ball, or Nesterov.

    Args:
        momentum: fraction of the sum kept at each step, in [0, 1).
        nesterov: evaluate one step ahead.
        weight_decay: λ ≥ 0: λ · parameters is added to the gradient.

    Raises:
        ConfigurationError: a value out of its range.
    """
    _require_share(momentum=momentum)
    return _chain(weight_decay, optax.trace(momentum, nesterov=nesterov))


@lru_cache(maxsize=64)
def adam(
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> optax.GradientTransformation:
    """Return Adam, or AdamW with decoupled weight decay.

    Args:
        beta1: decay of the mean, in [0, 1).
        beta2: decay of the mean square, in [0, 1).
        epsilon: added to the root of the mean square, > 0.
        weight_decay: λ ≥ 0: λ · parameters is added to the gradient, or to Adam's direction.
        decoupled: whether it is added to the direction (AdamW).

    Raises:
        ConfigurationError: a value out of its range.

    Source: Kingma and Ba 2015 (arXiv:1412.6980); Loshchilov and Hutter 2019 (arXiv:1711.05101).
    """
    _require_share(beta1=beta1, beta2=beta2)
    if not epsilon > 0:
        raise ConfigurationError(
            f"optimiser: epsilon is {epsilon}, expected > 0", "training.optimizer.epsilon"
        )
    scaled = optax.scale_by_adam(beta1, beta2, epsilon)
    return _chain(weight_decay, before=(scaled,)) if decoupled else _chain(weight_decay, scaled)


def _chain(
    weight_decay: float,
    *after: optax.GradientTransformation,
    before: tuple[optax.GradientTransformation, ...] = (),
) -> optax.GradientTransformation:
    """Chain weight decay, if any, after ``before`` and before ``after``."""
    if not weight_decay >= 0:
        raise ConfigurationError(
            f"optimiser: weight_decay is {weight_decay}, expected ≥ 0", "training.weight_decay"
        )
    decay = (optax.add_decayed_weights(weight_decay),) if weight_decay else ()
    steps = (*before, *decay, *after)
    return optax.chain(*steps) if steps else optax.identity()


def _require_share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ConfigurationError(
                f"optimiser: {name} is {value}, expected at least 0 and below 1", f"training.optimizer.{name}"
            )


@dataclass(frozen=True)
class _Form:
    """Layout of a state in a vector."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    size: int


@lru_cache(maxsize=128)
def _form(optimiser: Optimiser, size: int) -> _Form:
    state = jax.eval_shape(lambda: optimiser.transform.init(jnp.zeros(size)))
    leaves, tree = jax.tree.flatten(state)
    shapes = tuple(leaf.shape for leaf in leaves)
    return _Form(tree, shapes, tuple(leaf.dtype for leaf in leaves), sum(map(prod, shapes)))


def unflatten(optimiser: Optimiser, size: int, vector: jax.Array) -> Any:
    """Return optax's state from a flat one. Counts are whole numbers in float32: exact up to 2^24 steps, rounded
    where states were averaged."""
    form, leaves, start = _form(optimiser, size), [], 0
    for shape, dtype in zip(form.shapes, form.dtypes, strict=True):
        piece = vector[start : start + prod(shape)].reshape(shape)
        whole = jnp.issubdtype(dtype, jnp.integer)
        leaves.append(jnp.round(piece).astype(dtype) if whole else piece)
        start += prod(shape)
    return jax.tree.unflatten(form.tree, leaves)


def flatten(state: Any, dtype: Any) -> jax.Array:
    """Return the flat state."""
    leaves = [leaf.astype(dtype).ravel() for leaf in jax.tree.leaves(state)]
    return jnp.concatenate([jnp.zeros(0, dtype), *leaves])
