"""The local genie: the observers are handed every noisy contribution alone, when it is first needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols.privacy.correlated import correlated_columns, correlated_losses
from protocols.privacy.exposure import Exposure, accumulate, loss_ratio
from protocols.privacy.record import Floats, Ints, Record


@dataclass(frozen=True, eq=False, slots=True)
class Charges:
    """Releases that are charged one by one, in any order.

    Args:
        t_s: time of each release, seconds.
        owner: node that contributed it.
        shift: how far neighbouring inputs move it, in the units in which its noise was added.
        variance: of the credited noise, in the same units squared.
    """

    t_s: Floats
    owner: Ints
    shift: Floats
    variance: Floats


def local_charges(record: Record, exposure: Exposure, *, correlated: bool = True) -> Charges:
    """Return the charges of :func:`local_losses`; with ``correlated`` also updates with such noise, as unnoised."""
    there = np.isfinite(exposure.reach.first_s)
    if not correlated:
        there[correlated_columns(record)] = False
    shown = np.flatnonzero(there)
    return Charges(
        exposure.reach.first_s[shown],
        record.owner[shown],
        exposure.shift[shown],
        record.sigma[shown] ** 2,
    )


def local_losses(record: Record, exposure: Exposure, times_s: Floats, nodes: int) -> Floats:
    """Charge every contribution that can have influenced a sight on its own: Σ (shift / σ)².

    Guarantees:
        Holds against adaptive training, for any schedule and any computation of other nodes. Given each noisy
        contribution of all nodes outside the coalition at the time it is first needed, the observers can compute
        everything they saw; for the victim that is an adaptive composition of Gaussian mechanisms, one per
        contribution. Influence is followed through every recorded state, also ones with coefficient zero.

    Returns:
        Array [times, nodes].
    """
    charged = local_charges(record, exposure, correlated=False)
    loss = loss_ratio(charged.shift, np.sqrt(charged.variance))
    alone = accumulate(times_s, charged.t_s, charged.owner, loss, nodes)
    return alone + correlated_losses(record, exposure, times_s, nodes)
