"""The models: each function builds one :class:`~protocols.learning.task.Task`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.task import Task
from simulator.errors import ConfigurationError


def _matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    # Accelerators may multiply float32 in reduced precision by default; runs must agree across machines.
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _flat(x: jax.Array, features: int) -> jax.Array:
    """Dense layers see a sample, an image say, as one row."""
    return x.reshape(len(x), features)


def _cross_entropy(
    logits: Callable[[jax.Array, jax.Array], jax.Array],
) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    def example_loss(params: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        scores = logits(params, x[None, :])[0]
        return jax.nn.logsumexp(scores) - scores[y]

    return example_loss


def _require(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ConfigurationError(f"model: {name} is {value}, expected at least 1", f"model.{name}")


# Cached, so that equal models of different runs are the same functions and share their compilations.
@lru_cache(maxsize=64)
def softmax(features: int, classes: int) -> Task:
    """Multinomial logistic regression: d = (features + 1) · classes, started at zero.

    Args:
        features: inputs per sample, at least 1.
        classes: at least 1.

    Raises:
        ConfigurationError: a size below 1.
    """
    _require(features=features, classes=classes)
    split = features * classes

    def logits(params: jax.Array, x: jax.Array) -> jax.Array:
        return _matmul(_flat(x, features), params[:split].reshape(features, classes)) + params[split:]

    def init(rng: np.random.Generator) -> NDArray[np.float32]:
        # Convex, hence a common start needs no randomness.
        return np.zeros(split + classes, dtype=np.float32)

    return Task(
        f"softmax({features}, {classes})", split + classes, classes, init, logits, _cross_entropy(logits)
    )


@lru_cache(maxsize=64)
def mlp(features: int, hidden: int, classes: int) -> Task:
    """One hidden layer of rectified linear units; weights by He et al. 2015 (arXiv:1502.01852), biases zero.

    Args:
        features: inputs per sample, at least 1.
        hidden: units of the hidden layer, at least 1.
        classes: at least 1.

    Raises:
        ConfigurationError: a size below 1.
    """
    _require(features=features, hidden=hidden, classes=classes)
    shapes = ((features, hidden), (hidden,), (hidden, classes), (classes,))
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes]).tolist()

    def logits(params: jax.Array, x: jax.Array) -> jax.Array:
        first, bias, second, out = (
            params[end - int(np.prod(shape)) : end].reshape(shape)
            for shape, end in zip(shapes, ends, strict=True)
        )
        return _matmul(jax.nn.relu(_matmul(_flat(x, features), first) + bias), second) + out

    def init(rng: np.random.Generator) -> NDArray[np.float32]:
        parts = [
            rng.normal(0.0, np.sqrt(2.0 / shape[0]), shape).ravel() if len(shape) == 2 else np.zeros(shape)
            for shape in shapes
        ]
        return np.concatenate(parts).astype(np.float32)

    return Task(
        f"mlp({features}, {hidden}, {classes})", ends[-1], classes, init, logits, _cross_entropy(logits)
    )
