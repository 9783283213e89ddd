"""One sum while it is under way: a member's part in it, and the aggregator's collection of answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from protocols.aggregation.ideal import Sealed
from protocols.aggregation.sums import SUM_BYTES, Offer, Reply, Rules, SumId
from simulator.contract.node import Message, Node

REFUSE = "refuse"
Pump: TypeAlias = "Callable[[Callable[[], bool], float], Awaitable[bool]]"
"""Handles messages until a condition holds or so many seconds have passed."""


@dataclass
class Part:
    """A member's part in one sum.

    Args:
        sum: which one.
        listed: the members its aggregator announced, ascending, this one included.
        offer: what this member puts in.
        answered: the payloads of the requests answered so far, by step.
        kept: what the protocol remembers between steps.
        closed: whether a request was refused, which ends it.
        included: whose vectors are in the sum, as far as this member was told; the list until it is told more.
    """

    sum: SumId
    listed: tuple[int, ...]
    offer: Offer
    answered: list[Any] = field(default_factory=list)
    kept: Any = None
    closed: bool = False
    included: tuple[int, ...] = ()


@dataclass
class Gathering:
    """An aggregator's collection of answers for one sum.

    Args:
        sum: which one.
        listed: whom it asks, ascending.
        greetings: what each of them said in its sign of life.
        pump: handles messages while it waits.
        neighbourhood: how many might have been listed.
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
        """Go through the next sub-round: send the requests, and wait for the answers.

        Args:
            requests: by member.
            sound: whether a payload has the form an answer must have.
            all_needed: stop waiting as soon as one refuses.

        Returns:
            By member, ascending, the answers that came in time.
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
        """The same request for several members, and what it shows each of them."""
        return dict.fromkeys(members, Reply(payload, size_bytes, release))

    def collect(self, src: int, message: Message) -> None:
        """Take in an answer."""
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
        """Whether a payload is a protected vector of the right size; what it holds cannot be checked."""
        if isinstance(payload, Sealed):
            return payload.size_bytes == self.rules.vector_bytes(self.size)
        return self.rules.encoding.modulus.holds(payload) and payload.size == self.size

    def too_few(self, members: int) -> bool:
        """Whether a sum over so many members may not be opened."""
        return members < self.rules.minimum(self.neighbourhood)
