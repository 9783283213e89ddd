"""The operations a learning protocol submits: local steps and linear combinations of parameter vectors.

The functions below are built from the task alone; step size, clipping norm and data travel as shared arrays.
Runs that differ only in those therefore share their compilations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.dataset import Labels
from protocols.learning.task import Task
from simulator.compute import Op
from simulator.errors import ConfigurationError

Unit: TypeAlias = Literal["record", "node"]

_ROW_MULTIPLE = 64


@dataclass(frozen=True, eq=False)
class Bank:
    """All nodes' training samples in one array each, padded with zeros to a common number of rows.

    Args:
        x: (nodes, rows, *shape) float32.
        y: (nodes, rows), classes as int32 or numbers to predict as float32.
        mask: (nodes, rows) bool; false marks padding.
    """

    x: NDArray[np.float32]
    y: Labels
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, x: NDArray[np.float32], y: Labels, parts: Sequence[NDArray[np.int64]]) -> Bank:
        """Stack the samples of each node.

        Args:
            x: (samples, *shape) of the whole training set.
            y: (samples,) labels, whose type is kept.
            parts: sample indices of each node, at least one node.

        Returns:
            A bank whose number of rows is a multiple of 64, so that seeds with slightly different partitions
            run the same compiled program.

        Raises:
            ConfigurationError: there are no nodes.
        """
        if not parts:
            raise ConfigurationError("data bank: no nodes; expected the samples of at least one", "topology")
        rows = -(-max(1, *map(len, parts)) // _ROW_MULTIPLE) * _ROW_MULTIPLE
        bank_x = np.zeros((len(parts), rows, *x.shape[1:]), dtype=np.float32)
        bank_y = np.zeros((len(parts), rows), dtype=y.dtype)
        mask = np.zeros((len(parts), rows), dtype=np.bool_)
        for node, part in enumerate(parts):
            bank_x[node, : len(part)] = x[part]
            bank_y[node, : len(part)] = y[part]
            mask[node, : len(part)] = True
        for array in (bank_x, bank_y, mask):
            array.setflags(write=False)
        return cls(bank_x, bank_y, mask)


def noisy_step(
    task: Task, bank: Bank, *, step: float, divisor: float, clip: float | None, unit: Unit = "record"
) -> Op:
    """One full-batch gradient step of one node, with its contribution clipped and noised.

    ``fn(params (d,), node_index (), noise (d,)) -> (d,)`` is ``params − (step / divisor) · (g + noise)``,
    where g is

    - unit ``record``: Σ over the node's samples of the gradient, each scaled down to norm ``clip``;
    - unit ``node``: the sum of the unclipped gradients, scaled down as a whole to norm ``clip``;
    - ``clip=None``: the plain sum, for either unit.

    The noise is already scaled; a vector of zeros means none.

    Args:
        task: the model.
        bank: the data of all nodes; ``node_index`` selects a row.
        step: step size, > 0.
        divisor: a public constant, > 0, never a function of the node's data: |D_i| would leak through it.
        clip: clipping norm C > 0 in the L2 norm, or None.
        unit: what one contribution belongs to.

    Raises:
        ConfigurationError: a parameter out of its range.

    Guarantees:
        With ``clip`` = C, adding or removing one record (unit ``record``), or replacing all of a node's data
        by nothing (unit ``node``), changes g by at most C in the L2 norm, up to float32 rounding (a relative
        error of about 1e-6). Padding contributes exactly zero; a gradient whose norm is not finite
        contributes zero, so the bound holds for every input and parameter vector. Says nothing about noise:
        its scale and its accounting are the caller's.

    Source: Abadi et al. 2016 (arXiv:1607.00133), Algorithm 1, with a public divisor in place of the batch
        size.
    """
    for name, value, key in (
        ("step", step, "training.step"),
        ("divisor", divisor, "training.divisor"),
        ("clip", 1.0 if clip is None else clip, "privacy.clip"),
    ):
        if not (np.isfinite(value) and value > 0):
            raise ConfigurationError(f"local step: {name} is {value}, expected a finite number > 0", key)
    if unit not in ("record", "node"):
        raise ConfigurationError(f'local step: unit is {unit!r}, expected "record" or "node"', "privacy.unit")
    shared: tuple[Any, ...] = (bank.x, bank.y, bank.mask, np.float32(step / divisor))
    if clip is None:
        return Op("local_step", _step_fn(task, None), shared)
    return Op("local_step", _step_fn(task, unit), (*shared, np.float32(clip)))


def _clipped(gradient: jax.Array, clip: jax.Array) -> jax.Array:
    norm = jnp.sqrt(jnp.sum(gradient * gradient))
    # At norm zero the quotient is infinite and the minimum is one; nothing here divides zero by zero.
    return jnp.where(jnp.isfinite(norm), gradient * jnp.minimum(1.0, clip / norm), 0.0)


@lru_cache(maxsize=128)
def _step_fn(task: Task, clipped: Unit | None) -> Callable[..., jax.Array]:
    def summed_loss(params: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array) -> jax.Array:
        losses = jax.vmap(task.example_loss, (None, 0, 0))(params, x, y)
        return jnp.sum(jnp.where(mask, losses, 0.0))

    def per_record(
        params: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, clip: jax.Array
    ) -> jax.Array:
        gradients = jax.vmap(jax.grad(task.example_loss), (None, 0, 0))(params, x, y)
        gradients = jax.vmap(_clipped, (0, None))(gradients, clip)
        return jnp.sum(jnp.where(mask[:, None], gradients, 0.0), axis=0)

    def step(
        params: jax.Array,
        node_index: jax.Array,
        noise: jax.Array,
        x: jax.Array,
        y: jax.Array,
        mask: jax.Array,
        rate: jax.Array,
        *clip: jax.Array,
    ) -> jax.Array:
        local = (x[node_index], y[node_index], mask[node_index])
        if clipped == "record":
            contribution = per_record(params, *local, clip[0])
        else:
            contribution = jax.grad(summed_loss)(params, *local)
            if clipped == "node":
                contribution = _clipped(contribution, clip[0])
        return params - rate * (contribution + noise)

    return step


def affine(k: int) -> Op:
    """A weighted sum: ``fn(vector_1 (d,), …, vector_k (d,), weights (k,)) -> (d,)``.

    Args:
        k: number of vectors, at least 1.

    Raises:
        ConfigurationError: k below 1.
    """
    if k < 1:
        raise ConfigurationError(f"combine: {k} vectors, expected at least 1")
    return Op(f"combine{k}", _affine_fn(k))


@lru_cache(maxsize=256)
def _affine_fn(k: int) -> Callable[..., jax.Array]:
    def combine(*inputs: jax.Array) -> jax.Array:
        *vectors, weights = inputs
        if len(vectors) != k or weights.shape != (k,):
            raise ValueError(
                f"expected {k} vectors and their weights, got {len(vectors)} and {weights.shape}"
            )
        # Not a matrix product: those may run in reduced precision on accelerators.
        total = weights[0] * vectors[0]
        for i in range(1, k):
            total = total + weights[i] * vectors[i]
        return total

    return combine


def scale(factor: float) -> Op:
    """A multiple: ``fn(vector (d,)) -> (d,)``."""
    return Op("scale", _scale_fn, (np.float32(factor),))


def _scale_fn(vector: jax.Array, factor: jax.Array) -> jax.Array:
    return factor * vector


@dataclass(frozen=True, eq=False)
class Operations:
    """The operations of one run, each built once: executors recognise what may share a batch by identity.

    Args:
        local_step: see :func:`noisy_step`.
    """

    local_step: Op
    _built: dict[tuple[str, float], Op] = field(default_factory=dict, repr=False)

    def combine(self, k: int) -> Op:
        """The run's weighted sum of k vectors, see :func:`affine`."""
        key = ("combine", float(k))
        if key not in self._built:
            self._built[key] = affine(k)
        return self._built[key]

    def scale(self, factor: float) -> Op:
        """The run's multiplication by a constant, see :func:`scale`."""
        key = ("scale", float(factor))
        if key not in self._built:
            self._built[key] = scale(factor)
        return self._built[key]


def operations(
    task: Task, bank: Bank, *, step: float, divisor: float, clip: float | None, unit: Unit = "record"
) -> Operations:
    """The operations of a run; arguments as for :func:`noisy_step`."""
    return Operations(noisy_step(task, bank, step=step, divisor=divisor, clip=clip, unit=unit))
