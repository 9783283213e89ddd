"""A node whose messages must declare what they reveal, for programs that the ledger has to trust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from simulator.contract.node import Message, Node
from simulator.errors import ContractError


class Declared:
    """A node that refuses to send a body without a release, and otherwise is the node it wraps.

    Guarantees:
        Every message with content names the lineage states that its receiver learns, so the ledger counts it. That
        they are the right ones is up to the program: messages made by ``sottovoce.send_model`` name them.
    """

    def __init__(self, node: Node) -> None:
        self._node = node

    @classmethod
    def node(cls, node: Node) -> Node:
        """Wrap a node."""
        return cast(Node, cls(node))

    if not TYPE_CHECKING:  # the rest of the contract, as the wrapped node has it

        def __getattr__(self, name: str) -> Any:
            return getattr(self._node, name)

    def send(self, to: int, message: Message) -> None:
        """Hand a message to the uplink.

        Raises:
            ContractError: it has a body and no release, or ``to`` is not a neighbour.
        """
        self._check(message)
        self._node.send(to, message)

    def multicast(self, peers: Sequence[int], message: Message) -> None:
        """Hand the same message to several neighbours.

        Raises:
            ContractError: it has a body and no release, or one of them is not a neighbour.
        """
        self._check(message)
        self._node.multicast(peers, message)

    def _check(self, message: Message) -> None:
        if message.body is not None and message.release is None:
            raise ContractError(
                f"the message {message.kind!r} of round {message.round} has a body and no release, so the ledger "
                "would not count what it reveals; send models with sottovoce.send_model, send nothing else, or "
                "remove [privacy]"
            )
