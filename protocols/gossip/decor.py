"""Noise shared by pairs of neighbours (DECOR): it hides models from all other nodes and cancels in their average.

Each pair of neighbours agrees on a secret once, and on a noise vector in every round; one adds it to its model and
the other subtracts it before anything is sent, so the average of all models is unchanged. If a neighbour is down, the
noise of its pairs remains in the other models.

Source: Allouah et al. 2024 (ICML), DECOR.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocols.aggregation.keyring import KeyPlan
from protocols.aggregation.keys import KeyRefused, PairSecrets, SignedKey, check_key, key_size_bytes, make_key
from protocols.aggregation.pair_noise import PairNoises, noise_key
from protocols.gossip.learner import Learner, Model
from protocols.gossip.message_noise import MessageNoise
from simulator.contract.node import Delivery, Message, Node

KEY = "key"
SETUP_ROUND = -1


class Decor(MessageNoise):
    """DECOR noise at one node.

    Args:
        node: node that adds the noise.
        learner: operations on models, and their lineage.
        plan: directory, identities and context of the key agreement.
        noises: pair noise of the whole run.

    Guarantees:
        Towards observers that collude with none of a node's partners, its messages have noise of covariance
        σ_own² I + σ_pair² L, L the Laplacian of the honest nodes' links. Partners know the noise they share, and
        colluders that disconnect the honest nodes remove the noise between the parts. The ledger computes the
        remaining protection. Without noise of its own, the privacy loss of the average is unbounded.
    """

    def __init__(self, node: Node, learner: Learner, plan: KeyPlan, noises: PairNoises) -> None:
        self._node = node
        self._learner = learner
        self._plan = plan
        self._noises = noises
        if KEY not in node.disk:
            node.disk[KEY] = node.secret("x25519", 32)
        private, self._own = make_key(node.disk[KEY], plan.identities[node.id], node.id, plan.context)
        self._pairs = PairSecrets(private, self._own, plan.directory, plan.context)
        self._known: dict[int, SignedKey] = {}

    def announce(self) -> None:
        """Send the own key to neighbours whose key is still missing."""
        for peer in self._node.neighbors:
            if peer not in self._known:
                self._send(peer, asking=True)

    def _send(self, peer: int, *, asking: bool) -> None:
        body = (asking, self._own.public, self._own.signature)
        self._node.send(peer, Message(KEY, SETUP_ROUND, body, 1 + key_size_bytes()))

    def ready(self) -> bool:
        """Return whether all neighbours' keys are known."""
        return all(peer in self._known for peer in self._node.neighbors)

    def take(self, delivery: Delivery) -> bool:
        """Store a neighbour's key; return whether the message was one."""
        if delivery.message.kind != KEY:
            return False
        try:
            asking, public, signature = delivery.message.body
            key = SignedKey(delivery.src, public, signature)
            check_key(key, self._plan.directory, self._plan.context)
        except (TypeError, ValueError, KeyRefused) as error:
            self._node.record("key_refused", owner=delivery.src, reason=str(error))
            return True
        self._known.setdefault(delivery.src, key)
        if asking:  # a node that starts late, or restarts, has not received this node's key
            self._send(delivery.src, asking=False)
        return True

    async def cover(
        self, round: int, model: Model, weights: Mapping[int, float]
    ) -> tuple[Model, Mapping[int, Model]]:
        """Return the same noised model for all neighbours and for the node itself."""
        node, terms = self._node, [(1.0, model)]
        before = self._pairs.agreements
        secrets = {peer: self._pairs.secret(self._known[peer]) for peer in weights if peer in self._known}
        await node.sleep(self._plan.agreement_cost_s * (self._pairs.agreements - before))
        for peer, secret in secrets.items():
            pair = (min(node.id, peer), max(node.id, peer))
            key = noise_key(secret, self._plan.context, round, pair)
            vector = self._noises.vector(node.id, peer, key, self._learner.size)
            state = self._noises.state(node, round, round, peer)
            if node.id > peer:  # the lineage holds the noise as the other end adds it
                state = self._learner.lineage.combine(node.now_s, node.id, round, [(-1.0, state)])
            terms.append((1.0, Model(vector, state)))
        covered = await self._learner.combine(node, round, terms)
        return covered, dict.fromkeys(weights, covered)
