"""How good the nodes' models are, and how far they are from agreeing."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.data import Dataset
from protocols.learning.executor import batch_class
from protocols.learning.task import Task
from simulator.errors import ConfigurationError

_MAX_BATCH = 256


class Evaluation(NamedTuple):
    """One row per model: test accuracy in [0, 1], mean test loss, and whether the model has diverged."""

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]
    diverged: NDArray[np.bool_]


@final
class Evaluator:
    """Measures many models on the test samples in one call.

    A model with NaN or infinite parameters, or whose loss is not finite, has *diverged*: its accuracy counts
    as chance (1 / classes) and its loss as infinite, so that averages over runs need no exception for it.

    Args:
        task: the model.
        dataset: its test samples are used.

    Raises:
        ConfigurationError: task and data disagree on the number of classes.
    """

    def __init__(self, task: Task, dataset: Dataset) -> None:
        if task.classes != dataset.classes:
            raise ConfigurationError(
                f"evaluation: {task.name} has {task.classes} classes, the data {dataset.classes}", "model"
            )
        self._task = task
        self._x = jax.device_put(dataset.test_x)
        self._y = jax.device_put(dataset.test_y)

    def evaluate(self, params: NDArray[Any]) -> Evaluation:
        """Accuracy, loss and divergence of each model.

        Args:
            params: (n, d) parameter vectors, n ≥ 0.

        Raises:
            ConfigurationError: another shape.
        """
        if params.ndim != 2 or params.shape[1] != self._task.size:
            raise ConfigurationError(
                f"evaluation: parameters of shape {params.shape}, expected (n, {self._task.size})"
            )
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is reported as divergence
            rows = np.asarray(params, dtype=np.float32)
        chunks = [rows[start : start + _MAX_BATCH] for start in range(0, len(rows), _MAX_BATCH)]
        parts = [self._chunk(chunk) for chunk in chunks]
        accuracy = np.concatenate([np.empty(0), *(accuracy for accuracy, _ in parts)])
        loss = np.concatenate([np.empty(0), *(loss for _, loss in parts)])
        diverged = ~(np.isfinite(rows).all(axis=1) & np.isfinite(loss))
        accuracy[diverged] = 1.0 / self._task.classes
        loss[diverged] = np.inf
        return Evaluation(accuracy, loss, diverged)

    def _chunk(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        padding = np.repeat(rows[:1], batch_class(len(rows)) - len(rows), axis=0)
        correct, loss = _measure(self._task)(np.concatenate([rows, padding]), self._x, self._y)
        share = np.asarray(correct[: len(rows)], dtype=np.float64) / len(self._y)
        return share, np.asarray(loss[: len(rows)], dtype=np.float64)


@lru_cache(maxsize=64)
def _measure(task: Task) -> Any:
    def one(params: jax.Array, x: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = task.logits(params, x)
        losses = jax.vmap(task.example_loss, (None, 0, 0))(params, x, y)
        return jnp.sum(jnp.argmax(scores, axis=1) == y), jnp.mean(losses)

    return jax.jit(jax.vmap(one, (0, None, None)))


def consensus_distance(params: NDArray[Any]) -> float:
    """Root mean square distance of the models to their mean, √(meanᵢ ‖xᵢ − x̄‖²), in float64.

    Args:
        params: (n, d) parameter vectors, n ≥ 1.

    Returns:
        Zero in perfect agreement; infinity when a parameter is not finite.

    Raises:
        ConfigurationError: no models.
    """
    rows = np.asarray(params, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ConfigurationError(f"consensus distance: shape {rows.shape}, expected (n ≥ 1, d)")
    if not np.isfinite(rows).all():
        return float("inf")
    return float(np.sqrt(np.mean(np.sum((rows - rows.mean(axis=0)) ** 2, axis=1))))
