"""Canaries: records that audits put into a node's data, to test whether an attack can detect them.

A canary replaces a record of the node (all of them with ``unit = "node"``), so numbers of samples, batches and
divisors stay those of the run. In the arm without canary, a record without a gradient replaces the same record: its
contribution to a clipped sum is exactly zero, as in a neighbouring data set with one record less, or with a record
zeroed, since sums are divided by a public constant.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.bank import Bank
from protocols.learning.operations import Operations
from protocols.learning.task import Array, Task
from scenarios.kinds.privacy import Privacy
from simulator.errors import ConfigurationError

Canary: TypeAlias = Literal["gradient", "mislabelled", "features"]
CANARIES: tuple[Canary, ...] = ("gradient", "mislabelled", "features")
ALONG, AGAINST, NOTHING = 1, -1, 0
"""Signs of a canary: its direction, the opposite direction, and a record without a gradient."""
LARGE = 1e3
"""Least norm of the gradient of a gradient canary before clipping, in clipping norms."""
FEATURE_SCALE = 100.0
"""Value of all features of a ``features`` canary."""
_CLASS_MARKS = {ALONG: -1, AGAINST: -2, NOTHING: -3}
_NUMBER_MARKS = {ALONG: -3.0e38, AGAINST: -3.1e38, NOTHING: -3.2e38}


def canary_named(name: str) -> Canary:
    """Return the kind of canary with a name.

    Raises:
        ConfigurationError: there is no such kind.
    """
    for kind in CANARIES:
        if kind == name:
            return kind
    raise ConfigurationError(f"canary must be one of {', '.join(CANARIES)}, got {name}")


def sign_of(round: int) -> int:
    """Return the sign of a gradient canary in a round: that of the Thue–Morse sequence.

    Signs sum to zero over rounds 2k and 2k + 1, and so do signs of every second round over any four rounds. Noise
    that is drawn once and used in every round, or in every second one, cancels, while the canary adds up.
    """
    return AGAINST if round.bit_count() % 2 else ALONG


@lru_cache(maxsize=32)
def marked(task: Task, size: float, *, through_layers: bool) -> Task:
    """Return a task that also accepts marked records with a linear loss, whose gradient can be arbitrarily large.

    A marked record has a label that no sample has. With layers its loss is ± ``size`` times the first output, so its
    gradient is computed, measured and clipped layer by layer as any other; its norm is at least ``size``, the
    gradient of one bias. Without layers the loss is ± ``size`` times the projection of all parameters on (1, …, 1) /
    √d, whose gradient has the same direction at every model.

    Args:
        task: the task of a run.
        size: least norm of such a gradient.
        through_layers: whether the loss goes through the layers, if there are any.
    """
    marks = _NUMBER_MARKS if task.classes is None else _CLASS_MARKS

    def split(y: Array) -> tuple[Array, Array, Array]:
        """Split labels: whether each is a mark, the sign of a mark, and labels with marks replaced."""
        along, against = y == y.dtype.type(marks[ALONG]), y == y.dtype.type(marks[AGAINST])
        special = along | against | (y == y.dtype.type(marks[NOTHING]))
        # Not the mark itself: the true loss of a mark may be infinite, which would enter gradients in spite of the
        # selection.
        return special, along * 1.0 - against * 1.0, jnp.where(special, jnp.zeros_like(y), y)

    def loss(params: Array, x: Array, y: Array) -> Array:
        special, sign, label = split(y)
        pull = size * sign * jnp.sum(params) / np.sqrt(task.size).astype(np.float32)
        return jnp.where(special, pull, task.loss(params, x, label))

    def head(outputs: Array, y: Array) -> Array:
        special, sign, label = split(y)
        assert task.head is not None
        return jnp.where(special, size * sign * outputs[:, 0], task.head(outputs, label))

    layered = through_layers and task.network is not None
    return replace(
        task,
        name=f"{task.name} with canaries",
        loss=loss,
        network=task.network if layered else None,
        head=head if layered else None,
    )


def operations_with(
    operations: Operations, node: int, kind: Canary, sign: int, privacy: Privacy, *, alone: bool = False
) -> Operations:
    """Return a run's operations with a canary in place of a node's last record, or of all with unit ``node``.

    Args:
        operations: the run's.
        node: the node that gets the canary.
        kind: of the canary.
        sign: its sign; for canaries that are records (not gradients) :data:`AGAINST` keeps the node's own data, which
            they replace.
        privacy: has unit and clipping norm.
        alone: replace all other records of all nodes by records without a gradient, and give the canary a gradient
            that is the same at every model.

    Raises:
        ConfigurationError: the node holds no samples.
    """
    bank = operations.bank
    count = int(bank.mask[node].sum())
    if count == 0:
        raise ConfigurationError(
            f"node {node} holds no samples that a canary could replace; audit another node, or set "
            "partition.min_samples"
        )
    task = marked(operations.task, LARGE * _reach(operations, privacy), through_layers=not alone)
    marks = _NUMBER_MARKS if task.classes is None else _CLASS_MARKS
    x, y = bank.x[: node + 1].copy(), bank.y[: node + 1].copy()
    mask = bank.mask[: node + 1]
    if alone:
        x, y, mask = bank.x, np.full_like(bank.y, marks[NOTHING]), bank.mask
    rows = slice(0, count) if privacy.unit == "node" else slice(count - 1, count)
    if kind == "gradient" or sign == NOTHING:
        y[node, rows] = marks[sign]
    elif sign == ALONG:
        x[node, rows], y[node, rows] = _records(kind, x[node, rows], y[node, rows], task.classes, bank)
    return replace(operations, task=task, bank=Bank(x, y, mask), _built={})


def _reach(operations: Operations, privacy: Privacy) -> float:
    """Return the norm that a gradient needs to reach the clipping norm."""
    if operations.recipe.whole:
        return privacy.clip * operations.divisor / operations.rate
    return privacy.clip


def _records(
    kind: Canary, x: NDArray[np.float32], y: NDArray[Any], classes: int | None, bank: Bank
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Return records with a wrong label, or with large features and class 0 (or regression target 0)."""
    if kind == "features":
        return np.full_like(x, FEATURE_SCALE), np.zeros_like(y)
    if classes is not None:
        return x, (y + 1) % classes
    targets = bank.y[bank.mask]
    low, high = targets.min(), targets.max()
    return x, np.where(y > (low + high) / 2, low, high).astype(y.dtype)
