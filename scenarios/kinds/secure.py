"""Tables of secure sums: keys that all aggregation protocols have in common."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from protocols.aggregation.members import LEAST_HONEST, minimum_members
from scenarios.format.tables import Problems, Table, written
from scenarios.format.units import Duration
from scenarios.kinds.aggregations import Aggregation
from scenarios.kinds.aggregations.masks import MasksAggregation


class NormProof(Table):
    """Proof of the norm of a masked vector, modelled by its size and its times."""

    radius: float = Field(
        gt=0,
        examples=[5.0],
        description="largest distance of a model from the public initial one, or norm of an update; "
        "longer: no "
        "proof. Honest members must always have one: too small a radius is refused, and models are kept "
        "near enough",
    )
    size: int = Field(ge=0, examples=[5400], description="bytes of one proof")
    prove: Duration = Field(ge=0, examples=["300 ms"], description='time to make one: "300 ms"')
    verify: Duration = Field(ge=0, examples=["10 ms"], description='time to check one: "10 ms"')


class Secure(Table):
    """Secure aggregation; only with exchange = "secure"."""

    aggregation: Aggregation = Field(
        default=MasksAggregation(kind="masks"), description="the protocol of the sums"
    )
    crypto: Literal["real", "ideal"] = Field(
        default="real",
        examples=["ideal"],
        description="real keys and masks, or an ideal sum of the same sizes and costs",
    )
    colluders: int = Field(
        default=0,
        ge=0,
        examples=[1],
        description="number of members of one neighbourhood that may pool what they see",
    )
    tolerated_dropouts: int = Field(
        default=1, ge=0, description="members that may be missing from a list before it is refused"
    )
    modulus_bits: int = Field(
        default=32,
        ge=8,
        le=64,
        examples=[26],
        description="bits of a word of masked vectors; shares have those of their field",
    )
    range_sigmas: float = Field(
        default=12.0,
        ge=8,
        le=1000,
        examples=[8.0],
        description="standard deviations of noise for which the range of masked vectors leaves room, 8 to "
        "1000; a member whose vector is out of range refuses, and every epsilon includes the probability "
        "of that",
    )
    key_agreement_cost: Duration = Field(
        default=written("120 us"), ge=0, description='time of one key agreement: "120 us"'
    )
    mask_cost_per_mib: Duration = Field(
        default=written("1 ms"), ge=0, description='time to make 1 MiB of mask: "1 ms"'
    )
    share_cost_per_mib: Duration = Field(
        default=written("2 ms"), ge=0, description='time to make or combine 1 MiB of shares: "2 ms"'
    )
    commitment_cost: Duration = Field(
        default=written("5 ms"),
        ge=0,
        description='time to make one commitment, or to check one share against them: "5 ms"',
    )

    buckets: int = Field(
        default=1,
        ge=1,
        le=64,
        examples=[2],
        description="sums into which a neighbourhood is split, drawn anew every round, for a robust rule "
        "to compare; "
        "only with protocol.robust",
    )
    norm_proof: NormProof | None = Field(
        default=None, description="modelled proof of the norm of every masked vector"
    )

    def shortest(self, asked: int) -> int:
        """Return the number of members in the shortest sum that may be opened, of so many that were asked."""
        return minimum_members(asked, self.colluders, self.tolerated_dropouts)

    def per_position(self, asked: int) -> int:
        """Return the least number of members in a sum of one position, of so many that were asked."""
        if self.aggregation.sums_whole_vectors:
            return self.shortest(asked)
        return LEAST_HONEST + self.colluders

    def problems(self) -> Problems:
        """Yield the size of a word where a prime field has it."""
        if self.aggregation.prime is not None and self.modulus_bits != 32:
            yield (
                ("modulus_bits",),
                f"modulus_bits has no effect with {self.aggregation.kind}: its words are elements of a "
                "prime field; "
                "remove this key",
            )
