"""Sums whose aggregator is a member itself: what it sends to itself arrives without a network."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from protocols.privacy.lineage import Lineage
from simulator.contract.node import Delivery, Match, Message, Node


class Inside:
    """Wrapper of a node that may send messages to itself.

    They arrive at once, before anything else, cost no time and no bytes, and what they reveal to the node is in the
    lineage like every delivery.

    Args:
        node: the wrapped node.
        lineage: record of the run.
    """

    def __init__(self, node: Node, lineage: Lineage) -> None:
        self._node = node
        self._lineage = lineage
        self._own: deque[Delivery] = deque()

    @classmethod
    def node(cls, node: Node, lineage: Lineage) -> Node:
        """Wrap a node."""
        return cast(Node, cls(node, lineage))

    if not TYPE_CHECKING:  # the rest of the contract, as the wrapped node has it

        def __getattr__(self, name: str) -> Any:
            return getattr(self._node, name)

    def send(self, to: int, message: Message) -> None:
        """Send a message to a neighbour, or to this node."""
        if to != self._node.id:
            self._node.send(to, message)
            return
        now_s = self._node.now_s
        self._lineage.delivered(now_s, to, message.round, message.release)
        self._own.append(Delivery(to, message, now_s, now_s))

    def multicast(self, peers: Sequence[int], message: Message) -> None:
        """Send the same message to several neighbours."""
        self._node.multicast(peers, message)

    async def receive(self, match: Match | None = None, timeout_s: float | None = None) -> Delivery | None:
        """Wait for a message that matches and take the oldest, own ones first."""
        for index, delivery in enumerate(self._own):
            if match is None or match(delivery):
                del self._own[index]
                return delivery
        return await self._node.receive(match, timeout_s)
