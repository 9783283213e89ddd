"""Wiretaps on links: sender, receiver, size and times of each message, and its content if links are not encrypted."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isnan, nan
from typing import Any, NamedTuple

from simulator.contract.node import Link, Message
from simulator.errors import ConfigurationError


class TappedMessage(NamedTuple):
    """One message as the tap saw it; what encryption hides is None."""

    left_s: float
    arrived_s: float | None
    src: int
    dst: int
    size_bytes: int
    kind: str | None
    round: int | None
    body: Any


@dataclass(frozen=True, eq=False)
class Wiretap:
    """An eavesdropper on links, who changes nothing. One object records one run.

    Args:
        links: the directed links it listens on; None means every link (a global eavesdropper).
        encrypted: whether links are encrypted, so that only traffic is left to see.
        heard: called with (t_s, round, release) for what passes in the clear.

    Raises:
        ConfigurationError: a link is not a pair of two different nodes, or there is no link at all.

    Guarantees:
        Encrypted: of a message the tap learns when its last bit left, when it arrived (if it did), its endpoints
        and its size in bytes, headers included. From those follow the degree of every tapped node, who takes part
        when, how long computing takes (hence |D_i| if the price of a local step is not padded), retransmissions
        and, wherever sizes tell them apart, kinds of messages. It is given no kind, no round, no body. Nothing is
        padded and no dummy traffic is sent: a protocol that wants to hide its traffic has to send some itself.

        Not encrypted: also kind, round and body as they are on the wire. A body that the protocol has protected
        (a masked vector, a share) is seen protected: n-of-n shares of an input need taps on the links of all n,
        k-of-n shares on those of k.

        Either way it is never given releases, what a node does not send, how long a message waited in its sender's
        queue, or why a message did not arrive. What a message releases is not kept here, but handed to ``heard``
        where links are not encrypted, for whoever accounts for it.
    """

    links: frozenset[Link] | None = None
    encrypted: bool = True
    heard: Callable[[float, int, Any], None] | None = None
    _left_s: array[float] = field(default_factory=lambda: array("d"), init=False, repr=False)
    _arrived_s: array[float] = field(default_factory=lambda: array("d"), init=False, repr=False)
    _src: array[int] = field(default_factory=lambda: array("q"), init=False, repr=False)
    _dst: array[int] = field(default_factory=lambda: array("q"), init=False, repr=False)
    _size: array[int] = field(default_factory=lambda: array("q"), init=False, repr=False)
    _content: list[tuple[str, int, Any]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.links is None:
            return
        if not self.links:
            raise ConfigurationError(
                "a wiretap on no link hears nothing; name links, or None for all of them",
                "adversary.wires.links",
            )
        for link in self.links:
            check_link(link, "adversary.wires.links")

    def __len__(self) -> int:
        return len(self._src)

    def sees(self, src: int, dst: int) -> bool:
        """Return whether it listens on the link from ``src`` to ``dst``."""
        return self.links is None or (src, dst) in self.links

    def sent(self, t_s: float, src: int, dst: int, message: Message, size_bytes: int) -> int:
        """Note a message on a tapped link and return its row.

        Args:
            t_s: when its last bit left the sender's uplink.
            src: who sent it.
            dst: who is to have it.
            message: what was sent; kept only as far as encryption allows.
            size_bytes: on the wire, headers included.
        """
        self._left_s.append(t_s)
        self._arrived_s.append(nan)
        self._src.append(src)
        self._dst.append(dst)
        self._size.append(size_bytes)
        if not self.encrypted:
            self._content.append((message.kind, message.round, message.body))
            if self.heard is not None and message.release is not None:
                self.heard(t_s, message.round, message.release)
        return len(self._src) - 1

    def arrived(self, row: int, t_s: float) -> None:
        """Note that a message reached the far end of its link, whether or not its receiver was up to take it."""
        self._arrived_s[row] = t_s

    def rows(self) -> Iterator[TappedMessage]:
        """Everything seen, in the order in which it was noted."""
        for i, times in enumerate(zip(self._left_s, self._arrived_s, strict=True)):
            left_s, arrived_s = times
            kind, round, body = (None, None, None) if self.encrypted else self._content[i]
            yield TappedMessage(
                left_s,
                None if isnan(arrived_s) else arrived_s,
                self._src[i],
                self._dst[i],
                self._size[i],
                kind,
                round,
                body,
            )


def check_link(link: object, key: str) -> None:
    """Refuse what is not a directed link.

    Raises:
        ConfigurationError: not two different node numbers.
    """
    match link:
        case (int(src), int(dst)) if src != dst and src >= 0 and dst >= 0:
            return
    raise ConfigurationError(f"{link!r} is no link; expected (source, destination), two different nodes", key)
