"""Double masking with verifiably dealt seeds: a dealer of wrong shares is found before any member masks for it.

Beside its shares every member sends commitments to its polynomials. Holders check their shares and complain about
inconsistent ones; all complaints go to all members, the accused answer in public, and all members with the
commitments reach the same verdict. An excluded member takes no part in the sum.

Sub-rounds: ``list`` → ``dealt``, ``relayed`` → ``checked`` (complaints), ``complaints`` → ``answered`` (shares of
the complaining members), ``verdicts`` → ``masked``; then as in double masking.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from protocols.aggregation.double_masks import (
    DoubleMasks,
    DoublePlan,
    Graph,
    Kept,
    fields_of,
    is_pairs,
    kept_of,
)
from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.keys import ID_BYTES
from protocols.aggregation.suite import Steps
from protocols.aggregation.sums import Refused, Reply, Rules, ids_bytes, is_ids
from protocols.aggregation.verified_secrets import (
    BLOB_BYTES,
    Blobs,
    VerifiedSecrets,
    commitments_bytes,
    judged,
    sealed_bytes,
)
from protocols.privacy.lineage import Held
from simulator.contract.node import Message, Node

Judgements = Mapping[int, tuple[tuple[int, ...], Mapping[int, Blobs]]]
"""By accused dealer, the complaining members and the share it published for each of them."""


class VerifiedMasks(DoubleMasks):
    """One node's side of double masking with verifiable seeds.

    Guarantees:
        Those of double masking. Also, unless a dealer computes discrete logarithms: honest holders of a dealer that
        was not excluded hold shares of one polynomial each, so its seeds are recovered if enough of them answer. An
        answered complaint makes one share public: with each wrong complaint about an honest dealer, the number of
        colluders from which its seeds stay hidden falls by one.
    """

    def __init__(self, node: Node, rules: Rules, plan: DoublePlan, secrets: VerifiedSecrets) -> None:
        super().__init__(node, rules, plan, secrets)
        self._verified = secrets
        self._answers |= {
            "relayed": self._check,
            "complaints": self._publish,
            "verdicts": self._mask_verified,
        }

    @classmethod
    def sub_rounds(cls, active: bool) -> Steps:
        """Return the sub-rounds of a sum: two more than without verification, between dealing and masking."""
        dealing, _, *rest = super().sub_rounds(active)
        checking = (("relayed", "checked"), ("complaints", "answered"), ("verdicts", "masked"))
        return (dealing, *checking, *rest)

    # Member side.

    async def _deal(self, part: Part, payload: Any) -> Reply:
        """Deal shares to all partners, and send commitments to all members."""
        boxes, _, _ = await super()._deal(part, payload)
        kept = kept_of(part)
        threshold, count = kept.graph.threshold, len(kept.partners)
        await self.node.sleep(self.rules.commitment_cost_s * 2 * threshold)
        size = count * (ID_BYTES + sealed_bytes()) + commitments_bytes(threshold)
        return Reply((self._verified.commitments(part.sum), boxes), size)

    async def _check(self, part: Part, payload: Any) -> Reply:
        """Store shares, and complain about those that do not fit their commitments."""
        kept = kept_of(part)
        dealt = fields_of(payload, kept.partners)
        if not all(isinstance(box, tuple) and len(box) == 2 for box in dealt.values()):
            raise Refused("the request is malformed")
        kept.dealers = tuple(dealt)
        await self.node.sleep(self.rules.commitment_cost_s * 2 * len(dealt))
        points = {dealer: _point(kept.graph, dealer, self.node.id) for dealer in dealt}
        complaints = self._verified.check(part.sum, dealt, points, kept.graph.threshold)
        return Reply(complaints, ids_bytes(len(complaints)))

    async def _publish(self, part: Part, payload: Any) -> Reply:
        """Publish the shares of members that complained about this one."""
        kept, me = kept_of(part), self.node.id
        accusers = tuple(sorted({one for one, dealer in _complaints(payload) if dealer == me}))
        if not set(accusers) <= set(kept.partners):
            raise Refused("somebody complains who got no shares")
        if len(accusers) >= kept.graph.threshold:
            raise Refused("so many complain that answering all of them would show the seeds")
        answers = self._verified.publish(part.sum, accusers)
        release = Held(part.sum, (me,), kept.graph.threshold, None) if accusers else None
        return Reply(answers, len(answers) * (ID_BYTES + BLOB_BYTES), release)

    async def _mask_verified(self, part: Part, payload: Any) -> Reply:
        """Check the verdicts on all partners, and mask for the remaining ones."""
        kept, me, sum = kept_of(part), self.node.id, part.sum
        dealers, judgements = _verdicts(payload, part.listed)
        if me not in dealers:
            raise Refused("this member's shares were found wrong")
        complained = self._verified.complained(sum)
        for dealer in kept.dealers:
            if dealer not in dealers:
                continue
            accusers, answers = judgements.get(dealer, ((), {}))
            if dealer in complained and me not in accusers:
                raise Refused("a complaint was not passed on")
            if accusers and self._excluded(sum, kept, dealer, accusers, answers):
                raise Refused("a dealer whose shares are wrong is not excluded")
            if me in accusers:
                self._verified.accept(sum, dealer, answers[me])
        kept.dealers = tuple(dealer for dealer in kept.dealers if dealer in dealers)
        return await self._masked(part)

    def _excluded(
        self, sum: Any, kept: Kept, dealer: int, accusers: tuple[int, ...], answers: Mapping[int, Blobs]
    ) -> bool:
        points = {
            one: _point(kept.graph, dealer, one) for one in accusers if one in kept.graph.partners[dealer]
        }
        commitments = self._verified.received(sum, dealer)
        return judged(commitments, kept.graph.threshold, points, answers)

    # Aggregator side.

    async def _collect(
        self, gathering: Gathering, graph: Graph
    ) -> tuple[tuple[int, ...], dict[int, Message]]:
        """Collect shares, complaints and answers, announce the verdicts, and collect the masked vectors."""
        dealt = await gathering.ask(self._lists(gathering, graph), _is_dealing)
        commitments = {peer: answer.body[0] for peer, answer in dealt.items()}
        boxes = self._complete(gathering, graph, {peer: answer.body[1] for peer, answer in dealt.items()})
        self._enough(gathering, boxes)
        checked = await gathering.ask(
            self._relays_with(gathering, graph, boxes, commitments),
            lambda payload: is_ids(payload, gathering.listed),
        )
        self._enough(gathering, checked)
        complaints = tuple(
            (one, dealer)
            for one, answer in checked.items()
            for dealer in answer.body
            if dealer in boxes and dealer in graph.partners[one]
        )
        size = ids_bytes(2 * len(complaints))
        answered = await gathering.ask(gathering.same(complaints, size, checked), is_pairs)
        judgements = {
            dealer: (
                tuple(one for one, accused in complaints if accused == dealer),
                dict(answered[dealer].body) if dealer in answered else {},
            )
            for dealer in sorted({accused for _, accused in complaints})
        }
        excluded = set()
        for dealer, (accusers, answers) in judgements.items():
            points = {one: _point(graph, dealer, one) for one in accusers}
            if judged(commitments[dealer], graph.threshold, points, answers):
                self.node.record("wrong_dealing", round=gathering.sum.round, sender=dealer)
                excluded.add(dealer)
        left = tuple(peer for peer in answered if peer not in excluded)
        self._enough(gathering, left)
        payload = (left, tuple((d, one, tuple(a.items())) for d, (one, a) in judgements.items()))
        size = ids_bytes(len(left)) + sum(
            ID_BYTES + ids_bytes(len(one)) + len(a) * (ID_BYTES + BLOB_BYTES)
            for one, a in judgements.values()
        )
        return left, await gathering.ask(gathering.same(payload, size, left), gathering.is_vector)

    def _relays_with(
        self,
        gathering: Gathering,
        graph: Graph,
        boxes: Mapping[int, Mapping[int, Any]],
        commitments: Mapping[int, Any],
    ) -> dict[int, Reply]:
        each = ID_BYTES + sealed_bytes() + commitments_bytes(graph.threshold)
        return {
            peer: Reply(
                tuple((v, (box, commitments[v])) for v, box in request.payload),
                each * len(request.payload),
                request.release,
            )
            for peer, request in self._relays(gathering, graph, boxes).items()
        }


def _point(graph: Graph, dealer: int, holder: int) -> int:
    """Return the point at which a dealer's polynomials were evaluated for a holder."""
    return sorted((dealer, *graph.partners[dealer])).index(holder) + 1


def _is_dealing(payload: Any) -> bool:
    return isinstance(payload, tuple) and len(payload) == 2 and is_pairs(payload[1])


def _complaints(payload: Any) -> tuple[tuple[int, int], ...]:
    if not is_pairs(payload) or not all(isinstance(number, int) for pair in payload for number in pair):
        raise Refused("the request is malformed")
    complaints: tuple[tuple[int, int], ...] = payload
    return complaints


def _verdicts(payload: Any, listed: tuple[int, ...]) -> tuple[tuple[int, ...], Judgements]:
    """Return the remaining members, and the judgements on accused dealers, from a payload."""
    if not (isinstance(payload, tuple) and len(payload) == 2 and is_ids(payload[0], listed)):
        raise Refused("the request is malformed")
    judgements = {}
    for judgement in payload[1] if isinstance(payload[1], tuple) else (None,):
        if not (isinstance(judgement, tuple) and len(judgement) == 3):
            raise Refused("the request is malformed")
        dealer, accusers, answers = judgement
        if not (is_ids(accusers, listed) and is_pairs(answers)):
            raise Refused("the request is malformed")
        judgements[dealer] = (accusers, dict(answers))
    return payload[0], judgements
