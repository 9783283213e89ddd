"""Layered networks over one flat parameter vector, with the layer inputs that clipping needs.

Every layer with parameters is an affine map of positions: a dense layer has one position per sample, a convolution
one per place of its kernel, where its input is a patch of the image. So the gradient of one sample with respect to a
layer is Σ over positions of (input)ᵀ(output gradient), for every layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError

Shape: TypeAlias = tuple[int, ...]
Padding: TypeAlias = Literal["valid", "same"]


def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """Multiply in full precision: accelerators may use less by default, and runs must agree across machines."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


@dataclass(frozen=True)
class Dense:
    """Fully connected layer with ``units`` outputs; samples of any shape are flattened."""

    units: int


@dataclass(frozen=True)
class Conv:
    """Convolution of images (height, width, channels): ``channels`` square kernels of ``kernel`` pixels."""

    channels: int
    kernel: int
    stride: int = 1
    padding: Padding = "valid"


@dataclass(frozen=True)
class Pool:
    """Average or maximum over squares of ``size`` pixels; incomplete squares at the border are dropped."""

    size: int
    by: Literal["average", "max"] = "average"


Activation: TypeAlias = Literal["relu", "tanh"]
Layer: TypeAlias = "Dense | Conv | Pool | Activation"


@dataclass(frozen=True)
class NeuralNetwork:
    """Layers on samples of one shape. Networks are values: equal ones share their compiled programs.

    Args:
        shape: of one sample.
        layers: in order.

    Raises:
        ConfigurationError: a layer that does not fit what comes before it.
    """

    shape: Shape
    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        shape = self.shape
        for layer in self.layers:
            shape = _after(layer, shape)

    @property
    def kernels(self) -> list[tuple[int, int]]:
        """Return (inputs, outputs) of each layer with parameters."""
        found, shape = [], self.shape
        for layer in self.layers:
            if isinstance(layer, Dense):
                found.append((prod(shape), layer.units))
            elif isinstance(layer, Conv):
                found.append((layer.kernel**2 * shape[2], layer.channels))
            shape = _after(layer, shape)
        return found

    @property
    def size(self) -> int:
        """Return the number of parameters d: of each layer its kernel, row by row, then its bias."""
        return sum(inputs * outputs + outputs for inputs, outputs in self.kernels)

    def init(self, rng: np.random.Generator) -> NDArray[np.float32]:
        """Draw weights by He et al. 2015 (arXiv:1502.01852), biases zero.

        Returns:
            (d,) parameters.
        """
        parts = []
        for inputs, outputs in self.kernels:
            parts += [rng.normal(0.0, np.sqrt(2.0 / inputs), inputs * outputs), np.zeros(outputs)]
        return np.concatenate(parts).astype(np.float32)

    def split(self, params: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        """Return (kernel (inputs, outputs), bias (outputs,)) of each layer with parameters."""
        sizes = [n for inputs, outputs in self.kernels for n in (inputs * outputs, outputs)]
        ends = np.cumsum([0, *sizes]).tolist()
        pieces = [params[start:end] for start, end in pairwise(ends)]
        return [(pieces[2 * i].reshape(shape), pieces[2 * i + 1]) for i, shape in enumerate(self.kernels)]

    def __call__(self, params: jax.Array, x: jax.Array) -> jax.Array:
        """Return outputs (samples, units) of samples (samples, *shape)."""
        return self.run(params, x, [0.0] * len(self.kernels))[0]

    def run(
        self, params: jax.Array, x: jax.Array, probes: Sequence[jax.Array | float]
    ) -> tuple[jax.Array, list[jax.Array]]:
        """Run a forward pass that also returns the inputs of each layer with parameters.

        Args:
            params: (d,).
            x: (samples, *shape).
            probes: added to the outputs of each layer with parameters, before any other operation. Zeros change
                nothing, and the gradient with respect to them is that of the outputs.

        Returns:
            (samples, units) outputs, and per layer with parameters its inputs (samples, positions, inputs).
        """
        kernels, added, seen = iter(self.split(params)), iter(probes), []
        values = x.reshape(len(x), *self.shape)
        for layer in self.layers:
            if layer == "relu":
                values = jax.nn.relu(values)
            elif layer == "tanh":
                values = jnp.tanh(values)
            elif isinstance(layer, Pool):
                values = _pooled(values, layer)
            elif isinstance(layer, Dense | Conv):
                kernel, bias = next(kernels)
                places: Shape = ()
                if isinstance(layer, Dense):
                    inputs = values.reshape(len(x), 1, -1)
                else:
                    places, inputs = _patches(values, layer)
                outputs = matmul(inputs, kernel) + bias + next(added)
                seen.append(inputs)
                values = outputs.reshape(len(x), *places, kernel.shape[1])
        return values.reshape(len(x), -1), seen


def _after(layer: Layer, shape: Shape) -> Shape:
    """Return the shape of a sample after a layer."""
    if isinstance(layer, Dense):
        _at_least_one("units", layer.units)
        return (layer.units,)
    if isinstance(layer, str):
        return shape
    if len(shape) != 3:
        raise ConfigurationError(
            f"model: samples of shape {shape} where a {type(layer).__name__.lower()} layer needs images, "
            "(height, width, channels)",
            "model.kind",
        )
    height, width, channels = shape
    if isinstance(layer, Pool):
        _at_least_one("pool", layer.size)
        after = (height // layer.size, width // layer.size, channels)
    else:
        _at_least_one("channels", layer.channels)
        _at_least_one("kernel", layer.kernel)
        if layer.padding == "same":
            after = (-(-height // layer.stride), -(-width // layer.stride), layer.channels)
        else:
            after = (
                (height - layer.kernel) // layer.stride + 1,
                (width - layer.kernel) // layer.stride + 1,
                layer.channels,
            )
    if min(after) < 1:
        raise ConfigurationError(
            f"model: images of {height} x {width} are too small for {layer}; use fewer or smaller layers",
            "model",
        )
    return after


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ConfigurationError(f"model: {name} is {value}, expected at least 1", f"model.{name}")


def _patches(values: jax.Array, layer: Conv) -> tuple[Shape, jax.Array]:
    """Return the patches of a convolution: (rows, columns) and (samples, places, kernel² · channels).

    Shifted slices are stacked: products with kernels that differ between nodes are then plain matrix products, where
    grouped convolutions are slow.
    """
    k, s = layer.kernel, layer.stride
    samples, height, width, channels = values.shape
    rows, columns, _ = _after(layer, (height, width, channels))
    if layer.padding == "same":
        extra = [max(0, (n - 1) * s + k - size) for n, size in ((rows, height), (columns, width))]
        values = jnp.pad(values, ((0, 0), *((e // 2, e - e // 2) for e in extra), (0, 0)))
    shifted = [
        values[:, i : i + (rows - 1) * s + 1 : s, j : j + (columns - 1) * s + 1 : s]
        for i in range(k)
        for j in range(k)
    ]
    patches = jnp.concatenate(shifted, axis=3).reshape(samples, rows * columns, k * k * channels)
    return (rows, columns), patches


def _pooled(values: jax.Array, layer: Pool) -> jax.Array:
    n = layer.size
    samples, height, width, channels = values.shape
    cut = values[:, : height // n * n, : width // n * n]
    squares = cut.reshape(samples, height // n, n, width // n, n, channels)
    return squares.mean((2, 4)) if layer.by == "average" else squares.max((2, 4))
