"""Neighbourhood secure aggregation: a node opens the weighted sum of its neighbours' models, and nothing else.

Every node plays two parts. As *aggregator* of its own neighbourhood it announces which members it has heard
from this round, collects their masked models and opens the sum. As *member* of each neighbour's neighbourhood
it answers the first list per round with its weighted, encoded, masked model, or refuses.

Sub-rounds, all of them messages with size, delay and loss: ``hello`` (a sign of life, sent before the local
step), ``list`` (aggregator to members), ``masked`` or ``refuse`` (member to aggregator). A listed member that
does not answer makes the aggregator keep its own model for the round: rows stay stochastic, and nothing is
ever asked again about the same round, so no two sums over nearly the same members exist to be subtracted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.aggregation.keyring import Keyring
from protocols.aggregation.keys import KeyRefused
from protocols.aggregation.masks import (
    IdealShare,
    hello_size_bytes,
    list_size_bytes,
    mask,
    mask_key,
    masked_size_bytes,
    open_sum,
    seal,
)
from protocols.gossip.learner import Learner, Model
from protocols.gossip.peers import Peers, pump
from protocols.privacy.lineage import Share
from protocols.sharing.codec import Codec, OutOfRange, decode, encode
from simulator.node import Delivery, Message, Node

KEPT_ROUNDS = 3
"""For how many rounds a member still answers lists of slower aggregators."""
ATTEMPT = 0
"""Every (aggregator, round) is opened at most once, so masks and rounding carry attempt 0."""


def minimum_members(neighbourhood: int, colluders: int, tolerated_dropouts: int) -> int:
    """The shortest list that members of a neighbourhood of this size answer: 3 honest ones at the very least."""
    return max(3 + colluders, neighbourhood - tolerated_dropouts)


@dataclass(frozen=True)
class SecurePlan:
    """What all nodes agree on before the run.

    Args:
        codec: fixed-point encoding, sized so that no sum of a whole neighbourhood can wrap.
        real: mask with real keys; otherwise the ideal functionality with the same sizes, times and failures.
        colluders: how many members of a neighbourhood may pool what they know with its aggregator.
        tolerated_dropouts: by how many members a list may fall short of the whole neighbourhood.
        timeout_s: how long any one wait lasts.
        context: names the run; every key, signature and mask is bound to it.
        mask_cost_s_per_byte: virtual seconds to generate and add one byte of mask.

    Guarantees:
        Threat model: honest-but-curious aggregator together with up to ``colluders`` members of its
        neighbourhood, and any eavesdropper on links; keys relayed by the aggregator are signed under the
        directory. They learn the weighted sum over the other listed members, of which there are at least 3.
        Computational, under X25519, HKDF-SHA256 and AES-256-CTR. Says nothing about what the sums reveal:
        that is the ledger's part. A Byzantine member can shift the sum within its range.
    """

    codec: Codec
    real: bool
    colluders: int
    tolerated_dropouts: int
    timeout_s: float
    context: bytes
    mask_cost_s_per_byte: float

    def minimum(self, neighbourhood: int) -> int:
        """The shortest list that members of a neighbourhood of this size answer."""
        return minimum_members(neighbourhood, self.colluders, self.tolerated_dropouts)


@dataclass
class _Opening:
    """An aggregator's collection of masked models for one round."""

    round: int
    listed: tuple[int, ...]
    shares: dict[int, Any] = field(default_factory=dict)
    tags: dict[int, Share] = field(default_factory=dict)
    refused: bool = False

    @property
    def settled(self) -> bool:
        return self.refused or len(self.shares) == len(self.listed)


class NeighbourhoodExchange:
    """One node's side of neighbourhood secure aggregation."""

    def __init__(self, node: Node, learner: Learner, plan: SecurePlan, keyring: Keyring) -> None:
        self._node = node
        self._learner = learner
        self._plan = plan
        self._keys = keyring
        self._peers = Peers(node, plan.timeout_s)
        self._mine: dict[int, Model] = {}
        self._early: list[tuple[int, int, tuple[int, ...]]] = []
        self._answered: dict[tuple[int, int], tuple[int, ...]] = {}
        self._opening: _Opening | None = None

    async def join(self) -> None:
        """Agree on keys with everybody this node shares a neighbourhood with."""
        await self._keys.join(lambda until, timeout_s: self._pump(until, timeout_s))

    async def catch_up(self) -> int:
        """Listen for one time-out."""
        await self._pump(lambda: False, self._plan.timeout_s)
        return self._peers.typical_round

    def begin(self, round: int) -> None:
        """Say hello before the local step, so that lists form while nodes compute."""
        self._node.multicast(self._node.neighbors, Message("hello", round, None, hello_size_bytes()))

    async def mix(self, round: int, mine: Model) -> Model:
        """Serve the neighbours, and open the own neighbourhood's sum if its listed members all answer."""
        node = self._node
        self._mine[round] = mine
        self._mine.pop(round - KEPT_ROUNDS, None)
        await self._answer_early(round)
        await self._pump(lambda: not self._peers.awaited(round), self._plan.timeout_s)
        listed = tuple(v for v in node.neighbors if round <= self._peers.round_of(v) < round + KEPT_ROUNDS)
        if len(listed) < self._plan.minimum(len(node.neighbors)):
            node.record("skipped", round=round, reason="too few members alive", listed=len(listed))
            return mine
        opening = self._opening = _Opening(round, listed)
        for peer in listed:
            node.send(peer, Message("list", round, listed, list_size_bytes(len(listed))))
        await self._pump(lambda: opening.settled, self._plan.timeout_s)
        self._opening = None
        if len(opening.shares) < len(listed):
            reason = "a member refused" if opening.refused else "a listed member did not answer"
            node.record("skipped", round=round, reason=reason, listed=len(listed))
            return mine
        return await self._open(opening, mine)

    async def linger(self, rounds: int) -> None:
        """Answer lists until every neighbour that seems alive has reached the end too."""
        self.begin(rounds)
        await self._pump(lambda: not self._peers.awaited(rounds), 4 * self._plan.timeout_s)

    async def _open(self, opening: _Opening, mine: Model) -> Model:
        node = self._node
        total = open_sum(opening.shares, frozenset(opening.listed))
        value = decode(total, self._plan.codec).astype(np.float32)
        value.setflags(write=False)
        node.record("opened", round=opening.round, members=opening.listed, value=value)
        own = 1.0 - sum(node.weight(v) for v in opening.listed)
        params = await node.compute(
            self._learner.operations.combine(2),
            mine.params,
            value,
            np.array([own, 1.0], np.float32),
            size=self._learner.size,
        )
        terms = [(own, mine.state)] + [(t.coef, t.state) for _, t in sorted(opening.tags.items())]
        return Model(params, self._learner.lineage.combine(node.now_s, node.id, opening.round, terms))

    async def _pump(self, until: Callable[[], bool], timeout_s: float) -> bool:
        return await pump(self._node, self._handle, until, timeout_s)

    async def _handle(self, delivery: Delivery) -> None:
        message = delivery.message
        if message.kind in ("key", "keys"):
            await self._keys.handle(delivery)
            return
        self._peers.heard(delivery.src, message.round)
        if message.kind == "list":
            await self._answer(delivery.src, message.round, message.body)
        elif message.kind in ("masked", "refuse"):
            self._collect(delivery.src, message)

    def _collect(self, src: int, message: Message) -> None:
        opening = self._opening
        if opening is None or message.round != opening.round or src not in opening.listed:
            return
        if message.kind == "refuse":
            opening.refused = True
        elif not self._well_formed(message.body):
            self._node.record("malformed", round=message.round, sender=src)
            opening.refused = True
        elif src not in opening.shares:
            opening.shares[src] = message.body
            opening.tags[src] = message.release

    def _well_formed(self, share: Any) -> bool:
        """Whether a share can be added at all; what it holds cannot be checked."""
        if isinstance(share, IdealShare):
            return share.size_bytes == masked_size_bytes(self._learner.size)
        return (
            isinstance(share, np.ndarray)
            and share.dtype == np.uint32
            and share.shape == (self._learner.size,)
        )

    async def _answer_early(self, round: int) -> None:
        early, self._early = self._early, []
        for aggregator, wanted, listed in early:
            if wanted <= round:
                await self._answer(aggregator, wanted, listed)
            else:
                self._early.append((aggregator, wanted, listed))

    async def _answer(self, aggregator: int, round: int, listed: tuple[int, ...]) -> None:
        """Mask for this list, or refuse it; the first list of an aggregator in a round is the only one."""
        node = self._node
        if round not in self._mine and round > max(self._mine, default=-1):
            self._early.append((aggregator, round, listed))
            return
        if self._answered.get((aggregator, round)) == listed:
            return  # the same list once more, from the network or an attacker; its answer is on its way
        objection = self._objection(aggregator, round, listed)
        if objection is None:
            self._answered[aggregator, round] = listed
            said: Model = node.outgoing(self._mine[round], to=aggregator, round=round)
            weight = node.weight(node.id, receiver=aggregator)
            rounding = node.rng("rounding", round, aggregator, ATTEMPT)
            try:
                encoded = encode(node.read(said.params), weight, self._plan.codec, rounding)
            except OutOfRange as error:
                node.record("withheld", round=round, reason=str(error))
                self._refuse(aggregator, round, "withheld")
            else:
                await self._send_masked(aggregator, round, listed, encoded, said.state, weight)
        else:
            node.record("refused", round=round, reason=objection)
            self._refuse(aggregator, round, objection)

    def _refuse(self, aggregator: int, round: int, reason: str) -> None:
        self._node.send(aggregator, Message("refuse", round, reason, hello_size_bytes()))

    def _objection(self, aggregator: int, round: int, listed: tuple[int, ...]) -> str | None:
        """Why this list gets no answer; None if it gets one."""
        node = self._node
        neighbourhood = node.members(aggregator)
        if not isinstance(listed, tuple) or not all(isinstance(peer, int) for peer in listed):
            return "the list is malformed"
        ascending = tuple(sorted(set(listed)))
        if listed != ascending or node.id not in listed or not set(listed) <= set(neighbourhood):
            return "the list is not of this neighbourhood"
        if len(listed) < self._plan.minimum(len(neighbourhood)):
            return "the list is too short"
        if (aggregator, round) in self._answered:
            return "this round was answered already"
        if round not in self._mine:
            return "this round is over here"
        if any(not self._keys.knows(peer) for peer in listed if peer != node.id):
            self._keys.ask(aggregator)
            return "a co-member's key is unknown here"
        return None

    async def _send_masked(
        self,
        aggregator: int,
        round: int,
        listed: tuple[int, ...],
        encoded: np.ndarray[Any, np.dtype[np.uint32]],
        state: int,
        weight: float,
    ) -> None:
        node = self._node
        others = [peer for peer in listed if peer != node.id]
        await self._keys.agree(others)
        await node.sleep(self._plan.mask_cost_s_per_byte * encoded.nbytes * len(others))
        body: Any
        if self._plan.real:
            try:
                body = mask(
                    encoded, node.id, listed, lambda peer: self._mask_key(aggregator, round, listed, peer)
                )
            except KeyRefused as error:  # signed by its owner, yet unusable
                node.record("key_refused", owner=error.node, reason=str(error))
                self._refuse(aggregator, round, "a co-member's key is unusable")
                return
            body.setflags(write=False)
        else:
            body = seal(encoded, node.id, listed, opening=(aggregator, round, ATTEMPT))
        tag = Share((aggregator, round, ATTEMPT), node.id, frozenset(listed), state, weight)
        node.send(aggregator, Message("masked", round, body, masked_size_bytes(encoded.size), release=tag))

    def _mask_key(self, aggregator: int, round: int, listed: tuple[int, ...], peer: int) -> bytes:
        me = self._node.id
        return mask_key(
            self._keys.secret(peer),
            context=self._plan.context,
            aggregator=aggregator,
            round=round,
            attempt=ATTEMPT,
            members=listed,
            pair=(min(me, peer), max(me, peer)),
        )
