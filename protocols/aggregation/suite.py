"""Interface of a protocol for secure sums: its sub-rounds, and the steps of aggregator and members."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeAlias

from protocols.aggregation.gathering import REFUSE, Gathering, Part, Pump
from protocols.aggregation.keyring import TRIES, Keyring
from protocols.aggregation.masks import mask_key
from protocols.aggregation.sums import HELLO, Opened, Refused, Reply, Rules, SumId
from simulator.contract.node import Delivery, Node

Steps: TypeAlias = tuple[tuple[str, str], ...]
"""Kinds of request and answer of a sum's sub-rounds, in order; the first request is the member list."""


class Suite(ABC):
    """Base class of protocols for secure sums; one instance per node and restart.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
    """

    steps: Steps
    """The sub-rounds of a sum."""
    outside: ClassVar[tuple[str, ...]] = ()
    """Kinds of message of this protocol that belong to no single sum."""
    attempts: int = 1
    """Number of lists of one aggregator that a member answers in a round."""
    greets: bool = False
    """Whether every sum needs a greeting from each member."""

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
        """Prepare for the first sum, with a limited number of tries."""
        return

    def has_all(self) -> bool:
        """Return whether an aggregator has received all it needs from its members before the first sum."""
        return True

    def greeting(self, aggregator: int, round: int) -> Reply:
        """Return a member's greeting before it is listed, where the protocol ``greets``."""
        return Reply(None, 0)

    def handles(self, kind: str) -> bool:
        """Return whether messages of that kind, outside of any sum, belong to this protocol."""
        return kind in self.outside

    async def handle(self, delivery: Delivery) -> None:
        """Handle such a message."""
        return

    @abstractmethod
    async def answer(self, part: Part, payload: Any) -> Reply:
        """Answer a request to a member, the last one in ``part.answered``.

        Raises:
            Refused: the member does not answer.
            KeyRefused: a co-member's key must not be used.
        """

    @abstractmethod
    async def open(self, gathering: Gathering) -> Opened:
        """Run all sub-rounds of a sum at its aggregator.

        Raises:
            Skipped: the sum stays closed.
        """


class Keyed(Suite):
    """Base class of protocols whose members share long-term pair keys, agreed on before the first sum.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
        keyring: keys shared with co-members.
    """

    outside = ("key", "keys")

    def __init__(self, node: Node, rules: Rules, keyring: Keyring) -> None:
        super().__init__(node, rules)
        self.keyring = keyring

    async def join(self, pump: Pump, tries: int = TRIES) -> None:
        """Agree on keys with all co-members."""
        await self.keyring.join(pump, tries)

    def has_all(self) -> bool:
        """Return whether all keys are known."""
        return self.keyring.has_all()

    async def handle(self, delivery: Delivery) -> None:
        """Handle a key message."""
        await self.keyring.handle(delivery)

    async def agree(self, part: Part) -> list[int]:
        """Compute the missing keys shared with all other listed members; return these members.

        Raises:
            Refused: a member's key is unknown.
        """
        others = [peer for peer in part.listed if peer != self.node.id]
        if not all(map(self.keyring.knows, others)):
            self.keyring.ask(part.sum.aggregator)
            raise Refused("a co-member's key is unknown here")
        await self.keyring.agree(others)
        return others

    def mask_key(self, sum: SumId, members: tuple[int, ...], peer: int) -> bytes:
        """Derive the key of what this node and a peer add to a sum, as :func:`~protocols.aggregation.masks.mask_key`.

        Args:
            sum: name of the sum.
            members: the list that the key is bound to, ascending; both nodes are in it.
            peer: the other node of the pair.
        """
        me = self.node.id
        return mask_key(
            self.keyring.secret(peer),
            context=self.rules.context,
            aggregator=sum.aggregator,
            round=sum.round,
            attempt=sum.attempt,
            members=members,
            pair=(min(me, peer), max(me, peer)),
        )
