"""Records of a run: one row per message, what every node was busy with, and the hash of the event trace."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

IN_FLIGHT, DELIVERED, LOST, DROPPED, EXPIRED = "in-flight", "delivered", "lost", "dropped", "expired"
STATUSES = (IN_FLIGHT, DELIVERED, LOST, DROPPED, EXPIRED)
UNDER_WAY, ARRIVED, WENT_MISSING, CUT_OFF, GIVEN_UP, RETAINED = range(len(STATUSES) + 1)
"""The same as bytes; ``RETAINED`` is dropped before it left."""
NEVER = -1

_FIELDS = 8

Sink: TypeAlias = "Callable[[float, int, str, Mapping[str, Any]], None]"
"""Receives ``node.record`` calls: (t_s, node, kind, fields)."""


class MessageLog:
    """Log of every message: sent, then delivered, lost, dropped, expired or still in flight when the run ends.

    *Lost*: by the link. *Dropped*: the sender was down or the link cut before it left, the receiver was down when
    it arrived, or an adversary dropped it. *Expired*: a reliable transport abandoned it.

    Columns, not objects: one row for each sending (the same message to one or more receivers) and a few numbers for
    each message, so that a million messages stay small. Most messages need nothing but their delay: when they left
    and arrived follows from their sending. A log of a run in which more can happen to them is ``explicit`` and is
    told both.

    Bytes count when they are handed to a sender's uplink: once for a message, again for every further attempt of a
    transport, and not at all for what never joins an uplink: copies made on the way, and messages that an adversary
    drops at their sender. ``attempts`` says how often, so bytes sent are Σ size x attempts.

    Args:
        explicit: told of every departure and arrival by :meth:`left` and :meth:`arrives`.
    """

    def __init__(self, explicit: bool = False) -> None:
        self.explicit = explicit
        self.kinds: dict[str, int] = {}
        """Kinds of messages by name, in the order of their first use."""
        self.delay_ns = array("q")
        """Of every message, from its uplink to its receiver; below 0 if it was lost (not of an explicit log)."""
        self.fate = bytearray()
        """Of every message: ``UNDER_WAY`` until something happened that did not follow from its sending."""
        self.bytes_total = 0
        self._sendings = array("q")
        self._dst = array("q")
        self._left_ns, self._arrival_ns = array("q"), array("q")
        self._attempts: dict[int, int] = {}
        self._copies: set[int] = set()
        self._notes: list[tuple[int, str]] = []
        self._end_ns: int | None = None

    def code(self, kind: str) -> int:
        """Return the number of a kind of message."""
        code = self.kinds.get(kind)
        if code is None:
            code = self.kinds[kind] = len(self.kinds)
        return code

    def sending(
        self,
        t_ns: int,
        src: int,
        dsts: Sequence[int],
        code: int,
        round: int,
        size_bytes: int,
        start_ns: int,
        each_ns: int,
        delay_ns: bytes,
    ) -> int:
        """Note a sending whose departures are known: message i leaves at start + (i + 1) · each.

        ``delay_ns`` holds 64-bit integers. Returns the number of its first message; the others follow.
        """
        count = len(dsts)
        first = len(self._dst)
        self._sendings.extend((t_ns, src, code, round, size_bytes, first, start_ns, each_ns))
        self._dst.extend(dsts)
        self.delay_ns.frombytes(delay_ns)
        self.fate.extend(bytes(count))
        self.bytes_total += size_bytes * count
        return first

    def started(self, first: int, start_ns: int) -> None:
        """Note when all messages of a sending left, where that was not known before (it was ``NEVER``)."""
        self._sendings[self._row(first) * _FIELDS + 6] = start_ns

    def message(
        self,
        t_ns: int,
        src: int,
        dst: int,
        code: int,
        round: int,
        size_bytes: int,
        *,
        copy: bool = False,
        carried: bool = True,
    ) -> int:
        """Note a message in an explicit log; returns its number.

        Args:
            copy: it was made by the network or an adversary, not by a program.
            carried: whether it is handed to its sender's uplink, which is its first attempt.
        """
        number = len(self._dst)
        self._sendings.extend((t_ns, src, code, round, size_bytes, number, NEVER, 0))
        self._dst.append(dst)
        self._left_ns.append(NEVER)
        self._arrival_ns.append(NEVER)
        self.fate.append(UNDER_WAY)
        if copy:
            self._copies.add(number)
        if carried:
            self.bytes_total += size_bytes
        else:
            self._attempts[number] = 0
        return number

    def left(self, number: int, t_ns: int) -> None:
        """Note when the last bit of a message left its sender; of several attempts the first counts."""
        if self._left_ns[number] == NEVER:
            self._left_ns[number] = t_ns

    def again(self, number: int, size_bytes: int) -> None:
        """Note that a transport sends a message once more; its bytes count again."""
        self._attempts[number] = self._attempts.get(number, 1) + 1
        self.bytes_total += size_bytes

    def arrives(self, number: int, t_ns: int) -> None:
        """Note when a message arrives, now or later."""
        self._arrival_ns[number] = t_ns

    def ended(self, number: int, fate: int) -> None:
        """Note how a message ended other than by arriving."""
        self.fate[number] = fate

    def note(self, t_ns: int, event: str) -> None:
        """Add any other event (a crash, a return) to the trace hash."""
        self._notes.append((t_ns, event))

    def close(self, t_ns: int) -> None:
        """End the run: what arrives later counts as in flight."""
        self._end_ns = t_ns

    def __len__(self) -> int:
        return len(self._dst)

    def count(self, status: str) -> int:
        """Return how many messages ended with this status."""
        return self.counts()[status]

    def counts(self) -> Counter[str]:
        """Return the number of messages by status."""
        found = np.bincount(self._fates(*self._times()), minlength=len(STATUSES))
        return Counter(dict(zip(STATUSES, found.tolist(), strict=True)))

    def columns(self) -> dict[str, NDArray[Any]]:
        """One row per message by time of sending, where equal as they were noted: a copy that the network makes of a
        message on its way has the time of sending of that message, and comes behind those sent at the same time.

        sent_ns, left_ns and delivered_ns (−1: it did not), src, dst, kind, round, size_bytes, attempts (how often
        its bytes were handed to the uplink), copy, status.
        """
        left_ns, arrival_ns = self._times()
        fate = self._fates(left_ns, arrival_ns)
        sendings, times = self._rows()
        attempts = np.ones(len(fate), np.int64)
        attempts[list(self._attempts)] = list(self._attempts.values())
        copy = np.zeros(len(fate), bool)
        copy[list(self._copies)] = True
        if self._end_ns is not None:
            left_ns = np.where(left_ns > self._end_ns, NEVER, left_ns)
        names = np.array([*self.kinds, ""], object)[:-1]
        columns = {
            "sent_ns": np.repeat(sendings[:, 0], times),
            "left_ns": left_ns,
            "delivered_ns": np.where(fate == ARRIVED, arrival_ns, NEVER),
            "src": np.repeat(sendings[:, 1], times),
            "dst": _read(self._dst),
            "kind": np.repeat(names[sendings[:, 2]], times),
            "round": np.repeat(sendings[:, 3], times),
            "size_bytes": np.repeat(sendings[:, 4], times),
            "attempts": attempts,
            "copy": copy,
            "status": np.array(STATUSES, object)[fate],
        }
        sent_ns = columns["sent_ns"]
        if (sent_ns[1:] >= sent_ns[:-1]).all():
            return columns
        order = np.argsort(sent_ns, kind="stable")
        return {name: column[order] for name, column in columns.items()}

    @property
    def trace_hash(self) -> str:
        """Hash of every event: times, ends, kinds, rounds, sizes, fates.

        Independent of contents, and of which of several nodes that send at the same instant is the first.
        """
        trace = blake2b(digest_size=16)
        columns = self.columns()
        # What never joined an uplink counts as one attempt here, as it always has: hashes of older traces stay.
        columns["attempts"] = np.maximum(columns["attempts"], 1)
        order = np.lexsort((columns["src"], columns["sent_ns"]))
        for name, column in columns.items():
            trace.update(f"{name} {len(column)}\n".encode())
            text = column.dtype == object
            told = column[order]
            trace.update("\n".join(told).encode() if text else told.astype("<i8").tobytes())
        for t_ns, event in sorted(self._notes):
            trace.update(f"{t_ns} {event}\n".encode())
        return trace.hexdigest()

    def _row(self, number: int) -> int:
        """Return the sending of a message."""
        low, high = 0, len(self._sendings) // _FIELDS
        while high - low > 1:
            middle = (low + high) // 2
            if self._sendings[middle * _FIELDS + 5] <= number:
                low = middle
            else:
                high = middle
        return low

    def _rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sendings, (count, fields), and how many messages each has."""
        sendings = _read(self._sendings).reshape(-1, _FIELDS)
        return sendings, np.diff(np.append(sendings[:, 5], len(self._dst)))

    def _times(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the known times of departure and arrival of each message; ``NEVER`` where there is none."""
        if self.explicit:
            return _read(self._left_ns), _read(self._arrival_ns)
        sendings, times = self._rows()
        place = np.arange(len(self._dst)) - np.repeat(sendings[:, 5], times) + 1
        start_ns = np.repeat(sendings[:, 6], times)
        left_ns = np.where(start_ns == NEVER, NEVER, start_ns + place * np.repeat(sendings[:, 7], times))
        left_ns[np.frombuffer(bytes(self.fate), np.uint8) == RETAINED] = NEVER
        delay_ns = _read(self.delay_ns)
        return left_ns, np.where((delay_ns < 0) | (left_ns == NEVER), NEVER, left_ns + delay_ns)

    def _fates(self, left_ns: NDArray[np.int64], arrival_ns: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the status of each message at the end of the run."""
        fate = np.frombuffer(bytes(self.fate), np.uint8).copy()
        end_ns = np.iinfo(np.int64).max if self._end_ns is None else self._end_ns
        fate[fate == RETAINED] = CUT_OFF
        open_ = fate == UNDER_WAY
        fate[open_ & (arrival_ns != NEVER) & (arrival_ns <= end_ns)] = ARRIVED
        if not self.explicit:
            fate[open_ & (_read(self.delay_ns) < 0) & (left_ns != NEVER) & (left_ns <= end_ns)] = WENT_MISSING
        return fate


class ActivityLog:
    """Spans of time in which nodes computed, waited or were down."""

    COMPUTING, WAITING, DOWN = range(3)
    STATES = ("computing", "waiting", "down")

    def __init__(self) -> None:
        self._spans = array("q")

    def span(self, node: int, state: int, from_ns: int, until_ns: int) -> None:
        """Note that a node was in a state; ``NEVER`` as its end stands for the end of the run."""
        if from_ns != until_ns:
            self._spans.extend((node, state, from_ns, until_ns))

    def who(self, state: int, t_ns: int) -> frozenset[int]:
        """Return the nodes that were in a state at that time; to be called after the run."""
        spans = _read(self._spans).reshape(-1, 4)
        nodes, states, from_ns, until_ns = spans.T
        then = (states == state) & (from_ns <= t_ns) & ((until_ns == NEVER) | (until_ns > t_ns))
        return frozenset(nodes[then].tolist())

    def columns(self) -> dict[str, NDArray[Any]]:
        """node, state, from_ns, until_ns (−1: to the end), in order of their beginning."""
        spans = _read(self._spans).reshape(-1, 4)
        spans = spans[np.lexsort((spans[:, 1], spans[:, 0], spans[:, 2]))]
        return {
            "node": spans[:, 0],
            "state": np.array(self.STATES, object)[spans[:, 1]],
            "from_ns": spans[:, 2],
            "until_ns": spans[:, 3],
        }


def _read(column: array[int]) -> NDArray[np.int64]:
    return np.frombuffer(column.tobytes(), np.int64)
