"""A message handed to an uplink, as network and mailboxes see it; its names are in :mod:`simulator.mail`."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from simulator.contract.node import Delivery, Message
from simulator.core.clock import NS_PER_S

Key: TypeAlias = int
"""Kind and round of a message in one number."""
CODE_BITS = 16
"""Bits of a key that hold the number of the kind."""


def key_of(code: int, round: int) -> Key:
    """Return one number for a kind and a round."""
    return round << CODE_BITS | code


def code_of(key: Key) -> int:
    """Return the number of the kind."""
    return key & ((1 << CODE_BITS) - 1)


class Sending(NamedTuple):
    """One message to one or more receivers.

    Args:
        order: decides between messages that arrive at the same instant.
        first: number in the log of the message to the first receiver; the others follow.
        src: who sent it.
        dsts: the receivers, in the order in which the message leaves for them.
        message: what is sent.
        sent_ns: when it was handed to the uplink.
        key: kind and round of the message.
    """

    order: int
    first: int
    src: int
    dsts: tuple[int, ...]
    message: Message
    sent_ns: int
    key: Key

    def number(self, dst: int) -> int:
        """Return the number in the log of the message to ``dst``."""
        return self.first + self.dsts.index(dst)


Coming: TypeAlias = tuple[int, Sending]
"""A sending on its way to one receiver: (instant of arrival in ns, sending). Sorts by arrival, then by order."""


def delivery_of(coming: Coming) -> Delivery:
    """Return a message as its receiver sees it."""
    arrival_ns, sending = coming
    return Delivery(sending.src, sending.message, sending.sent_ns / NS_PER_S, arrival_ns / NS_PER_S)
