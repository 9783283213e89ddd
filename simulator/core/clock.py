"""Time is kept in integer nanoseconds; seconds exist only at the edges.

Simultaneous events are ordered by SimPy's key (time, priority, sequence number): of two events at the same
nanosecond, the one scheduled first happens first. Sequence numbers follow from the run alone, so ties break
the same way in every process. A tie seed puts random numbers in their place: whatever depends on the order of
simultaneous events then comes out differently under another seed, and a protocol that should not depend on it is
tried under many (tie fuzzing).
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappush
from itertools import count
from random import Random
from typing import Any

import simpy
from simpy.events import NORMAL

NS_PER_S = 1_000_000_000


class Calendar(simpy.Environment):
    """SimPy's calendar with its clock read as whole nanoseconds.

    Args:
        tie_seed: order simultaneous events at random; None for the order of scheduling.
    """

    def __init__(self, tie_seed: int | None = None) -> None:
        super().__init__()
        if tie_seed is not None:
            self._eid = _numbers(tie_seed)  # type: ignore[assignment]
        self._ranked = tie_seed is None

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the start."""
        return self._now  # type: ignore[return-value]

    def wake(self, bell: simpy.Event, t_ns: int, rank: int) -> None:
        """Trigger an event at ``t_ns``, before those without rank and after those of lower rank.

        Nothing of that rank may be planned for that instant already. Where ties are random, so is its order.
        """
        heappush(self._queue, (t_ns, NORMAL, rank if self._ranked else next(self._eid), bell))

    @property
    def queue(self) -> list[Any]:
        """Return all planned events; the same list object throughout a run."""
        return self._queue


def _numbers(tie_seed: int) -> Iterator[int]:
    """Random sequence numbers, all different."""
    random = Random(f"calendar {tie_seed}")
    return (random.getrandbits(64) << 40 | i for i in count())


def to_ns(seconds: float) -> int:
    """Nearest nanosecond. Delays are quantised once, when they are drawn."""
    return round(seconds * NS_PER_S)


def wait_ns(seconds: float) -> int:
    """Nearest nanosecond, at least one if time is to pass at all: a program that waits in a loop gets on."""
    return max(1, to_ns(seconds)) if seconds > 0 else to_ns(seconds)


def to_s(nanoseconds: int) -> float:
    """Seconds as a float, for records and for protocols."""
    return nanoseconds / NS_PER_S
