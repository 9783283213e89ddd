"""Nodes that do not keep to a protocol: somebody rewrites what they send."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias

from simulator.contract.node import Message, Node

Rewrite: TypeAlias = Callable[[Node, int, Message], list[tuple[int, Message]]]
"""(node, receiver, message) -> what leaves instead, and to whom."""


class Meddler:
    """A node whose outgoing messages somebody rewrites; everything else is passed through."""

    def __init__(self, node: Node, rewrite: Rewrite) -> None:
        self._node = node
        self._rewrite = rewrite

    def __getattr__(self, name: str) -> Any:
        return getattr(self._node, name)

    def send(self, to: int, message: Message) -> None:
        for receiver, sent in self._rewrite(self._node, to, message):
            self._node.send(receiver, sent)

    def multicast(self, peers: Sequence[int], message: Message) -> None:
        for peer in peers:
            self.send(peer, message)


def meddle(byzantine: int | Collection[int], rewrite: Rewrite) -> Callable[[Node], Any]:
    """Wrap the nodes of ``byzantine``."""
    nodes = {byzantine} if isinstance(byzantine, int) else set(byzantine)
    return lambda node: Meddler(node, rewrite) if node.id in nodes else node


def mute(kinds: Mapping[int, Collection[str]]) -> Callable[[Node], Any]:
    """Nodes that never send messages of some kinds: they have dropped out before that sub-round."""

    def silence(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        return [] if message.kind in kinds[node.id] else [(to, message)]

    return meddle(kinds.keys(), silence)


def rewrite_payload(kind: str, change: Callable[[Node, int, Any], Any], times: int = 10**9) -> Rewrite:
    """Change the payload of a sum's messages of one kind, the first so many times."""
    left = [times]

    def rewrite(node: Node, to: int, message: Message) -> list[tuple[int, Message]]:
        if message.kind != kind or left[0] == 0:
            return [(to, message)]
        left[0] -= 1
        attempt, payload = message.body
        return [(to, message._replace(body=(attempt, change(node, to, payload))))]

    return rewrite
