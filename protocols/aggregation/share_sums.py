"""Neighbourhood sharing: members share their vectors among themselves, and the aggregator recovers the sum.

Every member deals Shamir (or packed) shares of its weighted, encoded vector to all listed members. Each adds up its
received shares and sends the aggregator its share of the sum. Any ``threshold`` of them recover it, so members may
drop out at any time, and with r of them up to (r − threshold) / 2 wrong ones are corrected and their senders named.

Sub-rounds: ``list`` → ``dealt`` (sealed shares for all others), ``relayed`` → ``summed``.
"""

from __future__ import annotations

from typing import Any

from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.keyring import Keyring
from protocols.aggregation.suite import Keyed
from protocols.aggregation.sums import Opened, Refused, Reply, Rules, Skipped, ids_bytes
from protocols.aggregation.vector_shares import SharingPlan, TooManyWrong, VectorShares
from protocols.privacy.lineage import Held, Masked, Revealed
from simulator.contract.node import Node


class ShareSums(Keyed):
    """One node's side of neighbourhood sharing.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
        plan: sharing of vectors.
        shares: the node's shares, real or ideal.
        keyring: keys shared with co-members.

    Guarantees:
        Honest-but-curious aggregator with up to ``threshold − packing`` members: they learn the sum over the dealers
        it names (at least 3 + ``colluders``), and nothing else. Towards members alone this is unconditional, as
        shares reach them encrypted but hide the vector by themselves; towards an observer of what the aggregator
        relays it rests on AES-256-GCM, X25519 and HKDF-SHA256.
        An aggregator that names different dealers to different members opens at most one sum if twice the threshold
        exceeds members plus colluders. A dealer whose shares lie on no polynomial makes the sum wrong or keeps it
        closed; that is detected if more members answer than the threshold, but the dealer is not identified.
    """

    steps = (("list", "dealt"), ("relayed", "summed"))

    def __init__(
        self, node: Node, rules: Rules, plan: SharingPlan, shares: VectorShares, keyring: Keyring
    ) -> None:
        super().__init__(node, rules, keyring)
        self._plan = plan
        self._shares = shares

    async def answer(self, part: Part, payload: Any) -> Reply:
        """Answer the next step."""
        if len(part.answered) == 1:
            return await self._deal(part)
        return await self._sum(part, payload)

    async def _deal(self, part: Part) -> Reply:
        await self.agree(part)
        words, listed, plan = part.offer.words, part.listed, self._plan
        share = plan.share_bytes(words.size, len(listed))
        await self.node.sleep(self.rules.share_cost_s_per_byte * share * len(listed))
        part.kept, dealt = self._shares.deal(part.sum, words, listed)
        tag = Masked(part.sum, self.node.id, part.offer.state, part.offer.weight)
        return Reply(dealt, plan.sealed_bytes(words.size, len(listed)) * (len(listed) - 1), tag)

    async def _sum(self, part: Part, payload: Any) -> Reply:
        size, plan = part.offer.words.size, self._plan
        boxes = taken(part, payload, self.node, self.rules)
        share = plan.share_bytes(size, len(part.listed))
        await self.node.sleep(self.rules.share_cost_s_per_byte * share * len(boxes))
        part.included = tuple(sorted((self.node.id, *boxes)))
        shares = [part.kept, *(self._shares.take(part.sum, dealer, box) for dealer, box in boxes.items())]
        release = Revealed(
            part.sum,
            self.node.id,
            frozenset((self.node.id, *boxes)),
            plan.privacy(len(part.listed)) + 1,
        )
        return Reply(self._shares.add(part.sum, shares, size, len(part.listed)), share, release)

    async def open(self, gathering: Gathering) -> Opened:
        """Relay shares, and recover the sum.

        Raises:
            Skipped: too few members dealt or answered, or too many shares are wrong.
        """
        listed, plan, rules = gathering.listed, self._plan, self.rules
        request = gathering.same(listed, ids_bytes(len(listed)), listed)
        dealt = await gathering.ask(request, is_boxes)
        keep_complete(gathering, dealt)
        if gathering.too_few(len(dealt)):
            raise Skipped("too few members are left")
        size = gathering.size
        terms = tuple((answer.release.state, answer.release.coef) for answer in dealt.values())
        tag_terms = dict(zip(dealt, terms, strict=True))
        said = await gathering.ask(relays(gathering, dealt, plan, tag_terms), self._shares.sound)
        if len(said) < plan.threshold(len(listed)):
            raise Skipped("fewer shares than the threshold")
        await self.node.sleep(rules.share_cost_s_per_byte * plan.share_bytes(size, len(listed)) * len(said))
        boxes = {peer: answer.body for peer, answer in dealt.items()}
        sums = {peer: answer.body for peer, answer in said.items()}
        try:
            words, wrong = self._shares.recover(gathering.sum, boxes, listed, sums, size)
        except TooManyWrong as error:
            self.node.record("wrong_shares", round=gathering.sum.round)
            raise Skipped(str(error)) from error
        for peer in wrong:
            self.node.record("wrong_share", round=gathering.sum.round, sender=peer)
        value = self.rules.encoding.decode(words, gathering.sum.round)
        return Opened(value, tuple(dealt), tuple((coef, state) for state, coef in terms))


def is_boxes(payload: Any) -> bool:
    """Return whether a payload is a sequence of (holder, sealed share) pairs."""
    return isinstance(payload, tuple) and all(isinstance(box, tuple) and len(box) == 2 for box in payload)


def keep_complete(gathering: Gathering, dealt: dict[int, Any]) -> None:
    """Drop dealers that did not deal to every other listed member."""
    for dealer in list(dealt):
        if [holder for holder, _ in dealt[dealer].body] != [v for v in gathering.listed if v != dealer]:
            gathering.node.record("malformed", round=gathering.sum.round, sender=dealer)
            del dealt[dealer]


def relays(
    gathering: Gathering,
    dealt: dict[int, Any],
    plan: SharingPlan,
    terms: dict[int, tuple[int, float]] | None,
) -> dict[int, Reply]:
    """Return, for each member that dealt, what the others sealed for it; ``terms`` if the vectors are shared."""
    boxes = {dealer: dict(answer.body) for dealer, answer in dealt.items()}
    revealing = plan.privacy(len(gathering.listed)) + 1
    requests = {}
    for holder in dealt:
        dealers = tuple(v for v in boxes if v != holder)
        held = None if terms is None else tuple(terms[v] for v in dealers)
        payload = tuple((v, boxes[v][holder]) for v in dealers)
        size = plan.sealed_bytes(gathering.size, len(gathering.listed)) * len(dealers)
        requests[holder] = Reply(payload, size, Held(gathering.sum, dealers, revealing, held))
    return requests


def taken(part: Part, payload: Any, node: Node, rules: Rules) -> dict[int, Any]:
    """Return the shares relayed to a member, by dealer, if the request is valid.

    Raises:
        Refused: the request is malformed, or too few members dealt.
    """
    if not is_boxes(payload):
        raise Refused("the request is malformed")
    boxes = dict(payload)
    if len(boxes) != len(payload) or not boxes.keys() <= set(part.listed) - {node.id}:
        raise Refused("the request names somebody who does not belong there")
    if len(boxes) + 1 < rules.minimum(part.neighbourhood):
        raise Refused("too few members dealt shares")
    return boxes
