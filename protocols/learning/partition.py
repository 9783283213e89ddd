"""Which training samples each node holds. Partitions are exact: each sample belongs to one node."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.errors import ConfigurationError

_ATTEMPTS = 10


def iid(labels: ArrayLike, nodes: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """A uniformly random partition; sizes differ by at most one.

    Args:
        labels: (samples,); only their number matters.
        nodes: at least 1 and at most the number of samples.
        rng: draws the assignment.

    Returns:
        One ascending array of sample indices per node.

    Raises:
        ConfigurationError: fewer samples than nodes.
    """
    samples = len(np.asarray(labels))
    _require_enough(samples, nodes, 1)
    return [np.sort(part) for part in np.array_split(rng.permutation(samples), nodes)]


def dirichlet(
    labels: ArrayLike, nodes: int, alpha: float, min_samples: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Label skew: each class is shared out over the nodes by a draw of Dirichlet(alpha, …, alpha).

    A draw that leaves somebody with fewer than ``min_samples`` is repeated a few times; then samples move,
    one at a time, from the node that has most to the node that has least. The result is a function of the
    arguments and the generator's state alone.

    Args:
        labels: (samples,) class of each training sample, not negative.
        nodes: at least 1.
        alpha: concentration, > 0; small means that a node sees few classes.
        min_samples: every node gets at least this many, ≥ 0.
        rng: draws shares and assignments.

    Returns:
        One ascending array of sample indices per node.

    Raises:
        ConfigurationError: ``nodes · min_samples`` exceeds the number of samples, or a parameter is out of
            range.

    Source: Hsu, Qi, Brown 2019 (arXiv:1909.06335); here shares are drawn per class over nodes.
    """
    label_of = np.asarray(labels)
    if not (np.isfinite(alpha) and alpha > 0):
        raise ConfigurationError(
            f"partition: alpha is {alpha}, expected a finite number > 0", "partition.alpha"
        )
    _require_enough(len(label_of), nodes, min_samples)
    parts = _draw(label_of, nodes, alpha, rng)
    for _ in range(_ATTEMPTS - 1):
        if min(map(len, parts)) >= min_samples:
            break
        parts = _draw(label_of, nodes, alpha, rng)
    _level(parts, min_samples, rng)
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def _draw(label_of: NDArray[np.int64], nodes: int, alpha: float, rng: np.random.Generator) -> list[list[int]]:
    parts: list[list[int]] = [[] for _ in range(nodes)]
    for label in np.unique(label_of):
        members = rng.permutation(np.flatnonzero(label_of == label))
        shares = rng.dirichlet(np.full(nodes, alpha))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.extend(piece.tolist())
    return parts


def _level(parts: list[list[int]], min_samples: int, rng: np.random.Generator) -> None:
    sizes = np.array([len(part) for part in parts])
    while sizes.min() < min_samples:
        poorest, richest = int(sizes.argmin()), int(sizes.argmax())
        taken = parts[richest].pop(int(rng.integers(sizes[richest])))
        parts[poorest].append(taken)
        sizes[richest] -= 1
        sizes[poorest] += 1


def _require_enough(samples: int, nodes: int, min_samples: int) -> None:
    if nodes < 1:
        raise ConfigurationError(f"partition: {nodes} nodes, expected at least 1", "topology.nodes")
    if min_samples < 0:
        raise ConfigurationError(
            f"partition: min_samples is {min_samples}, expected at least 0", "partition.min_samples"
        )
    if nodes * min_samples > samples:
        raise ConfigurationError(
            f"partition: {nodes} nodes with at least {min_samples} samples each need {nodes * min_samples} "
            f"training samples, but there are {samples}; use fewer nodes or a smaller min_samples",
            "partition.min_samples",
        )
