"""What a protocol for secure sums is: its sub-rounds, and what its aggregator and its members do in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

from protocols.aggregation.gathering import REFUSE, Gathering, Part, Pump
from protocols.aggregation.keyring import TRIES, Keyring
from protocols.aggregation.sums import HELLO, Opened, Refused, Reply, Rules
from simulator.contract.node import Delivery, Node

Steps: TypeAlias = tuple[tuple[str, str], ...]
"""Kinds of request and answer of a sum's sub-rounds, in order; the first request is the member list."""


class Suite(ABC):
    """One protocol for secure sums; one for every node and life.

    Args:
        node: whose side of it.
        rules: what all agree on.
    """

    steps: Steps
    """The sub-rounds of a sum."""
    outside: ClassVar[tuple[str, ...]] = ()
    """Kinds of message that are this protocol's and belong to no single sum."""
    attempts: int = 1
    """How many lists of one aggregator a member answers in a round."""
    greets: bool = False
    """Whether every sum needs a greeting of its own from each member."""

    def __init__(self, node: Node, rules: Rules) -> None:
        self.node = node
        self.rules = rules

    @classmethod
    def messages(cls, steps: Steps | None = None) -> tuple[str, ...]:
        """Return the kinds of message that nodes send.

        Args:
            steps: sub-rounds of a variant; None: those of the class.
        """
        pairs = cls.steps if steps is None else steps
        return (HELLO, *(kind for pair in pairs for kind in pair), REFUSE, *cls.outside)

    async def join(self, pump: Pump, tries: int = TRIES) -> None:
        """Whatever must happen before the first sum; tried so often."""
        return

    def has_all(self) -> bool:
        """Whether an aggregator has all that its members have to tell it before the first sum."""
        return True

    def greeting(self, aggregator: int, round: int) -> Reply:
        """What a member says before it is listed, where it ``greets``."""
        return Reply(None, 0)

    def handles(self, kind: str) -> bool:
        """Whether messages of that kind, outside of any sum, are this protocol's."""
        return kind in self.outside

    async def handle(self, delivery: Delivery) -> None:
        """Take in such a message."""
        return

    @abstractmethod
    async def answer(self, part: Part, payload: Any) -> Reply:
        """A member answers a request, the last one in ``part.answered``.

        Raises:
            Refused: it does not.
            KeyRefused: a co-member's key must not be used.
        """

    @abstractmethod
    async def open(self, gathering: Gathering) -> Opened:
        """An aggregator goes through all sub-rounds.

        Raises:
            Skipped: the sum stays closed.
        """


class Keyed(Suite):
    """A protocol whose members share long-term pair keys, agreed on before the first sum.

    Args:
        node: whose side of it.
        rules: what all agree on.
        keyring: keys shared with co-members.
    """

    outside = ("key", "keys")

    def __init__(self, node: Node, rules: Rules, keyring: Keyring) -> None:
        super().__init__(node, rules)
        self.keyring = keyring

    async def join(self, pump: Pump, tries: int = TRIES) -> None:
        """Agree on keys with everybody this node shares a neighbourhood with."""
        await self.keyring.join(pump, tries)

    def has_all(self) -> bool:
        """All keys."""
        return self.keyring.has_all()

    async def handle(self, delivery: Delivery) -> None:
        """Take in keys."""
        await self.keyring.handle(delivery)

    async def agree(self, part: Part) -> list[int]:
        """Have keys with all other listed members; who they are.

        Raises:
            Refused: somebody's key is not here.
        """
        others = [peer for peer in part.listed if peer != self.node.id]
        if not all(map(self.keyring.knows, others)):
            self.keyring.ask(part.sum.aggregator)
            raise Refused("a co-member's key is unknown here")
        await self.keyring.agree(others)
        return others
