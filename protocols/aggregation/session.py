"""Secure sums at one node, for every protocol: admissible requests, repetitions and time-outs.

A protocol (:class:`~protocols.aggregation.suite.Suite`) defines its sub-rounds and the content of their messages. The
rules common to all are here. A member answers each step of a sum once: a copy of a request is ignored (its answer is
in transit), another request for the same step is refused, and so is a step out of order. An aggregator waits for the
answers to one step for at most a time-out; later answers are counted and not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.aggregation.gathering import REFUSE, Gathering, Part, Pump
from protocols.aggregation.keys import KeyRefused
from protocols.aggregation.offers import Offers
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import KEPT_ROUNDS, SUM_BYTES, Opened, Refused, Rules, Skipped, SumId, is_ids
from protocols.sharing.codec import OutOfRange
from simulator.contract.node import Delivery, Message, Node

VECTOR = "masked"
"""Kind of the answer that carries a member's vector, and its proof."""


def listed_in(payload: Any) -> Any:
    """Return the member list in the first request of any protocol: the payload itself, or its first part."""
    if isinstance(payload, tuple) and payload and isinstance(payload[0], tuple):
        return payload[0]
    return payload


class NodeSums:
    """Sums of one node: those it opens, one at a time, and those it is a member of.

    Args:
        node: the node.
        suite: its side of the protocol.
        rules: public parameters of all sums.
        offers: its vectors.
        size: words of a vector.
        listable: the members that a sum's aggregator might list; None: its neighbourhood, or a bucket of it.
        once: whether a member answers one list in a round, whoever opens the sum.
    """

    def __init__(
        self,
        node: Node,
        suite: Suite,
        rules: Rules,
        offers: Offers,
        size: int,
        listable: Callable[[SumId], tuple[int, ...]] | None = None,
        *,
        once: bool = False,
    ) -> None:
        self.suite = suite
        self._listable = listable or self._bucket
        self._once = once
        self._node = node
        self._rules = rules
        self._offers = offers
        self._size = size
        self._requests = {request: step for step, (request, _) in enumerate(suite.steps)}
        self._answers = {answer for _, answer in suite.steps} | {REFUSE}
        self._parts: dict[SumId, Part] = {}
        self._early: list[tuple[int, Message]] = []
        self._gathering: Gathering | None = None

    async def handle(self, delivery: Delivery) -> None:
        """Handle a message; messages that belong to no sum are ignored."""
        message = delivery.message
        if self.suite.handles(message.kind):
            await self.suite.handle(delivery)
        elif message.kind in self._answers or message.kind in self._requests:
            body = message.body
            if not (isinstance(body, tuple) and len(body) == 2 and isinstance(body[0], int)):
                self._node.record("malformed", round=message.round, sender=delivery.src)
            elif message.kind in self._requests:
                await self._answer(delivery.src, message)
            elif self._gathering is not None:
                self._gathering.collect(delivery.src, message)

    async def offered(self, round: int) -> None:
        """Answer the requests that have waited for the vector of ``round``, and drop old sums."""
        self._parts = {sum: part for sum, part in self._parts.items() if sum.round > round - KEPT_ROUNDS}
        early, self._early = self._early, []
        for aggregator, message in early:
            await self._answer(aggregator, message)

    def included(self, aggregator: int, round: int) -> tuple[int, ...] | None:
        """Return the members included in a sum this node answered to the end; None if it did not."""
        sums = [sum for sum in self._parts if sum[:2] == (aggregator, round)]
        part = self._parts[max(sums)] if sums else None
        done = part is not None and not part.closed and len(part.answered) == len(self.suite.steps)
        return part.included if part is not None and done else None

    async def open_round(
        self,
        round: int,
        listed: tuple[int, ...],
        greetings: Mapping[int, Any],
        pump: Pump,
        neighbourhood: int,
        first: int = 0,
    ) -> Opened | None:
        """Open a sum of one round, within the protocol's number of attempts; None if it stays closed.

        The outcome is recorded once (``sum ended``), and the reason of each failed attempt (``skipped``).

        Args:
            round: round of the sum.
            listed: the members that may be listed, ascending.
            greetings: content of their greetings.
            pump: handles messages meanwhile.
            neighbourhood: number of members that might have been listed.
            first: number of the first attempt: that of the bucket, where a neighbourhood has several.
        """
        opened = await self._attempts(round, listed, greetings, pump, neighbourhood, first)
        self._node.record("sum ended", round=round, opened=opened is not None)
        return opened

    async def _attempts(
        self,
        round: int,
        listed: tuple[int, ...],
        greetings: Mapping[int, Any],
        pump: Pump,
        neighbourhood: int,
        first: int,
    ) -> Opened | None:
        node = self._node
        for attempt in range(first, first + self.suite.attempts):
            if len(listed) < self._rules.minimum(neighbourhood):
                node.record("skipped", round=round, reason="too few members alive", listed=len(listed))
                return None
            sum = SumId(node.id, round, attempt)
            opened, answered = await self._open(sum, listed, greetings, pump, neighbourhood)
            if isinstance(opened, Opened):
                if (proof := self._rules.proof) is not None:
                    await node.sleep(proof.verify_s * len(opened.members))
                opened.value.setflags(write=False)
                node.record("opened", round=round, members=opened.members, value=opened.value)
                return opened
            node.record("skipped", round=round, reason=opened, listed=len(listed))
            if len(answered) == len(listed):
                return None
            listed = answered
        return None

    async def _open(
        self,
        sum: SumId,
        listed: tuple[int, ...],
        greetings: Mapping[int, Any],
        pump: Pump,
        neighbourhood: int,
    ) -> tuple[Opened | str, tuple[int, ...]]:
        """Return the opened sum or the reason for failure, and the members that answered the last request."""
        gathering = Gathering(
            self._node, self.suite.steps, self._rules, sum, listed, greetings, pump, neighbourhood, self._size
        )
        self._gathering = gathering
        try:
            return await self.suite.open(gathering), listed
        except Skipped as reason:
            return str(reason), tuple(sorted(gathering.answers))
        finally:
            self._gathering = None

    def _keep_for_later(self, aggregator: int, message: Message) -> None:
        """Keep a request until its round begins here; of every aggregator, those of its newest rounds alone.

        An honest aggregator lists a node in ``suite.attempts`` sums of a round at most, and gathers for none that is
        older than ``KEPT_ROUNDS``: what a flood of requests displaces is the sender's own.
        """
        self._early.append((aggregator, message))
        waiting = [number for number, (sender, _) in enumerate(self._early) if sender == aggregator]
        if len(waiting) > KEPT_ROUNDS * self.suite.attempts:
            del self._early[min(waiting, key=lambda number: self._early[number][1].round)]

    async def _answer(self, aggregator: int, message: Message) -> None:
        """Answer a request, keep it for later, or refuse it."""
        attempt, payload = message.body
        sum, step = SumId(aggregator, message.round, attempt), self._requests[message.kind]
        part = self._parts.get(sum)
        if step == 0 and part is None and self._offers.is_early(sum.round):
            self._keep_for_later(aggregator, message)
            return
        try:
            if part is None:
                part = self._parts[sum] = self._begin(sum, step, payload)
            elif step < len(part.answered):
                if _same(part.answered[step], payload):
                    return  # repeated by the network or an attacker; the answer is in transit
                raise Refused("this round was answered already")
            elif part.closed:
                raise Refused(f"step {step + 1} requested after step {len(part.answered)} was refused")
            elif step > len(part.answered):
                raise Refused(_too_early(step, len(part.answered)))
            part.answered.append(payload)
            reply = await self.suite.answer(part, payload)
            if (proof := self._rules.proof) is not None and self.suite.steps[step][1] == VECTOR:
                await self._node.sleep(proof.prove_s)
                reply = reply._replace(size_bytes=reply.size_bytes + proof.size_bytes)
        except (Refused, OutOfRange, KeyRefused) as objection:
            if part is not None and step == len(part.answered) - 1:
                part.closed = True
            self._refuse(sum, objection)
        else:
            body = (attempt, reply.payload)
            kind, size = self.suite.steps[step][1], SUM_BYTES + reply.size_bytes
            self._node.send(aggregator, Message(kind, sum.round, body, size, reply.release))

    def _begin(self, sum: SumId, step: int, payload: Any) -> Part:
        """Start the part in a sum, if its list is valid."""
        node = self._node
        neighbourhood, listed = self._listable(sum), listed_in(payload)
        if step > 0:
            raise Refused(_too_early(step, 0))
        if not isinstance(listed, tuple) or not all(isinstance(peer, int) for peer in listed):
            raise Refused("the list is malformed")
        if node.id not in listed or not is_ids(listed, neighbourhood):
            raise Refused("the list is not of this neighbourhood")
        if len(listed) < self._rules.minimum(len(neighbourhood)):
            raise Refused("the list is too short")
        before = [other for other in self._parts if other.round == sum.round]
        if not self._once:
            before = [other for other in before if other.aggregator == sum.aggregator]
        bucketed = self._rules.buckets > 1
        if len(before) >= self.suite.attempts or (sum.attempt != len(before) and not bucketed):
            raise Refused("this round was answered already")
        if before and not set(listed) < set(self._parts[max(before)].listed):
            raise Refused("a repeated list must leave somebody out, and nobody may join")
        if not self._offers.has(sum.round):
            raise Refused("this round is over here")
        offer = self._offers.offer(sum.aggregator, sum.round)
        if (proof := self._rules.proof) is not None and not proof.holds(offer.values):
            raise Refused("there is no proof for a vector so long")
        return Part(sum, listed, offer, len(neighbourhood), included=listed)

    def _bucket(self, sum: SumId) -> tuple[int, ...]:
        """Return the neighbourhood of an aggregator, or the bucket of it that this sum covers."""
        everybody = self._node.members(sum.aggregator)
        buckets = self._rules.bucketed(sum.aggregator, sum.round, everybody)
        if self._rules.buckets == 1:
            return buckets[0]
        return buckets[sum.attempt] if 0 <= sum.attempt < len(buckets) else ()

    def _refuse(self, sum: SumId, objection: Exception) -> None:
        node = self._node
        if isinstance(objection, OutOfRange):
            reason = "withheld"
            node.record("withheld", round=sum.round, reason=str(objection))
        elif isinstance(objection, KeyRefused):
            reason = "a co-member's key is unusable"
            node.record("key_refused", owner=objection.node, reason=str(objection))
        else:
            reason = str(objection)
            node.record("refused", round=sum.round, reason=reason)
        body = (sum.attempt, reason)
        node.send(sum.aggregator, Message(REFUSE, sum.round, body, SUM_BYTES))


def _too_early(step: int, answered: int) -> str:
    """Say that a step, counted from 0, was requested before all steps ahead of it were answered."""
    return f"step {step + 1} requested before step {answered + 1} was answered"


def _same(one: Any, other: Any) -> bool:
    """Return whether two payloads are equal; payloads that cannot be compared are not."""
    try:
        return bool(one == other)
    except ValueError:  # arrays, which no honest request holds
        return False
