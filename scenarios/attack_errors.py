"""How often an attack errs that chooses its threshold on half of its trials."""

from __future__ import annotations

import numpy as np

from protocols.privacy.lower_bound import Counts
from simulator.compute import Vector


def errors(absent: Vector, present: Vector) -> Counts:
    """Choose the threshold on the even trials, count errors on the odd ones.

    Args:
        absent: scores without the canary.
        present: scores with it, larger if the attack is any good.
    """
    candidates = np.unique(np.concatenate([absent[::2], present[::2]]))
    costs = [(absent[::2] > c).mean() + (present[::2] <= c).mean() for c in candidates]
    threshold = candidates[int(np.argmin(costs))]
    return Counts(
        int((absent[1::2] > threshold).sum()),
        len(absent[1::2]),
        int((present[1::2] <= threshold).sum()),
        len(present[1::2]),
    )
