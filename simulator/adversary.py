"""Hooks for adversaries: taps that only look, and claims that lie.

The simulator carries what these functions return and knows nothing of what they mean; attacks themselves are
pure functions on a higher floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from simulator.node import Delivery, Node

Tap: TypeAlias = "Callable[[int, Delivery], None]"
"""Sees (curious node, delivery) the moment a message reaches that node."""

Claim: TypeAlias = "Callable[[Node, Any, int, int], Any]"
"""(node, content, to, round) -> what the node claims instead of its true content."""


@dataclass(frozen=True)
class Adversary:
    """Who is not to be trusted.

    Args:
        curious: nodes whose received messages are shown to ``tap``; they follow the protocol.
        tap: called for every delivery to a curious node.
        byzantine: node -> the function its contributions pass through before they are protected and sent.
    """

    curious: frozenset[int] = frozenset()
    tap: Tap | None = None
    byzantine: Mapping[int, Claim] = field(default_factory=dict)

    def outgoing(self, node: Node, content: Any, to: int, round: int) -> Any:
        """What ``node`` says in place of ``content``."""
        claim = self.byzantine.get(node.id)
        return content if claim is None else claim(node, content, to, round)

    def observe(self, dst: int, delivery: Delivery) -> None:
        """Show a delivery to the tap, if its receiver is curious."""
        if self.tap is not None and dst in self.curious:
            self.tap(dst, delivery)
