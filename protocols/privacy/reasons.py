"""Why a figure is infinite: which release, or which assumption, leaves nothing that could be claimed."""

from __future__ import annotations

import numpy as np

from protocols.privacy.exposure import Exposure
from protocols.privacy.record import Ints, Record
from protocols.privacy.remembered import columns_that_remember


def why_infinite(record: Record, exposure: Exposure, victim: int, t_s: float, *, integers: bool) -> str:
    """One sentence about the first thing that makes a victim's loss infinite.

    Args:
        record: what happened.
        exposure: what the observers saw.
        victim: whose loss.
        t_s: up to when, seconds.
        integers: noise is made of integers, in words of sums.
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
                f"node {victim} lost its disk and made round {key[1]} again at {record.repeated[key]:g} s with the "
                "same noise: both updates together show their difference without any"
            )
    bare = columns[record.sigma[columns] == 0]
    bare = bare[~np.isin(bare, columns_that_remember(record))]
    if integers and len(bare):
        return (
            f"{_update(record, exposure, bare)} cannot be charged as part of the sum its noise was added to: "
            "something else that was seen (after a lost message, a dropout or a return) holds it in another way"
        )
    if len(bare):
        return f"{_update(record, exposure, bare)} has no noise of its own, and no sum around it can be certified"
    return "what was seen, taken together, holds a combination of this node's updates without any noise"


def _update(record: Record, exposure: Exposure, columns: Ints) -> str:
    """The first of some contributions, in words."""
    first = int(columns[0])
    return (
        f"the update of node {record.owner[first]} in round {record.round[first]}, seen at "
        f"{exposure.reach.first_s[first]:g} s,"
    )
