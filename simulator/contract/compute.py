"""Compute contract: operations, handles and the duties of an executor.

The simulator charges virtual time for model mathematics but never performs it. A protocol names an
:class:`Op` (a pure function of arrays) and its inputs; an :class:`Executor`, which a higher package defines,
decides when and in which batches the arithmetic really happens. Semantics are those of running each
operation alone, at the moment it is submitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Vector: TypeAlias = NDArray[Any]
VALUE_BYTES = 4
"""Bytes of an element of a vector in a message: one 32-bit number."""


@dataclass(frozen=True, eq=False)
class Op:
    """One pure operation on one node's arrays.

    Operations are compared by identity: build each once per run and submit it many times, so that an
    executor can recognise which submissions may share a batch.

    Args:
        name: for profiles and error messages.
        fn: ``fn(*inputs, *shared) -> array``; pure, JAX-traceable, written for a single node (no batch axis).
        shared: arrays every call sees whole (a data bank, say); never batched.
    """

    name: str
    fn: Callable[..., Any]
    shared: tuple[Any, ...] = field(default=(), repr=False)


class Handle(Protocol):
    """A value that may not exist yet. Immutable; may be sent in a message or fed to another operation."""

    @property
    def size(self) -> int:
        """Number of elements, known before the value is."""
        ...


Input: TypeAlias = "Handle | Vector | tuple[float, ...] | float | int"
"""Inputs of operations; a tuple is a short vector of floats, and cheaper than an array."""


class Executor(Protocol):
    """Carries out operations."""

    def submit(self, op: Op, inputs: Sequence[Input], *, node: int, size: int) -> Handle:
        """Fix ``inputs`` now and promise ``op`` of them; ``size`` is the number of elements of the result."""
        ...

    def constant(self, value: Vector) -> Handle:
        """Wrap a value that is already known."""
        ...

    def read(self, handles: Sequence[Handle]) -> list[Vector]:
        """Return the values, computing what is still pending. Arrays are read-only."""
        ...

    def stack(self, handles: Sequence[Handle]) -> Vector:
        """Return the values of at least one handle, all of one size, as the rows of one array."""
        ...


def values_of(executor: Executor, inputs: Sequence[Handle | Vector]) -> list[Vector]:
    """Read handles in one go; arrays (what a handle becomes on a real wire) pass through."""
    handles = [value for value in inputs if not isinstance(value, np.ndarray)]
    read = iter(executor.read(handles)) if handles else iter(())
    return [value if isinstance(value, np.ndarray) else next(read) for value in inputs]
