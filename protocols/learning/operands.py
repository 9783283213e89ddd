"""Inputs of operations and their checks, common to all executors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.contract.compute import Op
from simulator.errors import ContractError

_NAMED_NODES = 16
_INT32 = np.iinfo(np.int32)


def where(op: Op, nodes: Sequence[int]) -> str:
    """Name an operation and its nodes, for messages."""
    named = ", ".join(map(str, nodes[:_NAMED_NODES])) + (", …" if len(nodes) > _NAMED_NODES else "")
    return f"operation {op.name!r} of node{'s' if len(nodes) > 1 else ''} {named}"


def shapes(arrays: Sequence[NDArray[Any]]) -> str:
    """Name the shapes of some inputs, for messages."""
    return ", ".join(f"{array.dtype}{array.shape}" for array in arrays)


def freeze(array: NDArray[Any], floats: np.dtype[Any], place: str) -> NDArray[Any]:
    """Return a read-only array of the executor's precision, a copy unless no reference can write to the original.

    Args:
        array: floats become ``floats``, integers at most 32 bits wide.
        floats: the executor's precision.
        place: name of the operation, for messages.

    Raises:
        ContractError: neither numbers nor booleans, or integers beyond 32 bits.
    """
    target = array.dtype
    if array.dtype.kind == "f":
        target = floats
    elif array.dtype.kind in "iu" and array.dtype.itemsize > 4:
        target = np.dtype(np.int32)
        if array.size and (array.min() < _INT32.min or array.max() > _INT32.max):
            raise ContractError(f"{place}: an integer outside 32 bits; models are computed in 32 bits")
    elif array.dtype.kind not in "iub":
        raise ContractError(f"{place}: an array of {array.dtype}; expected floats, integers or booleans")
    if target == array.dtype and _is_fixed(array):
        return array
    if array.dtype == target:
        frozen = array.copy()
    else:
        with np.errstate(over="ignore"):  # infinity beyond float32: divergence, no warning
            frozen = array.astype(target)
    frozen.setflags(write=False)
    return frozen


def operand(value: Any, floats: np.dtype[Any], place: str) -> NDArray[Any]:
    """Convert an input that is not a handle to an array.

    Raises:
        ContractError: its type is not allowed.
    """
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        return freeze(np.asarray(value), floats, place)
    if isinstance(value, tuple):
        return freeze(np.array(value, floats), floats, place)
    raise ContractError(
        f"{place}: an input of type {type(value).__name__}; expected a handle, an array, a float or an int"
    )


def promised(got: int, sizes: Sequence[int], place: str) -> None:
    """Check the size of results.

    Raises:
        ContractError: a size differs from the declared one.
    """
    if any(size != got for size in sizes):
        raise ContractError(f"{place}: {got} elements per result, but {sorted(set(sizes))} were promised")


def _is_fixed(array: NDArray[Any]) -> bool:
    """Return whether no array known to numpy allows writing to this memory."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return base is None
