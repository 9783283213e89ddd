"""Sums in the clear, of vectors with correlated noise."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scenarios.kinds.aggregations.base import Aggregation, SuiteContext, SuiteFactory


class GopaAggregation(Aggregation):
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

    @property
    def sums_whole_vectors(self) -> bool:
        """Yes."""
        return True

    def recovering(self, holders: int, colluders: int) -> None:
        """Return None: nothing is shared."""
        return

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return GOPA."""
        from protocols.aggregation.gopa import Gopa
        from protocols.aggregation.pair_noise import PairNoises

        rules, keys, learner = context.rules, context.keys, context.learner
        noises = PairNoises(learner.lineage, self.pair_multiplier * context.clip * learner.gain)
        return lambda node: Gopa(node, rules, learner, keys.keyring(node), noises)
