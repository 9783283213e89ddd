"""Mixing matrices W (row = receiver, rows sum to 1) and the properties convergence depends on.

Every rule returns a ``scipy.sparse.csr_array`` of float64, n x n, read-only, with sorted indices: time and memory
grow with the number of edges, never with n².
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csgraph, csr_array
from scipy.sparse.linalg import ArpackError, LinearOperator, eigs, eigsh

from simulator import streams
from simulator.errors import ConfigurationError

Neighbors: TypeAlias = Sequence[Sequence[int]]
Indices: TypeAlias = NDArray[np.int64]
Floats: TypeAlias = NDArray[np.float64]

DENSE_NODES = 500
"""Up to this many nodes the eigenvalues are computed densely, above it by Lanczos or Arnoldi iteration."""

_ROUNDING = 1e-12
_SPECTRAL_PRECISION = 1e-3
_KRYLOV = 80
_RESTARTS = 100


class MixingProperties(TypedDict):
    """Facts about a mixing matrix for the manifest; ``spectral_gap`` is None where the iteration did not converge."""

    symmetric: bool
    doubly_stochastic: bool
    connected: bool
    spectral_gap: float | None


def metropolis(neighbors: Neighbors) -> csr_array:
    """W_ij = 1/(1 + max(d_i, d_j)) on edges, the rest on the diagonal: symmetric, doubly stochastic."""
    rows, columns = _edges(neighbors)
    return complete(len(neighbors), rows, columns, metropolis_shares(len(neighbors), rows, columns))


def metropolis_shares(nodes: int, rows: Indices, columns: Indices) -> Floats:
    """Return the Metropolis-Hastings weight of every edge, listed in both directions."""
    degree = np.bincount(rows, minlength=nodes)
    shares: Floats = 1.0 / (1 + np.maximum(degree[rows], degree[columns]))
    return shares


def max_degree(neighbors: Neighbors) -> csr_array:
    """W_ij = 1/(1 + d_max) on edges, the rest on the diagonal: symmetric, doubly stochastic."""
    rows, columns = _edges(neighbors)
    largest = max(map(len, neighbors), default=0)
    return complete(len(neighbors), rows, columns, np.full(len(rows), 1.0 / (1 + largest)))


def lazy(neighbors: Neighbors) -> csr_array:
    """Half of every node's weight stays at home: (I + W)/2 of the Metropolis matrix, positive semidefinite."""
    rows, columns = _edges(neighbors)
    n = len(neighbors)
    return complete(n, rows, columns, metropolis_shares(n, rows, columns) / 2)


def uniform_neighbour(neighbors: Neighbors) -> csr_array:
    """A plain average over the neighbourhood and oneself: rows sum to 1, columns only on regular graphs.

    Averages drift towards nodes with many neighbours; it is here because systems do it.
    """
    rows, columns = _edges(neighbors)
    degree = np.bincount(rows, minlength=len(neighbors))
    return complete(len(neighbors), rows, columns, 1.0 / (1 + degree[rows]))


def from_edges(neighbors: Neighbors, weight: Mapping[tuple[int, int], float]) -> csr_array:
    """Weights as they are given, one for each (receiver, source); the rest of a row is the receiver's own.

    Raises:
        ConfigurationError: a link has no weight or one that is negative or not finite, a weight is for no link,
            or a node's weights sum to more than 1.
    """
    links = {(i, j) for i, around in enumerate(neighbors) for j in around}
    for i, j in sorted(links.symmetric_difference(weight)):
        problem = (
            f"the link from {j} to {i} has no mixing weight; expected a weight on every link, in both directions"
            if (i, j) in links
            else f"there is a mixing weight from {j} to {i}, but no such link"
        )
        raise ConfigurationError(problem, "mixing.kind")
    for (i, j), value in weight.items():
        if not 0 <= value < np.inf:
            raise ConfigurationError(
                f"the mixing weight from {j} to {i} is {value}; expected a number from 0 to 1", "mixing.kind"
            )
    rows, columns = _edges(neighbors)
    shares = np.array([weight[i, j] for i, j in zip(rows.tolist(), columns.tolist(), strict=True)], float)
    sums = np.bincount(rows, shares, minlength=len(neighbors))
    heaviest = int(sums.argmax())
    if sums[heaviest] > 1 + _ROUNDING:
        raise ConfigurationError(
            f"the mixing weights towards node {heaviest} sum to {sums[heaviest]:.6g}; at most 1 leaves its own "
            "weight not negative",
            "mixing.kind",
        )
    return complete(len(neighbors), rows, columns, shares)


def complete(nodes: int, rows: Indices, columns: Indices, shares: Floats) -> csr_array:
    """Return the matrix with these weights off the diagonal; the diagonal completes rows to 1 (0 below rounding)."""
    own = 1 - np.bincount(rows, shares, minlength=nodes)
    own[np.abs(own) < _ROUNDING] = 0.0
    everyone = np.arange(nodes)
    weights = csr_array(
        (
            np.concatenate([shares, own]),
            (np.concatenate([rows, everyone]), np.concatenate([columns, everyone])),
        ),
        shape=(nodes, nodes),
    )
    weights.sum_duplicates()
    weights.data.setflags(write=False)
    return weights


def properties(weights: csr_array | Floats) -> MixingProperties:
    """Check what holds of W. The spectral gap is 1 − |λ₂|, the second largest modulus.

    Connected means that information gets everywhere if links carry it both ways.
    """
    matrix = csr_array(weights)
    n = matrix.shape[0]
    rows, columns = np.asarray(matrix.sum(1)), np.asarray(matrix.sum(0))
    stochastic = bool(np.allclose(rows, 1, rtol=0, atol=1e-9) and matrix.min() >= -_ROUNDING)
    symmetric = bool(abs(matrix - matrix.T).max() <= _ROUNDING)
    parts, _ = csgraph.connected_components(matrix > 0, directed=True, connection="weak")
    return MixingProperties(
        symmetric=symmetric,
        doubly_stochastic=bool(stochastic and np.allclose(columns, 1, rtol=0, atol=1e-9)),
        connected=bool(parts == 1),
        spectral_gap=_dense_gap(matrix.toarray(), symmetric)
        if n <= DENSE_NODES
        else _sparse_gap(matrix, symmetric, int(parts))
        if stochastic
        else None,
    )


def _dense_gap(weights: Floats, symmetric: bool) -> float:
    values = np.linalg.eigvalsh(weights) if symmetric else np.linalg.eigvals(weights)
    moduli = np.sort(np.abs(values))[::-1]
    return max(0.0, float(1 - moduli[1])) if len(moduli) > 1 else 1.0


def _sparse_gap(weights: csr_array, symmetric: bool, parts: int) -> float | None:
    """1 − |λ₂|, or None where the residual is above a thousandth of it.

    On symmetric W the residual bounds the error; elsewhere it says that Arnoldi's vector is an eigenvector.

    As W 1 = 1, taking the average of the input away, W (x − mean x), leaves every eigenvalue but one 1 where it is
    and makes that one 0 (Wielandt deflation), so that λ₂ is the largest that is left.
    """
    if parts > 1:
        return 0.0
    n = weights.shape[0]
    deflated = LinearOperator((n, n), matvec=lambda x: weights @ (x - x.mean()), dtype=np.float64)
    start = streams.generator(0, "spectral gap").standard_normal(n)
    try:
        values, vectors = (eigsh if symmetric else eigs)(
            deflated, k=1, which="LM", v0=start, ncv=_KRYLOV, maxiter=_RESTARTS, tol=1e-9
        )
    except ArpackError:  # includes that it did not converge
        return None
    residual = float(np.linalg.norm(deflated.matvec(vectors[:, 0]) - values[0] * vectors[:, 0]))
    gap = float(1 - np.abs(values[0]))
    return gap if residual <= _SPECTRAL_PRECISION * gap else None


def _edges(neighbors: Neighbors) -> tuple[Indices, Indices]:
    """Receivers and sources of all links."""
    degree = np.fromiter(map(len, neighbors), np.int64, len(neighbors))
    columns = np.fromiter(chain.from_iterable(neighbors), np.int64, int(degree.sum()))
    return np.repeat(np.arange(len(neighbors)), degree), columns
