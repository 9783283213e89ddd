"""Accuracy of the weakest nodes, averaged over the last evaluations, since a single one is mostly noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from analysis.metrics.declared import Snapshot

RECENT = 5
"""Largest number of evaluations that are averaged, the last one included."""
SINCE = 0.75
"""Fraction of the run after which they are taken; before it models may still improve quickly."""


class Recent(NamedTuple):
    """Averages over the last evaluations.

    Args:
        evaluations: number of evaluations, at most :data:`RECENT`.
        from_s: virtual time of the first of them.
        worst: mean, over evaluations, of the lowest accuracy of any node.
        node: the node with the lowest mean accuracy, of those up at all evaluations; None if there is none.
        node_accuracy: mean accuracy of that node.
    """

    evaluations: int
    from_s: float
    worst: float
    node: int | None
    node_accuracy: float | None


def recent(snapshots: Sequence[Snapshot]) -> Recent | None:
    """Average the last evaluations at which a node was up; None without any, or for models without accuracy."""
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
