"""Partition of the training samples among nodes.

Every function but :func:`draws` gives each sample to at most one node, and all samples to some node unless it says
otherwise. Results are functions of the arguments and of the generator's state alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from protocols.learning.dataset import Dataset
from simulator.errors import ConfigurationError

Parts: TypeAlias = list[NDArray[np.int64]]
"""One ascending array of sample indices per node."""

NO_CLASSES = (
    "dirichlet shares out classes, but the labels are numbers to predict; use iid, shards, dirichlet-sizes or "
    "lognormal-sizes"
)
_ATTEMPTS = 10


def iid(labels: ArrayLike, nodes: int, rng: np.random.Generator) -> Parts:
    """Draw a uniformly random partition; sizes differ by at most one.

    Args:
        labels: (samples,); only their number is used.
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


def draws(total: int, nodes: int, samples: int, with_replacement: bool, rng: np.random.Generator) -> Parts:
    """Give each node the same number of random samples; the remaining ones are unused.

    Args:
        total: number of training samples.
        nodes: at least 1.
        samples: number of samples of each node, at least 1.
        with_replacement: each node draws its own from the whole training set, none twice, independent of other
            nodes. Nodes then share samples, and there may be more nodes x samples than training samples.
        rng: draws the assignment.

    Returns:
        One ascending array of sample indices per node.

    Raises:
        ConfigurationError: fewer training samples than needed.

    Guarantees:
        With replacement a training sample may be held by several nodes. A figure for one record of one node is then
        no bound for a person whose record several nodes hold.
    """
    if samples < 1:
        raise ConfigurationError(f"partition: samples is {samples}, expected at least 1", "partition.samples")
    needed = samples if with_replacement else nodes * samples
    _require_enough(total, nodes, 0)
    if needed > total:
        raise ConfigurationError(
            f"partition: {nodes} nodes with {samples} samples each need {needed} training samples, but there are "
            f"{total}; use fewer, or with_replacement = true"
            if not with_replacement
            else f"partition: {samples} samples for a node, but there are only {total} training samples",
            "partition.samples",
        )
    if with_replacement:
        return [np.sort(rng.choice(total, samples, replace=False, shuffle=False)) for _ in range(nodes)]
    chosen = rng.permutation(total)[:needed].reshape(nodes, samples)
    return [np.sort(part) for part in chosen]


def dirichlet(
    labels: ArrayLike, nodes: int, alpha: float, min_samples: int, rng: np.random.Generator
) -> Parts:
    """Partition with label skew: each class is divided among the nodes by a draw of Dirichlet(alpha, …, alpha).

    A draw that leaves a node with fewer than ``min_samples`` is repeated a few times; then samples move, one at a
    time, from the node that has most to the node that has least.

    Args:
        labels: (samples,) class of each training sample, not negative.
        nodes: at least 1.
        alpha: concentration, > 0; small means that a node sees few classes.
        min_samples: every node gets at least this many, ≥ 0.
        rng: draws shares and assignments.

    Returns:
        One ascending array of sample indices per node.

    Raises:
        ConfigurationError: ``nodes · min_samples`` exceeds the number of samples, labels are not classes, or a
            parameter is out of range.

    Source: Hsu, Qi, Brown 2019 (arXiv:1909.06335); here shares are drawn per class over nodes.
    """
    label_of = np.asarray(labels)
    _require_positive("alpha", alpha)
    if np.any(label_of != np.floor(label_of)):
        raise ConfigurationError(f"partition: {NO_CLASSES}", "partition.kind")
    _require_enough(len(label_of), nodes, min_samples)
    parts = _draw(label_of, nodes, alpha, rng)
    for _ in range(_ATTEMPTS - 1):
        if min(map(len, parts)) >= min_samples:
            break
        parts = _draw(label_of, nodes, alpha, rng)
    _level(parts, min_samples, rng)
    return [np.array(sorted(part), dtype=np.int64) for part in parts]


def shards(labels: ArrayLike, nodes: int, each: int, min_samples: int, rng: np.random.Generator) -> Parts:
    """Sort by label and cut into shards of sizes that differ by at most one; each node gets ``each`` of them.

    Samples of one label are in random order. Regression targets are sorted by value, so a node holds a few narrow
    ranges of them.

    Args:
        labels: (samples,) classes or numbers.
        nodes: at least 1.
        each: shards per node, at least 1; a small number means that a node sees few classes.
        min_samples: every node gets at least this many, ≥ 0.
        rng: draws the order within labels and the assignment of shards.

    Returns:
        One ascending array of sample indices per node.

    Raises:
        ConfigurationError: there are not enough samples.

    Source: McMahan et al. 2017 (arXiv:1602.05629), section 3, with ``each`` = 2.
    """
    label_of = np.asarray(labels)
    _require_enough(len(label_of), nodes, min_samples)
    require_shards(len(label_of), nodes, each, min_samples)
    order = rng.permutation(len(label_of))
    order = order[np.argsort(label_of[order], kind="stable")]
    cut = np.array_split(order, nodes * each)
    dealt = rng.permutation(nodes * each).reshape(nodes, each)
    return [np.sort(np.concatenate([cut[shard] for shard in mine])) for mine in dealt]


def label_blocks(
    labels: ArrayLike, nodes: int, blocks: int, min_samples: int, rng: np.random.Generator
) -> Parts:
    """Give groups of nodes different labels: sort by label, cut into one range per group, divide it evenly within it.

    Args:
        labels: (samples,) classes or numbers.
        nodes: at least ``blocks``; group b holds the nodes of the b-th of as many equal ranges of node numbers.
        blocks: number of groups, at least 1.
        min_samples: every node gets at least this many, ≥ 0.
        rng: draws the order within labels and the assignment within groups.

    Returns:
        One ascending array of sample indices per node.

    Raises:
        ConfigurationError: more groups than nodes, or not enough samples.

    Source: the two cliques of He, Karimireddy, Jaggi 2022 (arXiv:2202.01545), section 6.
    """
    label_of = np.asarray(labels)
    _require_enough(len(label_of), nodes, min_samples)
    if not 1 <= blocks <= nodes:
        raise ConfigurationError(
            f"partition: {blocks} blocks of {nodes} nodes, expected 1 to {nodes}", "partition.blocks"
        )
    order = rng.permutation(len(label_of))
    order = order[np.argsort(label_of[order], kind="stable")]
    parts: Parts = []
    for members, held in zip(
        np.array_split(np.arange(nodes), blocks), np.array_split(order, blocks), strict=True
    ):
        parts += [np.sort(part) for part in np.array_split(rng.permutation(held), len(members))]
    if min(map(len, parts)) < min_samples:
        raise ConfigurationError(
            f"partition: {blocks} blocks leave a node with {min(map(len, parts))} training samples, fewer than "
            f"{min_samples}; use fewer nodes or a smaller min_samples",
            "partition.min_samples",
        )
    return parts


def with_label_noise(dataset: Dataset, fraction: float, rng: np.random.Generator) -> Dataset:
    """Redraw the labels of a fraction of the samples from all classes, in training and test data.

    Raises:
        ConfigurationError: the data are for regression.
    """
    classes = dataset.classes
    if classes is None:
        raise ConfigurationError(
            "partition: these data have numbers to predict, no labels to draw anew", "partition.label_noise"
        )

    def noisy(labels: NDArray[Any]) -> NDArray[Any]:
        drawn = rng.integers(0, classes, len(labels)).astype(labels.dtype)
        return np.where(rng.random(len(labels)) < fraction, drawn, labels)

    return replace(dataset, train_y=noisy(dataset.train_y), test_y=noisy(dataset.test_y))


def require_shards(total: int, nodes: int, each: int, min_samples: int) -> None:
    """Refuse shards that are too small.

    Args:
        total: number of training samples.
        nodes, each, min_samples: as for :func:`shards`.

    Raises:
        ConfigurationError: a shard would be empty, or a node hold too few samples.
    """
    if each < 1:
        raise ConfigurationError(f"partition: shards is {each}, expected at least 1", "partition.shards")
    smallest = total // (nodes * each)
    if smallest < 1 or each * smallest < min_samples:
        raise ConfigurationError(
            f"partition: {nodes} nodes with {each} shards each cut {total} training samples into shards of "
            f"{smallest}, which gives a node as few as {each * smallest} samples; it needs {max(1, min_samples)}",
            "partition.shards",
        )


def dirichlet_sizes(
    total: int, nodes: int, alpha: float, min_samples: int, rng: np.random.Generator
) -> Parts:
    """Partition with quantity skew: the share of all samples of a node is drawn from Dirichlet(alpha, …, alpha).

    Args:
        total: number of training samples.
        nodes: at least 1.
        alpha: concentration, > 0; small means that few nodes hold most.
        min_samples: every node gets at least this many, ≥ 0; taken from other nodes in proportion.
        rng: draws shares and assignments.

    Returns:
        One ascending array of sample indices per node; which samples is uniformly random.

    Raises:
        ConfigurationError: ``nodes · min_samples`` exceeds the number of samples, or a parameter is out of
            range.

    Source: Li, Diao, Chen, He 2022 (arXiv:2102.02079), section 4, "quantity skew".
    """
    _require_positive("alpha", alpha)
    _require_enough(total, nodes, min_samples)
    return _by_sizes(rng.dirichlet(np.full(nodes, alpha)), total, min_samples, rng)


def lognormal_sizes(
    total: int, nodes: int, sigma: float, min_samples: int, rng: np.random.Generator
) -> Parts:
    """Partition with quantity skew: the share of all samples of a node is proportional to a log-normal draw.

    Args:
        total: number of training samples.
        nodes: at least 1.
        sigma: standard deviation of the logarithm, ≥ 0; 0 gives equal parts.
        min_samples: every node gets at least this many, ≥ 0; taken from other nodes in proportion.
        rng: draws shares and assignments.

    Returns:
        One ascending array of sample indices per node; which samples is uniformly random.

    Raises:
        ConfigurationError: ``nodes · min_samples`` exceeds the number of samples, or a parameter is out of
            range.
    """
    if not (np.isfinite(sigma) and sigma >= 0):
        raise ConfigurationError(
            f"partition: sigma is {sigma}, expected a finite number ≥ 0", "partition.sigma"
        )
    _require_enough(total, nodes, min_samples)
    logarithms = sigma * rng.standard_normal(nodes)
    weights = np.exp(logarithms - logarithms.max())
    return _by_sizes(weights / weights.sum(), total, min_samples, rng)


def users(groups: ArrayLike, nodes: int, min_samples: int, rng: np.random.Generator) -> Parts:
    """Partition by natural users: all samples of a user go to one node.

    Users are assigned, the largest first, to the node with fewest samples so far, so that sizes are as even as whole
    users allow; every node gets at least one user.

    Args:
        groups: (samples,) user of each training sample.
        nodes: at least 1 and at most the number of users.
        min_samples: every node gets at least this many, ≥ 0.
        rng: draws the order of users of one size, and the assignment of loads to nodes.

    Returns:
        One ascending array of sample indices per node.

    Raises:
        ConfigurationError: fewer users than nodes, or a node would hold too few samples.
    """
    names, user_of, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    _require_enough(len(user_of), nodes, min_samples)
    if len(names) < nodes:
        raise ConfigurationError(
            f"partition: {nodes} nodes, but the training samples come from only {len(names)} users, who are never "
            "split; use fewer nodes",
            "partition.kind",
        )
    order = rng.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    holder, load = np.empty(len(names), dtype=np.int64), np.zeros(nodes, dtype=np.int64)
    for user in order:
        holder[user] = int(load.argmin())
        load[holder[user]] += sizes[user]
    if load.min() < min_samples:
        raise ConfigurationError(
            f"partition: {len(names)} whole users leave a node with only {load.min()} training samples, fewer than "
            f"{min_samples}; use fewer nodes, or lower min_samples or local_test",
            "partition.min_samples",
        )
    node_of = rng.permutation(nodes)[holder][user_of]
    return _grouped(node_of, nodes)


# ---------------------------------------------------------------- steps


def _draw(label_of: NDArray[Any], nodes: int, alpha: float, rng: np.random.Generator) -> list[list[int]]:
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


def _by_sizes(shares: NDArray[np.float64], total: int, min_samples: int, rng: np.random.Generator) -> Parts:
    sizes = _sizes(shares, total, min_samples)
    return [np.sort(part) for part in np.split(rng.permutation(total), np.cumsum(sizes)[:-1])]


def _sizes(shares: NDArray[np.float64], total: int, min_samples: int) -> NDArray[np.int64]:
    """Return integer sizes of this total nearest to the shares (largest remainders), none below the minimum."""
    nodes = len(shares)
    raised = np.zeros(nodes, dtype=bool)
    while True:
        left = total - min_samples * int(raised.sum())
        weight = np.where(raised, 0.0, shares)
        # Shares that have all underflowed to zero are taken as equal.
        weight = weight / weight.sum() if weight.sum() > 0 else ~raised / max(1, int((~raised).sum()))
        exact = np.where(raised, float(min_samples), weight * left)
        low = ~raised & (exact < min_samples)
        if not low.any():
            break
        raised |= low
    sizes = np.floor(exact).astype(np.int64)
    short = total - int(sizes.sum())
    sizes[np.argsort(sizes - exact, kind="stable")[:short]] += 1
    return sizes


def _grouped(node_of: NDArray[np.int64], nodes: int) -> Parts:
    order = np.argsort(node_of, kind="stable")
    ends = np.cumsum(np.bincount(node_of, minlength=nodes))
    return np.split(order, ends[:-1])


def _require_positive(name: str, value: float) -> None:
    if not (np.isfinite(value) and value > 0):
        raise ConfigurationError(
            f"partition: {name} is {value}, expected a finite number > 0", f"partition.{name}"
        )


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
