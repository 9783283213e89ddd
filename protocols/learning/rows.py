"""Vectors of one size on the device: rows of one array that calls update in place.

A row is written once and unchanged until its handle is deleted; then it is reused. The array is donated to every call
that writes to it, so no call copies it. With several devices the rows are distributed over them in equal blocks, and
so is the work of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, TypeAlias, final

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

WASTE = 0
"""Row that padded results are written to; never read."""
OWN, COLUMN = -1, -2
"""Source of an input: the rows that are written to, or a column; otherwise the number of other rows."""

_LEAST_ROWS, _FIRST_ROWS, _FIRST_BYTES = 64, 4096, 1 << 22
_FAST_BYTES = 1 << 23
"""Capacity below which arrays grow by a factor of four: every capacity compiles new programs, and rows are cheap."""

Layout: TypeAlias = tuple[int, ...]


class WrongSize(Exception):
    """Raised when an operation returns another number of elements than declared.

    Args:
        got: number of elements.
    """

    def __init__(self, got: int) -> None:
        super().__init__(f"{got} elements")
        self.got = got


@final
class Placement:
    """Devices over which rows and calls are distributed.

    Args:
        devices: all of one kind; a power of two of them is used, at most ``most``.
        most: largest number of devices of one call.
    """

    def __init__(self, devices: Sequence[jax.Device], most: int) -> None:
        count = 1 << (min(len(devices), most).bit_length() - 1)
        mesh = Mesh(np.array(devices[:count]), ("nodes",))
        self.count = count
        self.on_host = devices[0].platform == "cpu"
        self.rows = NamedSharding(mesh, PartitionSpec("nodes"))  # type: ignore[no-untyped-call]
        self.everywhere = NamedSharding(mesh, PartitionSpec())  # type: ignore[no-untyped-call]
        self.batch = self.rows if count > 1 else None


@final
class Rows:
    """All vectors of one size.

    Args:
        size: elements of each.
        floats: their precision.
        placement: devices that hold them.
    """

    def __init__(self, size: int, floats: np.dtype[Any], placement: Placement) -> None:
        self.size = size
        self.free: list[int] = []
        self._floats = floats
        self._placement = placement
        self._array = jax.device_put(np.zeros((0, size), floats), placement.everywhere)
        self._capacity = 0

    @property
    def capacity(self) -> int:
        """Return the number of rows, used or not."""
        return self._capacity

    @property
    def used(self) -> int:
        """Return the number of rows that hold a value."""
        return max(0, self._capacity - 1 - len(self.free))

    def reserve(self, count: int) -> None:
        """Ensure that ``count`` rows are free."""
        if len(self.free) >= count:
            return
        row_bytes = self.size * self._floats.itemsize
        missing = count - len(self.free)
        capacity = self._capacity
        if not capacity:
            fitting = _FIRST_BYTES // max(1, row_bytes)
            capacity = min(_FIRST_ROWS, max(_LEAST_ROWS, 1 << fitting.bit_length()))
            missing += 1  # the row for padded results
        while capacity - self._capacity < missing:
            capacity *= 4 if capacity * row_bytes < _FAST_BYTES else 2
        first = max(self._capacity, WASTE + 1)
        self._array = _growing(capacity - self._capacity, self._placement.rows)(self._array)
        self.free[:0] = range(capacity - 1, first - 1, -1)
        self._capacity = capacity

    def take(self, count: int) -> list[int]:
        """Return rows to write to, after :meth:`reserve`."""
        taken = self.free[: -count - 1 : -1]
        del self.free[-count:]
        return taken

    def put(self, value: NDArray[Any]) -> int:
        """Write one vector; return its row."""
        self.reserve(1)
        row = self.free.pop()
        self._array = _put(self._array, np.int32(row), value)
        return row

    def read(self, rows: NDArray[np.int32]) -> NDArray[Any]:
        """Return copies of some rows, (n, size)."""
        if self._placement.on_host and self._placement.count == 1:
            view: NDArray[Any] = np.asarray(self._array)  # no copy where device memory is host memory
            return view[rows]
        # Padded to a power of two, so that few programs are compiled.
        padded = np.zeros(1 << max(3, (len(rows) - 1).bit_length()), np.int32)
        padded[: len(rows)] = rows
        return np.asarray(_get(self._array, padded))[: len(rows)]

    def call(
        self,
        fn: Callable[..., Any],
        layout: Layout,
        others: Sequence[Rows],
        index: NDArray[np.int32],
        columns: Sequence[NDArray[Any]],
        shared: Sequence[Any],
    ) -> None:
        """Apply a function to every entry of a batch and write the results here.

        Args:
            fn: of one entry.
            layout: for each of its inputs ``OWN``, ``COLUMN`` or the position in ``others``.
            others: rows of other sizes that inputs come from.
            index: (1 + inputs from rows, batch): the rows written to, then those of each input in turn.
            columns: the remaining inputs, (batch, …) each.
            shared: inputs common to every entry, after its own inputs.

        Raises:
            WrongSize: results are not vectors of this size.
        """
        program = _program(fn, layout, len(columns), self._placement.batch)
        self._array = program(
            self._array, tuple(o._array for o in others), index, tuple(columns), tuple(shared)
        )


@lru_cache(maxsize=64)
def _growing(extra: int, sharding: NamedSharding) -> Callable[[jax.Array], jax.Array]:
    def grow(array: jax.Array) -> jax.Array:
        return jnp.concatenate([array, jnp.zeros((extra, array.shape[1]), array.dtype)])

    return jax.jit(grow, out_shardings=sharding)


@partial(jax.jit, donate_argnums=0)
def _put(array: jax.Array, row: jax.Array, value: jax.Array) -> jax.Array:
    return array.at[row].set(value)


@jax.jit
def _get(array: jax.Array, rows: jax.Array) -> jax.Array:
    return array[rows]


# Compiled programs depend on functions and shapes alone, so runs in one process share them.
@lru_cache(maxsize=1024)
def _program(
    fn: Callable[..., Any], layout: Layout, columns: int, batch: NamedSharding | None
) -> Callable[..., jax.Array]:
    def spread(array: jax.Array) -> jax.Array:
        if batch is None:
            return array
        constrained: jax.Array = jax.lax.with_sharding_constraint(array, batch)  # type: ignore[no-untyped-call]
        return constrained

    def call(
        own: jax.Array,
        others: tuple[jax.Array, ...],
        index: jax.Array,
        given: tuple[jax.Array, ...],
        shared: tuple[jax.Array, ...],
    ) -> jax.Array:
        rows, column = iter(index[1:]), iter(given)
        inputs = [
            spread(next(column))
            if source == COLUMN
            else spread((own if source == OWN else others[source])[next(rows)])
            for source in layout
        ]
        if inputs:
            result = jax.vmap(fn, in_axes=(0,) * len(inputs) + (None,) * len(shared))(*inputs, *shared)
        else:  # there is no batch axis to map over
            alone = jnp.asarray(fn(*shared))
            result = jnp.broadcast_to(alone, (index.shape[1], *alone.shape))
        elements = result.size // index.shape[1]
        if elements != own.shape[1]:
            raise WrongSize(elements)
        vectors = spread(result.reshape(index.shape[1], elements).astype(own.dtype))
        return own.at[index[0]].set(vectors, mode="promise_in_bounds")

    return jax.jit(call, donate_argnums=0)
