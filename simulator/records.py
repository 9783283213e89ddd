"""What a run leaves behind: messages in columns, protocol records, and the hash of the event trace."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, TypeAlias

DELIVERED, LOST, DROPPED, IN_FLIGHT = "delivered", "lost", "dropped", "in-flight"

Sink: TypeAlias = "Callable[[float, int, str, Mapping[str, Any]], None]"
"""Receives ``node.record`` calls: (t_s, node, kind, fields)."""


class MessageLog:
    """Every message once: sent, then delivered, lost, dropped or still in flight when the run ends.

    *Lost*: by the link. *Dropped*: the sender was down before it left, the receiver was down when it arrived,
    or an adversary held it back. Columns, not objects, so that a million messages stay small.
    """

    def __init__(self) -> None:
        self.sent_ns = array("q")
        self.delivered_ns = array("q")
        self.src = array("q")
        self.dst = array("q")
        self.size_bytes = array("q")
        self.kind: list[str] = []
        self.status: list[str] = []
        self.bytes_total = 0
        self._trace = blake2b(digest_size=16)

    def sent(self, t_ns: int, src: int, dst: int, kind: str, round: int, size_bytes: int) -> int:
        """Note a message and return its number."""
        self.sent_ns.append(t_ns)
        self.delivered_ns.append(-1)
        self.src.append(src)
        self.dst.append(dst)
        self.size_bytes.append(size_bytes)
        self.kind.append(kind)
        self.status.append(IN_FLIGHT)
        self.bytes_total += size_bytes
        self.note(t_ns, f"send {src} {dst} {kind} {round} {size_bytes}")
        return len(self.status) - 1

    def ended(self, number: int, t_ns: int, status: str) -> None:
        """Note how a message ended."""
        self.status[number] = status
        if status == DELIVERED:
            self.delivered_ns[number] = t_ns
        self.note(t_ns, f"{status} {number}")

    def note(self, t_ns: int, event: str) -> None:
        """Add any other event (a crash, a return) to the trace hash."""
        self._trace.update(f"{t_ns} {event}\n".encode())

    def count(self, status: str) -> int:
        """Messages that ended so."""
        return self.status.count(status)

    @property
    def trace_hash(self) -> str:
        """Hash of every event so far: times, ends, kinds, rounds, sizes, fates. Independent of contents."""
        return self._trace.hexdigest()
