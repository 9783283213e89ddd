"""Sums by a trusted aggregator."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from scenarios.kinds.aggregations.base import NothingShared, SuiteContext, SuiteFactory, WholeVectors


class TrustedAggregation(WholeVectors, NothingShared):
    """A trusted aggregator."""

    kind: Literal["trusted"] = Field(description="baseline: a trusted aggregator sees the vectors")

    sums_integers: ClassVar[bool] = True

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of sums without masks."""
        from protocols.aggregation.trusted import Trusted

        return Trusted.messages()

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return sums without masks."""
        from protocols.aggregation.trusted import Trusted

        rules, lineage = context.rules, context.learner.lineage
        return lambda node: Trusted(node, rules, lineage)
