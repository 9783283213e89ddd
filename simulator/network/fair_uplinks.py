"""Uplinks that all messages under way share equally (processor sharing).

Only senders have capacities here, so every uplink is on its own; where receivers or links have some as well, rates
depend on each other (:mod:`simulator.network.max_min`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import ceil, inf
from typing import Any

from simulator.core.clock import NS_PER_S, Calendar
from simulator.mail.waiting import Alarm

ROUNDING_NS = 1e-3
"""Instants closer than this above a nanosecond are that nanosecond."""


class FairUplinks:
    """Exact processor sharing by virtual time (Parekh and Gallager, IEEE/ACM Trans. Networking 1(3), 1993).

    The work done for each message on a busy uplink is one number, which grows at capacity / messages; a message has
    left when it has grown by the message's bits. Instants are rounded up to nanoseconds, each on its own.

    Args:
        env: the calendar.
        uplink_bps: capacity of each node, bits per second.
        left: told of a sending that has left, by its token; at once where the capacity is infinite.
    """

    def __init__(self, env: Calendar, uplink_bps: Sequence[float], left: Callable[[Any], None]) -> None:
        self._shares = [_Uplink(env, bps, left) for bps in uplink_bps]

    def start(self, src: int, dsts: Sequence[int], bits: float, token: Any) -> None:
        """Send a message of so many bits to each of ``dsts``: equal flows from now on, which end together."""
        self._shares[src].start(len(dsts), bits, token)

    def stop(self, src: int) -> list[Any]:
        """Drop what has not left a sender that is down; return its tokens in the order of sending."""
        return self._shares[src].stop()


class _Uplink:
    """One uplink."""

    __slots__ = (
        "_alarm",
        "_bits_per_ns",
        "_env",
        "_flows",
        "_left",
        "_now_ns",
        "_queue",
        "_started",
        "_work",
    )

    def __init__(self, env: Calendar, bps: float, left: Callable[[Any], None]) -> None:
        self._env = env
        self._bits_per_ns = bps / NS_PER_S
        self._left = left
        self._queue: list[tuple[float, int, int, Any]] = []
        """(work at which it has left, number, flows, token)."""
        self._flows = 0
        self._work = 0.0
        self._now_ns = 0
        self._started = 0
        self._alarm = Alarm(env, self._ring)

    def start(self, flows: int, bits: float, token: Any) -> None:
        if self._bits_per_ns == inf or not bits:
            self._left(token)
            return
        self._advance()
        self._started += 1
        heappush(self._queue, (self._work + bits, self._started, flows, token))
        self._flows += flows
        self._plan()

    def stop(self) -> list[Any]:
        tokens = [entry[3] for entry in sorted(self._queue, key=lambda entry: entry[1])]
        self._queue.clear()
        self._flows = 0
        return tokens

    def _advance(self) -> None:
        """Bring the work up to now; an idle uplink begins at zero again, so that nothing is lost to rounding."""
        now = self._env.now_ns
        if self._flows:
            self._work += (now - self._now_ns) * self._bits_per_ns / self._flows
        else:
            self._work = 0.0
        self._now_ns = now

    def _plan(self) -> None:
        if self._queue:
            wait_ns = (self._queue[0][0] - self._work) * self._flows / self._bits_per_ns
            self._alarm.set(self._now_ns + max(0, ceil(wait_ns - ROUNDING_NS)))

    def _ring(self) -> None:
        self._advance()
        done: list[Any] = []
        # Less than a rounding error to go is nothing to go.
        while (
            self._queue and (self._queue[0][0] - self._work) * self._flows <= ROUNDING_NS * self._bits_per_ns
        ):
            work, _, flows, token = heappop(self._queue)
            self._work = max(self._work, work)
            self._flows -= flows
            done.append(token)
        self._plan()
        for token in done:
            self._left(token)
