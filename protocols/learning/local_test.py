"""Evaluation of each node's model on the samples that the node itself keeps for testing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, final

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.bank import Bank
from protocols.learning.evaluate import LOSS, PREDICTION
from protocols.learning.executor import batch_class
from protocols.learning.task import Task
from simulator.errors import ConfigurationError

_MAX_BATCH = 256


class LocalEvaluation(NamedTuple):
    """One row per model: accuracy in [0, 1], and mean loss, on its own node's test samples."""

    accuracy: NDArray[np.float64]
    loss: NDArray[np.float64]


@final
class LocalEvaluator:
    """Evaluates the model of each node on the test samples of that node, many at a time.

    Accuracy is NaN without classes. A diverged model (NaN or infinite parameters or loss) has the accuracy of chance
    and an infinite loss, as on the common test set.

    Args:
        task: the model.
        bank: the test samples of all nodes; nodes without test samples cannot be evaluated.
    """

    def __init__(self, task: Task, bank: Bank) -> None:
        self._task = task
        self._sizes = bank.mask.sum(axis=1)
        self._bank = tuple(jax.device_put(array) for array in (bank.x, bank.y, bank.mask))

    def evaluate(self, nodes: Sequence[int], params: NDArray[Any]) -> LocalEvaluation:
        """Return accuracy and loss of the model of each of ``nodes``.

        Args:
            nodes: nodes to evaluate, each with test samples.
            params: (nodes, d) their parameter vectors.

        Raises:
            ConfigurationError: another shape, or a node without test samples.
        """
        who = np.asarray(nodes, dtype=np.int32)
        if params.shape != (len(who), self._task.size):
            raise ConfigurationError(
                f"local test: parameters of shape {params.shape}, expected ({len(who)}, {self._task.size})"
            )
        if not self._sizes[who].all():
            bare = [int(node) for node in who if not self._sizes[node]]
            raise ConfigurationError(f"local test: nodes {bare} have no test samples")
        with np.errstate(over="ignore"):  # overflow of float32 is infinity, which is reported as divergence
            rows = np.asarray(params, dtype=np.float32)
        found = [
            self._chunk(who[start : start + _MAX_BATCH], rows[start : start + _MAX_BATCH])
            for start in range(0, len(rows), _MAX_BATCH)
        ]
        correct = np.concatenate([np.empty(0), *(correct for correct, _ in found)]) / self._sizes[who]
        loss = np.concatenate([np.empty(0), *(loss for _, loss in found)]) / self._sizes[who]
        diverged = ~(np.isfinite(rows).all(axis=1) & np.isfinite(loss))
        correct[diverged] = 1.0 / self._task.classes if self._task.classes else np.nan
        loss[diverged] = np.inf
        return LocalEvaluation(correct, loss)

    def _chunk(
        self, who: NDArray[np.int32], rows: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        padding = batch_class(len(rows)) - len(rows)
        padded = np.concatenate([rows, np.repeat(rows[:1], padding, axis=0)])
        whose = np.concatenate([who, np.repeat(who[:1], padding)])
        correct, loss = _measure(self._task)(padded, whose, *self._bank)
        return (
            np.asarray(correct[: len(rows)], dtype=np.float64),
            np.asarray(loss[: len(rows)], dtype=np.float64),
        )


@lru_cache(maxsize=64)
def _measure(task: Task) -> Any:
    def one(
        params: jax.Array, node: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        own_x, own_y, own = x[node], y[node], mask[node]
        found = task.evaluate(params, own_x, own_y)
        right = found[PREDICTION] == own_y if PREDICTION in found else jnp.full(len(own_y), jnp.nan)
        return jnp.sum(jnp.where(own, right, 0.0)), jnp.sum(jnp.where(own, found[LOSS], 0.0))

    return jax.jit(jax.vmap(one, (0, 0, None, None, None)))
