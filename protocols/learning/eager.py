"""Immediate execution of operations, one by one: reference for batched execution, and a debugging aid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, final

import jax
import numpy as np
from numpy.typing import NDArray

from protocols.learning.operands import freeze, operand, promised, shapes, where
from simulator.contract.compute import Handle, Input, Op, Vector
from simulator.errors import ContractError


@final
class Known:
    """Handle whose value is known."""

    __slots__ = ("_array",)

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return int(self._array.size)

    def array(self) -> NDArray[Any]:
        """Return the value, read-only."""
        return self._array


# Compiled programs depend on functions and shapes alone, so runs in one process share them.
@lru_cache(maxsize=512)
def _single(fn: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(fn)


@final
class EagerExecutor:
    """Runs each operation when it is submitted; a failing operation raises at its submission.

    Args:
        dtype: precision of vectors, float32 or float64.
        finite: refuse results with NaN or infinity, naming the operation, its node and inputs.
    """

    def __init__(self, *, dtype: Any = np.float32, finite: bool = False) -> None:
        self._floats = np.dtype(dtype)
        self._wide = self._floats == np.float64
        self._finite = finite
        self._shared: dict[Op, tuple[Any, ...]] = {}

    def submit(self, op: Op, inputs: Sequence[Input], *, node: int, size: int) -> Known:
        """Compute the result at once.

        Args:
            op: the operation.
            inputs: handles, numpy arrays, ints (int32) or floats.
            node: whose computation this is, for error messages.
            size: number of elements of the result.

        Raises:
            ContractError: the operation failed, gave another number of elements, or, with ``finite``, a result that
                is not finite.
        """
        place = where(op, [node])
        arrays = [_array(value, self._floats, place) for value in inputs]
        try:
            with jax.enable_x64(self._wide):
                output = np.asarray(_single(op.fn)(*arrays, *self._placed(op)))
        except Exception as error:
            raise ContractError(f"{place} failed with inputs {shapes(arrays)}: {error}") from error
        promised(output.size, [size], place)
        result = freeze(output.astype(self._floats), self._floats, place)
        if self._finite and not np.isfinite(result).all():
            bad = int(np.flatnonzero(~np.isfinite(result))[0])
            raise ContractError(f"{place}: element {bad} is {result[bad]}, from inputs {shapes(arrays)}")
        return Known(result)

    def _placed(self, op: Op) -> tuple[Any, ...]:
        """Return the operation's shared arrays, moved to the device once."""
        if op not in self._shared:
            self._shared[op] = tuple(jax.device_put(array) for array in op.shared)
        return self._shared[op]

    def constant(self, value: Vector) -> Known:
        """Wrap a known value."""
        return Known(freeze(np.asarray(value).astype(self._floats), self._floats, "constant"))

    def read(self, handles: Sequence[Handle]) -> list[Vector]:
        """Return the values, read-only."""
        for handle in handles:
            if not isinstance(handle, Known):
                raise ContractError(f"read: {type(handle).__name__} is not a handle of this executor")
        return [handle.array() for handle in handles if isinstance(handle, Known)]

    def stack(self, handles: Sequence[Handle]) -> Vector:
        """Return the values as rows of one array."""
        return np.stack(self.read(handles))


def _array(value: Input, floats: np.dtype[Any], place: str) -> NDArray[Any]:
    read = getattr(value, "array", None)
    return operand(value if read is None else read(), floats, place)
