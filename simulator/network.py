"""Links: uplink serialisation, latency, loss, and the counting of every message."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
import simpy

from simulator import streams
from simulator.clock import NS_PER_S, Calendar, to_ns, to_s
from simulator.links import LinkModel
from simulator.node import Delivery, Message
from simulator.records import DELIVERED, DROPPED, LOST, MessageLog

REMEMBERED_ROUNDS = 64
"""A message sent again after that many later rounds on its link draws as if it were sent for the first time."""


class Network:
    """Carries messages between nodes in virtual time."""

    def __init__(
        self,
        env: Calendar,
        nodes: int,
        link: LinkModel,
        seed: int,
        log: MessageLog,
        deliver: Callable[[int, Delivery], bool],
    ) -> None:
        """``deliver(dst, delivery)`` says whether the receiver was up to take it."""
        self._env = env
        self._link = link
        self._seed = seed
        self._log = log
        self._deliver = deliver
        self._uplink_free_ns = [0] * nodes
        self._crashes_ns: list[list[int]] = [[] for _ in range(nodes)]
        self._draws: dict[tuple[int, int, str], _Draws] = {}

    def send(self, src: int, dst: int, message: Message) -> None:
        """Put a message on the sender's uplink."""
        now = self._env.now_ns
        size = message.size_bytes + self._link.header_bytes
        number = self._log.sent(now, src, dst, message.kind, message.round, size)
        start = max(now, self._uplink_free_ns[src])
        left_ns = start + round(size * 8 * NS_PER_S / self._link.uplink_bps)
        self._uplink_free_ns[src] = left_ns
        u_loss, u_latency = self._draw(src, dst, message)
        arrival_ns = left_ns + to_ns(float(self._link.latency(np.asarray(u_latency))))
        lost = u_loss < self._link.loss
        flight = _Flight(number, src, dst, message, now, left_ns, lost)
        self._env.timeout(arrival_ns - now, flight).callbacks.append(self._arrive)

    def crashed(self, node: int) -> None:
        """What a crashed node still had on its uplink never leaves."""
        self._crashes_ns[node].append(self._env.now_ns)
        self._uplink_free_ns[node] = self._env.now_ns

    def _draw(self, src: int, dst: int, message: Message) -> tuple[float, float]:
        # Keyed by what the message is, not by how many were drawn before it: other traffic cannot shift it.
        draws = self._draws.get((src, dst, message.kind))
        if draws is None:
            draws = self._draws[src, dst, message.kind] = _Draws(
                streams.Prefix(self._seed, "link", src, dst, message.kind)
            )
        return draws.next(message.round)

    def _arrive(self, event: simpy.Event) -> None:
        flight = cast(_Flight, event.value)
        now = self._env.now_ns
        if any(flight.sent_ns <= crash < flight.left_ns for crash in self._crashes_ns[flight.src]):
            self._log.ended(flight.number, now, DROPPED)
        elif flight.lost:
            self._log.ended(flight.number, now, LOST)
        elif self._deliver(flight.dst, Delivery(flight.src, flight.message, to_s(flight.sent_ns), to_s(now))):
            self._log.ended(flight.number, now, DELIVERED)
        else:
            self._log.ended(flight.number, now, DROPPED)


class _Flight(NamedTuple):
    """A message between its uplink and its receiver."""

    number: int
    src: int
    dst: int
    message: Message
    sent_ns: int
    left_ns: int
    lost: bool


class _Draws:
    """The draws of one kind of message on one link: by round, and by how often that round was sent before."""

    __slots__ = ("_stream", "_times")

    def __init__(self, stream: streams.Prefix) -> None:
        self._stream = stream
        self._times: dict[int, int] = {}

    def next(self, round: int) -> tuple[float, float]:
        repeat = self._times.get(round, 0)
        self._times[round] = repeat + 1
        if len(self._times) > REMEMBERED_ROUNDS:
            del self._times[next(iter(self._times))]
        return self._stream.uniforms(round, repeat)
