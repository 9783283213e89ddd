"""Where operations are carried out: at once, one by one, or deferred and in batches.

Both executors give the values of running each operation alone when it was submitted (up to float32 rounding,
as a batched sum may be ordered differently). :class:`BatchedExecutor` waits until a value is read, then walks
the pending operations level by level; operations of one kind within a level become one vmapped call. Batches
are padded to a few sizes so that a run needs a handful of compilations, however its groups vary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple, TypeAlias, final

import jax
import numpy as np
from numpy.typing import NDArray

from simulator.compute import Handle, Input, Op, Vector
from simulator.errors import ConfigurationError, ContractError

_SMALLEST_BATCH = 8
_NAMED_NODES = 16


def batch_class(count: int) -> int:
    """The padded size of a batch of ``count`` rows: the next power of two, at least 8."""
    return max(_SMALLEST_BATCH, 1 << (count - 1).bit_length())


@final
class Value:
    """A handle of either executor. It owns its value: when the last reference goes, the value goes.

    The values of one batched call share an array, which lives as long as any of them.
    """

    __slots__ = ("__weakref__", "_bank", "_row", "_size", "_work")

    def __init__(self, size: int, *, bank: NDArray[Any] | None = None, work: _Work | None = None) -> None:
        self._size = size
        self._bank = bank
        self._row = 0
        self._work = work

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._size

    @property
    def pending(self) -> bool:
        """Whether the value is still to be computed."""
        return self._work is not None

    def _settle(self, bank: NDArray[Any], row: int) -> None:
        self._bank, self._row, self._work = bank, row, None

    def _array(self) -> NDArray[Any]:
        if self._bank is None:
            raise ContractError("a handle was used before its executor computed it; read() computes it first")
        array: NDArray[Any] = self._bank[self._row]
        return array


_Operand: TypeAlias = "Value | NDArray[Any]"
_Signature: TypeAlias = tuple[tuple[tuple[int, ...], str], ...]


class _Work(NamedTuple):
    owner: object
    op: Op
    inputs: tuple[_Operand, ...]
    node: int
    level: int


def _where(op: Op, nodes: Sequence[int]) -> str:
    named = ", ".join(map(str, nodes[:_NAMED_NODES])) + (", …" if len(nodes) > _NAMED_NODES else "")
    return f"operation {op.name!r} of node{'s' if len(nodes) > 1 else ''} {named}"


def _is_fixed(array: NDArray[Any]) -> bool:
    """Nobody can write to this array through any name numpy knows of."""
    base: Any = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:
            return False
        base = base.base
    return base is None


def _freeze(array: NDArray[Any], where: str) -> NDArray[Any]:
    """A read-only array of at most 32-bit elements, a copy unless nobody could write to the original."""
    target = array.dtype
    if array.dtype.kind == "f":
        target = np.dtype(np.float32)
    elif array.dtype.kind in "iu" and array.dtype.itemsize > 4:
        target = np.dtype(np.int32)
        limits = np.iinfo(np.int32)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise ContractError(f"{where}: an integer outside 32 bits; models are computed in 32 bits")
    elif array.dtype.kind not in "iub":
        raise ContractError(f"{where}: an array of {array.dtype}; expected floats, integers or booleans")
    if target == array.dtype and _is_fixed(array):
        return array
    with np.errstate(over="ignore"):  # beyond float32 is infinity: divergence is a result, not a warning
        frozen = array.astype(target)
    frozen.setflags(write=False)
    return frozen


def _operand(value: Input, owner: object, where: str) -> _Operand:
    if isinstance(value, Value):
        if value._work is not None and value._work.owner is not owner:
            raise ContractError(f"{where}: a pending handle of another executor; read it there first")
        return value
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        return _freeze(np.asarray(value), where)
    raise ContractError(
        f"{where}: an input of type {type(value).__name__}; expected a handle, an array, a float or an int"
    )


def _constant(value: Vector) -> Value:
    with np.errstate(over="ignore"):
        array = _freeze(np.asarray(value, dtype=np.float32), "constant")
    return Value(array.size, bank=array[None])


def _result(output: Any, rows: int, sizes: Sequence[int], where: str) -> NDArray[Any]:
    """The output of a call as a host array, checked against what was promised."""
    bank = np.asarray(output)
    got = bank.size // rows
    if any(size != got for size in sizes):
        raise ContractError(f"{where}: {got} elements per result, but {sorted(set(sizes))} were promised")
    return _freeze(bank, where) if bank.dtype != np.float32 else bank


def _read_only(value: Value) -> Vector:
    # A copy: whoever keeps one row must not keep the whole batch alive.
    array = np.array(value._array(), dtype=np.float32)
    array.setflags(write=False)
    return array


def _checked(handles: Sequence[Handle], owner: object) -> list[Value]:
    values = []
    for handle in handles:
        if not isinstance(handle, Value) or (handle._work is not None and handle._work.owner is not owner):
            raise ContractError(f"read: {type(handle).__name__} is not a handle of this executor")
        values.append(handle)
    return values


# Compiled programs depend on functions and shapes alone, so runs in one process share them.
@lru_cache(maxsize=512)
def _single(fn: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(fn)


@lru_cache(maxsize=512)
def _vectorised(fn: Callable[..., Any], inputs: int, shared: int) -> Callable[..., Any]:
    return jax.jit(jax.vmap(fn, in_axes=(0,) * inputs + (None,) * shared))


class _SharedArrays:
    """Each operation's shared arrays, moved to the device once."""

    def __init__(self) -> None:
        self._placed: dict[Op, tuple[jax.Array, ...]] = {}

    def of(self, op: Op) -> tuple[jax.Array, ...]:
        if op not in self._placed:
            self._placed[op] = tuple(jax.device_put(array) for array in op.shared)
        return self._placed[op]


@final
class EagerExecutor:
    """Runs each operation when it is submitted. The reference the batched executor is tested against."""

    def __init__(self) -> None:
        self._shared = _SharedArrays()

    def submit(self, op: Op, inputs: Sequence[Input], *, node: int, size: int) -> Value:
        """Compute now.

        Args:
            op: the operation.
            inputs: handles, numpy arrays, ints (int32) or floats (float32).
            node: whose computation this is, for error messages.
            size: number of elements of the result.

        Raises:
            ContractError: the operation failed, or gave another number of elements.
        """
        where = _where(op, [node])
        operands = [_operand(value, self, where) for value in inputs]
        arrays = [value._array() if isinstance(value, Value) else value for value in operands]
        try:
            output = np.asarray(_single(op.fn)(*arrays, *self._shared.of(op)))
        except Exception as error:
            raise ContractError(f"{where} failed: {error}") from error
        return Value(size, bank=_result(output, 1, [size], where)[None])

    def constant(self, value: Vector) -> Value:
        """Wrap a known value, as float32."""
        return _constant(value)

    def read(self, handles: Sequence[Handle]) -> list[Vector]:
        """The values, as read-only float32 arrays."""
        return [_read_only(value) for value in _checked(handles, self)]


@final
class BatchedExecutor:
    """Defers operations and runs those of one kind together.

    A failing call leaves its operations pending: reading again fails again, with the same message.

    Args:
        max_pending: operations kept before everything is computed anyway; bounds memory.
        max_batch: rows of one call at most, a power of two ≥ 8; bounds the memory of intermediate results.

    Attributes:
        compilations: distinct programs (function, shapes, batch size) this executor called; a process that
            ran another executor before may already have compiled some of them.
        calls: batched calls made.
        ops: operations carried out.
    """

    def __init__(self, *, max_pending: int = 4096, max_batch: int = 256) -> None:
        if max_pending < 1:
            raise ConfigurationError(f"executor: max_pending is {max_pending}, expected at least 1")
        if max_batch != batch_class(max(1, max_batch)):
            raise ConfigurationError(f"executor: max_batch is {max_batch}, expected a power of two ≥ 8")
        self.compilations = 0
        self.calls = 0
        self.ops = 0
        self._max_pending = max_pending
        self._max_batch = max_batch
        self._levels: list[list[Value]] = []
        self._waiting = 0
        self._shared = _SharedArrays()
        self._programs: set[tuple[Any, ...]] = set()

    @property
    def pending(self) -> int:
        """Operations submitted but not yet carried out."""
        return self._waiting

    def submit(self, op: Op, inputs: Sequence[Input], *, node: int, size: int) -> Value:
        """Fix the inputs and promise the result.

        Args:
            op: the operation; operations are recognised by identity.
            inputs: handles, numpy arrays (copied unless immutable), ints (int32) or floats (float32).
            node: whose computation this is, for error messages.
            size: number of elements of the result.

        Raises:
            ContractError: an input that is no array; or, when this submission fills the executor, a pending
                operation that failed.
        """
        where = _where(op, [node])
        operands = tuple(_operand(value, self, where) for value in inputs)
        level = max(
            (value._work.level + 1 for value in operands if isinstance(value, Value) and value._work),
            default=0,
        )
        handle = Value(size, work=_Work(self, op, operands, node, level))
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(handle)
        self._waiting += 1
        if self._waiting >= self._max_pending:
            self.flush()
        return handle

    def constant(self, value: Vector) -> Value:
        """Wrap a known value, as float32."""
        return _constant(value)

    def read(self, handles: Sequence[Handle]) -> list[Vector]:
        """The values, as read-only float32 arrays; computes everything pending if one of them is.

        Raises:
            ContractError: a pending operation failed, or gave another number of elements than promised.
        """
        values = _checked(handles, self)
        if any(value.pending for value in values):
            self.flush()
        return [_read_only(value) for value in values]

    def flush(self) -> None:
        """Compute everything pending, level by level.

        Raises:
            ContractError: as for :meth:`read`.
        """
        for level in self._levels:
            groups: dict[tuple[Op, _Signature], list[tuple[Value, _Work, list[NDArray[Any]]]]] = {}
            for handle in level:
                work = handle._work
                if work is None:  # done before an earlier flush failed
                    continue
                arrays = [value._array() if isinstance(value, Value) else value for value in work.inputs]
                signature = tuple((array.shape, array.dtype.str) for array in arrays)
                groups.setdefault((work.op, signature), []).append((handle, work, arrays))
            for (op, signature), group in groups.items():
                for start in range(0, len(group), self._max_batch):
                    self._call(op, signature, group[start : start + self._max_batch])
            level.clear()
        self._levels.clear()

    def _call(
        self, op: Op, signature: _Signature, group: Sequence[tuple[Value, _Work, list[NDArray[Any]]]]
    ) -> None:
        rows = batch_class(len(group))
        where = _where(op, [work.node for _, work, _ in group])
        shared = self._shared.of(op)
        program = (op.fn, signature, tuple((array.shape, str(array.dtype)) for array in shared), rows)
        if program not in self._programs:
            self._programs.add(program)
            self.compilations += 1
        columns = [_column([arrays[i] for _, _, arrays in group], rows) for i in range(len(signature))]
        try:
            # An operation without inputs has no batch axis to map over; it is given one it ignores.
            if not columns:
                fn = op.fn
                output = np.asarray(_single(fn)(*shared))
                output = np.broadcast_to(output, (rows, *output.shape))
            else:
                output = np.asarray(_vectorised(op.fn, len(columns), len(shared))(*columns, *shared))
        except Exception as error:
            raise ContractError(f"{where} failed: {error}") from error
        bank = _result(output, rows, [handle.size for handle, _, _ in group], where)
        for row, (handle, _, _) in enumerate(group):
            handle._settle(bank, row)
        self.calls += 1
        self.ops += len(group)
        self._waiting -= len(group)


def _column(arrays: Sequence[NDArray[Any]], rows: int) -> NDArray[Any]:
    """One input of a whole batch; padding repeats the first row, whose values are surely harmless."""
    padding = [arrays[0]] * (rows - len(arrays))
    return np.stack(list(chain(arrays, padding)))
