"""Error rates of an attack that chooses its threshold on half of its trials."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from protocols.privacy.lower_bound import Counts, GaussianClaim, Tested, upper_limit
from simulator.contract.compute import Vector

CANDIDATES = 400
"""Largest number of thresholds tried; the scores of more trials are subsampled evenly."""


def errors(absent: Vector, present: Vector, claim: Tested) -> Counts:
    """Choose the threshold on the even trials, count errors on the odd ones.

    Args:
        absent: (trials,) scores without the canary, at least 2.
        present: (trials,) as many scores with it, larger if the attack works.
        claim: the claim to refute; the threshold is the one that refutes it most, of equal ones the one with fewest
            errors.
    """
    seen = np.unique(np.concatenate([absent[::2], present[::2]]))
    # Between scores, not at them: without noise, all scores of an arm are equal.
    candidates = np.concatenate([seen[:1], (seen[:-1] + seen[1:]) / 2])
    candidates = candidates[:: -(-len(candidates) // CANDIDATES)]
    count = len(absent[::2])
    if isinstance(claim, GaussianClaim):
        # Counts of few trials are noisy, and the best threshold for them is overfitted; normal laws fit the scores.
        false_positives = count * _beyond(candidates, absent[::2])
        false_negatives = count * (1 - _beyond(candidates, present[::2]))
    else:
        false_positives, false_negatives = _wrong(absent[::2], present[::2], candidates)
    merit = claim.excess(upper_limit(false_positives, count), upper_limit(false_negatives, count))
    wrong = false_positives + false_negatives
    threshold = candidates[np.lexsort((wrong, -merit))[0]]
    (positive,), (negative,) = _wrong(absent[1::2], present[1::2], np.array([threshold]))
    return Counts(int(positive), len(absent[1::2]), int(negative), len(present[1::2]))


def _beyond(thresholds: Vector, scores: Vector) -> Vector:
    """Return the probability above each threshold of a normal law with the mean and deviation of the scores."""
    deviation = max(float(scores.std()), 1e-9 * float(np.abs(scores).max(initial=1.0)))
    return np.asarray(ndtr((scores.mean() - thresholds) / deviation))


def _wrong(absent: Vector, present: Vector, thresholds: Vector) -> tuple[Vector, Vector]:
    """Count, for each threshold, the scores above it without the canary and not above it with the canary."""
    above = len(absent) - np.searchsorted(np.sort(absent), thresholds, side="right")
    below = np.searchsorted(np.sort(present), thresholds, side="right")
    return above, below
