"""Noise shared by pairs of neighbours (DECOR): it hides models from everybody else and cancels in their average.

Each pair of neighbours agrees on a secret once, and on a noise vector in every round; one adds it to its model and
the other subtracts it, before anything is sent, so the average of all models is left as it was. A neighbour that is
down leaves its pairs' noise standing in the others.

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
    """One node's side.

    Args:
        node: whose.
        learner: mathematics and lineage.
        plan: directory, identities and context of the key agreement.
        noises: of the whole run.

    Guarantees:
        Towards observers that collude with none of a node's partners, what it says has noise of covariance
        σ_own² I + σ_pair² L, L the Laplacian of the honest nodes' links; partners know the noise they share, and who
        colludes with so many that honest nodes fall apart leaves each part to itself. The ledger computes what is
        left. Without noise of its own nothing bounds what the average says.
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
        """The own key, to those whose key is not here yet."""
        for peer in self._node.neighbors:
            if peer not in self._known:
                self._send(peer, asking=True)

    def _send(self, peer: int, *, asking: bool) -> None:
        body = (asking, self._own.public, self._own.signature)
        self._node.send(peer, Message(KEY, SETUP_ROUND, body, 1 + key_size_bytes()))

    def ready(self) -> bool:
        """All neighbours' keys."""
        return all(peer in self._known for peer in self._node.neighbors)

    def take(self, delivery: Delivery) -> bool:
        """A neighbour's key."""
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
        if asking:  # whoever comes late, or back, has not heard this node's announcement
            self._send(delivery.src, asking=False)
        return True

    async def cover(
        self, round: int, model: Model, weights: Mapping[int, float]
    ) -> tuple[Model, Mapping[int, Model]]:
        """The same noised model for all, the node itself included."""
        node, terms = self._node, [(1.0, model)]
        before = self._pairs.agreements
        secrets = {peer: self._pairs.secret(self._known[peer]) for peer in weights if peer in self._known}
        await node.sleep(self._plan.agreement_cost_s * (self._pairs.agreements - before))
        for peer, secret in secrets.items():
            pair = (min(node.id, peer), max(node.id, peer))
            key = noise_key(secret, self._plan.context, round, pair)
            vector = self._noises.vector(node.id, peer, key, self._learner.size)
            state = self._noises.state(node, round, round, peer)
            if node.id > peer:  # the lineage has the noise as the other end adds it
                state = self._learner.lineage.combine(node.now_s, node.id, round, [(-1.0, state)])
            terms.append((1.0, Model(vector, state)))
        covered = await self._learner.combine(node, round, terms)
        return covered, dict.fromkeys(weights, covered)
