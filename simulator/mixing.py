"""Mixing matrices W (row = receiver, rows sum to 1) and the properties convergence depends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray


class MixingProperties(TypedDict):
    """What the manifest says about a mixing matrix."""

    symmetric: bool
    doubly_stochastic: bool
    connected: bool
    spectral_gap: float


def metropolis(neighbors: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """W_ij = 1/(1 + max(d_i, d_j)) on edges, the rest on the diagonal: symmetric, doubly stochastic."""
    n = len(neighbors)
    weights = np.zeros((n, n))
    for i, around in enumerate(neighbors):
        for j in around:
            weights[i, j] = 1.0 / (1 + max(len(around), len(neighbors[j])))
    return _fill_diagonal(weights)


def max_degree(neighbors: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """W_ij = 1/(1 + d_max) on edges, the rest on the diagonal: symmetric, doubly stochastic."""
    n = len(neighbors)
    weights = np.zeros((n, n))
    for i, around in enumerate(neighbors):
        weights[i, list(around)] = 1.0 / (1 + max(map(len, neighbors)))
    return _fill_diagonal(weights)


def lazy(neighbors: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """Half of every node's weight stays at home: (I + W)/2 of the Metropolis matrix, positive semidefinite."""
    weights: NDArray[np.float64] = (np.eye(len(neighbors)) + metropolis(neighbors)) / 2
    weights.setflags(write=False)
    return weights


def uniform_neighbour(neighbors: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """A plain average over the neighbourhood and oneself: rows sum to 1, columns only on regular graphs.

    Averages drift towards nodes with many neighbours; it is here because systems do it.
    """
    n = len(neighbors)
    weights = np.zeros((n, n))
    for i, around in enumerate(neighbors):
        weights[i, list(around)] = 1.0 / (1 + len(around))
    return _fill_diagonal(weights)


def properties(weights: NDArray[np.float64]) -> MixingProperties:
    """Check what holds of W. The spectral gap is 1 − |λ₂|, the second largest modulus."""
    moduli = np.sort(np.abs(np.linalg.eigvals(weights)))[::-1]
    reach = np.linalg.matrix_power(
        (weights > 0) | (weights.T > 0) | np.eye(len(weights), dtype=bool), len(weights)
    )
    return MixingProperties(
        symmetric=bool(np.allclose(weights, weights.T, atol=1e-12)),
        doubly_stochastic=bool(np.allclose(weights.sum(0), 1) and np.allclose(weights.sum(1), 1)),
        connected=bool(reach.all()),
        spectral_gap=float(1 - moduli[1]) if len(moduli) > 1 else 1.0,
    )


def _fill_diagonal(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    np.fill_diagonal(weights, 1 - weights.sum(1))
    weights.setflags(write=False)
    return weights
