"""Neighbourhood secure aggregation: gossip mixing that opens only the weighted sum of neighbours' models.

Every node has two roles. As *aggregator* of its own neighbourhood it announces which members have greeted it this
round and opens the sum of their models. As *member* of each neighbour's neighbourhood it answers that neighbour's
requests. The protocol defines the sub-rounds (:class:`~protocols.aggregation.suite.Suite`); ``hello``, a greeting
sent before the local step, is common to all.

With buckets a neighbourhood is split into several sums, drawn anew every round, whose means a robust rule compares
with the own model: f Byzantine members affect at most f buckets (SHARE, Velicheti, Xia, Koyejo 2021).

If a sum stays closed the aggregator keeps its own model for the round: rows of the mixing matrix stay stochastic, and
the missing column weight is recorded (``mixed``: members included, members possible, and weights).

The result of a mix is brought into the public range of honest models before anything is added to it
(:mod:`protocols.aggregation.public_range`), so that no neighbour can move a node to a model that cannot be encoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from protocols.aggregation.offers import Offers
from protocols.aggregation.public_range import ROUNDING
from protocols.aggregation.session import NodeSums
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import HELLO, HELLO_BYTES, KEPT_ROUNDS, Opened, Rules
from protocols.gossip.learner import Learner, Model
from protocols.gossip.peers import Peers, pump
from protocols.gossip.robust_mix import RobustMix
from protocols.gossip.settling import settled
from simulator.contract.node import Delivery, Message, Node


class NeighbourhoodExchange:
    """Neighbourhood secure aggregation at one node.

    Guarantees:
        Those of its suite, for every sum on its own. Sums over overlapping neighbourhoods, rounds and attempts can
        reveal more together; cryptography does not prevent that. Each of them is a release, and the ledger accounts
        for all of them.
    """

    def __init__(
        self, node: Node, learner: Learner, rules: Rules, suite: Suite, robust: RobustMix | None = None
    ) -> None:
        self._node = node
        self._robust = robust
        self._learner = learner
        self._rules = rules
        self._suite = suite
        # A neighbour within a sum can be silent for the duration of all its sub-rounds.
        self._wait_s = rules.timeout_s * len(suite.steps) * rules.buckets
        self._peers = Peers(node, self._wait_s)
        self._offers = Offers(
            node,
            rules.encoding,
            lambda: [(v, node.weight(node.id, receiver=v)) for v in node.neighbors],
            KEPT_ROUNDS,
        )
        self._sums = NodeSums(node, suite, rules, self._offers, rules.encoding.size(learner.size))
        self._greetings: dict[tuple[int, int], Any] = {}

    @property
    def pace(self) -> int:
        """Return the round most neighbours are in: a node in an earlier round is listed in no sum."""
        return self._peers.typical_round

    async def join(self) -> None:
        """Agree on keys."""
        await self._suite.join(self._pump)

    async def catch_up(self) -> int:
        """Receive messages for one time-out."""
        await self._pump(lambda: False, self._wait_s)
        return self._peers.typical_round

    def begin(self, round: int) -> None:
        """Send greetings before the local step, so that lists form while nodes compute."""
        node = self._node
        if not self._suite.greets:
            node.multicast(node.neighbors, Message(HELLO, round, None, HELLO_BYTES))
            return
        for aggregator in node.neighbors:
            payload, size, _ = self._suite.greeting(aggregator, round)
            node.send(aggregator, Message(HELLO, round, payload, HELLO_BYTES + size))

    def settle(self, round: int, model: Model) -> Model:
        """Return the model, moved into the public range if received models have led it out."""
        return settled(self._node, self._learner.lineage, self._rules.public_range, round, model)

    async def mix(self, round: int, mine: Model) -> Model:
        """Answer the neighbours, and open the own neighbourhood's sum if possible; the result is in the range."""
        node = self._node
        self._offers.put(round, mine)
        await self._sums.offered(round)
        await self._pump(lambda: not self._peers.awaited(round), self._wait_s)
        listed = tuple(v for v in node.neighbors if self._can_list(v, round))
        greetings = {v: self._greetings.get((v, round)) for v in listed}
        self._greetings = {key: said for key, said in self._greetings.items() if key[1] > round}
        if self._robust is not None:
            return self.settle(round, await self._compared(self._robust, round, listed, greetings, mine))
        opened = await self._sums.open_round(round, listed, greetings, self._pump, len(node.neighbors))
        if opened is None:
            node.record("mixed", round=round, heard=0, of=len(node.neighbors))
            return self.settle(round, mine)
        return await self._mixed(round, opened, mine)

    async def _compared(
        self, robust: RobustMix, round: int, listed: tuple[int, ...], greetings: dict[int, Any], mine: Model
    ) -> Model:
        """Apply a rule to the own model and the mean of every opened bucket, one sum after another."""
        node, lineage = self._node, self._learner.lineage
        heard: dict[int, tuple[float, Model]] = {}
        members = 0
        for number, bucket in enumerate(self._rules.bucketed(node.id, round, node.neighbors)):
            there = tuple(v for v in listed if v in bucket)
            opened = await self._sums.open_round(
                round, there, greetings, self._pump, len(bucket), first=number
            )
            if opened is not None:
                members += len(opened.members)
                total = sum(weight for weight, _ in opened.terms)
                terms = [(weight / total, state) for weight, state in opened.terms]
                state = lineage.combine(node.now_s, node.id, round, terms)
                heard[number] = (total, Model((opened.value / np.float32(total)).astype(np.float32), state))
        node.record("mixed", round=round, heard=members, of=len(node.neighbors))
        own = 1.0 - sum(weight for weight, _ in heard.values())
        return await robust.mix(node, round, mine, own, heard)

    async def linger(self, rounds: int) -> None:
        """Answer requests until every neighbour considered alive has finished too."""
        node = self._node
        node.multicast(node.neighbors, Message(HELLO, rounds, None, HELLO_BYTES))
        await self._pump(lambda: not self._peers.awaited(rounds), 4 * self._wait_s)

    def _can_list(self, peer: int, round: int) -> bool:
        """Return whether a neighbour is in a near enough round and has sent all that a sum of this round needs."""
        if not round <= self._peers.round_of(peer) < round + KEPT_ROUNDS:
            return False
        return not self._suite.greets or (peer, round) in self._greetings

    async def _mixed(self, round: int, opened: Opened, mine: Model) -> Model:
        """Add the opened sum to the own model, which takes the weight of members not in the sum."""
        node, lineage = self._node, self._learner.lineage
        terms = [*opened.terms, *opened.removed]
        if opened.covered is not None:
            node.record("mixed", round=round, heard=len(opened.members), of=len(node.neighbors))
            values = (1 - opened.covered) * node.read(mine.params) + opened.value
            state = lineage.opaque(node.now_s, node.id, round, [mine.state, *(state for _, state in terms)])
            return self.settle(round, Model(values.astype(np.float32), state))
        weights = {v: node.weight(v) for v in opened.members}
        own = 1.0 - sum(weights.values())
        node.record("mixed", round=round, heard=len(weights), of=len(node.neighbors), weights=weights)
        params = await node.compute(
            self._learner.operations.combine(2),
            mine.params,
            opened.value,
            np.array([own, 1.0], np.float32),
            size=self._learner.size,
        )
        mixed = Model(params, lineage.combine(node.now_s, node.id, round, [(own, mine.state), *terms]))
        # Both terms are inputs of one deferred computation; reading it here would prevent batching with other nodes.
        known, about = self._rules.public_range, own * node.read(mine.params) + opened.value
        if known is None or known.holds(about, ROUNDING):
            return mixed
        return self.settle(round, mixed)

    async def _pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        return await pump(self._node, self._handle, until, timeout_s)

    async def _handle(self, delivery: Delivery) -> None:
        message = delivery.message
        if not self._suite.handles(message.kind):
            self._peers.heard(delivery.src, message.round)
            if message.kind == HELLO and self._suite.greets:
                self._greetings.setdefault((delivery.src, message.round), message.body)
        await self._sums.handle(delivery)


SuiteFactory = Callable[[Node], Suite]
