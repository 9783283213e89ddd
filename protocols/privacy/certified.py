"""Losses that hold against adaptive training: the least over genies, each of which certifies a loss on its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.exposure import Exposure, accumulate, loss_ratio, repeated_under_masks
from protocols.privacy.genies.local import local_losses
from protocols.privacy.genies.public import PublicStates, public_states
from protocols.privacy.genies.states import StatesView
from protocols.privacy.genies.sums import sum_losses
from protocols.privacy.linear_view import ViewTooLarge, state_rows
from protocols.privacy.record import Floats, Record

LOCAL, SUMS, VIEW, STATES = "local", "sums", "view", "states"
GENIES = (LOCAL, SUMS, VIEW, STATES)
"""Names of genies; of those with equal figures the first one is named. ``view`` is that of states where it adds
nothing, because the observers can compute all states at which gradients were taken."""


@dataclass(frozen=True, eq=False, slots=True)
class Views:
    """What all sets of observers of one record have in common.

    Args:
        rows: dense rows of states; None if they are too large, and sums are then not considered.
        public: reduced rows of public states; None if that genie says nothing about the record.
    """

    rows: Floats | None
    public: PublicStates | None


@dataclass(frozen=True, eq=False, slots=True)
class Certificate:
    """Certified losses.

    Args:
        mu2: array [times, nodes].
        genie: of the same shape, places in :data:`GENIES`.
        local: losses of the local genie alone.
    """

    mu2: Floats
    genie: NDArray[np.int8]
    local: Floats


def views(record: Record, max_cells: int, *, gaussian: bool = True) -> Views:
    """Compute what all sets of observers of one record have in common.

    Args:
        record: parsed record of the run.
        max_cells: largest allowed number of cells of dense rows.
        gaussian: whether noise is Gaussian; public states are not considered otherwise.
    """
    try:
        rows = state_rows(record, max_cells)
    except ViewTooLarge:
        rows = None
    return Views(rows, public_states(record) if gaussian else None)


def certify(record: Record, common: Views, exposure: Exposure, times_s: Floats, nodes: int) -> Certificate:
    """Compute the least loss over all genies, by time and victim.

    Guarantees:
        Holds against adaptive training, because each genie does (see there), and which one gives a figure depends on
        the record alone, never on data.
    """
    local = local_losses(record, exposure, times_s, nodes)
    mu2, genie = local.copy(), np.full(local.shape, GENIES.index(LOCAL), dtype=np.int8)
    if common.rows is not None:
        _lower(mu2, genie, sum_losses(record, common.rows, exposure, times_s, nodes), SUMS)
    if common.public is not None:
        enlarged = StatesView(record, common.public, exposure)
        losses = enlarged.losses(times_s, nodes)
        if (losses < mu2).any():
            _lower(mu2, genie, losses, VIEW if enlarged.measurable() else STATES)
    twice = repeated_under_masks(record)
    if len(twice):  # no enlarged view has what was received under masks
        shown = np.where(np.isin(record.owner, list(exposure.coalition)), 0.0, exposure.shift)
        nobody = np.zeros(len(twice))
        loss = loss_ratio(shown[twice], nobody)
        kept = accumulate(times_s, exposure.reach.first_s[twice], record.owner[twice], loss, nodes)
        genie[kept > mu2] = GENIES.index(LOCAL)
        mu2 = np.maximum(mu2, kept)
    return Certificate(mu2, genie, local)


def _lower(mu2: Floats, genie: NDArray[np.int8], losses: Floats, name: str) -> None:
    """Lower figures in place to those of another genie."""
    less = losses < mu2
    mu2[less] = losses[less]
    genie[less] = GENIES.index(name)
