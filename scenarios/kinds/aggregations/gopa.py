"""Sums in the clear, of vectors with correlated noise."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scenarios.kinds.aggregations.base import NothingShared, SuiteContext, SuiteFactory, WholeVectors


class GopaAggregation(WholeVectors, NothingShared):
    """Correlated noise."""

    kind: Literal["correlated"] = Field(
        description="baseline (GOPA): pairs of members add Gaussian noise that cancels, and vectors are "
        "sent in the clear"
    )
    pair_multiplier: float = Field(
        default=10.0, gt=0, description="standard deviation of a pair's noise / (gain x clip)"
    )

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of GOPA."""
        from protocols.aggregation.gopa import Gopa

        return Gopa.messages()

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return GOPA."""
        from protocols.aggregation.gopa import Gopa
        from protocols.aggregation.pair_noise import PairNoises

        rules, keys, lineage = context.rules, context.keys, context.learner.lineage
        noises = PairNoises(lineage, self.pair_multiplier * context.clip * context.learner.gain)
        return lambda node: Gopa(node, rules, lineage, keys.keyring(node), noises)
