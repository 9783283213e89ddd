"""Linear reconstruction: the values a coalition can solve for from gossip, since mixing is public and linear.

Sources: El Mrini, Cyffers, Bellet 2024 (reconstruction sets of gossip averaging, and of decentralised gradient
descent); Dekker, Erkin, Conti 2025 (views of secure sums).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from analysis.inference.elimination import Elimination

View: TypeAlias = Literal["plain", "sums"]
Floats: TypeAlias = NDArray[np.float64]
DETERMINED = 1e-6
"""Distance of a unit vector from the row span up to which an unknown counts as determined."""


class Reach(NamedTuple):
    """Values determined by a coalition's equations after some rounds.

    Args:
        rounds: number of observed gossip rounds.
        rank: number of independent equations.
        nodes: nodes whose values are determined, the coalition's own included.
    """

    rounds: int
    rank: int
    nodes: tuple[int, ...]


def rational(weights: Floats, denominator: int = 10_000) -> list[list[Fraction]]:
    """Return the nearest fractions with small denominators; rows are corrected to sum to 1."""
    rows = [[Fraction(w).limit_denominator(denominator) for w in row] for row in weights.tolist()]
    for i, row in enumerate(rows):
        row[i] = 1 - sum((w for j, w in enumerate(row) if j != i), Fraction(0))
    return rows


def reach(
    weights: Sequence[Sequence[Fraction]],
    coalition: Collection[int],
    rounds: int,
    view: View = "plain",
    prime: int | None = None,
) -> Iterator[Reach]:
    """Determine whose initial values a coalition can solve for exactly when values are gossiped, round after round.

    Args:
        weights: (n, n) mixing matrix in fractions.
        coalition: nodes that pool their views.
        rounds: largest number of gossip rounds.
        view: ``plain``: members see the value of every neighbour in every round. ``sums``: only their own next
            value, the weighted sum over their neighbourhood.
        prime: compute modulo a prime instead of in fractions: much faster for large graphs.

    Yields:
        One entry per round; the last ones are equal once nothing new is determined.
    """
    count = len(weights)
    solver = Elimination(count, prime)
    matrix = [[solver.number(w) for w in row] for row in weights]
    power = [[solver.number(Fraction(i == j)) for j in range(count)] for i in range(count)]
    near = sorted({j for a in coalition for j in range(count) if weights[a][j] or j == a})
    for a in sorted(coalition):
        solver.add(power[a])
    for round in range(1, rounds + 1):
        if view == "plain":
            for v in near:
                solver.add(power[v])
        power = [_product(row, power, prime) for row in matrix]
        if view == "sums":
            for a in sorted(coalition):
                solver.add(power[a])
        yield Reach(round, solver.rank, tuple(solver.known()))


def _product(
    row: Sequence[Fraction | int], rows: Sequence[Sequence[Fraction | int]], prime: int | None
) -> list[Fraction | int]:
    found: list[Fraction | int] = [0] * len(rows)
    for factor, other in zip(row, rows, strict=True):
        if factor:
            found = [a + factor * b for a, b in zip(found, other, strict=True)]
    return found if prime is None else [value % prime for value in found]


@dataclass(frozen=True)
class Estimate:
    """Estimates of a coalition from its view.

    Args:
        nodes: outside the coalition, ascending: one row of the estimates each.
        updates: (nodes, d), the estimated constant update of every node.
        determined: (nodes,), whether the equations determine it.
    """

    nodes: tuple[int, ...]
    updates: Floats
    determined: NDArray[np.bool_]


def solve_updates(
    weights: Floats,
    coalition: Collection[int],
    shown: Mapping[tuple[int, int], Floats],
    own: Mapping[tuple[int, int], Floats],
    start: Floats,
    sigma: float = 0.0,
    precision: float = 1e-12,
) -> Estimate:
    """Estimate every node's update from decentralised gradient descent, assumed to be the same in every round.

    With y the distance of a model from the public start before it is mixed, y_T(t+1) = W_TT y_T(t) + W_TA y_A(t) + u:
    the coalition's own terms are subtracted, and the rest is linear in the updates u.

    Args:
        weights: (n, n) mixing matrix.
        coalition: A; all other nodes are T.
        shown: (node of T, round) -> the model it sent in that round, (d,).
        own: (node of A, round) -> the same of the coalition, for every round up to the last one shown.
        start: (d,), initial model of all nodes.
        sigma: standard deviation of independent noise in every update; equations are then weighted by their
            covariance.
        precision: relative accuracy of the models; equations below it are left out.

    Returns:
        Least squares estimates; those of least norm where the equations leave a choice.
    """
    inside = sorted(coalition)
    outside = tuple(v for v in range(len(weights)) if v not in set(inside))
    place = {v: i for i, v in enumerate(outside)}
    among = weights[np.ix_(outside, outside)]
    across = weights[np.ix_(outside, inside)]
    last = max(round for _, round in shown)
    put_in = np.zeros((len(outside), len(start)))
    sums = np.eye(len(outside))
    power = np.eye(len(outside))
    rows, values, at = [], [], []
    for round in range(last + 1):
        for v in outside:
            if (v, round) in shown:
                rows.append(sums[place[v]])
                values.append(shown[v, round] - start - put_in[place[v]])
                at.append((place[v], round))
        sent = np.stack([own[a, round] - start for a in inside])
        put_in = among @ put_in + across @ sent
        power = among @ power
        sums = sums + power
    left, right = np.stack(rows), np.stack(values)
    if sigma > 0:
        whitening = _whitening(among, at, sigma)
        left, right = whitening @ left, whitening @ right
    u, s, vt = np.linalg.svd(left, full_matrices=False)
    kept = s > s[0] * precision
    updates = (vt[kept].T / s[kept]) @ (u[:, kept].T @ right)
    spanned = np.einsum("ij,ij->j", vt[kept], vt[kept])
    return Estimate(outside, updates, 1.0 - spanned < DETERMINED)


def _whitening(among: Floats, at: Sequence[tuple[int, int]], sigma: float) -> Floats:
    """Return the inverse square root of the covariance of the equations' noise."""
    last = max(round for _, round in at)
    powers = [np.eye(len(among))]
    for _ in range(2 * last):
        powers.append(among @ powers[-1])
    covariance = np.zeros((len(at), len(at)))
    for i, (v, r) in enumerate(at):
        for j, (w, q) in enumerate(at[: i + 1]):
            shared = sum(powers[r + q - 2 * t][v, w] for t in range(min(r, q) + 1))
            covariance[i, j] = covariance[j, i] = sigma**2 * shared
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, values[-1] * 1e-12)
    found: Floats = (vectors / np.sqrt(values)) @ vectors.T
    return found
