"""Outages: which node is down from when, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Outage:
    """A crash, and a return with what was on disk.

    Args:
        node: who goes down.
        down_s: when; everything in memory is lost, tasks end, messages to the node are dropped.
        up_s: when it starts its program again; None means never.
    """

    node: int
    down_s: float
    up_s: float | None = None


def down_at(outages: Sequence[Outage], t_s: float) -> frozenset[int]:
    """The nodes that are down at ``t_s`` by the plan."""
    return frozenset(o.node for o in outages if o.down_s <= t_s and (o.up_s is None or t_s < o.up_s))
