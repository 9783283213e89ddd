"""Samples of all nodes in common arrays, as inputs of operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.learning.dataset import Labels
from simulator.errors import ConfigurationError

_LEAST_ROWS = 8


@dataclass(frozen=True, eq=False)
class Bank:
    """Samples of every node in one array each, padded with zeros to a common number of rows.

    Args:
        x: (nodes, rows, *shape) float32.
        y: (nodes, rows) int32, or float32 in regression.
        mask: (nodes, rows) bool; false marks padding, which follows the samples.
    """

    x: NDArray[np.float32]
    y: Labels
    mask: NDArray[np.bool_]

    @classmethod
    def of(cls, x: NDArray[np.float32], y: Labels, parts: Sequence[NDArray[np.int64]]) -> Bank:
        """Stack the samples of each node.

        Args:
            x: (samples, *shape) of the whole set.
            y: (samples,) labels or targets.
            parts: sample indices of each node, at least one node.

        Returns:
            A bank whose number of rows is of the form 2^k or 3 · 2^k, so that seeds with slightly different
            partitions run the same compiled program.

        Raises:
            ConfigurationError: there are no nodes.
        """
        if not parts:
            raise ConfigurationError("data bank: no nodes; expected the samples of at least one", "topology")
        rows = row_class(max(map(len, parts)))
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

    @property
    def counts(self) -> list[int]:
        """Return the number of samples of each node."""
        counts: list[int] = self.mask.sum(axis=1).tolist()
        return counts


def row_class(count: int) -> int:
    """Return the padded number of rows: 8, 12, 16, 24, 32, 48, …"""
    power = _LEAST_ROWS
    while power < count:
        if 3 * power // 2 >= count:
            return 3 * power // 2
        power *= 2
    return power
