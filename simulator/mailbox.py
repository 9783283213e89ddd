"""A mailbox with selective receive: an expired or cancelled receive never eats a message."""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

import simpy

from simulator.clock import Calendar
from simulator.node import Delivery, Match


class Held(NamedTuple):
    """A message and its place in the order of arrival."""

    number: int
    delivery: Delivery


class _Waiter(NamedTuple):
    match: Match | None
    event: simpy.Event


class Mailbox:
    """Messages in order of arrival and the receives waiting for one, first come first served."""

    def __init__(self, env: Calendar) -> None:
        self._env = env
        self._arrivals = 0
        self._held: list[Held] = []
        self._waiters: list[_Waiter] = []

    def put(self, delivery: Delivery) -> None:
        """Hand over to the first waiting receive that matches, or keep."""
        self._arrivals += 1
        self._offer(Held(self._arrivals, delivery))

    def take(self, match: Match | None) -> Delivery | None:
        """The oldest held message that matches, if any."""
        for i, (_, delivery) in enumerate(self._held):
            if match is None or match(delivery):
                del self._held[i]
                return delivery
        return None

    def wait(self, match: Match | None, timeout_ns: int | None) -> simpy.Event:
        """An event whose value will be a :class:`Held` message, or None at the time-out."""
        waiter = _Waiter(match, simpy.Event(self._env))
        self._waiters.append(waiter)
        if timeout_ns is not None:
            expiry = self._env.timeout(timeout_ns)
            expiry.callbacks.append(lambda _: self._expire(waiter))
        return waiter.event

    def abandon(self, event: simpy.Event) -> None:
        """The receive behind ``event`` was cancelled; a message already handed to it takes its place again."""
        self._waiters = [w for w in self._waiters if w.event is not event]
        if event.triggered and isinstance(event.value, Held):
            self._offer(event.value)

    def clear(self) -> None:
        """Forget everything (the node crashed)."""
        self._held.clear()
        self._waiters.clear()

    def _offer(self, held: Held) -> None:
        for waiter in list(self._waiters):
            try:
                matches = waiter.match is None or waiter.match(held.delivery)
            except Exception as error:
                # The receive that asked for this match is the one to fail, not whoever delivered.
                self._waiters.remove(waiter)
                waiter.event.fail(error)
                waiter.event.defused = True
                continue
            if matches:
                self._waiters.remove(waiter)
                waiter.event.succeed(held)
                return
        insort(self._held, held, key=lambda h: h.number)

    def _expire(self, waiter: _Waiter) -> None:
        if not waiter.event.triggered and waiter in self._waiters:
            self._waiters.remove(waiter)
            waiter.event.succeed(None)
