"""Deferred and batched execution of operations.

A submission fixes the inputs and returns a handle; nothing is computed until a value is read or too many operations
are pending. The pending operations are then processed level by level, and all of one kind within a level become one
vmapped call over rows of device arrays. Every handle has the value of running its operation alone at submission (up
to rounding, as a batched sum may be ordered differently).

An operation whose handle is no longer referenced, because its node crashed, for example, is never computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, final
from weakref import ref

import jax
import numpy as np
from numpy.typing import NDArray

from protocols.learning.operands import freeze, operand, promised, shapes, where
from protocols.learning.rows import COLUMN, OWN, WASTE, Placement, Rows, WrongSize
from simulator.contract.compute import Handle, Input, Op, Vector
from simulator.errors import ConfigurationError, ContractError

SMALLEST_BATCH = 8
_PAD_ROWS, _PAD_SHARE = 16, 0.25
_BATCH_BYTES = 1 << 22
"""Number of vectors in one call on a CPU: with more, intermediate results are allocated anew, page by page, in every
call, which doubles the time of a step."""
_DEVICE_BATCH_BYTES = _GIVEN_BYTES = 1 << 28
_PENDING, _LOW, _HIGH = -1, -(2**31), 2**31 - 1


def batch_class(count: int) -> int:
    """Return the padded size of a batch of ``count`` rows: the next power of two, at least 8."""
    return max(SMALLEST_BATCH, 1 << (count - 1).bit_length())


def batches(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield (rows, padded size) of the calls for ``count`` operations of one kind.

    Padded sizes are powers of two, so that few programs are compiled; a batch that would need much padding is split,
    so that little is computed in vain.
    """
    while count > 0:
        padded = min(batch_class(count), most)
        if padded - count > max(_PAD_ROWS, _PAD_SHARE * count):
            padded //= 2
        yield min(count, padded), padded
        count -= padded


@final
class Value:
    """Handle of a batched executor. When its last reference is deleted, its row is free for another value."""

    __slots__ = ("__weakref__", "_inputs", "_level", "_node", "_row", "_rows")

    def __init__(self, rows: Rows, row: int, inputs: tuple[Any, ...], level: int, node: int) -> None:
        self._rows = rows
        self._row = row
        self._inputs = inputs
        self._level = level
        self._node = node

    def __del__(self) -> None:
        if self._row >= 0:
            self._rows.free.append(self._row)

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return self._rows.size

    @property
    def pending(self) -> bool:
        """Return whether the value is still to be computed."""
        return self._row < 0

    def array(self) -> NDArray[Any]:
        """Return a copy of the value.

        Raises:
            ContractError: it is still to be computed.
        """
        if self._row < 0:
            raise ContractError("a pending handle of another executor; read it there first")
        value: NDArray[Any] = self._rows.read(np.array([self._row], np.int32))[0]
        return value


_Kind: TypeAlias = tuple[Any, ...]  # operation, rows of the result, then the form of each input


@final
class BatchedExecutor:
    """Defers operations and runs those of one kind together.

    A failing call leaves its operations pending: reading again raises again, with the same message.

    Args:
        max_pending: number of pending operations at which all are computed; bounds memory, together with 256 MiB for
            the arrays that operations are given (noise, batches).
        max_batch: rows of one call at most, a power of two ≥ 8; long vectors are taken in smaller batches.
        dtype: precision of vectors, float32 or float64.
        devices: devices that compute; by default all devices of JAX's default kind. Several share the rows and every
            call (a power of two of them, at most 8).

    Attributes:
        compilations: distinct programs (function, shapes, batch size, rows) this executor called; a process that
            ran another executor before may already have compiled some of them.
        calls: batched calls made.
        ops: operations carried out.
        dropped: operations that were never carried out because their handles were deleted.
    """

    def __init__(
        self,
        *,
        max_pending: int = 16384,
        max_batch: int = 1024,
        dtype: Any = np.float32,
        devices: Sequence[jax.Device] | None = None,
    ) -> None:
        if max_pending < 1:
            raise ConfigurationError(f"executor: max_pending is {max_pending}, expected at least 1")
        if max_batch != batch_class(max(1, max_batch)):
            raise ConfigurationError(f"executor: max_batch is {max_batch}, expected a power of two ≥ 8")
        self.compilations = 0
        self.calls = 0
        self.ops = 0
        self.dropped = 0
        self._max_pending = max_pending
        self._max_batch = max_batch
        self._floats = np.dtype(dtype)
        self._wide = self._floats == np.float64
        self._placement = Placement(jax.devices() if devices is None else devices, SMALLEST_BATCH)
        self._rows: dict[int, Rows] = {}
        self._levels: list[dict[_Kind, list[ref[Value]]]] = []
        self._waiting = 0
        self._given_bytes = 0
        self._shared: dict[Op, tuple[Any, ...]] = {}
        self._programs: set[tuple[Any, ...]] = set()

    @property
    def pending(self) -> int:
        """Return the number of operations submitted but not yet carried out."""
        return self._waiting

    @property
    def bytes_held(self) -> int:
        """Return the device memory of all vectors, used or not, bytes."""
        return sum(rows.capacity * rows.size * self._floats.itemsize for rows in self._rows.values())

    def submit(self, op: Op, inputs: Sequence[Input], *, node: int, size: int) -> Value:
        """Fix the inputs and return a handle to the result.

        Args:
            op: the operation; operations are recognised by identity.
            inputs: handles, numpy arrays (copied unless immutable), ints (int32) or floats.
            node: whose computation this is, for error messages.
            size: number of elements of the result.

        Raises:
            ContractError: an input that is not an array; or, when this submission fills the executor, a pending
                operation that failed.
        """
        rows = self._rows.get(size) or self._of(size)
        kind: list[Any] = [op, rows]
        operands: list[Any] = []
        level = 0
        for value in inputs:
            if type(value) is Value and self._rows.get(value._rows.size) is value._rows:
                if value._level >= level and value._row < 0:
                    level = value._level + 1
                kind.append(value._rows)
                operands.append(value)
            elif type(value) is int and _LOW <= value <= _HIGH:
                kind.append(int)
                operands.append(value)
            elif type(value) is tuple:
                kind.append(len(value))
                operands.append(value)
            else:
                array = self._array(value, op, node)
                self._given_bytes += array.nbytes
                kind.append((array.shape, array.dtype))
                operands.append(array)
        handle = Value(rows, _PENDING, tuple(operands), level, node)
        levels = self._levels
        if level == len(levels):
            levels.append({})
        key = tuple(kind)
        group = levels[level].get(key)
        if group is None:
            group = levels[level][key] = []
        group.append(ref(handle))
        self._waiting += 1
        if self._waiting >= self._max_pending or self._given_bytes > _GIVEN_BYTES:
            self.flush()
        return handle

    def constant(self, value: Vector) -> Value:
        """Wrap a known value."""
        array = freeze(np.asarray(value, dtype=self._floats).ravel(), self._floats, "constant")
        rows = self._of(array.size)
        with jax.enable_x64(self._wide):
            return Value(rows, rows.put(array), (), 0, -1)

    def read(self, handles: Sequence[Handle]) -> list[Vector]:
        """Return the values as separate read-only arrays; computes everything pending if one of them is.

        Raises:
            ContractError: a pending operation failed, or gave another number of elements than promised.
        """
        values = self._ready(handles)
        found: list[Vector] = [np.empty(0)] * len(values)
        for rows in {id(v._rows): v._rows for v in values}.values():
            mine = [i for i, v in enumerate(values) if v._rows is rows]
            got = self._read(rows, [values[i] for i in mine])
            for i, row in zip(mine, got, strict=True):
                # A copy, so that keeping one value does not keep all that were read with it.
                found[i] = row.copy() if len(mine) > 1 else row
                found[i].setflags(write=False)
        return found

    def stack(self, handles: Sequence[Handle]) -> Vector:
        """Return the values of handles of one size, as rows of one array.

        Raises:
            ContractError: as for :meth:`read`; or sizes differ, or there are no handles.
        """
        values = self._ready(handles)
        sizes = sorted({value.size for value in values})
        if len(sizes) != 1:
            raise ContractError(f"stack: vectors of sizes {sizes}, expected some of one size")
        return self._read(values[0]._rows, values)

    def flush(self) -> None:
        """Compute everything pending, level by level.

        Raises:
            ContractError: as for :meth:`read`.
        """
        with jax.enable_x64(self._wide):
            for level in self._levels:
                for kind in list(level):
                    self._carry_out(kind, level[kind])
                    del level[kind]
        self._levels.clear()
        self._given_bytes = 0

    def _carry_out(self, kind: _Kind, group: list[ref[Value]]) -> None:
        handles = [handle for made in group if (handle := made()) is not None]
        gone = len(group) - len(handles)
        self.dropped += gone
        self._waiting -= gone
        group[:] = [made for made in group if made() is not None] if gone else group
        todo = [handle for handle in handles if handle._row < 0]  # others were done before an earlier failure
        del handles
        op, rows, *inputs = kind
        most_bytes = _BATCH_BYTES if self._placement.on_host else _DEVICE_BATCH_BYTES
        fitting = 1 << max(3, (most_bytes // max(1, rows.size * self._floats.itemsize)).bit_length() - 1)
        rows.reserve(len(todo))
        start = 0
        for count, padded in batches(len(todo), min(self._max_batch, fitting)):
            self._call(op, rows, inputs, todo[start : start + count], padded)
            start += count

    def _call(self, op: Op, rows: Rows, inputs: Sequence[Any], batch: Sequence[Value], padded: int) -> None:
        count = len(batch)
        others: list[Rows] = []
        layout: list[int] = []
        index: list[list[int]] = []
        columns: list[NDArray[Any]] = []
        by_input = list(zip(*(handle._inputs for handle in batch), strict=True))
        for kind, given in zip(inputs, by_input, strict=True):
            if isinstance(kind, Rows):
                index.append([value._row for value in given])
                if kind is not rows and kind not in others:
                    others.append(kind)
                layout.append(OWN if kind is rows else others.index(kind))
            else:
                dtype = np.int32 if kind is int else kind[1] if type(kind) is tuple else self._floats
                columns.append(_column(given, padded, dtype))
                layout.append(COLUMN)
        table = np.zeros((1 + len(index), padded), np.int32)
        for line, entries in enumerate(index, 1):
            table[line, :count] = entries
            table[line, count:] = entries[0]  # padding repeats the first entry, whose values are valid
        taken = rows.take(count)
        table[0, :count] = taken
        table[0, count:] = WASTE
        shared = self._placed(op)
        self._note(
            (op.fn, rows.size, rows.capacity, tuple(layout), padded, *((c.shape, c.dtype) for c in columns))
        )
        try:
            rows.call(op.fn, tuple(layout), others, table, columns, shared)
        except Exception as error:
            rows.free.extend(reversed(taken))
            place = where(op, [handle._node for handle in batch])
            if isinstance(error, WrongSize):
                promised(error.got, [rows.size], place)
            first = [np.asarray(v.array() if isinstance(v, Value) else v) for v in batch[0]._inputs]
            raise ContractError(f"{place} failed with inputs {shapes(first)}: {error}") from error
        for handle, row in zip(batch, taken, strict=True):
            handle._row = row
            handle._inputs = ()
        self.calls += 1
        self.ops += count
        self._waiting -= count

    def _note(self, program: tuple[Any, ...]) -> None:
        if program not in self._programs:
            self._programs.add(program)
            self.compilations += 1

    def _of(self, size: int) -> Rows:
        if size not in self._rows:
            with jax.enable_x64(self._wide):
                self._rows[size] = Rows(size, self._floats, self._placement)
        return self._rows[size]

    def _placed(self, op: Op) -> tuple[Any, ...]:
        """Return the operation's shared arrays, moved to the devices once."""
        if op not in self._shared:
            self._shared[op] = tuple(jax.device_put(array, self._placement.everywhere) for array in op.shared)
        return self._shared[op]

    def _array(self, value: Input, op: Op, node: int) -> NDArray[Any]:
        place = where(op, [node])
        read = getattr(value, "array", None)
        try:
            return operand(value if read is None else read(), self._floats, place)
        except ContractError as error:
            if read is None:
                raise
            raise ContractError(f"{place}: {error}") from error

    def _ready(self, handles: Sequence[Handle]) -> list[Value]:
        values = []
        for handle in handles:
            if not isinstance(handle, Value) or self._rows.get(handle.size) is not handle._rows:
                raise ContractError(f"read: {type(handle).__name__} is not a handle of this executor")
            values.append(handle)
        if any(value._row < 0 for value in values):
            self.flush()
        return values

    def _read(self, rows: Rows, values: Sequence[Value]) -> NDArray[Any]:
        index = np.fromiter((value._row for value in values), np.int32, len(values))
        with jax.enable_x64(self._wide):
            return rows.read(index)


def _column(given: Sequence[Any], padded: int, dtype: Any) -> NDArray[Any]:
    """Return one input of a whole batch; padding repeats the first entry."""
    first = np.asarray(given[0])
    column = np.empty((padded, *first.shape), dtype)
    column[: len(given)] = given
    column[len(given) :] = first
    return column
