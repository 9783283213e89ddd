"""Learning in disjoint groups: every round, the secure mean of each group becomes its members' public state.

A public schedule (:mod:`protocols.gossip.grouping`) splits the nodes anew in every round. Each member trains from
its public state; one member, rotating, opens the secure sum of all members, its own vector inside, and sends the mean
back in the clear; all members adopt it. Contributions of earlier rounds are then part of public values, so that a new
one is hidden by the fresh noise of its whole group, round after round.

The rules behind that, by construction:

- A member answers one list in a round, whoever opens the sum (:class:`~protocols.aggregation.session.NodeSums` with
  ``once``), with noise that is used in this round alone; the next round is on disk before an update begins.
- A node trains from its public state: the newest opened mean that it has adopted. An update whose sum stays closed,
  or whose mean does not arrive, is forgotten together with its noise, and so is every half-step after a crash.
- Only opened means are adopted and sent on, old ones too; a node that returns asks its neighbours for theirs.
- Groups depend on the seed, the round and the links alone.

If the opener is silent the next member of the group's order takes over after a time-out; members that answered the
first list do not answer the second. A node that was waited for in vain, or that an opener's list leaves out, is not
waited for again until it sends something.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import numpy as np

from protocols.aggregation.inside import Inside
from protocols.aggregation.offers import EVERYBODY, Offers
from protocols.aggregation.session import NodeSums, listed_in
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import HELLO, HELLO_BYTES, KEPT_ROUNDS, Opened, Rules, SumId, is_ids
from protocols.gossip.ahead import Ahead
from protocols.gossip.grouping import Group, Schedule
from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import call, show, shown, tell
from protocols.gossip.peers import PATIENCE, pump
from protocols.gossip.settling import settled
from protocols.privacy.lineage import Visible
from simulator.contract.node import Delivery, Message, Node

MEAN, ASK, PACE, CLOSED = "mean", "ask", "pace", "closed"
"""Kinds of message beside those of sums: a group's mean, a request for the newest mean, the sender's round, and that
the sum of a round stays closed."""


@dataclass(frozen=True)
class GroupPlan:
    """Public parameters agreed on by all nodes before the run.

    Args:
        schedule: groups of every round.
        rounds: rounds of the run; a node contributes at most once in each.
        shares: public weight of each node's model in the mean of its group.
        takeovers: how many members may take over, one after another, from an opener that is silent.
    """

    schedule: Schedule
    rounds: int
    shares: Sequence[float]
    takeovers: int


async def groups(
    node: Node, learner: Learner, plan: GroupPlan, rules: Rules, suite: Callable[[Node], Suite]
) -> None:
    """Run learning in groups at one node.

    Guarantees:
        Those of the suite for every sum. Means are public, and so is every state that nodes train from. With noise of
        multiplier z on each contribution and equal weights, a contribution in a group of m members costs 1 / (m z²)
        against observers of all means, and 1 / ((m − c) z²) against c colluding members of that group, in squared
        Gaussian differential privacy; losses of rounds add up. The ledger charges the groups that really opened.
    """
    await GroupMember(Inside.node(node, learner.lineage), learner, plan, rules, suite).run()


class GroupMember:
    """Learning in groups at one node, from one start or restart to the next; disk: public state and next round."""

    def __init__(
        self, node: Node, learner: Learner, plan: GroupPlan, rules: Rules, suite: Callable[[Node], Suite]
    ) -> None:
        self._node = node
        self._learner = learner
        self._plan = plan
        self._rules = rules
        self._suite = suite(node)
        offers = Offers(node, rules.encoding, lambda: [(EVERYBODY, plan.shares[node.id])], KEPT_ROUNDS)
        self._offers = offers
        self._sums = NodeSums(
            node, self._suite, rules, offers, rules.encoding.size(learner.size), self._listable, once=True
        )
        self._wait_s = rules.timeout_s * (len(self._suite.steps) + 1)
        # A member may be late by as much, if the last opener in line opened the sum of its last group.
        self._lag_s = (1 + plan.takeovers) * self._wait_s
        self._absent: set[int] = set()
        self._base: Model = node.disk.get("model", learner.start)
        self._known: int = node.disk.get("known", -1)
        self._newer: tuple[int, Model] | None = None
        self._greetings: Ahead[Any] = Ahead()
        self._heard: dict[int, tuple[float, int]] = {}
        self._closed = -1
        self._round = 0

    async def run(self) -> None:
        """Run all rounds."""
        node, rounds = self._node, self._plan.rounds
        returning = "model" in node.disk
        self._round = node.disk.get("round", 0)
        await self._suite.join(self._pump)
        if returning:
            await self._catch_up()
        resting = 0
        while (round := max(self._round, self._pace())) < rounds:
            self._round = round
            self._adopt()
            node.disk.update(model=self._base, round=round + 1, known=self._known)
            group = self._plan.schedule.group_of(node.id, round)
            if group is None:
                resting += 1
                node.record("mixed", round=round, heard=0, of=0)
            else:
                await self._take_part(group, round, 1 + resting)
                resting = 0
            self._adopt()
            self._round = round + 1
            node.record("model", round=self._round, value=self._base.params)
        node.disk.update(model=self._base, round=rounds, known=self._known)
        node.record("finished", rounds=rounds)
        self._round = rounds
        await self._linger(rounds)

    async def _linger(self, rounds: int) -> None:
        """Serve the members of the last group that are still behind, for a bounded time."""
        node = self._node
        group = self._plan.schedule.group_of(node.id, rounds - 1)
        if group is None:
            return
        partners = self._partners(group)
        node.multicast(partners, call(PACE, rounds))
        await self._pump(
            lambda: all(self._heard.get(v, (0.0, -1))[1] >= rounds or v in self._absent for v in partners),
            self._lag_s,
        )

    def _partners(self, group: Group) -> tuple[int, ...]:
        """Return the members of a group to which this node has a link."""
        return tuple(v for v in self._node.neighbors if v in group.members)

    def _listable(self, sum: SumId) -> tuple[int, ...]:
        """Return the group whose sum an aggregator may open in a round: this node's, if it is in its order."""
        group = self._plan.schedule.group_of(self._node.id, sum.round)
        openers = () if group is None else group.order[: 1 + self._plan.takeovers]
        return group.members if group is not None and sum.aggregator in openers else ()

    async def _take_part(self, group: Group, round: int, patience: int) -> None:
        """Train, and have the group's sum opened; the update is forgotten if no mean comes of it."""
        node, learner = self._node, self._learner
        openers = group.order[: 1 + self._plan.takeovers]
        self._greet(openers[0], round)
        start = settled(node, learner.lineage, self._rules.public_range, round, self._base)
        self._offers.put(round, await learner.local_update(node, start, round))
        await self._sums.offered(round)
        for number, opener in enumerate(openers):
            if number:
                self._greet(opener, round)
            if opener == node.id:
                done = await self._open(group, round, patience)
            elif opener in self._absent:
                continue
            else:
                await self._await_mean(round, opener, patience * self._lag_s + self._wait_s)
                done = self._is_over(round)
            if done or self._closed == round:
                break
        if self._is_over(round):
            return
        node.record("mixed", round=round, heard=0, of=len(group.members))

    async def _await_mean(self, round: int, source: int, longest_s: float) -> None:
        """Wait for the mean of a round; whenever that takes longer than a sum should, ask its source for it.

        What its source sends in later rounds may overtake the mean, or the mean be lost: then it may take one
        time-out more, and one after a request.
        """
        node = self._node

        def told() -> bool:
            return self._is_over(round) or self._closed == round

        def ahead() -> bool:
            return self._heard.get(source, (0.0, -1))[1] > round

        for wait in range(ceil(longest_s / self._wait_s)):
            if wait:
                node.send(source, call(ASK, self._known + 1))
            if await self._pump(lambda: told() or ahead(), self._wait_s):
                if not await self._pump(told, self._rules.timeout_s):
                    node.send(source, call(ASK, self._known + 1))
                    await self._pump(told, self._rules.timeout_s)
                return
        self._absent.add(source)

    def _greet(self, opener: int, round: int) -> None:
        """Tell an opener that this node takes part, with what its sum needs from members beforehand."""
        node = self._node
        payload, size, _ = self._suite.greeting(opener, round) if self._suite.greets else (None, 0, None)
        if opener == node.id:
            self._greetings.put(node.id, round, payload)
        else:
            node.send(opener, Message(HELLO, round, payload, HELLO_BYTES + size))

    async def _open(self, group: Group, round: int, patience: int) -> bool:
        """Open the group's sum and tell its mean; return whether it was opened."""
        node = self._node
        await self._pump(
            lambda: all((v, round) in self._greetings or v in self._absent for v in group.members),
            patience * self._lag_s,
        )
        self._absent.update(v for v in group.members if (v, round) not in self._greetings)
        listed = tuple(v for v in group.members if (v, round) in self._greetings)
        greetings = {v: self._greetings.get(v, round) for v in listed}
        self._greetings.forget_before(round + 1)
        opened = await self._sums.open_round(round, listed, greetings, self._pump, len(group.members))
        others = tuple(v for v in group.members if v != node.id)
        if opened is None:
            node.multicast(others, call(CLOSED, round))
            return False
        mean = self._mean(round, opened)
        self._newer = (round, mean)
        node.record("mixed", round=round, heard=len(opened.members), of=len(group.members))
        tell(node, others, round, [mean], partial(show, self._learner, MEAN, round))
        return True

    def _mean(self, round: int, opened: Opened) -> Model:
        """Return the mean of an opened sum."""
        node, terms = self._node, [*opened.terms, *opened.removed]
        total = sum(weight for weight, _ in opened.terms)
        state = self._learner.lineage.combine(
            node.now_s, node.id, round, [(weight / total, state) for weight, state in terms]
        )
        return Model((opened.value / np.float32(total)).astype(np.float32), state)

    def _is_over(self, round: int) -> bool:
        """Return whether the mean of a round, or of a later one, has arrived."""
        return self._newer is not None and self._newer[0] >= round

    def _adopt(self) -> None:
        """Make the newest mean the public state."""
        if self._newer is not None:
            self._known, self._base = self._newer
            self._newer = None

    async def _catch_up(self) -> None:
        """Ask neighbours for their newest mean and round, and listen for one time-out."""
        node = self._node
        node.multicast(node.neighbors, call(ASK, self._known + 1))
        await self._pump(lambda: False, self._rules.timeout_s)
        if self._newer is not None:
            self._round = max(self._round, self._newer[0] + 1)

    def _pace(self) -> int:
        """Return the round that most of the nodes heard of late are in; −1 if there are none."""
        since_s = self._node.now_s - PATIENCE * self._lag_s
        rounds = sorted(round for heard_s, round in self._heard.values() if heard_s >= since_s)
        return rounds[(len(rounds) - 1) // 2] if rounds else -1

    async def _pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        return await pump(self._node, self._handle, until, timeout_s)

    async def _handle(self, delivery: Delivery) -> None:
        src, message = delivery.src, delivery.message
        if not -1 <= message.round <= self._plan.rounds:
            self._node.record("malformed", round=message.round, sender=src)
            return
        self._absent.discard(src)
        if not self._suite.handles(message.kind) and src != self._node.id:
            known = self._heard.get(src, (0.0, -1))[1]
            self._heard[src] = (self._node.now_s, max(known, message.round))
        if message.kind == HELLO:
            self._keep_greeting(src, message)
        elif message.kind == MEAN:
            self._hear(src, message)
        elif message.kind == CLOSED:
            group = self._plan.schedule.group_of(self._node.id, message.round)
            if group is not None and src in self._sources(group):
                self._closed = max(self._closed, message.round)
        elif message.kind == ASK:
            self._say_where(src, message.round)
        elif message.kind != PACE:
            self._learn_who_is_absent(src, message)
            await self._sums.handle(delivery)

    def _keep_greeting(self, src: int, message: Message) -> None:
        """Keep a greeting that a sum of this node may need; tell a member that is behind where this node is."""
        if message.round < self._round:
            self._say_where(src, message.round)
            return
        group = self._plan.schedule.group_of(self._node.id, message.round)
        if (
            group is not None
            and src in group.members
            and self._node.id in group.order[: 1 + self._plan.takeovers]
        ):
            self._greetings.put(src, message.round, message.body)
        else:
            self._node.record("malformed", round=message.round, sender=src)

    def _learn_who_is_absent(self, src: int, message: Message) -> None:
        """Note the members that an opener did not hear from: nobody waits for them until they send again."""
        group = self._plan.schedule.group_of(self._node.id, message.round)
        if message.kind == self._suite.steps[0][0] and group is not None and src in self._sources(group):
            body = message.body
            listed = listed_in(body[1]) if isinstance(body, tuple) and len(body) == 2 else ()
            if is_ids(listed, group.members) and self._node.id in listed:
                self._absent.update(set(group.members).difference(listed))

    def _sources(self, group: Group) -> tuple[int, ...]:
        """Return the members that may open the sum of a group, or say that it stays closed."""
        return group.order[: 1 + self._plan.takeovers]

    def _hear(self, src: int, message: Message) -> None:
        """Keep a mean of a round of the run that is newer than those known, whoever sent it."""
        newest = self._known if self._newer is None else self._newer[0]
        body, release = message.body, message.release
        if not isinstance(release, Visible) or getattr(body, "size", 0) != self._learner.size:
            self._node.record("malformed", round=message.round, sender=src)
        elif newest < message.round < self._plan.rounds:
            self._newer = (message.round, shown(message)[0])

    def _say_where(self, peer: int, since: int) -> None:
        """Tell a node that is behind this node's round, and the newest mean, if it is of round ``since`` or later."""
        node = self._node
        node.send(peer, call(PACE, self._round))
        known, model = self._newer or (self._known, self._base)
        if known >= max(0, since):
            tell(node, (peer,), known, [model], partial(show, self._learner, MEAN, known))
