"""Sums by a trusted aggregator."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from scenarios.kinds.aggregations.base import Aggregation, SuiteContext, SuiteFactory


class TrustedAggregation(Aggregation):
    """A trusted aggregator."""

    kind: Literal["trusted"] = Field(description="baseline: a trusted aggregator sees the vectors")

    sums_integers: ClassVar[bool] = True

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of sums without masks."""
        from protocols.aggregation.trusted import Trusted

        return Trusted.messages()

    @property
    def sums_whole_vectors(self) -> bool:
        """Yes."""
        return True

    def recovering(self, holders: int, colluders: int) -> None:
        """Return None: nothing is shared."""
        return

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return sums without masks."""
        from protocols.aggregation.trusted import Trusted

        rules, lineage = context.rules, context.learner.lineage
        return lambda node: Trusted(node, rules, lineage)
