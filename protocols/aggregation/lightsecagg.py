"""LightSecAgg: one-shot recovery of the sum of the survivors' masks, for any tolerated number of dropouts.

Every member draws a mask as long as its vector, and deals packed shares of it (shares of ``packing`` blocks of the
mask together with uniformly random blocks) to all listed members. Then it sends its vector under the mask. When the
aggregator announces the survivors, each of them adds up the shares of the survivors' masks and sends the result; any
``threshold`` of these recover the sum of the masks, which is subtracted.

Source: So et al. 2022 (MLSys). There N members, T colluders, U answers: here ``threshold`` = U, ``packing`` = U − T.

Sub-rounds: ``list`` → ``dealt``, ``relayed`` → ``masked``, ``opening`` → ``summed``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.ideal import Sealed, seal, unseal
from protocols.aggregation.keyring import Keyring
from protocols.aggregation.masks import total
from protocols.aggregation.share_sums import is_boxes, keep_complete, relays, taken
from protocols.aggregation.suite import Keyed
from protocols.aggregation.sums import Opened, Refused, Reply, Rules, Skipped, ids_bytes, is_ids
from protocols.aggregation.vector_shares import SharingPlan, TooManyWrong, VectorShares
from protocols.privacy.lineage import Masked, Revealed
from protocols.sharing.field import random_words
from protocols.sharing.modulus import Words
from simulator.contract.node import Node


@dataclass
class _Kept:
    """State a member keeps about a sum between steps."""

    own: Any
    mask: Words
    shares: dict[int, Any] = field(default_factory=dict)


class LightSecAgg(Keyed):
    """One node's side of LightSecAgg.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
        plan: sharing of masks.
        shares: the node's shares, real or ideal.
        keyring: keys shared with co-members.

    Guarantees:
        Honest-but-curious aggregator with up to ``threshold − packing`` members: they learn the sum over the
        survivors it names (at least 3 + ``colluders``), and nothing else; computational, under AES-256, X25519 and
        HKDF-SHA256. The blocks that fill up a polynomial are uniformly random, never zero: with zeros a smaller
        coalition would suffice. An aggregator that names different survivors to different members opens at most one
        sum
        if twice the threshold exceeds members plus colluders. Wrong shares are corrected and named as in
        :class:`~protocols.aggregation.share_sums.ShareSums`.
    """

    steps = (("list", "dealt"), ("relayed", "masked"), ("opening", "summed"))

    def __init__(
        self, node: Node, rules: Rules, plan: SharingPlan, shares: VectorShares, keyring: Keyring
    ) -> None:
        super().__init__(node, rules, keyring)
        self._plan = plan
        self._shares = shares

    async def answer(self, part: Part, payload: Any) -> Reply:
        """Answer the next step."""
        return await (self._deal, self._mask, self._sum)[len(part.answered) - 1](part, payload)

    async def _deal(self, part: Part, payload: Any) -> Reply:
        await self.agree(part)
        size, plan, rules, sum = part.offer.words.size, self._plan, self.rules, part.sum
        secret = self.node.secret(f"vector mask {sum.aggregator} {sum.round} {sum.attempt}", 32)
        mask = random_words(plan.modulus, secret, size) if rules.real else np.zeros(0, plan.modulus.dtype)
        await self.node.sleep(
            rules.mask_cost_s_per_byte * plan.modulus.size_bytes(size)
            + rules.share_cost_s_per_byte * plan.share_bytes(size, len(part.listed)) * len(part.listed)
        )
        own, dealt = self._shares.deal(sum, mask, part.listed)
        part.kept = _Kept(own, mask)
        return Reply(dealt, plan.sealed_bytes(size, len(part.listed)) * (len(part.listed) - 1))

    async def _mask(self, part: Part, payload: Any) -> Reply:
        kept, words, plan = part.kept, part.offer.words, self._plan
        boxes = taken(part, payload, self.node, self.rules)
        kept.shares = {dealer: self._shares.take(part.sum, dealer, box) for dealer, box in boxes.items()}
        kept.shares[self.node.id] = kept.own
        size = self.rules.vector_bytes(words.size)
        body: Words | Sealed
        if self.rules.real:
            body = plan.modulus.add(words.copy(), kept.mask)
            body.setflags(write=False)
        else:
            body = seal(words, self.node.id, size, ("masked", part.sum))
        return Reply(body, size, Masked(part.sum, self.node.id, part.offer.state, part.offer.weight))

    async def _sum(self, part: Part, payload: Any) -> Reply:
        kept, size, plan, rules = part.kept, part.offer.words.size, self._plan, self.rules
        if not is_ids(payload, sorted(kept.shares)) or self.node.id not in payload:
            raise Refused("the survivors are not of this list")
        if len(payload) < rules.minimum(part.neighbourhood):
            raise Refused("too few survivors")
        part.included = payload
        share = plan.share_bytes(size, len(part.listed))
        await self.node.sleep(rules.share_cost_s_per_byte * share * len(payload))
        added = self._shares.add(part.sum, [kept.shares[v] for v in payload], size, len(part.listed))
        revealing = plan.privacy(len(part.listed)) + 1
        return Reply(added, share, Revealed(part.sum, self.node.id, frozenset(payload), revealing))

    async def open(self, gathering: Gathering) -> Opened:
        """Relay shares, collect vectors, and subtract the sum of their masks.

        Raises:
            Skipped: too few members are left in one of the sub-rounds, or too many shares are wrong.
        """
        listed, plan, rules, size = gathering.listed, self._plan, self.rules, gathering.size
        request = gathering.same(listed, ids_bytes(len(listed)), listed)
        dealt = await gathering.ask(request, is_boxes)
        keep_complete(gathering, dealt)
        if gathering.too_few(len(dealt)):
            raise Skipped("too few members are left")
        masked = await gathering.ask(relays(gathering, dealt, plan, None), gathering.is_vector)
        if gathering.too_few(len(masked)):
            raise Skipped("too few members are left")
        survivors = tuple(masked)
        opening = gathering.same(survivors, ids_bytes(len(survivors)), survivors)
        said = await gathering.ask(opening, self._shares.sound)
        if len(said) < plan.threshold(len(listed)):
            raise Skipped("fewer shares than the threshold")
        await self.node.sleep(rules.share_cost_s_per_byte * plan.share_bytes(size, len(listed)) * len(said))
        try:
            masks, wrong = self._shares.recover(
                gathering.sum,
                {peer: dealt[peer].body for peer in survivors},
                listed,
                {peer: answer.body for peer, answer in said.items()},
                size if rules.real else 0,
            )
        except TooManyWrong as error:
            self.node.record("wrong_shares", round=gathering.sum.round)
            raise Skipped(str(error)) from error
        for peer in wrong:
            self.node.record("wrong_share", round=gathering.sum.round, sender=peer)
        if rules.real:
            words = plan.modulus.subtract(total((m.body for m in masked.values()), plan.modulus), masks)
        else:
            tokens = ((peer, message.body) for peer, message in masked.items())
            words = total((unseal(t, peer, ("masked", gathering.sum)) for peer, t in tokens), plan.modulus)
        terms = tuple((m.release.coef, m.release.state) for m in masked.values())
        return Opened(self.rules.encoding.decode(words, gathering.sum.round), survivors, terms)
