"""Federated averaging on a star whose server opens only sums of its clients' updates.

As :func:`~protocols.gossip.federation.fedavg`, but a client answers a request with ``hello`` (it is ready, with the
data its part in the sum needs) instead of a model. The server lists the clients that did so in time and opens Σ
weight · update with the protocol of the scenario; an update is a client's trained model minus the model it received.
The server's own update, if it trains, is added in the clear. If the sum stays closed the model stays unchanged.

Updates start from zero in every cycle, so no client can lead another's out of the range they are encoded in. A
Byzantine server could, by sending a model so large that an update is mostly rounding; clients first bring received
models into the public range of honest models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from protocols.aggregation.members import participants
from protocols.aggregation.offers import Offers
from protocols.aggregation.session import NodeSums
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import HELLO, HELLO_BYTES, KEPT_ROUNDS, Opened, Rules
from protocols.gossip.excess_noise import SEEDS, SURPLUS, ExcessNoise
from protocols.gossip.federation import ROOT, FederationPlan, Member
from protocols.gossip.learner import Learner, Model
from protocols.gossip.peers import PATIENCE, pump
from protocols.gossip.settling import settled
from simulator.contract.node import Delivery, Message, Node


async def secure_fedavg(
    node: Node, learner: Learner, plan: FederationPlan, rules: Rules, suite: Suite
) -> None:
    """Run secure federated averaging at one node; the tree of ``plan`` has one level below its root.

    Guarantees:
        Towards the server, those of the suite for every sum. Clients read the server's model, from which each sum
        follows up to a public factor: every sum is known to all nodes.
    """
    await SecureMember(node, learner, plan, rules, suite).run()


class SecureMember(Member):
    """Secure federated averaging at one node of the star, from one start or restart to the next."""

    def __init__(
        self, node: Node, learner: Learner, plan: FederationPlan, rules: Rules, suite: Suite
    ) -> None:
        super().__init__(node, learner, plan)
        self._suite = suite
        self._rules = rules
        self._share = plan.shares[node.id]
        offers = Offers(node, rules.encoding, lambda: [(ROOT, self._share)], KEPT_ROUNDS)
        self._offers = offers
        self._sums = NodeSums(node, suite, rules, offers, rules.encoding.size(learner.size))
        self._ready: dict[int, Any] = {}
        self._excess = ExcessNoise(node, learner, rules)

    async def run(self) -> None:
        """Agree on keys with the nodes that are up, then run; keys of other nodes are added when they arrive."""
        if self._node.disk.get("over"):
            return
        await self._suite.join(self._pump, tries=1)
        if self._place.parent is None:
            await self._pump(self._suite.has_all, self._rules.timeout_s)
        await super().run()

    def _received(self, model: Model, round: int) -> Model:
        """Return the model in the public range."""
        return settled(self._node, self._learner.lineage, self._rules.public_range, round, model)

    async def _pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        return await pump(self._node, self._handle, until, timeout_s)

    async def _report(self, parent: int, round: int, start: Model, result: Model, weight: float) -> None:
        """Keep the update for the sum, and send ``hello``."""
        update = await self._update(round, start, result)
        update = self._excess.noised(round, update)
        self._offers.put(round, update)
        await self._sums.offered(round)
        payload, size, _ = self._suite.greeting(parent, round)
        self._node.send(parent, Message(HELLO, round, payload, HELLO_BYTES + size))

    def _silence_s(self) -> float:
        """Return the longest silence of the server, the duration of sums included."""
        waits = (len(self._suite.steps) + 1) * self._suite.attempts
        cycles = -(-(self._plan.rounds - self.round) // self._plan.mix_every)
        return super()._silence_s() + (PATIENCE + cycles) * waits * self._rules.timeout_s

    async def _averaged(self, model: Model, first: int, count: int) -> tuple[Model, float]:
        """Run one cycle: ask, train, wait for ready clients, open their sum."""
        node, learner = self._node, self._learner
        self._ready = {}
        self._ask(model, first, count)
        own: Model | None = None
        if self._plan.inner_train:
            own = await self._update(first, model, await self._trained(model, first, count))
        await pump(
            node,
            self._handle,
            lambda: all(v in self._ready for v in self._peers.alive_of(self._asked)),
            self._wait_s,
        )
        opened = await self._sums.open_round(
            first,
            tuple(sorted(self._ready)),
            dict(self._ready),
            self._pump,
            len(self._place.children),
        )
        asked = len(self._asked)
        if opened is None:
            node.record("mixed", round=first, heard=0, of=asked)
            return model, 0.0
        opened = await self._excess.removed(
            first,
            asked,
            opened,
            self._pump,
        )
        return await self._stepped(learner, first, model, own, opened)

    async def _stepped(
        self, learner: Learner, round: int, model: Model, own: Model | None, opened: Opened
    ) -> tuple[Model, float]:
        """Return the model plus the average of all updates."""
        node = self._node
        total = sum(self._plan.shares[v] for v in opened.members)
        vectors: list[Any] = [model.params, opened.value]
        weights = [1.0, 1.0]
        if own is not None:
            total += self._share
            vectors.append(own.params)
            weights.append(self._share)
        factors = np.array([1.0, *(w / total for w in weights[1:])], np.float32)
        params = await node.compute(
            learner.operations.combine(len(vectors)), *vectors, factors, size=learner.size
        )
        terms = [(coef / total, state) for coef, state in (*opened.terms, *opened.removed)]
        if own is not None:
            terms.append((self._share / total, own.state))
        state = learner.lineage.combine(node.now_s, node.id, round, [(1.0, model.state), *terms])
        node.record("mixed", round=round, heard=len(opened.members), of=len(self._asked))
        return Model(params, state), total

    async def _update(self, round: int, start: Model, result: Model) -> Model:
        """Return the change of the model by training."""
        return await self._learner.combine(self._node, round, [(1.0, result), (-1.0, start)])

    async def _handle(self, delivery: Delivery) -> None:
        message = delivery.message
        if message.kind == HELLO:
            self._peers.heard(delivery.src, message.round)
            if message.round == self._cycle and delivery.src in self._asked:
                self._ready.setdefault(delivery.src, message.body)
            return
        if message.kind in (SURPLUS, SEEDS):
            asked = participants(self._plan.participation, len(self._node.members(ROOT)))
            included = self._sums.included(ROOT, message.round)
            self._excess.handle(delivery, asked, included)
            return
        await super()._handle(delivery)
        await self._sums.handle(delivery)
