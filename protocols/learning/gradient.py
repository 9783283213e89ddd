"""Gradients of many samples at once, each clipped to a norm, without holding one gradient per sample.

The squared norm of one sample's gradient is a sum over layers, and a layer's term follows from the layer's inputs (a)
and the gradient of its outputs (b): (1 + ‖a‖²)‖b‖² for one position per sample. For several positions it is that of
aᵀb, formed only for the small kernels of convolutions. One backward pass gives all b; a second set of products
aᵀ(c·b), which training without clipping needs as well, gives the clipped sum.

Source: Goodfellow 2015 (arXiv:1510.01799); Lee and Kifer 2021 (arXiv:2009.03106); Bu, Mao and Xu 2022
(arXiv:2205.10683).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from protocols.learning.layers import matmul
from protocols.learning.task import Task

Unit: TypeAlias = Literal["record", "node"]
Gradient: TypeAlias = Callable[..., jax.Array]


@lru_cache(maxsize=128)
def summed(task: Task) -> Gradient:
    """Return ``fn(params (d,), x (rows, …), y (rows,), mask (rows,)) -> (d,)``: the sum over the unmasked rows."""

    def total(params: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array) -> jax.Array:
        if task.network is not None and task.head is not None:
            losses = task.head(task.network(params, x), y)
        else:
            losses = jax.vmap(task.loss, (None, 0, 0))(params, x, y)
        return jnp.sum(jnp.where(mask, losses, 0.0))

    return jax.grad(total)


@lru_cache(maxsize=128)
def clipped(task: Task, unit: Unit) -> Gradient:
    """Return ``fn(params (d,), x (rows, …), y (rows,), mask (rows,), clip ()) -> (d,)``: the clipped sum.

    Args:
        task: with ``network``, samples are clipped by layers; otherwise one by one.
        unit: ``record``: every sample's gradient is scaled down to norm ``clip``; ``node``: the sum of all is.

    Guarantees:
        With ``clip`` = C, adding or removing one sample (unit ``record``), or all of them (unit ``node``), changes
        the result by at most C in the L2 norm, up to float32 rounding (a relative error of about 1e-6). Masked rows
        contribute exactly zero; a gradient whose norm is not finite contributes zero, so the bound holds for every
        input and parameter vector. Noise is not part of this function.
    """
    if unit == "record":
        return sample_by_sample(task) if task.network is None else _by_layers(task)
    plain = summed(task)

    def whole(params: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, clip: jax.Array) -> jax.Array:
        return clip_vector(plain(params, x, y, mask), clip)

    return whole


@lru_cache(maxsize=128)
def sample_by_sample(task: Task) -> Gradient:
    """Return :func:`clipped` for unit ``record`` by explicit gradients: one per sample, each clipped."""

    def clipped_sum(
        params: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, clip: jax.Array
    ) -> jax.Array:
        gradients = jax.vmap(jax.grad(task.loss), (None, 0, 0))(params, x, y)
        gradients = jax.vmap(clip_vector, (0, None))(gradients, clip)
        return jnp.sum(jnp.where(mask[:, None], gradients, 0.0), axis=0)

    return clipped_sum


def clip_vector(vector: jax.Array, clip: jax.Array) -> jax.Array:
    """Scale a vector down to norm ``clip`` if it is longer; zero if it is not finite."""
    norm = jnp.sqrt(jnp.sum(vector * vector))
    # At norm zero the quotient is infinite and the minimum is one; nothing here divides zero by zero.
    return jnp.where(jnp.isfinite(norm), vector * jnp.minimum(1.0, clip / norm), 0.0)


def _by_layers(task: Task) -> Gradient:
    network, head = task.network, task.head
    assert network is not None
    assert head is not None

    def clipped_sum(
        params: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, clip: jax.Array
    ) -> jax.Array:
        def total(probes: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            outputs, seen = network.run(params, x, probes)
            return jnp.sum(head(outputs, y)), seen

        places = jax.eval_shape(lambda: network.run(params, x, [0.0] * len(network.kernels))[1])
        probes = [
            jnp.zeros((*given.shape[:2], outputs), params.dtype)
            for given, (_, outputs) in zip(places, network.kernels, strict=True)
        ]
        toward, seen = jax.grad(total, has_aux=True)(probes)
        squares = jnp.zeros(len(x), params.dtype)
        whole: list[jax.Array | None] = []
        for given, back in zip(seen, toward, strict=True):
            square, gradients = _layer_norm(given, back)
            squares += square
            whole.append(gradients)
        norms = jnp.sqrt(squares)
        counts = mask & jnp.isfinite(norms)
        factor = jnp.where(counts, jnp.minimum(1.0, clip / norms), 0.0)
        parts = []
        for given, back, gradients in zip(seen, toward, whole, strict=True):
            # Zero times infinity is not zero, hence the selections.
            scaled = jnp.where(counts[:, None, None], back * factor[:, None, None], 0.0)
            if gradients is None:
                sound = jnp.where(counts[:, None, None], given, 0.0)
                kernel = matmul(sound.reshape(-1, given.shape[2]).T, scaled.reshape(-1, back.shape[2]))
            else:
                sound = jnp.where(counts[:, None, None], gradients, 0.0)
                kernel = jnp.einsum("nkc,n->kc", sound, factor, precision=jax.lax.Precision.HIGHEST)
            parts += [kernel.ravel(), scaled.sum((0, 1))]
        return jnp.concatenate(parts)

    return clipped_sum


def _layer_norm(given: jax.Array, back: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """Return the squared norm of each sample's gradient of one layer, and the gradients where they were formed.

    Args:
        given: (samples, positions, inputs).
        back: (samples, positions, outputs).
    """
    if given.shape[1] == 1:
        # Scaled before it is squared: the square of a tiny output gradient would vanish beside a huge input's.
        length = jnp.sqrt(1.0 + jnp.sum(given**2, (1, 2), keepdims=True))
        return jnp.sum((back * length) ** 2, (1, 2)), None
    # Not by products of Gram matrices: where positions cancel, their rounding hides the norm, and clipping fails.
    gradients = matmul(given.transpose(0, 2, 1), back)
    bias = jnp.sum(jnp.sum(back, axis=1) ** 2, axis=1)
    return jnp.sum(gradients**2, (1, 2)) + bias, gradients
