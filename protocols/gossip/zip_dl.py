"""Noise that differs in every copy of a model and cancels in their weighted sum (Zip-DL).

Each neighbour's copy alone is noisy; all copies together are not. The average of all models is unchanged and thus not
protected: a mechanism against a few honest-but-curious neighbours, without differential privacy for the average.

Source: Biswas et al. 2025 (PETS), Zip-DL.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from protocols.gossip.learner import Learner, Model
from protocols.gossip.message_noise import MessageNoise
from protocols.privacy.lineage import ORIGIN
from simulator.contract.node import Node


class ZipDl(MessageNoise):
    """Zip-DL noise at one node.

    Args:
        node: node that adds the noise.
        learner: operations on models, and their lineage.
        sigma: standard deviation of a copy's noise before projection, in the units of models.

    Guarantees:
        c of k neighbours with equal weights that pool their copies see a loss of c (k + 1) / (k + 1 − c) ·
        (shift / σ)² a round from this noise alone; if all copies are seen, the own one included, no noise is left.
        The ledger computes what a coalition saw.
    """

    def __init__(self, node: Node, learner: Learner, sigma: float) -> None:
        self._node = node
        self._learner = learner
        self._sigma = sigma

    async def cover(
        self, round: int, model: Model, weights: Mapping[int, float]
    ) -> tuple[Model, Mapping[int, Model]]:
        """Return one copy for each neighbour and one for the node itself."""
        node, learner = self._node, self._learner
        everybody = [node.id, *weights]
        shares = np.array([1.0 - sum(weights.values()), *weights.values()])
        drawn = node.rng("copies", round).standard_normal((len(everybody), learner.size), dtype=np.float32)
        drawn *= np.float32(self._sigma)
        # The projection removes the part that does not cancel.
        cancelling = np.eye(len(everybody)) - np.outer(shares, shares) / (shares @ shares)
        noises = (cancelling.astype(np.float32) @ drawn).astype(np.float32)
        sources = [
            learner.lineage.contribute(
                node.now_s, node.id, round, ORIGIN, gain=1.0, sigma=self._sigma, sensitivity=0.0
            )
            for _ in everybody
        ]
        copies = {}
        for at, peer in enumerate(everybody):
            coefs = zip(cancelling[at].tolist(), sources, strict=True)
            state = learner.lineage.combine(node.now_s, node.id, round, list(coefs))
            copies[peer] = await learner.combine(node, round, [(1.0, model), (1.0, Model(noises[at], state))])
        return copies.pop(node.id), copies
