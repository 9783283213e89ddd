"""What audits put into a node's data, to see whether an attack finds it.

A canary stands in the place of a record of the node (or of all of them, where the node is what is protected), so that
numbers of samples, batches and divisors are those of the run. Where it is to be absent a record without a gradient
stands there: its contribution to a clipped sum is exactly zero, which is what neighbouring data sets with a record
less, or with a record zeroed, look like to a sum that is divided by a public constant.
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
"""Signs of a canary: its direction, the opposite one, and a record without a gradient."""
LARGE = 1e3
"""How many clipping norms the gradient of a gradient canary is at least, before it is clipped."""
FEATURE_SCALE = 100.0
"""What the features of a record with large features are."""
_CLASS_MARKS = {ALONG: -1, AGAINST: -2, NOTHING: -3}
_NUMBER_MARKS = {ALONG: -3.0e38, AGAINST: -3.1e38, NOTHING: -3.2e38}


def canary_named(name: str) -> Canary:
    """The kind of canary of that name.

    Raises:
        ConfigurationError: there is none.
    """
    for kind in CANARIES:
        if kind == name:
            return kind
    raise ConfigurationError(f"canary is one of {', '.join(CANARIES)}, got {name}")


def sign_of(round: int) -> int:
    """The sign of a gradient canary in a round: that of the Thue–Morse sequence.

    It sums to zero over any two neighbouring rounds 2k, 2k + 1, and so do its even and its odd members over any four:
    noise that is drawn once and used in every round, or in every second one, cancels where the canary adds up.
    """
    return AGAINST if round.bit_count() % 2 else ALONG


@lru_cache(maxsize=32)
def marked(task: Task, size: float, *, through_layers: bool) -> Task:
    """A task that also knows records whose loss is linear, and so their gradient as large as one likes.

    A record is told by its label, which no sample has. With layers its loss is ± ``size`` times the first output, so
    that its gradient is found, measured and clipped as any other, layer by layer; it is at least ``size`` long, that
    being the gradient of one bias. Without layers it is ± ``size`` times the projection of all parameters on
    (1, …, 1) / √d: the same direction at every model.

    Args:
        task: the task of a run.
        size: least norm of such a gradient.
        through_layers: whether to go through the layers, if there are any.
    """
    marks = _NUMBER_MARKS if task.classes is None else _CLASS_MARKS

    def split(y: Array) -> tuple[Array, Array, Array]:
        """Whether labels are marks, their signs, and labels that are none."""
        along, against = y == y.dtype.type(marks[ALONG]), y == y.dtype.type(marks[AGAINST])
        special = along | against | (y == y.dtype.type(marks[NOTHING]))
        # Not the mark itself: what the true loss makes of it may be infinite, and a selection does not keep that out
        # of gradients.
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
    """A run's operations, with a canary in the place of a node's last record, or of all of them with unit ``node``.

    Args:
        operations: the run's.
        node: whose data.
        kind: of the canary.
        sign: its sign; of records (not gradients) :data:`AGAINST` leaves the node's own data as they are, which
            is what they replace.
        privacy: unit and clipping norm.
        alone: nobody has any other data: all other records are without a gradient, and the canary's is the same
            at every model.

    Raises:
        ConfigurationError: the node holds no samples.
    """
    bank = operations.bank
    count = int(bank.mask[node].sum())
    if count == 0:
        raise ConfigurationError(
            f"node {node} holds no samples, so no canary can stand in the place of one; audit another node, or give "
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
    """How large a gradient must be to be at the clipping norm."""
    if operations.recipe.whole:
        return privacy.clip * operations.divisor / operations.rate
    return privacy.clip


def _records(
    kind: Canary, x: NDArray[np.float32], y: NDArray[Any], classes: int | None, bank: Bank
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Records as they are, but with a wrong label; or with large features, in class 0 (or with the number 0)."""
    if kind == "features":
        return np.full_like(x, FEATURE_SCALE), np.zeros_like(y)
    if classes is not None:
        return x, (y + 1) % classes
    targets = bank.y[bank.mask]
    low, high = targets.min(), targets.max()
    return x, np.where(y > (low + high) / 2, low, high).astype(y.dtype)
