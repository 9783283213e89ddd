"""The published formula of per-message accounting, which the same from a record is compared with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.record import Floats


def per_message_losses(weights: NDArray[np.float64], observer: int, steps: int) -> Floats:
    """Return Σ_t Σ_w (W^t)_wu² / ‖(W^t)_w‖² over the observer's neighbours w, from the messages at t = 0 on.

    Args:
        weights: (n, n), row = receiver.
        observer: node whose neighbours send.
        steps: number of messages of each neighbour.

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
