"""Max–min fair rates where senders, receivers and links all have capacities.

A rate is max–min fair if it cannot grow without making a smaller one smaller yet (Bertsekas and Gallager, Data
Networks, 2nd ed. 1992, section 6.5.2). Each capacity has a *level*: what it grants to every flow that is not held
back more elsewhere. The fair rates are the one point at which every flow has the least of its levels and no
capacity grants more than it has; it is found by correcting the levels of capacities whose flows changed until none
is wrong any more (Charny, Clark and Jain, ICC 1995), so a flow that starts or ends costs work only where it matters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from math import ceil, inf
from typing import Any

from simulator.core.clock import NS_PER_S, Calendar
from simulator.mail.waiting import Alarm
from simulator.network.fair_uplinks import ROUNDING_NS

SAME = 1e-12
"""Levels that differ relatively by less are the same."""


class _Capacity:
    """An uplink, a downlink or a link of limited capacity."""

    __slots__ = ("bps", "flows", "level", "queued")

    def __init__(self, bps: float) -> None:
        self.bps = bps
        self.flows: dict[_Flow, None] = {}
        self.level = inf
        self.queued = False

    def corrected(self) -> float:
        """Return the level at which the flows, each at most what it is granted elsewhere, use the whole capacity."""
        elsewhere = sorted(flow.other(self) for flow in self.flows)
        left, count = self.bps, len(elsewhere)
        for rate in elsewhere:
            if rate * count >= left:
                return left / count
            left -= rate
            count -= 1
        return inf


class _Flow:
    """One message under way."""

    __slots__ = ("bits", "dst", "number", "rate", "since_ns", "through", "token", "version")

    def __init__(
        self, number: int, through: tuple[_Capacity, ...], bits: float, token: Any, dst: int
    ) -> None:
        self.number = number
        self.through = through
        self.bits = bits
        self.token = token
        self.dst = dst
        self.rate = 0.0
        self.since_ns = 0
        self.version = 0

    def other(self, capacity: _Capacity) -> float:
        """Return the most that this flow may have if ``capacity`` granted all it wants."""
        least = inf
        for other in self.through:
            if other.level < least and other is not capacity:
                least = other.level
        return least


class MaxMinSharing:
    """Rates of all transfers under way, by max–min fairness.

    Flows that start or end at one instant are weighed together. Instants are rounded up to nanoseconds.

    Args:
        env: the calendar.
        uplink_bps: capacity of each sender, bits per second.
        downlink_bps: capacity of each receiver.
        link_bps: capacity of each directed link, for all or for those named.
        left: told of a flow that has ended, (token, receiver).
    """

    def __init__(
        self,
        env: Calendar,
        uplink_bps: Sequence[float],
        downlink_bps: Sequence[float],
        link_bps: float | Mapping[tuple[int, int], float],
        left: Callable[[Any, int], None],
    ) -> None:
        self._env = env
        self._up = [_Capacity(bps) for bps in uplink_bps]
        self._down = [_Capacity(bps) for bps in downlink_bps]
        self._link_bps = link_bps
        self._links: dict[tuple[int, int], _Capacity] = {}
        self._left = left
        self._count = 0
        self._wrong: list[_Capacity] = []
        self._changed: dict[_Flow, None] = {}
        self._ends: list[tuple[int, int, int, _Flow]] = []
        """(when, number, version, flow); out of date unless the version is the flow's."""
        self._weighing = Alarm(env, self._weigh)
        self._ending = Alarm(env, self._end)

    def start(self, src: int, dsts: Sequence[int], bits: float, token: Any) -> None:
        """Send a message of so many bits to each of ``dsts``, from now on."""
        for dst in dsts:
            flow = _Flow(self._count, self._through(src, dst), bits, token, dst)
            self._count += 1
            flow.since_ns = self._env.now_ns
            self._changed[flow] = None
            for capacity in flow.through:
                capacity.flows[flow] = None
                self._correct(capacity)
        self._weighing.set(self._env.now_ns)

    def stop(self, src: int) -> list[tuple[Any, int]]:
        """End the flows of a sender that is down; return (token, receiver) of each in the order of their start."""
        ended = list(self._up[src].flows)
        for flow in ended:
            self._remove(flow)
        if ended:
            self._weighing.set(self._env.now_ns)
        return [(flow.token, flow.dst) for flow in ended]

    def rates(self) -> dict[int, float]:
        """Bits per second of every flow under way, by the number of its start; for tests."""
        return {flow.number: flow.rate for up in self._up for flow in up.flows}

    def _through(self, src: int, dst: int) -> tuple[_Capacity, ...]:
        given, link = self._link_bps, (src, dst)
        bps = given.get(link, inf) if isinstance(given, Mapping) else given
        if bps == inf:
            return self._up[src], self._down[dst]
        if link not in self._links:
            self._links[link] = _Capacity(bps)
        return self._up[src], self._down[dst], self._links[link]

    def _correct(self, capacity: _Capacity) -> None:
        if not capacity.queued:
            capacity.queued = True
            self._wrong.append(capacity)

    def _remove(self, flow: _Flow) -> None:
        flow.version = -1
        self._changed.pop(flow, None)
        for capacity in flow.through:
            del capacity.flows[flow]
            self._correct(capacity)

    def _weigh(self) -> None:
        """Correct levels until all are right, then give every flow that is concerned its rate."""
        wrong, head = self._wrong, 0
        while head < len(wrong):
            capacity = wrong[head]
            head += 1
            capacity.queued = False
            before, level = capacity.level, capacity.corrected()
            if level == before or abs(level - before) <= SAME * min(level, before):
                continue
            capacity.level = level
            for flow in capacity.flows:
                self._changed[flow] = None
                least = before if before < level else level
                for other in flow.through:
                    # Where another capacity held the flow back before and after, its level stays.
                    if other is not capacity and least < other.level:
                        self._correct(other)
        wrong.clear()
        self._reschedule()

    def _reschedule(self) -> None:
        now = self._env.now_ns
        for flow in self._changed:
            rate = min(capacity.level for capacity in flow.through)
            if rate == flow.rate:
                continue
            if flow.rate < inf:
                flow.bits -= flow.rate * (now - flow.since_ns) / NS_PER_S
            flow.since_ns = now
            flow.rate = rate
            flow.version += 1
            wait_ns = max(0.0, flow.bits) * NS_PER_S / rate
            heappush(self._ends, (now + max(0, ceil(wait_ns - ROUNDING_NS)), flow.number, flow.version, flow))
        self._changed.clear()
        self._plan()

    def _plan(self) -> None:
        while self._ends and self._ends[0][2] != self._ends[0][3].version:
            heappop(self._ends)
        if self._ends:
            self._ending.set(self._ends[0][0])

    def _end(self) -> None:
        now = self._env.now_ns
        ended: list[_Flow] = []
        while self._ends and self._ends[0][0] <= now:
            _, _, version, flow = heappop(self._ends)
            if version == flow.version:
                self._remove(flow)
                ended.append(flow)
        if ended:
            self._weighing.set(now)
        self._plan()
        for flow in ended:
            self._left(flow.token, flow.dst)
