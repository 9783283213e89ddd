"""A mailbox with selective receive: an expired or cancelled receive never eats a message.

On virtual time the network announces a message when it is sent, with the instant at which it will arrive. The
mailbox looks at what has arrived when its node looks into it, and puts an alarm on the calendar only for an
instant at which somebody waits; a message nobody waits for costs no event.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable, Collection, Iterable, Sequence
from heapq import heappop, heappush
from math import inf
from typing import Any, NamedTuple, TypeAlias

import simpy
from simpy.events import NORMAL

from simulator.clock import NS_PER_S, Calendar
from simulator.node import Delivery, Match, Message

Key: TypeAlias = int
"""Kind and round of a message in one number."""
CODE_BITS = 16
NOTHING, ANYTHING = -(1 << 62), -(1 << 61)
"""No message has these keys."""
_CODES = (1 << CODE_BITS) - 1


class Flight(NamedTuple):
    """One sending: the same message to one or more receivers.

    ``order`` decides between messages that arrive at the same instant; ``first`` is the number of the first message
    in the log.
    """

    order: int
    first: int
    src: int
    dsts: tuple[int, ...]
    message: Message
    sent_ns: int
    key: Key

    def number(self, dst: int) -> int:
        """The message to ``dst`` in the log."""
        return self.first + self.dsts.index(dst)


Entry: TypeAlias = tuple[int, Flight]
"""A message for one receiver: when it arrives (ns) and what it is. Entries sort by arrival, then by sending."""


class Post:
    """What the mailboxes of a run share. Lists by node are flat because every message touches them.

    Args:
        nodes: how many.
        code: the number of a kind of message.
    """

    def __init__(self, nodes: int, code: Callable[[str], int]) -> None:
        self._code = code
        self.coming: list[list[Entry]] = [[] for _ in range(nodes)]
        """Messages that their receiver has not looked at yet, in any order."""
        self.key_awaited = array("q", [NOTHING] * nodes)
        """What a node waits for: ``NOTHING``, the key of its only gather, or ``ANYTHING`` for all else."""
        self.missing = array("q", bytes(8 * nodes))
        """How many messages of that gather are not known to be on their way; only a hint of when to look."""
        self.latest_ns = array("q", bytes(8 * nodes))
        """When the last of those known will arrive."""
        self.hear: Callable[[int, Entry], bool] | None = None
        """Told of every message that reaches a mailbox, (receiver, message); whether it stays in the mailbox."""
        self.prompt: frozenset[int] = frozenset()
        """Nodes whose messages are heard of at the instant they arrive, not when the node next looks."""
        self.down: Collection[int] = ()
        """Nodes that hear nothing."""
        self.unheeded: int | None = None
        """The code of a kind of message that no program waits for."""

    def key(self, kind: str, round: int) -> Key:
        """One number for a kind and a round."""
        return round << CODE_BITS | self._code(kind)


class Receive:
    """A receive that waits for one message."""

    __slots__ = ("deadline_ns", "entry", "event", "match")

    def __init__(self, match: Match | None, event: simpy.Event, deadline_ns: float) -> None:
        self.match = match
        self.event = event
        self.deadline_ns = deadline_ns
        self.entry: Entry | None = None

    def takes(self, entry: Entry) -> bool:
        """Take the message if it is wanted."""
        if self.match is not None and not self.match(delivery_of(entry)):
            return False
        self.entry = entry
        return True

    @property
    def complete(self) -> bool:
        """Whether the wait is over."""
        return self.entry is not None

    @property
    def taken(self) -> Iterable[Entry]:
        """What was handed to it."""
        return () if self.entry is None else (self.entry,)

    @property
    def value(self) -> Delivery | None:
        """What the await gives."""
        return None if self.entry is None else delivery_of(self.entry)


class Gather:
    """A receive that waits for one message of a kind and round from each of several senders."""

    __slots__ = ("by_source", "deadline_ns", "event", "key", "sources")

    def __init__(self, key: Key, sources: Sequence[int], event: simpy.Event, deadline_ns: float) -> None:
        self.key = key
        self.sources = dict.fromkeys(sources)
        self.event = event
        self.deadline_ns = deadline_ns
        self.by_source: dict[int, Entry] = {}

    def takes(self, entry: Entry) -> bool:
        """Take the message if it is wanted."""
        flight = entry[1]
        if flight.key != self.key or flight.src in self.by_source or flight.src not in self.sources:
            return False
        self.by_source[flight.src] = entry
        return True

    @property
    def complete(self) -> bool:
        """Whether the wait is over."""
        return len(self.by_source) == len(self.sources)

    def foreseen(self, coming: Iterable[Entry]) -> tuple[int, int]:
        """How many sources have nothing on its way, and when the first message of each of the others is there."""
        first_ns: dict[int, int] = {}
        for arrival_ns, flight in coming:
            src = flight.src
            if flight.key == self.key and src in self.sources and src not in self.by_source:
                first_ns[src] = min(first_ns.get(src, arrival_ns), arrival_ns)
        return len(self.sources) - len(self.by_source) - len(first_ns), max(first_ns.values(), default=0)

    @property
    def taken(self) -> Iterable[Entry]:
        """What was handed to it."""
        return self.by_source.values()

    @property
    def value(self) -> dict[int, Message]:
        """What the await gives."""
        # In the order asked for: who listens in decides when a mailbox is looked at, and must not decide this.
        by_source = self.by_source
        if len(by_source) == len(self.sources):
            return {src: by_source[src][1][4] for src in self.sources}
        return {src: by_source[src][1][4] for src in self.sources if src in by_source}


class Mailbox:
    """Messages on their way, messages in order of arrival, and the receives waiting for one, first come first served.

    Args:
        node: whose it is.
        env: the calendar.
        post: shared by all mailboxes of the run.
    """

    __slots__ = ("_alarms", "_bell", "_env", "_held", "_node", "_post", "_waiting")

    def __init__(self, node: int, env: Calendar, post: Post) -> None:
        self._node = node
        self._env = env
        self._post = post
        self._held: list[Entry] = []
        self._waiting: list[Receive | Gather] = []
        self._alarms: list[int] = []
        self._bell = Bell(env, self._ring)

    # ---------------------------------------------------------------- the network's side

    def announce(self, entry: Entry) -> None:
        """A message will arrive."""
        self._post.coming[self._node].append(entry)
        self.expect(entry)

    def expect(self, entry: Entry) -> None:
        """Set an alarm if somebody has to be there when this message arrives."""
        arrival_ns, flight = entry
        if self._node in self._post.prompt or (
            flight.key & _CODES != self._post.unheeded
            and any(isinstance(waiter, Receive) or waiter.key == flight.key for waiter in self._waiting)
        ):
            self.alarm(arrival_ns)

    def put(self, flight: Flight) -> None:
        """A message arrives now (live runs)."""
        for waiter in self._hand_out(self._heard([(self._env.now_ns, flight)])):
            waiter.event.succeed()

    def reconsider(self) -> None:
        """Find out anew when the only receive that waits may end."""
        if len(self._waiting) == 1:
            self._set(self._waiting[0])

    def withdraw(self, flight: Flight) -> None:
        """A message that was announced will not come."""
        coming = self._post.coming[self._node]
        coming[:] = [entry for entry in coming if entry[1] is not flight]

    def alarm(self, t_ns: int) -> None:
        """Look at ``t_ns`` or before; whoever looks too early sets the alarm again."""
        alarms = self._alarms
        if not alarms or alarms[0] > t_ns:
            now = self._env.now_ns
            if t_ns < now:
                t_ns = now
            heappush(alarms, t_ns)
            self._env.schedule(self._bell, NORMAL, t_ns - now)

    # ---------------------------------------------------------------- the node's side

    def take(self, match: Match | None) -> Delivery | None:
        """The oldest message that has arrived and matches, if any."""
        self.look()
        for i, entry in enumerate(self._held):
            delivery = delivery_of(entry)
            if match is None or match(delivery):
                del self._held[i]
                return delivery
        return None

    def wait(self, match: Match | None, deadline_ns: float) -> Receive:
        """Wait for a message; to be called after :meth:`take` gave none."""
        waiter = Receive(match, simpy.Event(self._env), deadline_ns)
        self._enter(waiter)
        return waiter

    def gather(self, kind: str, round: int, sources: Sequence[int], deadline_ns: float) -> Gather:
        """Wait for a message of a kind and round from each source; ``complete`` if all are here."""
        waiter = Gather(self._post.key(kind, round), sources, simpy.Event(self._env), deadline_ns)
        if self._held:
            self._held = [entry for entry in self._held if not waiter.takes(entry)]
        if not waiter.complete:
            self._enter(waiter)
        return waiter

    def expire(self, waiter: Gather) -> None:
        """The receive does not wait; it has what is there now."""
        self.look()
        if not waiter.complete:
            self._leave(waiter)

    def abandon(self, waiter: Receive | Gather) -> None:
        """The receive was cancelled; what was already handed to it takes its place again."""
        self._leave(waiter)
        for other in self._hand_out(list(waiter.taken)):
            other.event.succeed()

    def clear(self) -> None:
        """The node crashed: what had arrived is lost with its memory."""
        self.look()
        self._held.clear()
        self._waiting.clear()
        self._refresh()

    def miss(self) -> list[Entry]:
        """Take out what arrived until now while the node was down."""
        missed = self._due(self._env.now_ns)
        if self._node in self._post.prompt:
            self._next()
        return missed

    def look(self) -> None:
        """Take note of everything that has arrived."""
        if self._post.coming[self._node]:
            for waiter in self._hand_out(self._arrived()):
                waiter.event.succeed()

    # ---------------------------------------------------------------- inside

    def _enter(self, waiter: Receive | Gather) -> None:
        self._waiting.append(waiter)
        self._refresh()
        self._set(waiter)

    def _leave(self, waiter: Receive | Gather) -> None:
        self._waiting = [other for other in self._waiting if other is not waiter]
        self._refresh()
        self.reconsider()

    def _refresh(self) -> None:
        waiting, key = self._waiting, NOTHING
        if waiting:
            only, key = waiting[0], ANYTHING
            if len(waiting) == 1 and isinstance(only, Gather) and self._node not in self._post.prompt:
                key = only.key
        self._post.key_awaited[self._node] = key

    def _due(self, now: int) -> list[Entry]:
        """Take out what has arrived, in order."""
        coming = self._post.coming[self._node]
        due = [entry for entry in coming if entry[0] <= now]
        if due:
            coming[:] = [entry for entry in coming if entry[0] > now]
            due.sort()
        return due

    def _arrived(self) -> list[Entry]:
        """What has arrived, in order."""
        return self._heard(self._due(self._env.now_ns))

    def _heard(self, arrived: list[Entry]) -> list[Entry]:
        """Everybody who listens is told; what is left is for the program."""
        hear, node = self._post.hear, self._node
        return arrived if hear is None else [entry for entry in arrived if hear(node, entry)]

    def _collect(self, waiter: Gather, now: int) -> None:
        """What :meth:`look` does, for the common case: one gather waits, nobody listens, nothing is disturbed."""
        key, by_source, sources = waiter.key, waiter.by_source, waiter.sources
        coming = self._post.coming[self._node]
        later: list[Entry] = []
        other: list[Entry] = []
        for entry in coming:
            if entry[0] > now:
                later.append(entry)
            else:
                flight = entry[1]
                src = flight[2]
                if flight[6] == key and src in sources:
                    known = by_source.setdefault(src, entry)
                    if known is not entry:
                        by_source[src], known = min(known, entry), max(known, entry)
                        other.append(known)
                else:
                    other.append(entry)
        coming[:] = later
        if other:
            other.sort()
            self._held += other

    def _hand_out(self, arrived: Iterable[Entry]) -> list[Receive | Gather]:
        """Offer messages to those who wait, keep the rest; returns the receives that are over."""
        over: list[Receive | Gather] = []
        for entry in arrived:
            for waiter in self._waiting:
                try:
                    if waiter.takes(entry):
                        break
                except Exception as error:
                    # The receive that asked for this match is the one to fail, not whoever delivered.
                    self._leave(waiter)
                    waiter.event.fail(error)
                    waiter.event.defused = True
            else:
                insort(self._held, entry)
                continue
            if waiter.complete:
                self._leave(waiter)
                over.append(waiter)
        return over

    def _ring(self) -> None:
        now = self._env.now_ns
        alarms, waiting, post, node = self._alarms, self._waiting, self._post, self._node
        while alarms and alarms[0] <= now:
            heappop(alarms)
        if not waiting:
            if node in post.prompt and node not in post.down:
                self._hand_out(self._arrived())
                self._next()
            return
        waiter = waiting[0]
        if isinstance(waiter, Gather) and post.key_awaited[node] != ANYTHING and post.hear is None:
            if post.missing[node] > 0:
                self._foreseen(waiter)
            if post.missing[node] <= 0 or waiter.deadline_ns <= now:
                self._collect(waiter, now)
            if len(waiter.by_source) == len(waiter.sources) or waiter.deadline_ns <= now:
                waiting.clear()
                post.key_awaited[node] = NOTHING
                happen(waiter.event)
            else:
                self._set(waiter)
            return
        over = self._hand_out(self._arrived()) if post.coming[node] else []
        for other in list(self._waiting):
            if other.deadline_ns <= now:
                self._leave(other)
                over.append(other)
            else:
                self._set(other)
        if node in post.prompt:
            self._next()
        for ended in over:
            happen(ended.event)

    def _next(self) -> None:
        """Set the alarm for the next message, whatever it is."""
        coming = self._post.coming[self._node]
        if coming:
            self.alarm(min(coming)[0])

    def _set(self, waiter: Receive | Gather) -> None:
        """Set the alarm for the first instant at which a waiting receive may end."""
        until_ns = min(waiter.deadline_ns, self._foreseen(waiter))
        if until_ns < inf:
            self.alarm(int(until_ns))

    def _foreseen(self, waiter: Receive | Gather) -> float:
        """When a waiting receive may be complete by what is known to be coming."""
        coming = self._post.coming[self._node]
        if type(waiter) is Gather:
            key, latest_ns, missing = waiter.key, 0, len(waiter.sources) - len(waiter.by_source)
            for arrival_ns, flight in coming:
                if flight[6] == key:
                    missing -= 1
                    if arrival_ns > latest_ns:
                        latest_ns = arrival_ns
            if missing < 0:
                missing, latest_ns = waiter.foreseen(coming)
            self._post.missing[self._node], self._post.latest_ns[self._node] = missing, latest_ns
            return latest_ns if missing <= 0 else inf
        unheeded = self._post.unheeded
        return min((entry[0] for entry in coming if entry[1].key & _CODES != unheeded), default=inf)


def delivery_of(entry: Entry) -> Delivery:
    """A message as its receiver sees it."""
    arrival_ns, (_, _, src, _, message, sent_ns, _) = entry
    return Delivery(src, message, sent_ns / NS_PER_S, arrival_ns / NS_PER_S)


def happen(event: simpy.Event) -> None:
    """Let an event happen now, without a place on the calendar. Only between two events of the calendar."""
    event._ok, event._value = True, None
    callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)


class Bell(simpy.Event):
    """An event that may be on the calendar many times and calls the same function each time."""

    def __init__(self, env: Calendar, ring: Callable[[], None]) -> None:
        super().__init__(env)
        self._ok = True
        self._value: Any = None
        self._ring = ring
        self._again = self.callbacks = (self._happened,)  # type: ignore[assignment]

    def _happened(self, _: simpy.Event) -> None:
        self.callbacks = self._again  # type: ignore[assignment]
        self._ring()
