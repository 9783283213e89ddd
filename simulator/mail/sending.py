"""A message on its way, as the network and the mailboxes see it."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from simulator.contract.node import Delivery, Message
from simulator.core.clock import NS_PER_S

Key: TypeAlias = int
"""Kind and round of a message in one number."""
CODE_BITS = 16
"""How much of a key is the number of the kind."""


def key_of(code: int, round: int) -> Key:
    """One number for a kind and a round."""
    return round << CODE_BITS | code


def code_of(key: Key) -> int:
    """The number of the kind."""
    return key & ((1 << CODE_BITS) - 1)


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


def delivery_of(entry: Entry) -> Delivery:
    """A message as its receiver sees it."""
    arrival_ns, flight = entry
    return Delivery(flight.src, flight.message, flight.sent_ns / NS_PER_S, arrival_ns / NS_PER_S)
