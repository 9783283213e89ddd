"""Receives that wait: events of the calendar that a program awaits and a mailbox lets happen."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import TypeAlias

import simpy

from simulator.boards import Board
from simulator.clock import Calendar
from simulator.flight import Entry, Key, delivery_of
from simulator.node import Delivery, Match, Message

LAST_RANK = -1
"""Ranks below belong to mailboxes; whatever has no rank comes later at the same instant."""


class Waiter(simpy.Event):
    """A receive. Messages are offered to it until it is complete or its deadline is over.

    Args:
        env: the calendar.
        deadline_ns: when it ends without; infinite for never.
    """

    board: Board | None = None

    def __init__(self, env: Calendar, deadline_ns: float) -> None:
        super().__init__(env)
        self.deadline_ns = deadline_ns

    def __await__(self) -> Generator[simpy.Event, None, None]:
        yield self
        if isinstance(self._value, BaseException):
            raise self._value

    @abstractmethod
    def takes(self, entry: Entry) -> bool:
        """Take the message if it is wanted."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Whether there is nothing left to wait for."""

    @property
    @abstractmethod
    def taken(self) -> Iterable[Entry]:
        """What was handed to it."""


class Receive(Waiter):
    """Waits for one message that matches; any message without a match."""

    def __init__(self, env: Calendar, match: Match | None, deadline_ns: float) -> None:
        super().__init__(env, deadline_ns)
        self.match = match
        self.entry: Entry | None = None

    def takes(self, entry: Entry) -> bool:
        """Take the message if it matches."""
        if self.match is not None and not self.match(delivery_of(entry)):
            return False
        self.entry = entry
        return True

    @property
    def complete(self) -> bool:
        """Whether it has its message."""
        return self.entry is not None

    @property
    def taken(self) -> Iterable[Entry]:
        """What was handed to it."""
        return () if self.entry is None else (self.entry,)

    @property
    def result(self) -> Delivery | None:
        """What the await gives."""
        return None if self.entry is None else delivery_of(self.entry)


class Gather(Waiter):
    """Waits for one message of a kind and round from each of several senders."""

    def __init__(self, env: Calendar, key: Key, sources: Sequence[int], deadline_ns: float) -> None:
        super().__init__(env, deadline_ns)
        self.key = key
        self.sources = sources
        self.by_source: dict[int, Entry] = {}
        self.messages: dict[int, Message] | None = None

    def takes(self, entry: Entry) -> bool:
        """Take the message if it is the first of its sender."""
        flight = entry[1]
        if flight.key != self.key or flight.src in self.by_source or flight.src not in self.sources:
            return False
        self.by_source[flight.src] = entry
        return True

    @property
    def complete(self) -> bool:
        """Whether it has all its messages, or all that a board had."""
        return self.messages is not None or len(self.by_source) == len(self.sources)

    @property
    def taken(self) -> Iterable[Entry]:
        """What was handed to it."""
        return self.by_source.values()

    @property
    def result(self) -> dict[int, Message]:
        """What the await gives."""
        if self.messages is not None:
            return self.messages
        return {src: entry[1].message for src, entry in self.by_source.items()}


def happen(event: simpy.Event) -> None:
    """Let an event happen now, without a place on the calendar. Only between two events of the calendar."""
    event._ok, event._value = True, None
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)


class Bell(simpy.Event):
    """An event that may be on the calendar many times and calls the same function each time.

    The function has to put ``again`` in place of the ``callbacks`` that SimPy takes away.
    """

    def __init__(self, env: Calendar, ring: Callable[[simpy.Event], None]) -> None:
        super().__init__(env)
        self._ok = True
        self._value = None
        self.again = self.callbacks = (ring,)  # type: ignore[assignment]


_Due: TypeAlias = "tuple[float, int, int, Waiter, Callable[[], None]]"


class Deadlines:
    """The deadlines of all receives that wait, on the calendar as one event: most are never reached.

    At one instant, messages come before deadlines, and deadlines in the order of rank.
    """

    def __init__(self, env: Calendar) -> None:
        self._env = env
        self._due: list[_Due] = []
        self._count = 0
        self._room = 1024
        self._plans: list[int] = []
        self._bell = Bell(env, self._ring)

    def add(self, waiter: Waiter, rank: int, wake: Callable[[], None]) -> None:
        """Call ``wake`` at the receive's deadline, if it still waits then."""
        deadline_ns = waiter.deadline_ns
        if deadline_ns == inf:
            return
        self._count += 1
        heappush(self._due, (deadline_ns, rank, self._count, waiter, wake))
        if len(self._due) > self._room:
            self._due = [due for due in self._due if not due[3].triggered]
            heapify(self._due)
            self._room = max(1024, 2 * len(self._due))
        self._plan()

    def _ring(self, _: simpy.Event) -> None:
        self._bell.callbacks = self._bell.again  # type: ignore[assignment]
        now = self._env.now_ns
        while self._plans and self._plans[0] <= now:
            heappop(self._plans)
        while self._due and (self._due[0][0] <= now or self._due[0][3].triggered):
            due = heappop(self._due)
            if not due[3].triggered:
                due[4]()
        self._plan()

    def _plan(self) -> None:
        if self._due and (not self._plans or self._due[0][0] < self._plans[0]):
            first_ns = int(self._due[0][0])
            heappush(self._plans, first_ns)
            self._env.wake(self._bell, first_ns, LAST_RANK)
