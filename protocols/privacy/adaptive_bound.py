"""Bound on the loss of a node whose rounds each move by at most their shift, in any direction."""

from __future__ import annotations

import numpy as np

from protocols.privacy.record import Floats


def adaptive_bound(gram: Floats) -> float:
    """Return min(Σ|G|, T · λ_max(G)) over the rounds with a positive entry on the diagonal.

    Two bounds of sup tr(GH) over positive semidefinite H with diagonal at most 1; the first is attained when G has no
    negative entry.

    Args:
        gram: G, (T, T), in units of the shifts.
    """
    used = np.flatnonzero(gram.diagonal())
    total = float(np.abs(gram).sum())
    if not len(used) or float(gram.min()) >= 0:
        return total
    largest = float(np.linalg.eigvalsh(gram[np.ix_(used, used)])[-1])
    return min(total, len(used) * largest)
