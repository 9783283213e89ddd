"""Learning in groups whose masked sums go up a tree inside the group, along links of the graph.

Every member masks its vector for the whole group, adds the masked sums of its children, and sends the result to its
parent; the root opens the sum of all. Masks pair all members, the root included, so that a sum of some members hides
as long as an honest member is missing from it, and the root's own vector, which it never sends, is missing from all
of them. The mean goes down the same tree. A group of m members costs 2 (m − 1) vectors on links of the graph.

A member that misses a child's sum, or refuses, says so to its parent; the root then says that the sum stays closed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from protocols.aggregation.gathering import REFUSE, Part
from protocols.aggregation.ideal import Sealed, SumSealed
from protocols.aggregation.inside import Inside
from protocols.aggregation.keys import KeyRefused
from protocols.aggregation.masks import total
from protocols.aggregation.single_masks import open_shares
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import SUM_BYTES, Opened, Refused, Rules, SumId
from protocols.gossip.ahead import Ahead
from protocols.gossip.grouping import Group
from protocols.gossip.groups import CLOSED, MEAN, GroupMember, GroupPlan
from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import call, show, tell
from protocols.gossip.settling import settled
from protocols.privacy.lineage import Share
from protocols.sharing.codec import OutOfRange
from simulator.contract.node import Delivery, Message, Node

PARTIAL = "partial"
"""Kind of message with the masked sum of a subtree."""


async def group_trees(
    node: Node, learner: Learner, plan: GroupPlan, rules: Rules, suite: Callable[[Node], Suite]
) -> None:
    """Run learning in groups by trees at one node.

    Guarantees:
        As :func:`~protocols.gossip.groups.groups`. A node inside the tree learns nothing from the masked sums that
        pass it: the root's vector is missing from each. A root that colludes with it learns the sum of the group's
        honest members, as from the mean.
    """
    await TreeMember(Inside.node(node, learner.lineage), learner, plan, rules, suite).run()


class TreeMember(GroupMember):
    """Learning in groups by trees at one node, from one start or restart to the next."""

    def __init__(
        self, node: Node, learner: Learner, plan: GroupPlan, rules: Rules, suite: Callable[[Node], Suite]
    ) -> None:
        super().__init__(node, learner, plan, rules, suite)
        self._size = rules.encoding.size(learner.size)
        self._partials: Ahead[Message | None] = Ahead()

    def _listable(self, sum: SumId) -> tuple[int, ...]:
        """Return nobody: a vector goes up the tree once, and no list is answered beside that."""
        return ()

    def _sources(self, group: Group) -> tuple[int, ...]:
        """Return the node above."""
        above = group.parents.get(self._node.id)
        return () if above is None else (above,)

    async def _take_part(self, group: Group, round: int, patience: int) -> None:
        """Train, add what comes from below, and pass it on; the update is forgotten if no mean comes of it."""
        node, learner = self._node, self._learner
        start = settled(node, learner.lineage, self._rules.public_range, round, self._base)
        self._offers.put(round, await learner.local_update(node, start, round))
        children, height = group.children(node.id), group.height(node.id)
        self._partials.forget_before(round)
        mine = await self._masked(group, round)
        await self._pump(
            lambda: (
                all((v, round) in self._partials or v in self._absent for v in children)
                or self._closed >= round
            ),
            patience * (self._lag_s + max(1, height) * self._rules.timeout_s) if children else 0.0,
        )
        self._absent.update(v for v in children if (v, round) not in self._partials)
        below = [self._partials.get(v, round) for v in children]
        messages = [message for message in below if message is not None]
        whole = mine is not None and len(messages) == len(children)
        if node.id == group.order[0]:
            done = self._opened(group, round, mine, messages) if whole else None
            node.record("sum ended", round=round, opened=done is not None)
            self._tell(group, round, done)
            return
        parent = group.parents[node.id]
        if mine is not None and whole:
            self._send_up(parent, round, [mine, *messages])
        else:
            node.send(parent, Message(REFUSE, round, None, SUM_BYTES))
        hops = group.height(group.order[0]) + 1
        await self._await_mean(round, parent, patience * (self._lag_s + 2 * hops * self._rules.timeout_s))
        self._pass_on(group, round)

    async def _masked(self, group: Group, round: int) -> Message | None:
        """Return this node's masked vector, as a message of one; None if it refuses, with the reason on record."""
        node = self._node
        sum = SumId(group.order[0], round, 0)
        try:
            offer = self._offers.offer(sum.aggregator, round)
            if (proof := self._rules.proof) is not None and not proof.holds(offer.values):
                raise Refused("there is no proof for a vector so long")
            part = Part(sum, group.members, offer, len(group.members), included=group.members)
            body, size, tag = await self._suite.answer(part, group.members)
        except (Refused, OutOfRange, KeyRefused) as objection:
            node.record("refused", round=round, reason=str(objection))
            return None
        if node.id == sum.aggregator:
            self._learner.lineage.delivered(node.now_s, node.id, round, tag)
        return Message(
            PARTIAL, round, (body,) if isinstance(body, Sealed) else body, SUM_BYTES + size, (tag,)
        )

    def _send_up(self, parent: int, round: int, messages: list[Message]) -> None:
        """Send the sum of masked vectors, which is as long as one of them."""
        tags = tuple(tag for message in messages for tag in message.release)
        size = messages[0].size_bytes
        self._node.send(parent, Message(PARTIAL, round, self._added(messages), size, tags))

    def _added(self, messages: list[Message]) -> Any:
        """Return the sum of masked vectors; of ideal ones, their tokens."""
        if all(isinstance(message.body, tuple) for message in messages):
            return tuple(token for message in messages for token in message.body)
        words = total([message.body for message in messages], self._rules.encoding.modulus)
        words.setflags(write=False)
        return words

    def _opened(self, group: Group, round: int, mine: Message | None, below: list[Message]) -> Opened | None:
        """Return the sum of the group."""
        node, encoding = self._node, self._rules.encoding
        assert mine is not None
        try:
            words = self._added([mine, *below])
            if isinstance(words, tuple):
                sum = SumId(node.id, round, 0)
                words = open_shares(
                    {token.member: token for token in words}, group.members, sum, encoding.modulus
                )
        except SumSealed as reason:
            node.record("skipped", round=round, reason=str(reason), listed=len(group.members))
            return None
        value = encoding.decode(words, round)
        value.setflags(write=False)
        tags: list[Share] = sorted(
            (tag for message in (mine, *below) for tag in message.release), key=lambda tag: tag.member
        )
        node.record("opened", round=round, members=group.members, value=value)
        return Opened(value, group.members, tuple((tag.coef, tag.state) for tag in tags))

    def _tell(self, group: Group, round: int, opened: Opened | None) -> None:
        """Send the mean, or that the sum stays closed, to the nodes just below the root."""
        node = self._node
        if opened is None:
            node.record("skipped", round=round, reason="a masked sum is missing", listed=len(group.members))
            node.record("mixed", round=round, heard=0, of=len(group.members))
            node.multicast(group.children(node.id), call(CLOSED, round))
            return
        self._newer = (round, self._mean(round, opened))
        node.record("mixed", round=round, heard=len(opened.members), of=len(group.members))
        self._send_down(group, round, self._newer[1])

    def _pass_on(self, group: Group, round: int) -> None:
        """Send what came from above to the nodes below."""
        if self._newer is not None and self._newer[0] == round:
            self._send_down(group, round, self._newer[1])
        else:
            self._node.record("mixed", round=round, heard=0, of=len(group.members))
            self._node.multicast(group.children(self._node.id), call(CLOSED, round))

    def _send_down(self, group: Group, round: int, mean: Model) -> None:
        message = partial(show, self._learner, MEAN, round)
        tell(self._node, group.children(self._node.id), round, [mean], message)

    async def _handle(self, delivery: Delivery) -> None:
        src, message = delivery.src, delivery.message
        if message.kind in (PARTIAL, REFUSE) and 0 <= message.round < self._plan.rounds:
            group = self._plan.schedule.group_of(self._node.id, message.round)
            below = group is not None and group.parents.get(src) == self._node.id
            if not below or (message.kind == PARTIAL and not self._is_masked_sum(message)):
                self._node.record("malformed", round=message.round, sender=src)
            elif message.round >= self._round:
                self._partials.put(src, message.round, message if message.kind == PARTIAL else None)
        await super()._handle(delivery)

    def _is_masked_sum(self, message: Message) -> bool:
        """Return whether a body has the form of a masked vector; its content cannot be checked."""
        modulus, body, tags = self._rules.encoding.modulus, message.body, message.release
        if not (isinstance(tags, tuple) and tags and all(isinstance(tag, Share) for tag in tags)):
            return False
        if not self._rules.real:
            size = modulus.size_bytes(self._size)
            tokens = isinstance(body, tuple) and len(body) == len(tags)
            return tokens and all(isinstance(token, Sealed) and token.size_bytes == size for token in body)
        return bool(modulus.holds(body)) and body.size == self._size
