"""Sums of sparsified vectors."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from protocols.aggregation.members import LEAST_HONEST
from scenarios.format.units import Fraction
from scenarios.kinds.aggregations.base import NothingShared, SuiteContext, SuiteFactory


class CesarAggregation(NothingShared):
    """Masks over positions that enough members chose."""

    kind: Literal["sparse"] = Field(
        description="pairwise masks of the positions that enough members share (CESAR)"
    )
    fraction: Fraction = Field(
        default=0.5,
        gt=0,
        le=1,
        examples=["30 %"],
        description="fraction of the positions that a member chooses",
    )
    choice: Literal["random", "largest"] = Field(
        default="random",
        examples=["largest"],
        description="random positions, or those that changed most since the node last chose them",
    )

    sums_integers: ClassVar[bool] = True

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of CESAR."""
        from protocols.aggregation.cesar import Cesar

        return Cesar.messages()

    @property
    def sums_whole_vectors(self) -> bool:
        """No: other members choose every position."""
        return False

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return CESAR."""
        from protocols.aggregation.cesar import Cesar, CesarPlan

        rules, keys, lineage = context.rules, context.keys, context.learner.lineage
        plan = CesarPlan(self.fraction, self.choice, LEAST_HONEST + rules.colluders)
        return lambda node: Cesar(node, rules, plan, lineage, keys.keyring(node))
