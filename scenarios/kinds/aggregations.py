"""Tables of how sums are secured: the protocol of the sums, and what all of them have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import Table, written
from scenarios.format.units import Duration, Fraction

Threshold: TypeAlias = Annotated[
    Fraction | None,
    Field(
        gt=0,
        le=1,
        description="least fraction of the holders whose shares recover; absent, or where it would be less: more "
        "than half of holders and colluders together, so that nobody can be told two stories",
    ),
]

Verifiable: TypeAlias = Annotated[
    bool,
    Field(
        description="holders check their shares of seeds against commitments (Pedersen), complain, and exclude a "
        "dealer that cheats; three more requests",
    ),
]


class Aggregation(Kind):
    """The protocol of the sums."""

    group: ClassVar[str] = "sottovoce.aggregations"


class MasksAggregation(Aggregation):
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


class SharingAggregation(Aggregation):
    """Shares of the vectors themselves."""

    kind: Literal["sharing"] = Field(description="Shamir or packed shares of the vectors among the members")
    threshold: Threshold = None
    packing: int = Field(
        default=1,
        ge=1,
        le=1000,
        examples=[2],
        description="elements in one polynomial; shares are so many times shorter",
    )
    field: Literal["2^31-1", "2^61-1"] = Field(
        default="2^31-1", examples=["2^61-1"], description="the prime field of the shares"
    )


class SparseAggregation(Aggregation):
    """Masks over positions that enough members chose."""

    kind: Literal["sparse"] = Field(
        description="pairwise masks of the positions that enough members share (CESAR)"
    )
    fraction: Fraction = Field(
        default=0.5, gt=0, le=1, examples=["30 %"], description="of the positions, that a member chooses"
    )
    choice: Literal["random", "largest"] = Field(
        default="random",
        examples=["largest"],
        description="random positions, or those that changed most since the node last chose them",
    )


class BonawitzAggregation(Aggregation):
    """Double masking among all members."""

    kind: Literal["bonawitz"] = Field(description="double masks, seeds in shares among all members")
    active: bool = Field(
        default=False,
        examples=[True],
        description="against an aggregator that lies: signed keys, and members agree on who is in the sum",
    )
    threshold: Threshold = None
    verifiable: Verifiable = False


class SecaggPlusAggregation(Aggregation):
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


class LightAggregation(Aggregation):
    """Shares of masks, recovered in one step."""

    kind: Literal["lightsecagg"] = Field(
        description="shares of masks; the sum of the survivors' masks is recovered"
    )
    threshold: Threshold = None
    private: int | None = Field(
        default=None,
        ge=1,
        examples=[3],
        description="members whose shares together reveal nothing; absent: half of the threshold, or the colluders "
        "if they are more",
    )


class TrustedAggregation(Aggregation):
    """A trusted aggregator."""

    kind: Literal["trusted"] = Field(
        description="a baseline: the aggregator sees vectors, and is trusted to forget them"
    )


class CorrelatedAggregation(Aggregation):
    """Correlated noise."""

    kind: Literal["correlated"] = Field(
        description="a baseline (GOPA): pairs of members add Gaussian noise that cancels, and speak in the clear"
    )
    pair_multiplier: float = Field(
        default=10.0, gt=0, description="standard deviation of a pair's noise / (gain x clip)"
    )


_KEYS = ("key", "keys")
_DOUBLE = ("hello", "list", "dealt", "relayed", "masked", "opening", "revealed", "refuse")
_CHECKED = ("checked", "complaints", "answered", "verdicts")


class NormProof(Table):
    """A proof about vectors that nobody sees; its price is the protocol's that one has in mind."""

    radius: float = Field(
        gt=0,
        examples=[5.0],
        description="largest distance of a model from the public initial one, or norm of an update; longer: no "
        "proof. Honest members must always have one: too small a radius is refused, and models are kept near enough",
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
        default=0, ge=0, examples=[1], description="members of one neighbourhood that may pool what they see"
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
        description="standard deviations of noise that the range of what is sent leaves room for; a member beyond it "
        "refuses, which tells something, and every epsilon pays for the probability",
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
        description="sums into which a neighbourhood is split, drawn anew every round, for a robust rule to compare; "
        "only with protocol.robust",
    )
    norm_proof: NormProof | None = Field(
        default=None, description="a proof that every masked model is near the initial one, modelled"
    )


def messages_of(secure: Secure, federated: bool) -> tuple[str, ...]:
    """Kinds of message with exchange = "secure"."""
    aggregation = secure.aggregation
    match aggregation:
        case MasksAggregation(on_dropout="recover", verifiable=checked):
            sums: tuple[str, ...] = (*_DOUBLE, *(_CHECKED if checked else ()))
        case MasksAggregation():
            sums = ("hello", "list", "masked", "refuse", *_KEYS)
        case SharingAggregation():
            sums = ("hello", "list", "dealt", "relayed", "summed", "refuse", *_KEYS)
        case SparseAggregation():
            sums = ("hello", "list", "indices", "agreed", "masked", "refuse", *_KEYS)
        case BonawitzAggregation(active=active, verifiable=checked):
            sums = (*_DOUBLE, *(_CHECKED if checked else ()), *(("survivors", "signed") if active else ()))
        case SecaggPlusAggregation():
            sums = _DOUBLE
        case LightAggregation():
            sums = ("hello", "list", "dealt", "relayed", "masked", "opening", "summed", "refuse", *_KEYS)
        case TrustedAggregation():
            sums = ("hello", "list", "masked", "refuse")
        case CorrelatedAggregation():
            sums = ("hello", "list", "noised", "refuse", *_KEYS)
    return (*sums, "task", "final", "done", "surplus", "seeds") if federated else sums


FIELDS: Mapping[str, int] = {"2^31-1": 2**31 - 1, "2^61-1": 2**61 - 1}
"""Prime fields by the name they have in scenarios."""
