"""How often an attack errs that chooses its threshold on half of its trials."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from protocols.privacy.lower_bound import Counts
from simulator.compute import Vector

CANDIDATES = 400
"""Thresholds tried: more than that many trials are thinned out evenly."""


def errors(absent: Vector, present: Vector, bound: Callable[[Counts], float]) -> Counts:
    """Choose the threshold on the even trials, count errors on the odd ones.

    Args:
        absent: scores without the canary.
        present: scores with it, larger if the attack is any good.
        bound: what the counts are wanted for; the threshold is the one that makes most of it, of several the one with
            fewest errors.
    """
    candidates = np.unique(np.concatenate([absent[::2], present[::2]]))
    candidates = candidates[:: -(-len(candidates) // CANDIDATES)]

    def promise(threshold: float) -> tuple[float, float]:
        counts = _counts(absent[::2], present[::2], threshold)
        return bound(
            counts
        ), -counts.false_positives / counts.negatives - counts.false_negatives / counts.positives

    return _counts(absent[1::2], present[1::2], max(candidates.tolist(), key=promise))


def _counts(absent: Vector, present: Vector, threshold: float) -> Counts:
    return Counts(
        int((absent > threshold).sum()),
        len(absent),
        int((present <= threshold).sum()),
        len(present),
    )
