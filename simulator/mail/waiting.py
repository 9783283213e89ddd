"""Receives that wait: events of the calendar that a program awaits and a mailbox triggers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator, Iterable, Sequence
from heapq import heapify, heappop, heappush
from math import inf
from typing import TypeAlias

import simpy
from simpy.events import NORMAL

from simulator.contract.node import Delivery, Match, Message
from simulator.core.clock import Calendar
from simulator.mail.boards import Board
from simulator.mail.sending import Coming, Key, delivery_of

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
    def takes(self, coming: Coming) -> bool:
        """Take the message if it is wanted."""

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Return whether there is nothing left to wait for."""

    @property
    @abstractmethod
    def taken(self) -> Iterable[Coming]:
        """Return the messages handed to it."""


class Receive(Waiter):
    """Waits for one message that matches; any message without a match."""

    def __init__(self, env: Calendar, match: Match | None, deadline_ns: float) -> None:
        super().__init__(env, deadline_ns)
        self.match = match
        self.got: Coming | None = None

    def takes(self, coming: Coming) -> bool:
        """Take the message if it matches."""
        if self.match is not None and not self.match(delivery_of(coming)):
            return False
        self.got = coming
        return True

    @property
    def complete(self) -> bool:
        """Return whether it has its message."""
        return self.got is not None

    @property
    def taken(self) -> Iterable[Coming]:
        """Return the messages handed to it."""
        return () if self.got is None else (self.got,)

    @property
    def result(self) -> Delivery | None:
        """Return the result of the await."""
        return None if self.got is None else delivery_of(self.got)


class Gather(Waiter):
    """Waits for one message of a kind and round from each of several senders, no two alike."""

    def __init__(self, env: Calendar, key: Key, sources: Sequence[int], deadline_ns: float) -> None:
        super().__init__(env, deadline_ns)
        self.key = key
        self.sources = sources
        self.by_source: dict[int, Coming] = {}
        self.messages: dict[int, Message] | None = None

    def takes(self, coming: Coming) -> bool:
        """Take the message if it is the first of its sender."""
        sending = coming[1]
        if sending.key != self.key or sending.src in self.by_source or sending.src not in self.sources:
            return False
        self.by_source[sending.src] = coming
        return True

    @property
    def complete(self) -> bool:
        """Return whether it has all its messages, or all that a board had."""
        return self.messages is not None or len(self.by_source) == len(self.sources)

    def foreseen(self, coming: Iterable[Coming]) -> tuple[int, int]:
        """Return how many sources have nothing in transit, and when the first messages of the others arrive."""
        first_ns: dict[int, int] = {}
        for arrival_ns, sending in coming:
            src = sending.src
            if sending.key == self.key and src in self.sources and src not in self.by_source:
                first_ns[src] = min(first_ns.get(src, arrival_ns), arrival_ns)
        return len(self.sources) - len(self.by_source) - len(first_ns), max(first_ns.values(), default=0)

    @property
    def taken(self) -> Iterable[Coming]:
        """Return the messages handed to it."""
        return self.by_source.values()

    @property
    def result(self) -> dict[int, Message]:
        """Return the result of the await."""
        if self.messages is not None:
            return self.messages
        # In the order asked for: who listens in decides when a mailbox is looked at, and must not decide this.
        return {src: self.by_source[src][1].message for src in self.sources if src in self.by_source}


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


class Alarm:
    """Calls a function at the earliest of the instants it is set to, or before; the function sets it again.

    It is never taken off the calendar: whoever is called too early looks and sets it again.

    Args:
        env: the calendar.
        ring: what to call.
        rank: order among alarms of one instant, below 0; None for the order in which they are set.
    """

    __slots__ = ("_bell", "_env", "_planned", "_rank", "_ring")

    def __init__(self, env: Calendar, ring: Callable[[], None], rank: int | None = None) -> None:
        self._env = env
        self._ring = ring
        self._rank = rank
        self._planned: list[int] = []
        self._bell = Bell(env, self._happened)

    def set(self, t_ns: int) -> None:
        """Ring at ``t_ns`` (now, if that is over) or before."""
        planned = self._planned
        if not planned or planned[0] > t_ns:
            now = self._env.now_ns
            if t_ns < now:
                t_ns = now
            heappush(planned, t_ns)
            if self._rank is None:
                self._env.schedule(self._bell, NORMAL, t_ns - now)
            else:
                self._env.wake(self._bell, t_ns, self._rank)

    def _happened(self, _: simpy.Event) -> None:
        self._bell.callbacks = self._bell.again  # type: ignore[assignment]
        planned, now = self._planned, self._env.now_ns
        while planned and planned[0] <= now:
            heappop(planned)
        self._ring()


_Due: TypeAlias = "tuple[float, int, int, Waiter, Callable[[], None]]"


class Deadlines:
    """Deadlines of all receives that wait, on the calendar as one event: most are never reached.

    At one instant, messages come before deadlines, and deadlines in the order of rank.
    """

    def __init__(self, env: Calendar) -> None:
        self._env = env
        self._due: list[_Due] = []
        self._count = 0
        self._room = 1024
        self._alarm = Alarm(env, self._ring, LAST_RANK)

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

    def _ring(self) -> None:
        now = self._env.now_ns
        while self._due and (self._due[0][0] <= now or self._due[0][3].triggered):
            due = heappop(self._due)
            if not due[3].triggered:
                due[4]()
        self._plan()

    def _plan(self) -> None:
        if self._due:
            self._alarm.set(int(self._due[0][0]))
