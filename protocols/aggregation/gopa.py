"""Correlated noise in place of masks (GOPA): pairs of members add noise that cancels, and send vectors in the clear.

Each pair of listed members agrees on a noise vector; one adds it to its weighted vector and the other subtracts it.
All vectors are visible: what one vector reveals is limited by the noise of its pairs, what the sum reveals by the
members' independent noise. Nothing is recovered after a dropout: the noise that a missing member shared with the
others stays in the sum.

Source: Sabater, Bellet and Ramon 2022 (GOPA), without its proofs of correct computation.

Sub-rounds: ``list`` → ``noised`` (float32 in the clear).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.keyring import Keyring
from protocols.aggregation.pair_noise import PairNoises, sign
from protocols.aggregation.suite import Keyed
from protocols.aggregation.sums import Opened, Reply, Rules, Skipped, ids_bytes
from protocols.privacy.lineage import Lineage, Visible
from protocols.privacy.lineage import Opened as Summed
from simulator.contract.compute import VALUE_BYTES, Vector
from simulator.contract.node import Node


class Gopa(Keyed):
    """One node's side of correlated noise.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
        lineage: record of the run, in which the noise is recorded.
        keyring: keys shared with co-members.
        noises: pair noise of the whole run.

    Guarantees:
        No cryptographic hiding: every vector is visible, and the ledger accounts for it. With noise σ_own of its own
        and σ_pair of each pair, an observer that does not collude with a member's partners sees it in noise of
        covariance σ_own² I + σ_pair² L, L the Laplacian of the honest members' complete graph. Without own noise the
        sum is exact, and its privacy loss is unbounded. A missing member leaves variance σ_pair² per other member in
        the sum.
    """

    steps = (("list", "noised"),)

    def __init__(
        self, node: Node, rules: Rules, lineage: Lineage, keyring: Keyring, noises: PairNoises
    ) -> None:
        super().__init__(node, rules, keyring)
        self._lineage = lineage
        self._noises = noises

    async def answer(self, part: Part, payload: Any) -> Reply:
        """Add the noise of all pairs, and send the result."""
        await self.agree(part)
        node, offer, lineage = self.node, part.offer, self._lineage
        others = [peer for peer in part.listed if peer != node.id]
        size = VALUE_BYTES * offer.values.size
        await node.sleep(self.rules.mask_cost_s_per_byte * size * len(others))
        vector: Vector = (offer.weight * offer.values).astype(np.float32)
        terms = [(offer.weight, offer.state)]
        for peer in others:
            terms.append((sign(node.id, peer), self._noises.state(node, part.sum.round, part.sum, peer)))
            vector += self._noises.vector(
                node.id, peer, self.mask_key(part.sum, part.listed, peer), vector.size
            )
        vector.setflags(write=False)
        state = lineage.combine(node.now_s, node.id, part.sum.round, terms)
        return Reply(vector, size, Visible(state))

    async def open(self, gathering: Gathering) -> Opened:
        """Add up the received vectors; noise of missing members remains in the sum.

        Raises:
            Skipped: too few members answered.
        """
        listed = gathering.listed
        request = gathering.same(listed, ids_bytes(len(listed)), listed)
        answers = await gathering.ask(request, lambda payload: _is_floats(payload, gathering.size))
        if gathering.too_few(len(answers)):
            raise Skipped("too few members are left")
        stacked = np.stack([answer.body for answer in answers.values()])
        value: Vector = stacked.sum(axis=0, dtype=np.float64).astype(np.float32)
        terms = tuple((1.0, a.release.state) for a in answers.values())
        # The aggregator has seen every vector; the public is told the sum alone.
        self._lineage.delivered(self.node.now_s, self.node.id, gathering.sum.round, Summed(terms))
        return Opened(value, tuple(answers), terms)


def _is_floats(payload: Any, size: int) -> bool:
    return isinstance(payload, np.ndarray) and payload.dtype == np.float32 and payload.shape == (size,)
