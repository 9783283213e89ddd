"""Every protocol for secure sums, ready for small worlds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from protocols.aggregation.cesar import Cesar, CesarPlan
from protocols.aggregation.double_masks import DoubleMasks, DoublePlan, everybody
from protocols.aggregation.double_secrets import IdealSecrets, RealSecrets
from protocols.aggregation.gopa import Gopa
from protocols.aggregation.keyring import KeyPlan, Keyring
from protocols.aggregation.lightsecagg import LightSecAgg
from protocols.aggregation.members import split_proof_threshold
from protocols.aggregation.pair_noise import PairNoises
from protocols.aggregation.share_sums import ShareSums
from protocols.aggregation.single_masks import SingleMasks
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import Rules
from protocols.aggregation.trusted import Trusted
from protocols.aggregation.vector_shares import IdealShares, RealShares, SharingPlan
from protocols.aggregation.verified_masks import VerifiedMasks
from protocols.aggregation.verified_secrets import IdealVerifiedSecrets, RealVerifiedSecrets
from protocols.gossip.learner import Learner
from protocols.sharing.modulus import P31, P61, Z32, Modulus
from simulator.contract.node import Node

RINGED = ("masks", "rerun", "recover", "bonawitz", "active", "verified", "trusted", "correlated", "sparse")
FIELDED = ("sharing", "packed", "light")
KINDS = (*RINGED, *FIELDED)
HIDING = tuple(kind for kind in KINDS if kind not in ("trusted", "correlated"))
"""What hides vectors from the aggregator by cryptography."""


def modulus_of(kind: str) -> Modulus:
    return P31 if kind in FIELDED else Z32


@dataclass(frozen=True)
class Workshop:
    """What suites are made from."""

    learner: Learner
    rules: Rules
    keys: KeyPlan
    noises: PairNoises

    def make(self, kind: str, node: Node, **options: Any) -> Suite:
        rules = self.rules
        threshold: Callable[[int], int] = options.get(
            "threshold", lambda members: split_proof_threshold(members, rules.colluders)
        )
        if kind in ("masks", "rerun"):
            return SingleMasks(node, rules, Keyring(node, self.keys), 2 if kind == "rerun" else 1)
        if kind == "verified":
            graph = DoublePlan(options.get("graph") or everybody(threshold))
            modulus = rules.encoding.modulus
            if not rules.real:
                return VerifiedMasks(node, rules, graph, IdealVerifiedSecrets(node, modulus))
            identity = self.keys.identities[node.id]
            dealt = options.get("secrets", RealVerifiedSecrets)
            made = dealt(node, modulus, rules.context, identity, self.keys.directory)
            return VerifiedMasks(node, rules, graph, made)
        if kind in ("recover", "bonawitz", "active"):
            signed = kind != "bonawitz"
            plan = DoublePlan(options.get("graph") or everybody(threshold), signed, kind == "active")
            if not rules.real:
                return DoubleMasks(node, rules, plan, IdealSecrets(node, rules.encoding.modulus))
            identity = self.keys.identities[node.id] if signed else None
            secrets = RealSecrets(node, rules.encoding.modulus, rules.context, identity, self.keys.directory)
            return DoubleMasks(node, rules, plan, secrets)
        if kind in ("sharing", "packed", "light"):
            packing = options.get("packing", 2 if kind == "packed" else 1)
            sharing = SharingPlan(rules.encoding.modulus, threshold, lambda holders: packing)
            ring = Keyring(node, self.keys)
            shares = (
                RealShares(node, sharing, ring, rules.context) if rules.real else IdealShares(node, sharing)
            )
            return (LightSecAgg if kind == "light" else ShareSums)(node, rules, sharing, shares, ring)
        if kind == "sparse":
            plan_ = CesarPlan(
                options.get("fraction", 0.6), options.get("choice", "random"), 3 + rules.colluders
            )
            return Cesar(node, rules, plan_, self.learner, Keyring(node, self.keys))
        if kind == "correlated":
            return Gopa(node, rules, self.learner, Keyring(node, self.keys), self.noises)
        assert kind == "trusted"
        return Trusted(node, rules, self.learner)


__all__ = ["FIELDED", "HIDING", "KINDS", "P61", "RINGED", "Workshop", "modulus_of"]
