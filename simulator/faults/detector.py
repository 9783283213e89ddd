"""Failure detector by heartbeats: a node suspects neighbours it has not heard from for a time-out.

Heartbeats are messages like any other: they take the uplink, are delayed, lost and cut. The detector of a node
is in its memory, so a node that returns from an outage starts a new one. This is the eventually perfect
detector of T. D. Chandra and S. Toueg (Journal of the ACM 43(2), 1996, section 3) with a fixed time-out:

- if no message is lost and latencies stay below ``timeout_s - period_s``, no node that is up is suspected;
- a node that stops is suspected by its neighbours at the latest ``timeout_s`` after its last heartbeat arrives.

Losses, partitions and slow links make suspicions false, and the next message heard ends them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.streams import Prefix

HEARTBEAT = "heartbeat"
"""Kind of heartbeat messages."""


@dataclass(frozen=True)
class HeartbeatDetector:
    """Parameters of the heartbeats.

    Args:
        period_s: seconds between heartbeats to every neighbour, above 0.
        timeout_s: seconds of silence after which a neighbour is suspected, more than a period.
        size_bytes: of a heartbeat, without the network's own headers.

    Raises:
        ConfigurationError: with the key ``detector``.
    """

    period_s: float
    timeout_s: float
    size_bytes: int = 8

    def __post_init__(self) -> None:
        if not (isfinite(self.period_s) and to_ns(self.period_s) > 0):
            raise ConfigurationError(f"heartbeats every {self.period_s} s; a period is above 0", "detector")
        if not (isfinite(self.timeout_s) and self.timeout_s > self.period_s):
            raise ConfigurationError(
                f"a time-out of {self.timeout_s} s; it is finite and longer than the {self.period_s} s"
                " between heartbeats",
                "detector",
            )
        if self.size_bytes < 0:
            raise ConfigurationError(
                f"a heartbeat has {self.size_bytes} bytes; expected 0 or more", "detector"
            )

    def first_ns(self, node: int, seed: int, started_ns: int) -> int:
        """Return when a node that starts its program at ``started_ns`` sends its first heartbeats.

        Less than a period later, by a phase of its own from the stream (seed, "heartbeat", node), so that
        nodes do not all send at one instant. The next follow a period apart.
        """
        return started_ns + int(Prefix(seed, "heartbeat").uniforms(node)[0] * to_ns(self.period_s))


class Suspicions:
    """Suspicions of one node, from the messages it has received.

    Args:
        detector: the time-out.
        started_ns: when the node started, or started again; silence counts from then.
    """

    __slots__ = ("_heard_ns", "_started_ns", "_timeout_ns")

    def __init__(self, detector: HeartbeatDetector, started_ns: int) -> None:
        self._timeout_ns = to_ns(detector.timeout_s)
        self._started_ns = started_ns
        self._heard_ns: dict[int, int] = {}

    def heard(self, peer: int, t_ns: int) -> None:
        """Note that a message of ``peer`` arrived, a heartbeat or any other."""
        if t_ns > self._heard_ns.get(peer, self._started_ns):
            self._heard_ns[peer] = t_ns

    def met(self, peer: int, t_ns: int) -> None:
        """Note that ``peer`` has become a neighbour; its time-out starts now."""
        self.heard(peer, t_ns)

    def suspected_from_ns(self, peer: int) -> int:
        """Return the first nanosecond at which ``peer`` is suspected, if nothing more is received from it."""
        return self._heard_ns.get(peer, self._started_ns) + self._timeout_ns + 1

    def suspects(self, t_ns: int, peers: Iterable[int]) -> frozenset[int]:
        """Return those of ``peers`` that have been silent for longer than the time-out."""
        return frozenset(peer for peer in peers if t_ns >= self.suspected_from_ns(peer))
