"""Check that messages of a program from outside declare what they reveal, so that the ledger counts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from protocols.privacy.lineage import is_tag
from simulator.contract.node import Message, Node
from simulator.errors import ContractError


class Declared:
    """Wrapper of a node that refuses to send a message with a body but without a release.

    Guarantees:
        Every message with a body names the lineage states that its receiver learns, so the ledger counts it. Whether
        they are the right ones is not checked; messages made by ``sottovoce.send_model`` name the right ones.
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
        """Send a message to a neighbour.

        Raises:
            ContractError: it has a body and no release, or ``to`` is not a neighbour.
        """
        self._check(message)
        self._node.send(to, message)

    def multicast(self, peers: Sequence[int], message: Message) -> None:
        """Send the same message to several neighbours.

        Raises:
            ContractError: it has a body and no release, or one of them is not a neighbour.
        """
        self._check(message)
        self._node.multicast(peers, message)

    def _check(self, message: Message) -> None:
        if not isinstance(message, Message):
            raise ContractError(
                f"expected a Message(kind, round, body, size_bytes), got {type(message).__name__}"
            )
        release = message.release
        if release is not None and not is_tag(release):
            raise ContractError(
                f"message {message.kind!r} of round {message.round} has the release {release!r:.80}; expected a tag "
                "of protocols.privacy.lineage or a tuple of tags, as sottovoce.send_model makes them"
            )
        if message.body is not None and (release is None or release == ()):
            raise ContractError(
                f"message {message.kind!r} of round {message.round} has a body but no release, so the ledger cannot "
                "count what it reveals; send models with sottovoce.send_model and no other bodies, or remove "
                "[privacy]"
            )
