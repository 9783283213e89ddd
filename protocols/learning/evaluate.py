"""Test accuracy and loss of the nodes' models, and their disagreement."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.dataset import Dataset
from protocols.learning.executor import batch_class, batches
from protocols.learning.task import Task
from simulator.errors import ConfigurationError

_MAX_BATCH = 256
_LEAST_SAMPLES = 64
_BUDGET_BYTES = 1 << 28
"""Approximate memory for the intermediate results of one call, bytes."""
LOSS, PREDICTION = "loss", "prediction"

Floats = NDArray[np.float64]


class Evaluation(NamedTuple):
    """One entry per model, in the order of the models.

    Args:
        accuracy: test accuracy in [0, 1]; NaN in regression.
        loss: mean test loss.
        diverged: whether the model has NaN or infinite parameters or loss.
        by_class: (models, classes) accuracy on the test samples of each class; NaN where there are none.
        disagreement: chance that two different models, drawn at random, predict different classes for a test sample
            drawn at random; NaN for fewer than two models, and in regression.
        others: further measurements of the task, by name: means over the test samples.
    """

    accuracy: Floats
    loss: Floats
    diverged: NDArray[np.bool_]
    by_class: Floats
    disagreement: float
    others: dict[str, Floats]


@final
class Evaluator:
    """Evaluates many models on the test samples in one call.

    A model with NaN or infinite parameters, or whose loss is not finite, has *diverged*: its accuracy is that of
    chance (1 / classes) and its loss infinite, so that averages over runs need no exception for it.

    Args:
        task: the model.
        dataset: source of the test samples.

    Raises:
        ConfigurationError: task and data disagree on the number of classes.
    """

    def __init__(self, task: Task, dataset: Dataset) -> None:
        if task.classes != dataset.classes:
            have = "no classes (regression)" if dataset.classes is None else f"{dataset.classes} classes"
            needs = "none" if task.classes is None else str(task.classes)
            raise ConfigurationError(
                f"evaluation: {task.name} is for {needs}, the data have {have}", "model.kind"
            )
        self._task = task
        self._width = _width(task, dataset.test_x.shape[1:])
        samples = len(dataset.test_y)
        self._slice = max(_LEAST_SAMPLES, _BUDGET_BYTES // (8 * self._width))
        self._slice = min(self._slice, samples)
        self._most = _fitting(self._slice * self._width)
        slices = -(-samples // self._slice)
        short = slices * self._slice - samples

        def sliced(array: NDArray[Any]) -> jax.Array:
            padded = np.concatenate([array, np.repeat(array[:1], short, axis=0)])
            placed: jax.Array = jax.device_put(padded.reshape(slices, self._slice, *array.shape[1:]))
            return placed

        self._x, self._y = sliced(dataset.test_x), sliced(dataset.test_y)
        self._counts = jax.device_put(
            (np.arange(slices * self._slice) < samples).reshape(slices, -1).astype(np.float32)
        )
        self._samples = samples
        self._of_class = np.bincount(dataset.test_y, minlength=task.classes) if task.classes else np.zeros(0)

    @property
    def task(self) -> Task:
        """Return the task."""
        return self._task

    def evaluate(self, params: NDArray[Any]) -> Evaluation:
        """Evaluate each model on the common test samples.

        Args:
            params: (n, d) parameter vectors, n ≥ 0.

        Raises:
            ConfigurationError: another shape.
        """
        rows = self._rows(params)
        classes = self._task.classes or 0
        losses, correct, votes = [np.zeros(0)], [np.zeros((0, classes))], np.zeros((1, 1))
        sums: dict[str, list[Floats]] = {}
        for start, count, padded in _chunks(len(rows), self._most):
            some = _padded(rows[start : start + count], padded)
            counted = (np.arange(padded) < count).astype(np.float32)
            loss, hits, ballots, others = _measure(self._task)(some, counted, self._x, self._y, self._counts)
            losses.append(np.asarray(loss, np.float64)[:count] / self._samples)
            correct.append(np.asarray(hits, np.float64)[:count])
            votes = votes + np.asarray(ballots, np.float64).reshape(-1, max(1, classes))[: self._samples]
            for name, values in others.items():
                sums.setdefault(name, []).append(np.asarray(values, np.float64)[:count] / self._samples)
        loss, hits = np.concatenate(losses), np.concatenate(correct)
        diverged = ~(np.isfinite(rows).all(axis=1) & np.isfinite(loss))
        loss[diverged] = np.inf
        accuracy = hits.sum(axis=1) / self._samples if classes else np.full(len(rows), np.nan)
        with np.errstate(invalid="ignore"):
            by_class = hits / self._of_class
        if classes:
            accuracy[diverged] = 1.0 / classes
            by_class[diverged] = 1.0 / classes
        named = {name: np.concatenate(parts) for name, parts in sums.items()}
        return Evaluation(accuracy, loss, diverged, by_class, _disagreement(votes, len(rows), classes), named)

    def _rows(self, params: NDArray[Any]) -> NDArray[np.float32]:
        if params.ndim != 2 or params.shape[1] != self._task.size:
            raise ConfigurationError(
                f"evaluation: parameters of shape {params.shape}, expected (n, {self._task.size})"
            )
        with np.errstate(over="ignore"):  # overflow of float32 is infinity, which is reported as divergence
            rows: NDArray[np.float32] = np.asarray(params, dtype=np.float32)
            return rows


def _width(task: Task, shape: tuple[int, ...]) -> int:
    """Estimate the bytes of intermediate results for one sample and model."""
    if task.network is None:
        return 64 * int(np.prod(shape))
    network = task.network
    probes = [0.0] * len(network.kernels)
    seen = jax.eval_shape(lambda: network.run(jnp.zeros(network.size), jnp.zeros((1, *shape)), probes)[1])
    outputs = sum(s.shape[1] * k[1] for s, k in zip(seen, network.kernels, strict=True))
    inputs = sum(int(np.prod(s.shape)) for s in seen[1:])  # the samples themselves are shared by all models
    return 4 * (inputs + 4 * int(outputs))


def _fitting(bytes_each: int) -> int:
    """Return the number of models that fit into one call."""
    most: int = max(8, min(_MAX_BATCH, _BUDGET_BYTES // max(1, bytes_each)))
    return 1 << (most.bit_length() - 1)


def _chunks(count: int, most: int) -> Iterator[tuple[int, int, int]]:
    start = 0
    for size, padded in batches(count, max(batch_class(1), most)):
        yield start, size, padded
        start += size


def _padded(rows: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])


def _disagreement(votes: Floats, models: int, classes: int) -> float:
    if models < 2 or not classes:
        return float("nan")
    same = (votes * (votes - 1)).sum(axis=1) / (models * (models - 1))
    return float(1 - same.mean())


@lru_cache(maxsize=64)
def _measure(task: Task) -> Any:
    classes = task.classes or 0

    def one(params: jax.Array, x: jax.Array, y: jax.Array, counts: jax.Array) -> tuple[Any, ...]:
        found = dict(task.evaluate(params, x, y))
        loss = jnp.sum(jnp.where(counts > 0, found.pop(LOSS), 0.0))
        guess = found.pop(PREDICTION, jnp.zeros(len(y), jnp.int32))
        right = (guess == y) * counts
        hits = jax.nn.one_hot(y, classes).T @ right if classes else jnp.zeros(0)
        others = {name: jnp.sum(values * counts) for name, values in found.items()}
        return loss, hits, guess, others

    def measure(rows: jax.Array, counted: jax.Array, x: jax.Array, y: jax.Array, counts: jax.Array) -> Any:
        def over(sums: Any, part: Any) -> tuple[Any, jax.Array]:
            loss, hits, guess, others = jax.vmap(one, (0, None, None, None))(rows, *part)
            ballots = jnp.einsum("m,msc->sc", counted, jax.nn.one_hot(guess, classes or 1))
            return jax.tree.map(jnp.add, sums, (loss, hits, others)), ballots

        first = (x[0], y[0], counts[0])
        shapes = jax.eval_shape(lambda: jax.vmap(one, (0, None, None, None))(rows, *first))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), (shapes[0], shapes[1], shapes[3]))
        (loss, hits, others), ballots = jax.lax.scan(over, zeros, (x, y, counts))
        return loss, hits, ballots, others

    return jax.jit(measure)


def consensus_distance(params: NDArray[Any]) -> float:
    """Return the root mean square distance of the models to their mean, √(meanᵢ ‖xᵢ − x̄‖²), in float64.

    Args:
        params: (n, d) parameter vectors, n ≥ 1.

    Returns:
        Zero in perfect agreement; infinity if a parameter is not finite.

    Raises:
        ConfigurationError: no models.
    """
    rows = np.asarray(params, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ConfigurationError(f"consensus distance: shape {rows.shape}, expected (n ≥ 1, d)")
    if not np.isfinite(rows).all():
        return float("inf")
    return float(np.sqrt(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1))))
