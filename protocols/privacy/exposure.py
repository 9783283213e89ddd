"""The view of a coalition, and accumulation of losses over time."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from protocols.privacy.linear_view import Reach, reach, sights_of
from protocols.privacy.record import Floats, Ints, Record
from protocols.privacy.sessions import Sight


@dataclass(frozen=True, eq=False, slots=True)
class Exposure:
    """View of one coalition.

    Args:
        coalition: the observers and the uncredited nodes.
        sights: in time order.
        reach: contributions that can have influenced the sights.
        shift: for every column, how far neighbouring inputs move it: shift factor × sensitivity.
    """

    coalition: frozenset[int]
    sights: tuple[Sight, ...]
    reach: Reach
    shift: Floats


def expose(record: Record, coalition: frozenset[int], factor: float) -> Exposure:
    """Collect the view of a coalition.

    Args:
        record: the parsed record.
        coalition: nodes that pool everything they receive and know.
        factor: the adjacency's :func:`~protocols.privacy.accounting.shift_factor`.
    """
    sights = tuple(sights_of(record, coalition))
    seen = reach(record, sights)
    twice = repeated_under_masks(record)
    if len(twice):
        when = [record.repeated[int(record.owner[one]), int(record.round[one])] for one in twice]
        first_s = seen.first_s.copy()
        first_s[twice] = np.minimum(first_s[twice], when)
        seen = replace(seen, first_s=first_s)
    return Exposure(coalition, sights, seen, factor * record.sensitivity)


def repeated_under_masks(record: Record) -> Ints:
    """Return the columns of updates that were made twice with one noise, in runs with secure sums.

    Whoever receives two protected vectors of one node, round and list subtracts them: noise and masks are the same,
    and the difference of the updates is left. The record does not say who read which protected vector on its way, so
    such updates count as shown to everybody from the second time on, with a noise that protects nobody.
    """
    if not record.repeated or not (record.members or record.sessions):
        return np.zeros(0, dtype=np.int64)
    keys = zip(record.owner.tolist(), record.round.tolist(), strict=True)
    return np.array([i for i, key in enumerate(keys) if key in record.repeated], dtype=np.int64)


def loss_ratio(shift: Floats, sigma: Floats) -> Floats:
    """Return (shift / sigma)²; infinite for sigma = 0, but 0 where the shift is 0 too."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(shift == 0, 0.0, (shift / sigma) ** 2)


def accumulate(times_s: Floats, when_s: Floats, whose: Ints, loss: Floats, nodes: int) -> Floats:
    """Add up losses per node up to each time: array [times, nodes]."""
    total = np.zeros((len(times_s), nodes))
    for row, t_s in zip(total, times_s, strict=True):
        shown = when_s <= t_s
        row[:] = np.bincount(whose[shown], weights=loss[shown], minlength=nodes)
    return total
