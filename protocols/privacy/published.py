"""Published per-message accounting, shown beside exact losses: not a bound for them.

Network privacy of gossip averaging has been stated message by message: Σ over messages of (coefficient of the
victim in it)² over its noise variance (Cyffers, Even, Bellet and Massoulié 2022, Muffliato; there for one noise draw
at the start). Messages of a run carry the same noise repeatedly, so their losses do not add up like this: an observer
that solves for the inputs may learn them exactly where the formula gives a small loss.
"""

from __future__ import annotations

import numpy as np

from protocols.privacy.exposure import Exposure
from protocols.privacy.linear_view import sight_rows, state_rows
from protocols.privacy.record import Floats, Record


def as_if_fresh(record: Record, exposure: Exposure, nodes: int, max_cells: int) -> Floats:
    """Return the losses of a record as if every sight were a release with independent noise.

    As published, the noise of the observers themselves counts, although they know it.

    Returns:
        By node, μ²; infinite where a sight has no noise.

    Raises:
        ViewTooLarge: the dense rows would have more than ``max_cells`` cells.
    """
    rows = sight_rows(state_rows(record, max_cells), exposure.sights)
    noise = (rows**2) @ (record.sigma**2)
    moved = np.zeros((len(rows), nodes))
    np.add.at(moved.T, record.owner, (np.abs(rows) * exposure.shift).T)
    with np.errstate(divide="ignore", invalid="ignore"):
        losses = np.where(moved == 0, 0.0, moved**2 / noise[:, None])
    total: Floats = losses.sum(axis=0)
    return total
