"""Reasons for an infinite figure: the release or the assumption that allows no claim."""

from __future__ import annotations

import numpy as np

from protocols.privacy.correlated import correlated_columns
from protocols.privacy.exposure import Exposure
from protocols.privacy.record import Ints, Record


def why_infinite(record: Record, exposure: Exposure, victim: int, t_s: float, *, integers: bool) -> str:
    """Return one sentence about the first cause of a victim's infinite loss.

    Args:
        record: parsed record of the run.
        exposure: view of the observers.
        victim: node whose loss is infinite.
        t_s: time up to which releases count, seconds.
        integers: whether noise is made of integers, in words of sums.
    """
    shown = (record.owner == victim) & (exposure.shift > 0) & (exposure.reach.first_s <= t_s)
    columns = np.flatnonzero(shown)
    columns = columns[np.argsort(exposure.reach.first_s[columns], kind="stable")]
    unclipped = columns[~np.isfinite(exposure.shift[columns])]
    if len(unclipped):
        return f"{_update(record, exposure, unclipped)} is not clipped, so nothing bounds what it says"
    for column in columns.tolist():
        key = (victim, int(record.round[column]))
        if key in record.repeated:
            return (
                f"node {victim} made the update of round {key[1]} again at {record.repeated[key]:g} s with the same "
                "noise (it lost its disk, or its program used the round twice): both updates together show their "
                "difference without noise"
            )
    bare = columns[record.sigma[columns] == 0]
    bare = bare[~np.isin(bare, correlated_columns(record))]
    if integers and len(bare):
        return (
            f"{_update(record, exposure, bare)} cannot be charged as part of the sum its noise was added to: "
            "something else that was seen (after a lost message, a dropout or a return) holds it in another way"
        )
    if len(bare):
        return f"{_update(record, exposure, bare)} has no noise of its own, and no sum around it can be certified"
    return "what was seen, taken together, holds a combination of this node's updates without any noise"


def _update(record: Record, exposure: Exposure, columns: Ints) -> str:
    """Describe the first of some contributions."""
    first = int(columns[0])
    return (
        f"the update of node {record.owner[first]} in round {record.round[first]}, seen at "
        f"{exposure.reach.first_s[first]:g} s,"
    )
