"""Operations submitted by learning protocols: local updates and linear combinations of parameter vectors."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from protocols.learning.bank import Bank
from protocols.learning.batches import Batches
from protocols.learning.local_update import Recipe, update_function
from protocols.learning.task import Task
from simulator.contract.compute import Op
from simulator.errors import ConfigurationError

MOST_TERMS = 32
_TERMS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


_PADDED = [next((size for size in _TERMS if size >= count), 0) for count in range(MOST_TERMS + 1)]
"""Numbers of terms to which combinations are padded, so that few programs are compiled."""


def affine(k: int) -> Op:
    """Build a weighted sum: ``fn(vector_1 (d,), …, vector_k (d,), weights (k,)) -> (d,)``.

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


@lru_cache(maxsize=256)
def _merged_update_fn(task: Task, recipe: Recipe, k: int) -> Callable[..., jax.Array]:
    combine, update = _affine_fn(k), update_function(task, recipe)

    def merged_update(*inputs: jax.Array) -> jax.Array:
        return update(combine(*inputs[: k + 1]), *inputs[k + 1 :])

    return merged_update


def scale(factor: float) -> Op:
    """Build a multiple: ``fn(vector (d,)) -> (d,)``."""
    return Op("scale", _scale_fn, (np.float32(factor),))


def _scale_fn(vector: jax.Array, factor: jax.Array) -> jax.Array:
    return factor * vector


@lru_cache(maxsize=64)
def _head_fn(size: int) -> Callable[..., jax.Array]:
    return lambda vector: vector[:size]


@dataclass(frozen=True, eq=False)
class Operations:
    """Operations of one run, each built once: executors recognise operations that may share a batch by identity.

    Args:
        task: the model.
        bank: the samples of all nodes.
        recipe: static choices of a local update.
        batches: selection of samples for its steps.
        rate: step size, > 0, where the recipe has no schedule.
        divisor: a public constant, > 0, never a function of a node's data: |D_i| would leak through it. With
            ``whole`` of the recipe it still divides the sum of gradients of every step.
        clip: clipping norm C > 0 in the L2 norm; goes with the recipe's ``unit``.
        pull: the proximal coefficient.

    Raises:
        ConfigurationError: a value out of its range.
    """

    task: Task
    bank: Bank
    recipe: Recipe
    batches: Batches
    rate: float
    divisor: float
    clip: float | None = None
    pull: float = 0.0
    _built: dict[tuple[str, Hashable], Op] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for name, value, key in (
            ("step", self.rate, "training.step"),
            ("divisor", self.divisor, "training.divisor"),
            ("clip", 1.0 if self.clip is None else self.clip, "privacy.clip"),
        ):
            if not (np.isfinite(value) and value > 0):
                raise ConfigurationError(f"local step: {name} is {value}, expected a finite number > 0", key)
        if (self.clip is None) != (self.recipe.unit is None):
            raise ConfigurationError("local step: a clipping norm and a unit go together", "privacy.unit")

    def update(self, k: int = 1) -> Op:
        """Return a local update of a model, or of a sum of k; see :mod:`protocols.learning.local_update`."""
        return self._once("update", k, self._update)

    def combine(self, k: int) -> Op:
        """Return the weighted sum of k vectors, see :func:`affine`."""
        return self._once("combine", k, affine)

    @property
    def most_terms(self) -> int:
        """Return the largest number of terms of one weighted sum; longer ones consist of partial sums."""
        return MOST_TERMS

    def summands(self, vectors: list[Any], weights: list[float]) -> list[Any]:
        """Return inputs of a weighted sum: vectors, padded to one of a few counts, and the tuple of weights."""
        missing = _PADDED[len(vectors)] - len(vectors)
        if missing:  # repeats of the first vector, with weight zero
            vectors, weights = vectors + vectors[:1] * missing, weights + [0.0] * missing
        return [*vectors, tuple(weights)]

    def scale(self, factor: float) -> Op:
        """Return the multiplication by a constant, see :func:`scale`."""
        return self._once("scale", factor, scale)

    def head(self, size: int) -> Op:
        """Return the operation that takes the first elements of a vector."""
        return self._once("head", size, lambda n: Op("head", _head_fn(n)))

    def _once(self, name: str, key: Any, build: Callable[[Any], Op]) -> Op:
        found = self._built.get((name, key))
        if found is None:
            found = self._built[name, key] = build(key)
        return found

    def _update(self, k: int) -> Op:
        clip = 1.0 if self.clip is None else self.clip
        numbers = (self.rate, 1.0 / self.divisor, clip, self.pull)
        shared = (self.bank.x, self.bank.y, self.bank.mask, *map(np.float32, numbers))
        if k == 1:
            return Op("local_update", update_function(self.task, self.recipe), shared)
        return Op(f"merge{k}_update", _merged_update_fn(self.task, self.recipe, k), shared)
