"""Loss of contributions to sums of disjoint groups, from the public schedule alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
CHUNK = 1024
"""Victims whose meetings with all nodes are held at a time."""


def group_losses(
    rounds: Callable[[], Iterable[Iterable[Sequence[int]]]],
    weights: Sequence[float],
    noise: Sequence[float],
    coalition: int,
    shortest: Callable[[int], int],
) -> Floats:
    """Bound the loss of every node towards any coalition of so many nodes that sees all opened sums.

    With e_u = w_u² σ_u² for the members of a group, a sum costs victim v at most g(x) = w_v² / (L − x): L is Σ e_u
    without the d largest of other members, for d that may be missing, and x what the coalition's members leave it
    less. Each of them adds at most a_u = min(e_u, the next largest), and all together at most X, the next largest of
    their number. g is convex, so that g(x) ≤ g(0) + Σ a_u (g(X) − g(0)) / X: every meeting of a member with the
    victim adds a term, and those of the nodes with the largest sums of terms are added up. With one member
    g(a_u) − g(0) is used, which is exact.

    Args:
        rounds: returns the groups of every round, as their members; a node is in at most one of a round.
        weights: public weight of each node's contribution, > 0.
        noise: per node, standard deviation of its noise per shift of its contribution.
        coalition: number of nodes that pool what they know, their own noise included.
        shortest: fewest members of a sum that is opened, of so many in the group; more than ``coalition``.

    Returns:
        per node, the squared Gaussian-DP parameter (number of nodes,): losses of rounds add up. Infinite where a sum
        may be left without noise.
    """
    nodes = len(weights)
    squared = np.asarray(weights, dtype=np.float64) ** 2
    energy = squared * np.asarray(noise, dtype=np.float64) ** 2
    return np.concatenate(
        [
            _losses(rounds(), squared, energy, coalition, shortest, range(start, min(start + CHUNK, nodes)))
            for start in range(0, nodes, CHUNK)
        ]
    )


def _losses(
    rounds: Iterable[Iterable[Sequence[int]]],
    squared: Floats,
    energy: Floats,
    coalition: int,
    shortest: Callable[[int], int],
    victims: range,
) -> Floats:
    apart = np.zeros(len(victims))
    together = np.zeros((len(victims), len(squared)))
    for groups in rounds:
        for members in groups:
            missing = len(members) - shortest(len(members))
            for victim in members:
                if victim not in victims:
                    continue
                others = [u for u in members if u != victim]
                alone, added = _one_sum(squared[victim], energy[victim], energy[others], missing, coalition)
                apart[victim - victims.start] += alone
                together[victim - victims.start, others] += added
    worst = np.sort(together, axis=1)[:, ::-1][:, :coalition]
    return np.asarray(apart + worst.sum(axis=1))


def _one_sum(
    squared: float, own: float, others: Floats, missing: int, coalition: int
) -> tuple[float, Floats]:
    """Return what a sum costs a victim, and what each of the others adds if it is in the coalition."""
    descending = np.sort(others)[::-1]
    left = own + descending[missing:].sum()
    following = descending[missing : missing + coalition]
    most = following.sum()
    if not most < left:
        return np.inf, np.zeros(len(others))
    alone = squared / left
    taken = np.minimum(others, following.max(initial=0.0))
    if coalition == 1:
        return alone, np.asarray(squared / (left - taken) - alone)
    slope = (squared / (left - most) - alone) / most if most > 0 else 0.0
    return alone, np.asarray(taken * slope)
