"""Time is kept in integer nanoseconds; seconds exist only at the edges.

Simultaneous events are ordered by SimPy's key (time, priority, sequence number): of two events at the same
nanosecond, the one scheduled first happens first. Sequence numbers follow from the run alone, so ties break
the same way in every process.
"""

from __future__ import annotations

import simpy

NS_PER_S = 1_000_000_000


class Calendar(simpy.Environment):
    """SimPy's calendar with its clock read as whole nanoseconds."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the start."""
        return int(self._now)

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left that could ever happen."""
        return not self._queue


def to_ns(seconds: float) -> int:
    """Nearest nanosecond. Delays are quantised once, when they are drawn."""
    return round(seconds * NS_PER_S)


def to_s(nanoseconds: int) -> float:
    """Seconds as a float, for records and for protocols."""
    return nanoseconds / NS_PER_S
