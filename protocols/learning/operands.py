"""What operations may be given, and how errors name them: common to all executors."""

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
    """Which operation of which nodes a message is about."""
    named = ", ".join(map(str, nodes[:_NAMED_NODES])) + (", …" if len(nodes) > _NAMED_NODES else "")
    return f"operation {op.name!r} of node{'s' if len(nodes) > 1 else ''} {named}"


def shapes(arrays: Sequence[NDArray[Any]]) -> str:
    """The shapes of some inputs, for messages."""
    return ", ".join(f"{array.dtype}{array.shape}" for array in arrays)


def freeze(array: NDArray[Any], floats: np.dtype[Any], place: str) -> NDArray[Any]:
    """A read-only array of the executor's precision, a copy unless nobody could write to the original.

    Args:
        array: floats become ``floats``, integers at most 32 bits wide.
        floats: the executor's precision.
        place: for messages.

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
        with np.errstate(over="ignore"):  # beyond float32 is infinity: divergence is a result, not a warning
            frozen = array.astype(target)
    frozen.setflags(write=False)
    return frozen


def operand(value: Any, floats: np.dtype[Any], place: str) -> NDArray[Any]:
    """An input that is no handle, as an array.

    Raises:
        ContractError: it is nothing that an operation may be given.
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
        ContractError: one is not what was promised.
    """
    if any(size != got for size in sizes):
        raise ContractError(f"{place}: {got} elements per result, but {sorted(set(sizes))} were promised")


def _is_fixed(array: NDArray[Any]) -> bool:
    """Nobody can write to this array through any name numpy knows of."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return base is None
