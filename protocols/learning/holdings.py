"""Samples held by nodes: a part kept for local tests, and features that differ between nodes (covariate shift)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.learning.partition import Parts
from simulator.errors import ConfigurationError

_ROWS = 4096


@dataclass(frozen=True, eq=False)
class Holdings:
    """Samples of each node, as ascending indices into the training set.

    Args:
        train: samples each node trains on.
        test: samples each node only tests on; within a node the two are disjoint.
    """

    train: Parts
    test: Parts


def held_out(samples: int, share: float) -> int:
    """Return how many of a node's samples are its own test samples: the nearest integer, at least one of each kind.

    Args:
        samples: number the node holds, at least 2 unless the share is 0.
        share: fraction kept for tests, in [0, 1).
    """
    return 0 if share == 0 else min(max(1, round(samples * share)), samples - 1)


def required(min_samples: int, share: float) -> int:
    """Return the fewest samples of which ``min_samples`` are left for training when a share is held out.

    Args:
        min_samples: for training, at least 1.
        share: in [0, 1).
    """
    if share == 0:
        return min_samples
    samples = max(2, min_samples + 1)
    while samples - held_out(samples, share) < min_samples:
        samples += 1
    return samples


def hold_out(parts: Parts, share: float, rng: np.random.Generator) -> Holdings:
    """Keep a random share of each node's samples for its own tests.

    Args:
        parts: samples of each node; with a share, at least two each.
        share: in [0, 1); 0 keeps none.
        rng: draws the test samples.

    Raises:
        ConfigurationError: the share is out of range, or a node has too few samples to share.

    Guarantees:
        No node trains on its own test samples. Where several nodes hold the same sample, one may train on a sample
        that another tests on; exact partitions have no such sample.
    """
    if not 0 <= share < 1:
        raise ConfigurationError(
            f"partition: local_test is {share}, expected a fraction of at least 0 and below 1",
            "partition.local_test",
        )
    if share == 0:
        return Holdings(parts, [part[:0] for part in parts])
    holdings = Holdings([], [])
    for node, part in enumerate(parts):
        if len(part) < 2:
            raise ConfigurationError(
                f"partition: node {node} holds {len(part)} samples; keeping some for its own tests takes at least 2",
                "partition.local_test",
            )
        order = rng.permutation(part)
        tests = held_out(len(part), share)
        holdings.test.append(np.sort(order[:tests]))
        holdings.train.append(np.sort(order[tests:]))
    return holdings


def shifted(
    x: NDArray[np.float32],
    parts: Sequence[NDArray[np.int64]],
    noise: float,
    rotations: int,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Apply covariate shift: every node sees its samples with its own noise level and rotation.

    Nodes are ranked 0 … n − 1 at random. The samples of rank r get Gaussian noise of standard deviation
    ``noise`` · r / (n − 1), so rank 0 has none; before that, images are rotated by (r mod ``rotations``) · 360° /
    ``rotations``, so that numbers of nodes by orientation differ by at most one.

    Args:
        x: (samples, *shape) training features.
        parts: all samples of each node; no sample in two of them. Samples held by no node are unchanged.
        noise: standard deviation at the node of highest rank, ≥ 0.
        rotations: 1 (none), 2 (upright or upside down) or 4 (by quarter turns; square images only).
        rng: draws ranks and noise. The noise of a sample does not depend on its holder.

    Returns:
        The shifted features, read-only.

    Raises:
        ConfigurationError: a parameter out of range, or rotations of features that are not images.

    Source: noise growing with the node's number: Li, Diao, Chen, He 2022 (arXiv:2102.02079), section 4; groups of
    nodes with rotated images: Ghosh, Chung, Yin, Ramchandran 2020 (arXiv:2006.04088), section 6.
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise ConfigurationError(
            f"partition: noise is {noise}, expected a finite number ≥ 0", "partition.shift.noise"
        )
    _check_rotations(x, rotations)
    rank = rng.permutation(len(parts))
    seen = x.copy()
    strength = np.zeros(len(x), dtype=np.float32)
    for node, part in enumerate(parts):
        turns = int(rank[node] % rotations) * (4 // rotations)
        if turns:
            seen[part] = np.rot90(x[part], turns, axes=(1, 2))
        strength[part] = noise * rank[node] / max(1, len(parts) - 1)
    if noise > 0:
        wide = (-1,) + (1,) * (x.ndim - 1)
        for start in range(0, len(x), _ROWS):  # noise for all of a large set at once would double the memory
            rows = seen[start : start + _ROWS]
            drawn = rng.standard_normal(rows.shape, dtype=np.float32)
            rows += drawn * strength[start : start + _ROWS].reshape(wide)
    seen.setflags(write=False)
    return seen


def _check_rotations(x: NDArray[np.float32], rotations: int) -> None:
    key = "partition.shift.rotations"
    if rotations not in (1, 2, 4):
        raise ConfigurationError(f"partition: rotations is {rotations}, expected 1, 2 or 4", key)
    shape = " x ".join(map(str, x.shape[1:]))
    if rotations > 1 and x.ndim not in (3, 4):
        raise ConfigurationError(
            f"partition: only images can be turned; samples of this data set have shape {shape}, not height x width "
            "or height x width x channels",
            key,
        )
    if rotations == 4 and x.shape[1] != x.shape[2]:
        raise ConfigurationError(
            f"partition: quarter turns need square images, these are {shape}; use rotations = 2", key
        )
