"""How often an attack errs that chooses its threshold on half of its trials."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

from protocols.privacy.lower_bound import Counts, GaussianClaim, Tested, upper_limit
from simulator.contract.compute import Vector

CANDIDATES = 400
"""Thresholds tried: more than that many trials are thinned out evenly."""


def errors(absent: Vector, present: Vector, claim: Tested) -> Counts:
    """Choose the threshold on the even trials, count errors on the odd ones.

    Args:
        absent: (trials,) scores without the canary, at least 2.
        present: (trials,) as many scores with it, larger if the attack is any good.
        claim: what is to be refuted; the threshold is the one that refutes it most, of several the one with fewest
            errors.
    """
    seen = np.unique(np.concatenate([absent[::2], present[::2]]))
    # Between scores, not at them: where noise is missing scores of an arm are all alike.
    candidates = np.concatenate([seen[:1], (seen[:-1] + seen[1:]) / 2])
    candidates = candidates[:: -(-len(candidates) // CANDIDATES)]
    count = len(absent[::2])
    if isinstance(claim, GaussianClaim):
        # Counts among few trials are noisy, and their best threshold is the luckiest one; a normal law fits.
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
    """The probability of more than each threshold, of a normal law with the mean and deviation of the scores."""
    deviation = max(float(scores.std()), 1e-9 * float(np.abs(scores).max(initial=1.0)))
    return np.asarray(ndtr((scores.mean() - thresholds) / deviation))


def _wrong(absent: Vector, present: Vector, thresholds: Vector) -> tuple[Vector, Vector]:
    """Scores above each threshold without the canary, and not above it with it."""
    above = len(absent) - np.searchsorted(np.sort(absent), thresholds, side="right")
    below = np.searchsorted(np.sort(present), thresholds, side="right")
    return above, below
