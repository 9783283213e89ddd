"""Trusted aggregator, as a baseline: it receives all vectors and reveals only their sum.

Baseline of secure aggregation: the fewest messages, the fewest bytes, and a member's failure costs no more than its
own term.

Sub-rounds: ``list`` → ``masked`` (the encoded vector; encryption of the link is the transport's business).
"""

from __future__ import annotations

from typing import Any

from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.ideal import seal, unseal
from protocols.aggregation.masks import total
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import Opened, Reply, Rules, Skipped, ids_bytes
from protocols.privacy.lineage import Entrusted, Lineage
from protocols.privacy.lineage import Opened as Seen
from simulator.contract.node import Node


class Trusted(Suite):
    """Sums by a trusted aggregator at one node.

    Guarantees:
        None against the aggregator: it is trusted not to look at the vectors it adds up, and to delete them. Nodes
        are charged with the sums they open, as if they learnt nothing else; Byzantine nodes, and a wiretap on links
        in the clear, with the vectors.
    """

    steps = (("list", "masked"),)

    def __init__(self, node: Node, rules: Rules, lineage: Lineage) -> None:
        super().__init__(node, rules)
        self._lineage = lineage

    async def answer(self, part: Part, payload: Any) -> Reply:
        """Send the vector to the aggregator."""
        offer = part.offer
        size = self.rules.vector_bytes(offer.words.size)
        body = seal(offer.words, self.node.id, size, part.sum)
        return Reply(body, size, Entrusted(offer.state, offer.weight))

    async def open(self, gathering: Gathering) -> Opened:
        """Add up the received vectors.

        Raises:
            Skipped: too few members answered.
        """
        listed, modulus = gathering.listed, self.rules.encoding.modulus
        request = gathering.same(listed, ids_bytes(len(listed)), listed)
        answers = await gathering.ask(request, gathering.is_vector)
        if gathering.too_few(len(answers)):
            raise Skipped("too few members are left")
        words = total((unseal(a.body, peer, gathering.sum) for peer, a in answers.items()), modulus)
        terms = tuple((a.release.coef, a.release.state) for a in answers.values())
        node = self.node
        self._lineage.delivered(node.now_s, node.id, gathering.sum.round, Seen(terms))
        return Opened(self.rules.encoding.decode(words, gathering.sum.round), tuple(answers), terms)
