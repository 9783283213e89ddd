"""Models: each function builds one :class:`~protocols.learning.task.Task`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.layers import Activation, Conv, Dense, Layer, NeuralNetwork, Padding, Pool, Shape
from protocols.learning.task import Task
from simulator.errors import ConfigurationError


# Cached, so that equal models of different runs are the same functions and share their compilations.
@lru_cache(maxsize=64)
def softmax(features: int, classes: int) -> Task:
    """Build multinomial logistic regression: d = (features + 1) · classes, initial parameters zero.

    Args:
        features: inputs per sample, at least 1.
        classes: number of classes, at least 1.

    Raises:
        ConfigurationError: a size below 1.
    """
    _require(features=features, classes=classes)
    network = NeuralNetwork((features,), (Dense(classes),))
    return _classifier(f"softmax({features}, {classes})", network, classes, zero=True)


@lru_cache(maxsize=64)
def linear(features: int) -> Task:
    """Build linear regression with loss ½ (prediction − y)²: d = features + 1, initial parameters zero.

    Args:
        features: inputs per sample, at least 1.

    Raises:
        ConfigurationError: a size below 1.
    """
    _require(features=features)
    network = NeuralNetwork((features,), (Dense(1),))

    def evaluate(params: jax.Array, x: jax.Array, y: jax.Array) -> Mapping[str, jax.Array]:
        return {"loss": half_square(network(params, x), y)}

    return Task(
        f"linear({features})",
        network.size,
        lambda rng: np.zeros(network.size, np.float32),
        lambda params, x, y: half_square(network(params, x[None]), jnp.reshape(y, 1))[0],
        evaluate,
        network=network,
        head=half_square,
    )


@lru_cache(maxsize=64)
def mlp(features: int, hidden: int | tuple[int, ...], classes: int, activation: Activation = "relu") -> Task:
    """Build hidden layers of rectified linear (or tanh) units; weights by He et al. 2015, biases zero.

    Args:
        features: inputs per sample, at least 1.
        hidden: units of the hidden layer, or of each of several, at least 1.
        classes: number of classes, at least 1.
        activation: function after every hidden layer.

    Raises:
        ConfigurationError: a size below 1.
    """
    sizes = (hidden,) if isinstance(hidden, int) else hidden
    _require(features=features, classes=classes, hidden=min(sizes, default=0))
    layers: list[Layer] = []
    for units in sizes:
        layers += [Dense(units), activation]
    network = NeuralNetwork((features,), (*layers, Dense(classes)))
    return _classifier(f"mlp({', '.join(map(str, (features, *sizes, classes)))})", network, classes)


@lru_cache(maxsize=64)
def cnn(
    shape: Shape,
    classes: int,
    channels: tuple[int, ...] = (8, 16),
    kernel: int = 5,
    hidden: tuple[int, ...] = (64,),
    activation: Activation = "relu",
    padding: Padding = "valid",
) -> Task:
    """Build a small convolutional network similar to LeNet (LeCun et al. 1998).

    Every convolution is followed by the activation and by average pooling of 2 × 2; dense layers end it.

    Args:
        shape: of the images, (height, width) or (height, width, channels).
        classes: number of classes, at least 1.
        channels: number of kernels of each convolution.
        kernel: width and height of the kernels in pixels.
        hidden: units of the dense layers before the last.
        activation: function after every layer but the last.
        padding: ``same`` keeps the size of images through convolutions, ``valid`` cuts their borders.

    Raises:
        ConfigurationError: samples that are not images, images too small for the layers, or a size below 1.
    """
    _require(classes=classes)
    if len(shape) not in (2, 3):
        raise ConfigurationError(
            f"model: a convolutional network needs images, (height, width) or (height, width, channels); these "
            f"samples have shape {shape}",
            "model.kind",
        )
    layers: list[Layer] = []
    for count in channels:
        layers += [Conv(count, kernel, padding=padding), activation, Pool(2)]
    for units in hidden:
        layers += [Dense(units), activation]
    network = NeuralNetwork((*shape, 1)[:3], (*layers, Dense(classes)))
    return _classifier(f"cnn({prod(shape)}, {classes})", network, classes)


def cross_entropy(scores: jax.Array, y: jax.Array) -> jax.Array:
    """Return −log of the softmax of the true class, (samples,)."""
    picked = jnp.sum(scores * jax.nn.one_hot(y, scores.shape[1], dtype=scores.dtype), axis=1)
    return jax.nn.logsumexp(scores, axis=1) - picked


def half_square(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Return ½ (output − y)², (samples,)."""
    return 0.5 * (outputs[:, 0] - y) ** 2


def _classifier(name: str, network: NeuralNetwork, classes: int, zero: bool = False) -> Task:
    def init(rng: np.random.Generator) -> NDArray[np.float32]:
        # A convex loss needs no random initial parameters.
        return np.zeros(network.size, np.float32) if zero else network.init(rng)

    def evaluate(params: jax.Array, x: jax.Array, y: jax.Array) -> Mapping[str, jax.Array]:
        scores = network(params, x)
        return {"loss": cross_entropy(scores, y), "prediction": jnp.argmax(scores, axis=1)}

    return Task(
        name,
        network.size,
        init,
        lambda params, x, y: cross_entropy(network(params, x[None]), jnp.reshape(y, 1))[0],
        evaluate,
        classes,
        network,
        cross_entropy,
    )


def _require(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ConfigurationError(f"model: {name} is {value}, expected at least 1", f"model.{name}")
