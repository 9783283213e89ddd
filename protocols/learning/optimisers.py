"""Optimisers by optax, with their state as one flat vector that can be kept, sent and averaged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from simulator.errors import ConfigurationError

Kind: TypeAlias = Literal["sgd", "momentum", "adam", "adamw"]


@dataclass(frozen=True)
class Optimiser:
    """What becomes of a gradient before it is multiplied by the step size.

    Args:
        kind: ``sgd``: nothing; ``momentum``: heavy ball or Nesterov; ``adam`` (Kingma and Ba 2015, arXiv:1412.6980);
            ``adamw``: decoupled weight decay (Loshchilov and Hutter 2019, arXiv:1711.05101).
        momentum: of ``momentum``, in [0, 1).
        nesterov: of ``momentum``: look ahead.
        beta1, beta2, epsilon: of Adam.
        weight_decay: λ ≥ 0: λ · parameters is added to the gradient, to Adam's direction with ``adamw``.

    Raises:
        ConfigurationError: a value out of its range.
    """

    kind: Kind = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name in ("momentum", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigurationError(
                    f"optimiser: {name} is {getattr(self, name)}, expected at least 0 and below 1",
                    f"training.optimizer.{name}",
                )
        if not (self.weight_decay >= 0 and self.epsilon > 0):
            raise ConfigurationError(
                f"optimiser: weight_decay {self.weight_decay} and epsilon {self.epsilon}, expected ≥ 0 and > 0",
                "training.optimizer",
            )

    @property
    def linear(self) -> bool:
        """Whether a step is the gradient times the step size and nothing else."""
        return self.kind == "sgd" and not self.weight_decay

    def transformation(self) -> optax.GradientTransformation:
        """Optax's form of it, without the step size."""
        decay = [optax.add_decayed_weights(self.weight_decay)] if self.weight_decay else []
        match self.kind:
            case "sgd":
                return optax.chain(*decay) if decay else optax.identity()
            case "momentum":
                return optax.chain(*decay, optax.trace(self.momentum, nesterov=self.nesterov))
            case "adam":
                return optax.chain(*decay, optax.scale_by_adam(self.beta1, self.beta2, self.epsilon))
            case "adamw":
                return optax.chain(optax.scale_by_adam(self.beta1, self.beta2, self.epsilon), *decay)

    def state_size(self, size: int) -> int:
        """Elements of the flat state for ``size`` parameters."""
        return _form(self, size).size

    def fresh(self, size: int) -> NDArray[np.float32]:
        """The flat state before the first step."""
        leaves = jax.tree.leaves(self.transformation().init(jnp.zeros(size)))
        flat = [np.asarray(leaf, np.float32).ravel() for leaf in leaves]
        return np.concatenate([np.zeros(0, np.float32), *flat])


@dataclass(frozen=True)
class _Form:
    """How a state is laid out in a vector."""

    tree: Any
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[Any, ...]
    size: int


@lru_cache(maxsize=128)
def _form(optimiser: Optimiser, size: int) -> _Form:
    state = jax.eval_shape(lambda: optimiser.transformation().init(jnp.zeros(size)))
    leaves, tree = jax.tree.flatten(state)
    shapes = tuple(leaf.shape for leaf in leaves)
    return _Form(tree, shapes, tuple(leaf.dtype for leaf in leaves), sum(map(prod, shapes)))


def unflatten(optimiser: Optimiser, size: int, vector: jax.Array) -> Any:
    """Optax's state from a flat one. Counts are whole numbers in float32: exact up to 2^24 steps, rounded where
    states were averaged."""
    form, leaves, start = _form(optimiser, size), [], 0
    for shape, dtype in zip(form.shapes, form.dtypes, strict=True):
        piece = vector[start : start + prod(shape)].reshape(shape)
        whole = jnp.issubdtype(dtype, jnp.integer)
        leaves.append(jnp.round(piece).astype(dtype) if whole else piece)
        start += prod(shape)
    return jax.tree.unflatten(form.tree, leaves)


def flatten(state: Any, dtype: Any) -> jax.Array:
    """The flat state."""
    leaves = [leaf.astype(dtype).ravel() for leaf in jax.tree.leaves(state)]
    return jnp.concatenate([jnp.zeros(0, dtype), *leaves])
