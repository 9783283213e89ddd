"""Masks that cancel in sums: single ones in neighbourhoods, double ones with secrets in shares."""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from protocols.aggregation.members import split_proof_threshold
from scenarios.format.tables import Problems
from scenarios.format.units import Fraction
from scenarios.kinds.aggregations.base import (
    SuiteContext,
    SuiteFactory,
    Threshold,
    Verifiable,
    WholeVectors,
    shares_needed,
)
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from protocols.aggregation.double_masks import DoublePlan, Graph
    from protocols.aggregation.secagg_graph import Parameters
    from protocols.aggregation.suite import Suite
    from protocols.aggregation.sums import SumId
    from simulator.contract.node import Node

ATTEMPTS = {"skip": 1, "rerun": 2}
"""Lists in a round, by what happens on dropout."""


class MasksAggregation(WholeVectors):
    """Pairwise masks among the members of a neighbourhood."""

    kind: Literal["masks"] = Field(description="pairwise masks that cancel over the listed members")
    on_dropout: Literal["skip", "recover", "rerun"] = Field(
        default="skip",
        examples=["recover"],
        description="when a listed member does not answer: skip the sum, recover it (double masks, seeds in shares) "
        "or rerun it once without that member, which is a release of its own",
    )
    threshold: Threshold = None
    verifiable: Verifiable = False

    sums_integers: ClassVar[bool] = True

    @property
    def adds_on_the_way(self) -> bool:
        """Only single masks, which cancel in the sum of all."""
        return self.on_dropout == "skip"

    @property
    def lists_a_round(self) -> int:
        """Two where a sum is run again without the members that did not answer."""
        return ATTEMPTS.get(self.on_dropout, 1)

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of single masks, or of double masks where sums are recovered."""
        from protocols.aggregation.single_masks import SingleMasks

        if self.on_dropout == "recover":
            return _double_messages(active=False, verifiable=self.verifiable)
        return SingleMasks.messages()

    @property
    def splits(self) -> bool:
        """Only sums that are skipped when a member drops out."""
        return self.on_dropout == "skip"

    def recovering(self, holders: int, colluders: int) -> int | None:
        """Return the threshold of seeds, where sums are recovered."""
        if self.on_dropout != "recover":
            return None
        return shares_needed(self.threshold, holders, colluders)

    def problems(self) -> Problems:
        """Yield keys of shares where nothing is shared."""
        if self.on_dropout == "recover":
            return
        if self.threshold is not None:
            yield (
                ("threshold",),
                f'threshold has no effect with on_dropout = "{self.on_dropout}", which shares nothing; remove it or '
                'use "recover"',
            )
        if self.verifiable:
            yield (
                ("verifiable",),
                f'verifiable has no effect with on_dropout = "{self.on_dropout}", which shares nothing; remove it or '
                'use "recover"',
            )

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return single masks, or double masks among all members of a neighbourhood."""
        from protocols.aggregation.double_masks import DoublePlan, complete_graphs
        from protocols.aggregation.single_masks import SingleMasks

        rules, keys = context.rules, context.keys
        if self.on_dropout != "recover":
            attempts = ATTEMPTS[self.on_dropout]
            return lambda node: SingleMasks(node, rules, keys.keyring(node), attempts)
        graph = complete_graphs(lambda holders: shares_needed(self.threshold, holders, rules.colluders))
        return _double(context, DoublePlan(graph), verifiable=self.verifiable)


class BonawitzAggregation(WholeVectors):
    """Double masking among all members."""

    kind: Literal["bonawitz"] = Field(description="double masks, seeds in shares among all members")
    active: bool = Field(
        default=False,
        examples=[True],
        description="against a Byzantine aggregator: signed keys, and members agree on who is in the sum",
    )
    threshold: Threshold = None
    verifiable: Verifiable = False

    sums_integers: ClassVar[bool] = True

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of double masks."""
        return _double_messages(active=self.active, verifiable=self.verifiable)

    def recovering(self, holders: int, colluders: int) -> int:
        """Return the threshold of seeds."""
        return shares_needed(self.threshold, holders, colluders)

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return double masks."""
        from protocols.aggregation.double_masks import DoublePlan, complete_graphs

        colluders = context.rules.colluders
        graph = complete_graphs(lambda holders: shares_needed(self.threshold, holders, colluders))
        plan = DoublePlan(graph, signed=self.active, active=self.active)
        return _double(context, plan, verifiable=self.verifiable)


class SecaggPlusAggregation(WholeVectors):
    """Double masking on a sparse random graph."""

    kind: Literal["secagg+"] = Field(description="double masks on a sparse random graph of members")
    corrupted: Fraction = Field(
        default=0.05, ge=0, lt=1, examples=["10 %"], description="fraction of members that may collude"
    )
    dropouts: Fraction = Field(
        default=0.05, ge=0, lt=1, examples=["10 %"], description="fraction of members that may drop out"
    )
    security_bits: int = Field(
        default=40, ge=1, le=200, description="-log2 of the probability that a seed can be recovered unduly"
    )
    correctness_bits: int = Field(
        default=20, ge=1, le=200, description="-log2 of the probability that a sum cannot be recovered"
    )

    sums_integers: ClassVar[bool] = True

    @property
    def messages(self) -> tuple[str, ...]:
        """Those of double masks."""
        return _double_messages(active=False, verifiable=False)

    def recovering(self, holders: int, colluders: int) -> None:
        """Return None: the graph decides."""
        return

    def suite(self, context: SuiteContext) -> SuiteFactory:
        """Return double masks on a random graph for every sum; among few members all are partners."""
        from protocols.aggregation.double_masks import DoublePlan, Graph, complete_graphs
        from protocols.aggregation.secagg_graph import partners

        colluders, beacon = context.rules.colluders, context.beacon
        complete = complete_graphs(lambda holders: split_proof_threshold(holders, colluders))
        found = lru_cache(maxsize=64)(self._parameters)

        @lru_cache(maxsize=4)
        def graph(sum: SumId, listed: tuple[int, ...]) -> Graph:
            chosen = found(len(listed))
            if chosen is None or chosen.degree >= len(listed) - 1:
                return complete(sum, listed)
            key = sha256(beacon + repr((tuple(sum), listed)).encode()).digest()
            return Graph(partners(listed, chosen.degree, key), chosen.threshold)

        return _double(context, DoublePlan(graph, signed=False), verifiable=False)

    def _parameters(self, members: int) -> Parameters | None:
        """Return degree and threshold among so many members; None if only a complete graph will do."""
        from protocols.aggregation.secagg_graph import parameters

        try:
            return parameters(
                members, self.corrupted, self.dropouts, self.security_bits, self.correctness_bits
            )
        except ConfigurationError:
            return None


def _double_messages(*, active: bool, verifiable: bool) -> tuple[str, ...]:
    from protocols.aggregation.double_masks import DoubleMasks
    from protocols.aggregation.verified_masks import VerifiedMasks

    suite = VerifiedMasks if verifiable else DoubleMasks
    return suite.messages(suite.sub_rounds(active))


def _double(context: SuiteContext, plan: DoublePlan, *, verifiable: bool) -> SuiteFactory:
    from protocols.aggregation.double_masks import DoubleMasks
    from protocols.aggregation.double_secrets import IdealSecrets, RealSecrets
    from protocols.aggregation.verified_masks import VerifiedMasks
    from protocols.aggregation.verified_secrets import IdealVerifiedSecrets, RealVerifiedSecrets

    rules, keys, modulus = context.rules, context.keys, context.rules.encoding.modulus

    def make(node: Node) -> Suite:
        identity = keys.identities[node.id] if plan.signed else None
        real = (node, modulus, rules.context, identity, keys.directory)
        if verifiable:
            checked = RealVerifiedSecrets(*real) if rules.real else IdealVerifiedSecrets(node, modulus)
            return VerifiedMasks(node, rules, plan, checked)
        return DoubleMasks(
            node, rules, plan, RealSecrets(*real) if rules.real else IdealSecrets(node, modulus)
        )

    return make
