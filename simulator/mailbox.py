"""A mailbox with selective receive: an expired or cancelled receive never eats a message."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import simpy

from simulator.clock import Calendar
from simulator.node import Delivery, Match


class _Waiter(NamedTuple):
    match: Match | None
    event: simpy.Event


class Mailbox:
    """Messages in order of arrival and the receives waiting for one."""

    def __init__(self, env: Calendar) -> None:
        self._env = env
        self._held: deque[Delivery] = deque()
        self._waiters: list[_Waiter] = []

    def put(self, delivery: Delivery) -> None:
        """Hand over to the first waiting receive that matches, or keep."""
        for i, waiter in enumerate(self._waiters):
            if waiter.match is None or waiter.match(delivery):
                del self._waiters[i]
                waiter.event.succeed(delivery)
                return
        self._held.append(delivery)

    def take(self, match: Match | None) -> Delivery | None:
        """The oldest held message that matches, if any."""
        for i, delivery in enumerate(self._held):
            if match is None or match(delivery):
                del self._held[i]
                return delivery
        return None

    def wait(self, match: Match | None, timeout_ns: int | None) -> simpy.Event:
        """An event that succeeds with a delivery, or with None at the time-out."""
        waiter = _Waiter(match, simpy.Event(self._env))
        self._waiters.append(waiter)
        if timeout_ns is not None:
            expiry = self._env.timeout(timeout_ns)
            expiry.callbacks.append(lambda _: self._expire(waiter))
        return waiter.event

    def abandon(self, event: simpy.Event) -> None:
        """The receive behind ``event`` was cancelled; a message already handed to it goes back in front."""
        self._waiters = [w for w in self._waiters if w.event is not event]
        if event.triggered and event.value is not None:
            self._held.appendleft(event.value)

    def clear(self) -> None:
        """Forget everything (the node crashed)."""
        self._held.clear()
        self._waiters.clear()

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.event.triggered and waiter in self._waiters:
            self._waiters.remove(waiter)
            waiter.event.succeed(None)
