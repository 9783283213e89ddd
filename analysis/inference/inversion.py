"""Gradient inversion: samples from the sum of their gradients.

An attacker that knows the range of features clips its results to it: the true values lie within, so no error grows,
and many samples are recognised only then.

Sources: Geiping et al. 2020 (first layers with a bias; cosine distance with total variation); Zhu, Liu, Han 2019
(DLG); Zhao, Mopuri, Bilen 2020 (labels, iDLG).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from protocols.learning.task import Task
from simulator.errors import ConfigurationError

Floats: TypeAlias = NDArray[np.float64]
Box: TypeAlias = tuple[float, float]
"""Range of features, as publicly known."""


class Candidate(NamedTuple):
    """One output of the first layer, and the input it points to.

    Args:
        unit: number of the output.
        x: (features,), the weighted mean of the samples' inputs; a sample itself if it alone changed this unit.
        weight: the bias gradient: the larger, the less rounding and noise there is in x.
    """

    unit: int
    x: Floats
    weight: float


def first_layer(
    weights: Floats, bias: Floats, least: float = 1e-12, box: Box | None = None
) -> list[Candidate]:
    """Return inputs from the gradient of a first dense layer: ∂L/∂W = Σ xᵢ δᵢᵀ and ∂L/∂b = Σ δᵢ, their quotient is x.

    Args:
        weights: (features, units) gradient.
        bias: (units,) gradient.
        least: bias gradients below this are taken as zero.
        box: range to which features are clipped; None: unknown.

    Returns:
        Strongest first. Exact for one sample; for more, units that only one sample changes give that sample.
    """
    order = np.argsort(-np.abs(bias), kind="stable")
    return [
        Candidate(int(c), _within(weights[:, c] / bias[c], box), float(abs(bias[c])))
        for c in order
        if abs(bias[c]) > least
    ]


def _within(x: Floats, box: Box | None) -> Floats:
    return x if box is None else np.clip(x, *box)


def label_of_one(bias: Floats) -> int:
    """Return the label of a single sample: for a softmax output, the class whose bias gradient is negative."""
    return int(np.argmin(bias))


class Inverted(NamedTuple):
    """Result of a search.

    Args:
        x: (samples, *shape).
        y: (samples,) labels.
        distance: between the gradient of these and the given one, in the measure of the search.
    """

    x: Floats
    y: NDArray[np.int64]
    distance: float


def match_gradient(
    task: Task,
    params: Floats,
    gradient: Floats,
    shape: tuple[int, ...],
    labels: NDArray[np.int64] | None,
    rng: np.random.Generator,
    samples: int = 1,
    steps: int = 200,
    box: Box | None = None,
) -> Inverted:
    """Find samples whose gradients sum to a given one, by L-BFGS on the squared distance (DLG; with labels, iDLG).

    Args:
        task: the model.
        params: (d,), at which the gradient was taken.
        gradient: (d,), the sum over samples.
        shape: of a sample.
        labels: (samples,), if they are known; None: searched too, as soft labels.
        rng: draws the start of the search.
        samples: number of samples.
        steps: number of L-BFGS steps.
        box: range to which the result is clipped at the end (the distance is that before clipping); None: the range
            of features is unknown.
    """
    classes = task.classes
    if classes is None:
        raise ConfigurationError("gradient inversion needs a classification task, got regression")
    wanted, at = jnp.asarray(gradient, jnp.float32), jnp.asarray(params, jnp.float32)
    loss = _soft_loss(task)

    def guess(z: Any) -> jax.Array:
        total: jax.Array = jax.grad(lambda p: jnp.sum(jax.vmap(partial(loss, p))(*_samples(z))))(at)
        return total

    def _samples(z: Any) -> tuple[jax.Array, jax.Array]:
        if labels is not None:
            return z[0], jax.nn.one_hot(jnp.asarray(labels), classes)
        return z[0], jax.nn.softmax(z[1])

    def objective(z: Any) -> jax.Array:
        return jnp.sum((guess(z) - wanted) ** 2)

    first = jnp.asarray(rng.standard_normal((samples, *shape)), jnp.float32)
    logits = jnp.asarray(rng.standard_normal((samples, classes)), jnp.float32)
    z = (first, logits)
    optimiser = optax.lbfgs()
    both = optax.value_and_grad_from_state(objective)

    def step(carry: Any, _: None) -> tuple[Any, None]:
        z, state = carry
        value, slope = both(z, state=state)
        updates, state = optimiser.update(slope, state, z, value=value, grad=slope, value_fn=objective)
        return (optax.apply_updates(z, updates), state), None

    run = jax.jit(lambda z: jax.lax.scan(step, (z, optimiser.init(z)), None, length=steps)[0][0])
    z = run(z)
    x, y = _samples(z)
    found = _within(np.asarray(x, float), box)
    return Inverted(found, np.asarray(jnp.argmax(y, axis=1)), float(objective(z)))


def match_direction(
    task: Task,
    params: Floats,
    gradient: Floats,
    shape: tuple[int, ...],
    labels: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    variation: float = 0.1,
    steps: int = 2000,
    rate: float = 0.1,
    box: Box = (0.0, 1.0),
) -> Inverted:
    """Find samples whose gradient has the direction of a given one: signed Adam on 1 − cosine + α · total variation.

    Args:
        task: the model.
        params: (d,), at which the gradient was taken.
        gradient: (d,); its length is ignored.
        shape: of a sample; total variation is over its first two axes if it has two.
        labels: (samples,), known.
        rng: draws the start of the search.
        variation: α, weight of total variation.
        steps: number of Adam steps.
        rate: step size of the first step; decreases with a cosine.
        box: range of features.
    """
    wanted, at = jnp.asarray(gradient, jnp.float32), jnp.asarray(params, jnp.float32)
    y = jnp.asarray(labels)

    def objective(x: jax.Array) -> jax.Array:
        def total(p: jax.Array) -> jax.Array:
            return jnp.sum(jax.vmap(task.loss, (None, 0, 0))(p, x, y))

        found = jax.grad(total)(at)
        size = jnp.linalg.norm(found) * jnp.linalg.norm(wanted)
        apart: jax.Array = 1.0 - found @ wanted / jnp.maximum(size, 1e-12)
        return apart + variation * _variation(x)

    optimiser = optax.adam(optax.cosine_decay_schedule(rate, steps))

    def step(carry: Any, _: None) -> tuple[Any, None]:
        x, state = carry
        slope = jnp.sign(jax.grad(objective)(x))
        updates, state = optimiser.update(slope, state)
        return (jnp.clip(optax.apply_updates(x, updates), *box), state), None

    first = jnp.asarray(rng.uniform(*box, (len(labels), *shape)), jnp.float32)
    x = jax.jit(lambda x: jax.lax.scan(step, (x, optimiser.init(x)), None, length=steps)[0][0])(first)
    return Inverted(np.asarray(x, float), np.asarray(labels), float(objective(x)))


def psnr(found: Floats, truth: Floats, peak: float | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for an exact match.

    Args:
        found, truth: of one shape.
        peak: largest difference two samples can have; None: the range of the truth.
    """
    error = float(np.mean((np.asarray(found, float) - np.asarray(truth, float)) ** 2))
    if not np.isfinite(error):
        return -np.inf
    span = float(np.ptp(truth)) if peak is None else peak
    return np.inf if error == 0 else float(10 * np.log10(span**2 / error))


def best_psnr(candidates: list[Candidate], truths: Floats, peak: float) -> Floats:
    """Return, for every true sample (n, features), the best PSNR over the candidates, in dB."""
    if not candidates:
        return np.full(len(truths), -np.inf)
    return np.array([max(psnr(c.x, truth, peak) for c in candidates) for truth in truths])


def _soft_loss(task: Task) -> Callable[[jax.Array, jax.Array, jax.Array], jax.Array]:
    """Return the loss of a sample with a distribution of labels: the mean over labels."""
    classes = jnp.arange(task.classes or 0)

    def loss(params: jax.Array, x: jax.Array, y: jax.Array) -> jax.Array:
        mean: jax.Array = y @ jax.vmap(task.loss, (None, None, 0))(params, x, classes)
        return mean

    return loss


def _variation(x: jax.Array) -> jax.Array:
    if x.ndim < 3:
        return jnp.zeros(())
    return jnp.mean(jnp.abs(jnp.diff(x, axis=1))) + jnp.mean(jnp.abs(jnp.diff(x, axis=2)))
