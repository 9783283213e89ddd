"""Model of message transport over links, as data that the networks of this package apply."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

import numpy as np

from simulator.errors import ConfigurationError
from simulator.network.latency import BaseDelay
from simulator.network.packet_loss import Bursts
from simulator.streams import Law


@dataclass(frozen=True)
class Transport:
    """A reliable transport: what was lost is sent again after a time-out, until it arrives or is given up.

    Acknowledgements are taken to cost nothing and never to be lost, so a message is repeated exactly when it was
    lost; each repetition waits for the uplink again.

    Args:
        timeout_s: after the first loss, counted from the last bit on the uplink.
        backoff: each further time-out is this many times the one before.
        attempts: how often a message is sent in all; then it has expired.
        ordered: messages of a link are delivered in the order they were sent; those behind a missing one wait.
    """

    timeout_s: float
    backoff: float = 2.0
    attempts: int = 8
    ordered: bool = True


@dataclass(frozen=True)
class Reordering:
    """A share of the messages is delayed by ``delay_s``, so that later ones overtake them."""

    share: float
    delay_s: float


@dataclass(frozen=True)
class LinkModel:
    """Transport of messages.

    A message waits for its sender's uplink, leaves bit by bit, may be lost, travels for the base delay of its link
    and a delay drawn for it alone, and waits for its receiver's downlink.

    Args:
        latency: law of the delay drawn for each message, in seconds.
        uplink_bps: bits per second each node can send; one for all, or one each.
        loss: probability that a message is lost, independent per message.
        header_bytes: added to each message's size.
        base_s: the delay of each link that is the same for all its messages; None for zero.
        downlink_bps: bits per second each node can receive.
        link_bps: bits per second of a directed link, for all or for those named.
        link_loss: loss of the directed links named, in place of ``loss``.
        sharing: "fifo", a node's messages leave and enter one after another; "fair", all transfers under way share
            the capacities by max–min fairness.
        bursts: further loss in bad times of each link (Gilbert–Elliott).
        transport: repeats what was lost; None for datagrams.
        duplication: probability that a second copy arrives, with a delay of its own.
        reordering: further delay of a share of the messages.
        latency_of: words that name the law and base delays in errors: their kinds and packages.
    """

    latency: Law
    uplink_bps: float | Sequence[float] = inf
    loss: float = 0.0
    header_bytes: int = 0
    base_s: BaseDelay | None = None
    downlink_bps: float | Sequence[float] = inf
    link_bps: float | Mapping[tuple[int, int], float] = inf
    link_loss: Mapping[tuple[int, int], float] = field(default_factory=dict)
    sharing: Literal["fifo", "fair"] = "fifo"
    bursts: Bursts | None = None
    transport: Transport | None = None
    duplication: float = 0.0
    reordering: Reordering | None = None
    latency_of: str = "the latency"

    def __post_init__(self) -> None:
        for name in ("uplink_bps", "downlink_bps", "link_bps"):
            given = getattr(self, name)
            rates = given.values() if isinstance(given, Mapping) else np.atleast_1d(given)
            if not all(rate > 0 for rate in rates):
                raise ConfigurationError(f"a rate must be above 0 bit/s, got {given}", f"network.{name}")
        for name, share in (("loss", self.loss), ("duplication", self.duplication)):
            if not 0 <= share <= 1:
                raise ConfigurationError(f"a probability is from 0 to 1, got {share}", f"network.{name}")
        if self.duplication and self.transport is not None:
            raise ConfigurationError(
                "a reliable transport delivers each message once, so duplication cannot be seen; "
                "expected one of the two",
                "network.duplication",
            )

    def uplinks(self, nodes: int) -> list[float]:
        """Bits per second each node can send."""
        return _each(self.uplink_bps, nodes, "uplink")

    def downlinks(self, nodes: int) -> list[float]:
        """Bits per second each node can receive."""
        return _each(self.downlink_bps, nodes, "downlink")

    @property
    def direct(self) -> bool:
        """Return whether a message depends only on its own sender's uplink, a loss and a delay."""
        rates = self.link_bps.values() if isinstance(self.link_bps, Mapping) else [self.link_bps]
        open_ = all(rate == inf for rate in [*rates, *np.atleast_1d(self.downlink_bps)])
        return open_ and self.bursts is None and self.transport is None and not self.duplication


def _each(rates: float | Sequence[float], nodes: int, name: str) -> list[float]:
    if isinstance(rates, int | float):
        return [float(rates)] * nodes
    if len(rates) != nodes:
        raise ConfigurationError(f"{len(rates)} {name} rates for {nodes} nodes", f"network.{name}")
    return [float(rate) for rate in rates]
