"""Shares of the vectors themselves, or of masks as long as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.kinds.aggregations.base import (
    SuiteContext,
    SuiteFactory,
    Threshold,
    WholeVectors,
    shares_needed,
)

if TYPE_CHECKING:
    from protocols.aggregation.keyring import Keyring
    from protocols.aggregation.vector_shares import SharingPlan, VectorShares
    from simulator.contract.node import Node

FIELDS: Mapping[str, int] = {"2^31-1": 2**31 - 1, "2^61-1": 2**61 - 1}
"""Prime fields by the name they have in scenarios."""


class _VectorShares(WholeVectors):
    """Base class of protocols that deal shares as long as vectors."""

    if TYPE_CHECKING:  # every kind declares it, in its own order
        threshold: Threshold

    sums_integers: ClassVar[bool] = True

    @property
    def deals_vectors(self) -> bool:
        """Yes."""
        return True

    def recovering(self, holders: int, colluders: int) -> int:
        """Return the threshold of the shares."""
        return shares_needed(self.threshold, holders, colluders)

    def plan(self, context: SuiteContext) -> SharingPlan:
        """Return how vectors are shared."""
        from protocols.aggregation.vector_shares import SharingPlan

        colluders = context.rules.colluders
        return SharingPlan(
            context.rules.encoding.modulus,
            lambda holders: self.recovering(holders, colluders),
            lambda holders: self.packed(holders, colluders),
        )


class SharingAggregation(_VectorShares):
    """Shares of the vectors themselves."""

    kind: Literal["sharing"] = Field(description="Shamir or packed shares of the vectors among the members")
    threshold: Threshold = None
    packing: int = Field(
        default=1,
        ge=1,
        le=1000,
        examples=[2],
        description="number of elements in one polynomial; shares are shorter by that factor",
    )
    field: Literal["2^31-1", "2^61-1"] = Field(
        default="2^31-1", examples=["2^61-1"], description="the prime field of the shares"
    )

    packing_key: ClassVar[str] = "packing"

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of neighbourhood sharing."""
        from protocols.aggregation.share_sums import ShareSums

        return ShareSums.messages()

    @property
    def prime(self) -> int:
        """The field of the shares."""
        return FIELDS[self.field]

    def packed(self, holders: int, colluders: int) -> int:
        """Return the key ``packing``."""
        return self.packing

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return neighbourhood sharing."""
        from protocols.aggregation.share_sums import ShareSums

        rules, keys, plan, shares = context.rules, context.keys, self.plan(context), _dealer(context)

        def make(node: Node) -> ShareSums:
            keyring = keys.keyring(node)
            return ShareSums(node, rules, plan, shares(node, plan, keyring), keyring)

        return make


class LightSecAggAggregation(_VectorShares):
    """Shares of masks, recovered in one step."""

    kind: Literal["lightsecagg"] = Field(
        description="shares of masks; the sum of the survivors' masks is recovered"
    )
    threshold: Threshold = None
    private: int | None = Field(
        default=None,
        ge=1,
        examples=[3],
        description="members whose shares together reveal nothing; absent: half of the threshold, or the "
        "colluders "
        "if they are more",
    )

    packing_key: ClassVar[str] = "private"

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of LightSecAgg."""
        from protocols.aggregation.lightsecagg import LightSecAgg

        return LightSecAgg.messages()

    @property
    def prime(self) -> int:
        """The field of the masks."""
        return FIELDS["2^31-1"]

    def packed(self, holders: int, colluders: int) -> int:
        """Return what the threshold leaves beside private members."""
        threshold = self.recovering(holders, colluders)
        return threshold - (self.private or max(threshold // 2, colluders, 1))

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return LightSecAgg."""
        from protocols.aggregation.lightsecagg import LightSecAgg

        rules, keys, plan, shares = context.rules, context.keys, self.plan(context), _dealer(context)

        def make(node: Node) -> LightSecAgg:
            keyring = keys.keyring(node)
            return LightSecAgg(node, rules, plan, shares(node, plan, keyring), keyring)

        return make


def _dealer(context: SuiteContext) -> Callable[[Node, SharingPlan, Keyring], VectorShares]:
    """Return what deals shares at a node: real or ideal ones, inconsistent ones where it is Byzantine."""
    from protocols.aggregation.vector_shares import IdealShares, RealShares
    from protocols.attacks.dealing import InconsistentShares

    def dealer(node: Node, plan: SharingPlan, keyring: Keyring) -> VectorShares:
        if not context.rules.real:
            return IdealShares(node, plan)
        real = InconsistentShares if node.id in context.inconsistent else RealShares
        return real(node, plan, keyring, context.rules.context)

    return dealer
