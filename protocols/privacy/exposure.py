"""What a coalition saw, and adding up losses over time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from protocols.privacy.linear_view import Reach, reach, sights_of
from protocols.privacy.record import Floats, Ints, Record
from protocols.privacy.sessions import Sight


@dataclass(frozen=True, eq=False, slots=True)
class Exposure:
    """What one coalition saw.

    Args:
        coalition: the observers and the uncredited nodes.
        sights: in time order.
        reach: what can have influenced them.
        shift: for every column, how far neighbouring inputs move it: shift factor × sensitivity.
    """

    coalition: frozenset[int]
    sights: tuple[Sight, ...]
    reach: Reach
    shift: Floats


def expose(record: Record, coalition: frozenset[int], factor: float) -> Exposure:
    """Collect what a coalition saw.

    Args:
        record: the parsed record.
        coalition: nodes that pool everything.
        factor: the adjacency's :func:`~protocols.privacy.accounting.shift_factor`.
    """
    sights = tuple(sights_of(record, coalition))
    return Exposure(coalition, sights, reach(record, sights), factor * record.sensitivity)


def loss_ratio(shift: Floats, sigma: Floats) -> Floats:
    """(shift / sigma)², infinite without noise unless there is nothing to hide."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(shift == 0, 0.0, (shift / sigma) ** 2)


def accumulate(times_s: Floats, when_s: Floats, whose: Ints, loss: Floats, nodes: int) -> Floats:
    """Losses per node added up to each time: array [times, nodes]."""
    total = np.zeros((len(times_s), nodes))
    for row, t_s in zip(total, times_s, strict=True):
        shown = when_s <= t_s
        row[:] = np.bincount(whose[shown], weights=loss[shown], minlength=nodes)
    return total
