"""A sum in progress: a member's part in it, and the aggregator's collection of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from protocols.aggregation.ideal import Sealed
from protocols.aggregation.sums import SUM_BYTES, Offer, Reply, Rules, SumId
from simulator.contract.node import Message, Node

REFUSE = "refuse"
Pump: TypeAlias = "Callable[[Callable[[], bool], float], Awaitable[bool]]"
"""Handles messages until a condition holds or a number of seconds has passed."""


@dataclass
class Part:
    """Part of a member in one sum.

    Args:
        sum: name of the sum.
        listed: the members its aggregator announced, ascending, this one included.
        offer: vector this member contributes.
        neighbourhood: number of members that might have been listed.
        answered: the payloads of the requests answered so far, by step.
        kept: state the protocol keeps between steps.
        closed: whether a request was refused, which ends it.
        included: members whose vectors are in the sum, as far as this member was told; at first the whole list.
    """

    sum: SumId
    listed: tuple[int, ...]
    offer: Offer
    neighbourhood: int
    answered: list[Any] = field(default_factory=list)
    kept: Any = None
    closed: bool = False
    included: tuple[int, ...] = ()


@dataclass
class Gathering:
    """Collection of answers by an aggregator for one sum.

    Args:
        sum: name of the sum.
        listed: members it asks, ascending.
        greetings: content of each member's greeting.
        pump: handles messages while it waits.
        neighbourhood: number of members that might have been listed.
        size: words of a vector.
    """

    node: Node
    steps: Sequence[tuple[str, str]]
    rules: Rules
    sum: SumId
    listed: tuple[int, ...]
    greetings: Mapping[int, Any]
    pump: Pump
    neighbourhood: int
    size: int
    step: int = -1
    answers: dict[int, Message] = field(default_factory=dict)
    refused: dict[int, str] = field(default_factory=dict)
    _asked: frozenset[int] = frozenset()
    _sound: Callable[[Any], bool] = bool

    async def ask(
        self,
        requests: Mapping[int, Reply],
        sound: Callable[[Any], bool],
        *,
        all_needed: bool = False,
    ) -> dict[int, Message]:
        """Run the next sub-round: send the requests, and wait for the answers.

        Args:
            requests: by member.
            sound: check of the form of an answer's payload.
            all_needed: stop waiting as soon as one member refuses.

        Returns:
            The answers that came in time, by member, ascending.
        """
        self.step += 1
        kind = self.steps[self.step][0]
        self._asked, self._sound, self.answers = frozenset(requests), sound, {}
        for peer, (payload, size, release) in sorted(requests.items()):
            body = (self.sum.attempt, payload)
            self.node.send(peer, Message(kind, self.sum.round, body, SUM_BYTES + size, release))

        def settled() -> bool:
            if all_needed and self._asked & self.refused.keys():
                return True
            return self._asked <= self.answers.keys() | self.refused.keys()

        await self.pump(settled, self.rules.timeout_s)
        self._asked = frozenset()
        return dict(sorted(self.answers.items()))

    def same(
        self, payload: Any, size_bytes: int, members: Iterable[int], release: Any = None
    ) -> dict[int, Reply]:
        """Return the same request for several members, with what it shows each of them."""
        return dict.fromkeys(members, Reply(payload, size_bytes, release))

    def collect(self, src: int, message: Message) -> None:
        """Store an answer."""
        attempt, payload = message.body
        if message.round != self.sum.round or attempt != self.sum.attempt:
            return
        if message.kind == REFUSE:
            if src in self.listed:
                self.refused.setdefault(src, str(payload))
        elif src not in self._asked or message.kind != self.steps[self.step][1]:
            if src in self.listed and src not in self.answers:
                self.node.record("late", round=message.round, sender=src, message=message.kind)
        elif not self._sound(payload):
            self.node.record("malformed", round=message.round, sender=src)
            self.refused.setdefault(src, "malformed")
        elif src not in self.refused:
            self.answers.setdefault(src, message._replace(body=payload))

    def is_vector(self, payload: Any) -> bool:
        """Return whether a payload is a protected vector of the right size; its content cannot be checked."""
        if isinstance(payload, Sealed):
            return payload.size_bytes == self.rules.vector_bytes(self.size)
        return self.rules.encoding.modulus.holds(payload) and payload.size == self.size

    def too_few(self, members: int) -> bool:
        """Return whether a sum over this number of members may not be opened."""
        return members < self.rules.minimum(self.neighbourhood)
