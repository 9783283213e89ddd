"""The accuracy of the weakest nodes over the last evaluations: a single one says more about noise than about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.metrics.declared import Snapshot

RECENT = 5
"""Evaluations that are averaged at most, the last one among them."""
SINCE = 0.75
"""Part of the run after which they lie: before it a model may still be learning quickly."""


class Recent(NamedTuple):
    """What the last evaluations say together.

    Args:
        evaluations: how many there were, at most :data:`RECENT`.
        from_s: when the first of them was.
        worst: mean of the accuracies that the worst node had at each of them, whichever node that was.
        node: the node whose accuracy was lowest on average, of those up at all of them; None if there is none.
        node_accuracy: what that average is.
    """

    evaluations: int
    from_s: float
    worst: float
    node: int | None
    node_accuracy: float | None


def recent(snapshots: Sequence[Snapshot]) -> Recent | None:
    """The last evaluations at which anybody was up; None without any, or where there is no accuracy."""
    last = [s for s in snapshots if s.nodes and s.t_s >= SINCE * snapshots[-1].t_s][-RECENT:]
    if not last or np.isnan([s.accuracy.min() for s in last]).any():
        return None
    worst = float(np.mean([s.accuracy.min() for s in last]))
    always = sorted(frozenset.intersection(*(frozenset(s.nodes) for s in last)))
    if not always:
        return Recent(len(last), last[0].t_s, worst, None, None)
    each = np.mean([[s.accuracy[s.nodes.index(node)] for node in always] for s in last], axis=0)
    lowest = int(each.argmin())
    return Recent(len(last), last[0].t_s, worst, always[lowest], float(each[lowest]))
