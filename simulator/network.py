"""Links: uplink serialisation, latency, loss, and the counting of every message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from simulator import streams
from simulator.clock import NS_PER_S, Calendar, to_ns, to_s
from simulator.latency import Latency
from simulator.node import Delivery, Message
from simulator.records import DELIVERED, DROPPED, LOST, MessageLog


@dataclass(frozen=True)
class LinkModel:
    """How messages travel.

    Args:
        latency: propagation delay, drawn per message.
        uplink_bps: bits per second of each node's uplink; its messages leave one after another (FIFO).
        loss: probability that a message never arrives, independent per message.
        header_bytes: added to each message's size.
    """

    latency: Latency
    uplink_bps: float
    loss: float = 0.0
    header_bytes: int = 0


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
        self._crashed_ns: list[int] = [-1] * nodes
        self._drawn: defaultdict[tuple[int, int, str, int], int] = defaultdict(int)

    def send(self, src: int, dst: int, message: Message) -> None:
        """Put a message on the sender's uplink."""
        now = self._env.now_ns
        size = message.size_bytes + self._link.header_bytes
        number = self._log.sent(now, src, dst, message.kind, message.round, size)
        start = max(now, self._uplink_free_ns[src])
        left_ns = start + round(size * 8 * NS_PER_S / self._link.uplink_bps)
        self._uplink_free_ns[src] = left_ns
        u_loss, u_latency = self._draw(src, dst, message)
        arrival_ns = left_ns + to_ns(self._link.latency(u_latency))
        lost = u_loss < self._link.loss
        event = self._env.timeout(arrival_ns - now)
        event.callbacks.append(lambda _: self._arrive(number, src, dst, message, now, left_ns, lost))

    def crashed(self, node: int) -> None:
        """What a crashed node still had on its uplink never leaves."""
        self._crashed_ns[node] = self._env.now_ns
        self._uplink_free_ns[node] = self._env.now_ns

    def _draw(self, src: int, dst: int, message: Message) -> tuple[float, float]:
        # Keyed by what the message is, not by how many were drawn before it: other traffic cannot shift it.
        key = (src, dst, message.kind, message.round)
        repeat = self._drawn[key]
        self._drawn[key] += 1
        return streams.uniforms(self._seed, "link", *key, repeat)

    def _arrive(
        self, number: int, src: int, dst: int, message: Message, sent_ns: int, left_ns: int, lost: bool
    ) -> None:
        now = self._env.now_ns
        if sent_ns <= self._crashed_ns[src] < left_ns:
            self._log.ended(number, now, DROPPED)
        elif lost:
            self._log.ended(number, now, LOST)
        elif self._deliver(dst, Delivery(src, message, to_s(sent_ns), to_s(now))):
            self._log.ended(number, now, DELIVERED)
        else:
            self._log.ended(number, now, DROPPED)
