"""Published formulas that are shown beside exact losses, and are no bounds for them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def per_message_losses(weights: Floats, observer: int, steps: int) -> Floats:
    """What messages of gossip averaging with one noise draw would lose if each were a release of its own.

    Σ_t Σ_w (W^t)_wu² / ‖(W^t)_w‖² over the observer's neighbours w: the formula for Muffliato's pairwise network
    privacy (Cyffers, Even, Bellet and Massoulié 2022), from the messages at t = 0 on. All messages carry the *same*
    noise, so their losses do not add up like this: an observer who solves for them learns more, up to everything.

    Args:
        weights: (n, n), row = receiver.
        observer: whose neighbours speak.
        steps: messages of each.

    Returns:
        By node, in units of (shift / σ)².
    """
    power = np.eye(len(weights))
    speaking = [w for w in range(len(weights)) if w != observer and weights[observer, w] > 0]
    losses = np.zeros(len(weights))
    for _ in range(steps):
        said = power[speaking]
        losses += (said**2 / (said**2).sum(axis=1, keepdims=True)).sum(axis=0)
        power = weights @ power
    return losses
