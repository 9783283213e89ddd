"""Double masking: sums that open over the remaining members after dropouts.

A member's vector is under a mask of its own (from a seed b) and under masks shared with its *partners* (from keys
agreed on with its mask key s). It first deals Shamir shares of both secrets to its partners. When the aggregator
announces which members sent a masked vector, every member reveals, for each partner, one share: of b if the partner
    is
in the sum, of s if it is not. Enough shares of b remove the own masks from the sum, enough shares of s the masks
whose other member dropped out. No honest member reveals both shares of one partner.

With a complete graph of partners it is Bonawitz et al. 2017 (CCS); with a sparse random one, SecAgg+ (Bell et al.
2020, CCS); inside the neighbourhood of a gossip node, with keys signed under the directory, the recovery of
neighbourhood masks. Keys, shares and masks are handled in :mod:`protocols.aggregation.double_secrets`.

Sub-rounds: ``hello`` (fresh keys for this sum), ``list`` → ``dealt`` (all members' keys; sealed shares for partners),
``relayed`` → ``masked`` (the shares dealt to a member; its vector), with ``active`` also ``survivors`` → ``signed``
(the members in the sum, and a signature on them), ``opening`` → ``revealed`` (the survivors, or the signatures;
shares).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from protocols.aggregation.double_secrets import (
    GREETING_BYTES,
    SEALED_BYTES,
    SHARE_BYTES,
    Dealings,
    Secrets,
    WrongShare,
)
from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.ideal import Sealed
from protocols.aggregation.keys import ID_BYTES, SIGNATURE_BYTES
from protocols.aggregation.suite import Steps, Suite
from protocols.aggregation.sums import (
    Opened,
    Refused,
    Reply,
    Rules,
    Skipped,
    SumId,
    ids_bytes,
    is_ids,
)
from protocols.privacy.lineage import Held, Masked, Revealed
from simulator.contract.node import Message, Node


class Graph(NamedTuple):
    """Partners of every member in one sum, with whom it shares masks and seeds.

    Args:
        partners: by member, ascending.
        threshold: number of shares that recover a seed; its owner and each of the owner's partners hold one.
    """

    partners: Mapping[int, tuple[int, ...]]
    threshold: int


def complete_graphs(threshold: Callable[[int], int]) -> Callable[[SumId, tuple[int, ...]], Graph]:
    """Return a function that makes complete graphs, with the threshold for the number of holders."""

    # All members of a sum, and its aggregator, ask for the same graph.
    @lru_cache(maxsize=4)
    def graph(sum: SumId, listed: tuple[int, ...]) -> Graph:
        others = {member: tuple(peer for peer in listed if peer != member) for member in listed}
        return Graph(others, threshold(len(listed)))

    return graph


@dataclass(frozen=True)
class DoublePlan:
    """Parameters of double masking beyond the common rules.

    Args:
        graph: (sum, list) -> partners of every member.
        signed: whether greetings carry signatures under the directory.
        active: whether survivors sign the list of survivors before any share is revealed.
    """

    graph: Callable[[SumId, tuple[int, ...]], Graph]
    signed: bool = True
    active: bool = False


class DoubleMasks(Suite):
    """One node's side of double masking.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
        plan: the variant.
        secrets: the node's keys and seeds, real or ideal.

    Guarantees:
        The aggregator and fewer than ``threshold`` of a member's partners learn the sum over the members in it, of
        whom there are at least 3 + ``colluders``, and nothing else: computational, under X25519, HKDF-SHA256,
        AES-256-CTR, ChaCha20-Poly1305 and Shamir's scheme. Against an honest-but-curious aggregator if greetings are
        not signed. Signed, also against one that substitutes keys. An aggregator that announces different survivors
        to different members gets both shares of no member if twice the threshold exceeds the shares of a seed plus
        the colluders; with ``active`` every member checks that at least ``threshold`` partners signed the same
        survivors. A Byzantine member can shift the sum within its range; a wrong share is found and its sender named
        if more members answer than the threshold; otherwise the sum stays closed.
    """

    greets = True

    def __init__(self, node: Node, rules: Rules, plan: DoublePlan, secrets: Secrets) -> None:
        super().__init__(node, rules)
        self._plan = plan
        self._secrets = secrets
        self.steps = self.sub_rounds(plan.active)
        self._answers = {
            "list": self._deal,
            "relayed": self._mask,
            "survivors": self._sign,
            "opening": self._reveal,
        }

    @classmethod
    def sub_rounds(cls, active: bool) -> Steps:
        """Return the sub-rounds of a sum.

        Args:
            active: whether members agree on the survivors.
        """
        consistency = (("survivors", "signed"),) if active else ()
        return (("list", "dealt"), ("relayed", "masked"), *consistency, ("opening", "revealed"))

    def greeting(self, aggregator: int, round: int) -> Reply:
        """Return two public keys, made for this sum alone."""
        signature = SIGNATURE_BYTES if self._plan.signed else 0
        return Reply(self._secrets.greeting(SumId(aggregator, round, 0)), GREETING_BYTES + signature)

    # Member side.

    async def answer(self, part: Part, payload: Any) -> Reply:
        """Answer the next step."""
        return await self._answers[self.steps[len(part.answered) - 1][0]](part, payload)

    async def _deal(self, part: Part, payload: Any) -> Reply:
        """Agree on keys with all partners, and deal them shares of this sum's seeds."""
        listed, keys = _pair(payload)
        graph = self._plan.graph(part.sum, listed)
        partners = graph.partners[self.node.id]
        greetings = fields_of(keys, partners)
        rules = self.rules
        # Two keys of its own, and two agreements with every partner.
        await self.node.sleep(rules.agreement_cost_s * 2 * (len(partners) + 1))
        await self.node.sleep(rules.share_cost_s_per_byte * 2 * SHARE_BYTES * (len(partners) + 1))
        part.kept = Kept(graph, partners)
        dealt = self._secrets.deal(part.sum, greetings, graph.threshold)
        return Reply(dealt, len(partners) * (ID_BYTES + SEALED_BYTES))

    async def _mask(self, part: Part, payload: Any) -> Reply:
        """Store the shares dealt by partners, and mask the vector."""
        kept = kept_of(part)
        dealt = fields_of(payload, kept.partners)
        kept.dealers = tuple(dealt)
        self._secrets.take(part.sum, dealt)
        return await self._masked(part)

    async def _masked(self, part: Part) -> Reply:
        """Return the vector, under masks shared with all partners that dealt."""
        kept, rules, words = kept_of(part), self.rules, part.offer.words
        if len(kept.dealers) + 1 < kept.graph.threshold:
            raise Refused("too few members dealt shares")
        await self.node.sleep(rules.mask_cost_s_per_byte * words.nbytes * (len(kept.dealers) + 1))
        size = rules.vector_bytes(words.size)
        body = self._secrets.mask(part.sum, words, kept.dealers, size)
        partners = None if len(kept.partners) == len(part.listed) - 1 else kept.dealers
        tag = Masked(part.sum, self.node.id, part.offer.state, part.offer.weight, partners)
        return Reply(body, size, tag)

    async def _sign(self, part: Part, payload: Any) -> Reply:
        """Sign the survivors announced by the aggregator."""
        kept = kept_of(part)
        kept.survivors = self._survivors(part, payload)
        return Reply(self._secrets.sign(part.sum, kept.survivors), SIGNATURE_BYTES)

    async def _reveal(self, part: Part, payload: Any) -> Reply:
        """Return one share of each partner: of its own mask if it is in the sum, of its mask key if it is not."""
        kept, me = kept_of(part), self.node.id
        if self._plan.active:
            survivors = kept.survivors
            signers = fields_of(payload, [peer for peer in kept.partners if peer in survivors])
            agreed = self._secrets.agreed(part.sum, survivors, signers)
            if agreed + 1 < kept.graph.threshold:
                raise Refused("too few members agree on who is in the sum")
        else:
            survivors = self._survivors(part, payload)
        part.included = survivors
        holders = sorted((me, *kept.dealers))
        shares = self._secrets.reveal(part.sum, holders, frozenset(survivors))
        release = Revealed(part.sum, me, frozenset(survivors), kept.graph.threshold)
        return Reply(shares, SHARE_BYTES * len(holders), release)

    def _survivors(self, part: Part, payload: Any) -> tuple[int, ...]:
        if not is_ids(payload, part.listed) or self.node.id not in payload:
            raise Refused("the survivors are not of this list")
        if len(payload) < self.rules.minimum(part.neighbourhood):
            raise Refused("too few survivors")
        survivors: tuple[int, ...] = payload
        return survivors

    # Aggregator side.

    async def open(self, gathering: Gathering) -> Opened:
        """Collect keys, shares and vectors, and the shares that open their sum.

        Raises:
            Skipped: too few members are left in one of the sub-rounds, or a share is inconsistent.
        """
        graph = self._plan.graph(gathering.sum, gathering.listed)
        dealt, masked = await self._collect(gathering, graph)
        survivors = self._enough(gathering, masked)
        request: Mapping[int, Reply] = gathering.same(survivors, ids_bytes(len(survivors)), survivors)
        if self._plan.active:
            signed = await gathering.ask(request, lambda payload: isinstance(payload, bytes))
            request = self._signatures(graph, survivors, signed)
        answers = await gathering.ask(request, lambda payload: isinstance(payload, tuple))
        revealed = {
            peer: dict(
                zip(
                    sorted((peer, *(v for v in graph.partners[peer] if v in dealt))),
                    answer.body,
                    strict=False,
                )
            )
            for peer, answer in answers.items()
        }
        self._check_thresholds(graph, dealt, survivors, revealed)
        await self.node.sleep(self._opening_cost_s(graph, dealt, survivors, masked))
        try:
            total, wrong = self._secrets.open(
                gathering.sum,
                {peer: masked[peer].body for peer in survivors},
                Dealings(graph.partners, tuple(dealt), gathering.greetings, graph.threshold),
                revealed,
            )
        except WrongShare as error:
            raise Skipped(str(error)) from error
        for peer in wrong:
            self.node.record("wrong_share", round=gathering.sum.round, sender=peer)
        terms = tuple((masked[peer].release.coef, masked[peer].release.state) for peer in survivors)
        return Opened(self.rules.encoding.decode(total, gathering.sum.round), survivors, terms)

    async def _collect(
        self, gathering: Gathering, graph: Graph
    ) -> tuple[tuple[int, ...], dict[int, Message]]:
        """Collect shares, and the masked vectors; return the dealers and the vectors."""
        dealt = await gathering.ask(self._lists(gathering, graph), is_pairs)
        boxes = self._complete(gathering, graph, {peer: answer.body for peer, answer in dealt.items()})
        self._enough(gathering, boxes)
        relays = self._relays(gathering, graph, boxes)
        return tuple(boxes), await gathering.ask(relays, gathering.is_vector)

    def _complete(
        self, gathering: Gathering, graph: Graph, boxes: Mapping[int, Any]
    ) -> dict[int, dict[int, Any]]:
        """Return, by dealer, what it sealed for each partner; dealers that left out a partner are dropped."""
        complete = {}
        for peer, sealed in boxes.items():
            by_holder = dict(sealed)
            if by_holder.keys() == set(graph.partners[peer]):
                complete[peer] = by_holder
            else:
                self.node.record("malformed", round=gathering.sum.round, sender=peer)
        return complete

    def _enough(self, gathering: Gathering, answers: Iterable[int]) -> tuple[int, ...]:
        left = tuple(answers)
        if gathering.too_few(len(left)):
            raise Skipped("too few members are left")
        return left

    def _lists(self, gathering: Gathering, graph: Graph) -> dict[int, Reply]:
        """Return, for each member, the list and the keys of its partners."""
        listed = gathering.listed
        signature = SIGNATURE_BYTES if self._plan.signed else 0
        each = ID_BYTES + GREETING_BYTES + signature
        return {
            peer: Reply(
                (listed, tuple((v, gathering.greetings[v]) for v in graph.partners[peer])),
                ids_bytes(len(listed)) + each * len(graph.partners[peer]),
            )
            for peer in listed
        }

    def _relays(
        self, gathering: Gathering, graph: Graph, boxes: Mapping[int, Mapping[int, Any]]
    ) -> dict[int, Reply]:
        """Return, for each member that dealt, what its partners sealed for it."""
        requests = {}
        for peer in boxes:
            dealers = tuple(v for v in graph.partners[peer] if v in boxes)
            tag = Held(gathering.sum, dealers, graph.threshold, None)
            payload = tuple((v, boxes[v][peer]) for v in dealers)
            requests[peer] = Reply(payload, len(dealers) * (ID_BYTES + SEALED_BYTES), tag)
        return requests

    def _signatures(
        self, graph: Graph, survivors: Sequence[int], signed: Mapping[int, Any]
    ) -> dict[int, Reply]:
        """Return, for each survivor, the signatures of its partners."""
        requests = {}
        for peer in survivors:
            payload = tuple((v, signed[v].body) for v in graph.partners[peer] if v in signed)
            requests[peer] = Reply(payload, len(payload) * (ID_BYTES + SIGNATURE_BYTES))
        return requests

    def _check_thresholds(
        self,
        graph: Graph,
        dealt: Sequence[int],
        survivors: Sequence[int],
        revealed: Mapping[int, Mapping[int, Any]],
    ) -> None:
        """Check that all needed secrets can be recovered; a mask key only if it masks vectors of survivors."""
        alive = frozenset(survivors)
        for peer in dealt:
            if peer in alive or any(v in alive for v in graph.partners[peer]):
                shares = sum(peer in shares for shares in revealed.values())
                if shares < graph.threshold:
                    raise Skipped("fewer shares than the threshold")

    def _opening_cost_s(
        self,
        graph: Graph,
        dealt: Sequence[int],
        survivors: Sequence[int],
        masked: Mapping[int, Any],
    ) -> float:
        alive = frozenset(survivors)
        dangling = sum(v in alive for peer in dealt if peer not in alive for v in graph.partners[peer])
        rules = self.rules
        body = masked[survivors[0]].body
        vector = rules.vector_bytes(body.size) if not isinstance(body, Sealed) else body.size_bytes
        shares = graph.threshold * len(dealt)
        return (
            rules.mask_cost_s_per_byte * vector * (len(survivors) + dangling)
            + rules.share_cost_s_per_byte * SHARE_BYTES * shares
            + rules.agreement_cost_s * dangling
        )


@dataclass
class Kept:
    """State a member keeps about a sum between steps."""

    graph: Graph
    partners: tuple[int, ...]
    dealers: tuple[int, ...] = ()
    survivors: tuple[int, ...] = ()


def kept_of(part: Part) -> Kept:
    """Return the state kept for a sum.

    Raises:
        Refused: this member has dealt no shares for it.
    """
    if not isinstance(part.kept, Kept):
        raise Refused("a vector or shares requested before shares were dealt")
    return part.kept


def _pair(payload: Any) -> tuple[Any, Any]:
    if not (isinstance(payload, tuple) and len(payload) == 2):
        raise Refused("the list is malformed")
    return payload


def is_pairs(payload: Any) -> bool:
    """Return whether a payload is a sequence of (member, content) pairs."""
    return isinstance(payload, tuple) and all(isinstance(f, tuple) and len(f) == 2 for f in payload)


def fields_of(payload: Any, peers: Sequence[int]) -> dict[int, Any]:
    """Return the (peer, content) pairs as a mapping, ascending by peer; all peers must be expected ones."""
    if not is_pairs(payload):
        raise Refused("the request is malformed")
    fields = dict(payload)
    if len(fields) != len(payload) or not fields.keys() <= set(peers):
        raise Refused("the request names somebody who does not belong there")
    return {peer: fields[peer] for peer in peers if peer in fields}
