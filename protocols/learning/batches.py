"""Batches of a local update: the samples used in each step, drawn on the host from the node's stream.

A batch is a row of sample numbers, padded with −1 to a size class, so that compiled programs see few shapes and no
draw is truncated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.learning.bank import row_class

Sampling: TypeAlias = Literal["all", "uniform", "shuffle", "poisson"]
NOBODY = -1
"""Padding in place of a sample number."""


@dataclass(frozen=True)
class Batches:
    """Selection of the samples of each local step.

    Args:
        counts: number of samples of each node.
        steps: local steps of an update; with ``shuffle`` the largest number over all nodes.
        sampling: ``all`` samples in every step; ``uniform``: ``batch`` of them, drawn anew for every step without
            replacement; ``shuffle``: ``epochs`` passes over all samples in random order, ``batch`` at a time;
            ``poisson``: each sample with probability ``rate``, independently.
        batch: samples of a step; all where a node has fewer.
        epochs: number of passes of ``shuffle``.
        rate: sampling rate of ``poisson``, in (0, 1].

    Guarantees:
        Poisson batches are never truncated: padding grows with the draw. Their expected size is ``rate`` times the
        node's number of samples, so a divisor derived from it is public only if that number is.
    """

    counts: Sequence[int]
    steps: int = 1
    sampling: Sampling = "all"
    batch: int = 0
    epochs: int = 0
    rate: float = 1.0

    def draw(self, node: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Draw the batches of one local update, (steps, padded size)."""
        count = self.counts[node]
        match self.sampling:
            case "uniform":
                size = min(self.batch, count)
                drawn = [rng.permutation(count)[:size] for _ in range(self.steps)]
            case "shuffle":
                drawn = []
                for _ in range(self.epochs):
                    order = rng.permutation(count)
                    drawn += [order[i : i + self.batch] for i in range(0, count, self.batch)]
            case _:
                drawn = [np.flatnonzero(rng.random(count) < self.rate) for _ in range(self.steps)]
        largest = self.batch if self.sampling != "poisson" else row_class(max(map(len, drawn), default=0))
        rows = np.full((self.steps, largest), NOBODY, np.int32)
        for row, chosen in zip(rows, drawn, strict=False):
            row[: len(chosen)] = chosen
        return rows


def epoch_steps(counts: Sequence[int], batch: int, epochs: int) -> int:
    """Return the steps that the node with most samples makes in this number of epochs."""
    return epochs * max(1, max(-(-count // batch) for count in counts))
