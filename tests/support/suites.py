"""Every aggregation protocol as a scenario would have it, built for small worlds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocols.aggregation.double_masks import DoubleMasks, DoublePlan, complete_graphs
from protocols.aggregation.double_secrets import RealSecrets
from protocols.aggregation.keyring import KeyPlan
from protocols.aggregation.members import split_proof_threshold
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import Rules
from protocols.aggregation.verified_masks import VerifiedMasks
from protocols.gossip.learner import Learner
from protocols.sharing.modulus import P31, Z32, Modulus
from scenarios.kinds.aggregations import Aggregation, SuiteContext, SuiteFactory
from scenarios.kinds.aggregations.cesar import CesarAggregation
from scenarios.kinds.aggregations.gopa import GopaAggregation
from scenarios.kinds.aggregations.masks import BonawitzAggregation, MasksAggregation
from scenarios.kinds.aggregations.sharing import LightSecAggAggregation, SharingAggregation
from scenarios.kinds.aggregations.trusted import TrustedAggregation
from simulator.contract.node import Node

TABLES: Mapping[str, Aggregation] = {
    "masks": MasksAggregation(kind="masks"),
    "rerun": MasksAggregation(kind="masks", on_dropout="rerun"),
    "recover": MasksAggregation(kind="masks", on_dropout="recover"),
    "bonawitz": BonawitzAggregation(kind="bonawitz"),
    "active": BonawitzAggregation(kind="bonawitz", active=True),
    "verified": MasksAggregation(kind="masks", on_dropout="recover", verifiable=True),
    "trusted": TrustedAggregation(kind="trusted"),
    "correlated": GopaAggregation(kind="correlated", pair_multiplier=1.0),
    "sparse": CesarAggregation(kind="sparse", fraction=0.6),
    "sharing": SharingAggregation(kind="sharing"),
    "packed": SharingAggregation(kind="sharing", packing=2),
    "light": LightSecAggAggregation(kind="lightsecagg"),
}
KINDS = tuple(TABLES)
HIDING = tuple(kind for kind in KINDS if kind not in ("trusted", "correlated"))
"""What hides vectors from the aggregator by cryptography."""


def modulus_of(kind: str) -> Modulus:
    return Z32 if TABLES[kind].prime is None else P31


@dataclass(frozen=True)
class Workshop:
    """What suites are made from."""

    learner: Learner
    rules: Rules
    keys: KeyPlan
    pair_sigma: float
    made: dict[Any, SuiteFactory] = field(default_factory=dict)

    def make(
        self, kind: str, node: Node, graph: Any = None, secrets: Callable[..., Any] | None = None, **keys: Any
    ) -> Suite:
        """One node's side: of a table with other keys, or of double masks with another graph or secrets."""
        if graph is not None:
            return self._on_graph(node, graph)
        if secrets is not None:
            return self._with_secrets(node, secrets)
        name = (kind, *sorted(keys.items()))
        if name not in self.made:
            context = SuiteContext(
                self.rules, self.keys, self.learner, self.pair_sigma / self.learner.gain, beacon=b"test"
            )
            self.made[name] = TABLES[kind].model_copy(update=keys).suite(context)
        return self.made[name](node)

    def _on_graph(self, node: Node, graph: Any) -> Suite:
        rules = self.rules
        secrets = RealSecrets(node, rules.encoding.modulus, rules.context, None, self.keys.directory)
        return DoubleMasks(node, rules, DoublePlan(graph, signed=False), secrets)

    def _with_secrets(self, node: Node, secrets: Callable[..., Any]) -> Suite:
        rules = self.rules
        graph = complete_graphs(lambda holders: split_proof_threshold(holders, rules.colluders))
        identity = self.keys.identities[node.id]
        made = secrets(node, rules.encoding.modulus, rules.context, identity, self.keys.directory)
        return VerifiedMasks(node, rules, DoublePlan(graph), made)
