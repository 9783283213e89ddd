"""Tables of what protects data: clipping, noise, and who is asked about."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.format.kind import Kind
from scenarios.format.tables import Table, is_count, written
from scenarios.format.units import Duration, Fraction


def _observers(value: Any) -> Any:
    if value == "each node":
        return value
    if isinstance(value, list | tuple) and value:
        sets = tuple(members if isinstance(members, str) else _nodes(members) for members in value)
        if None not in sets:
            return sets
    raise PydanticCustomError(
        "choice",
        'expected "each node" or a list of sets, each a list of nodes or words, like [[3], [3, 7], "random:10"]',
    )


def _nodes(value: Any) -> tuple[int, ...] | None:
    if isinstance(value, list | tuple) and all(is_count(node, 0) for node in value):
        return tuple(value)
    return None


def _bands(value: Any) -> Any:
    if value is None or is_count(value, 0):
        return value
    numbers = value if isinstance(value, list | tuple) else ()
    if numbers and all(isinstance(c, int | float) and not isinstance(c, bool) for c in numbers):
        return tuple(map(float, numbers))
    raise PydanticCustomError(
        "choice", "expected how many rounds, or a list of coefficients, like [0.7, 0.4]"
    )


class CorrelatedNoise(Kind):
    """Noise that cancels in averages."""

    group: ClassVar[str] = "sottovoce.mechanisms"

    multiplier: float = Field(gt=0)


class PairNoise(CorrelatedNoise):
    """Noise that pairs of neighbours share."""

    kind: Literal["pairs"] = Field(
        description="every two neighbours add and subtract the same noise (DECOR); hides models from all others"
    )
    multiplier: float = Field(
        gt=0, examples=[10.0], description="standard deviation of a pair's noise / (gain x clip)"
    )
    key_agreement_cost: Duration = Field(
        default=written("120 us"), ge=0, description='time of one key agreement: "120 us"'
    )


class ZeroSumNoise(CorrelatedNoise):
    """Noise that cancels in the copies of a model."""

    kind: Literal["zero-sum"] = Field(
        description="each neighbour's copy has other noise, and all cancel in the mix (Zip-DL); protects no average"
    )
    multiplier: float = Field(
        gt=0,
        examples=[10.0],
        description="standard deviation of a copy's noise, before it is made to cancel, / (gain x clip)",
    )


class AdaptiveClipping(Table):
    """A clipping norm that follows a quantile of the norms of updates."""

    quantile: Fraction = Field(
        default=0.5, gt=0, lt=1, examples=["60 %"], description="of the norms, that the clipping norm follows"
    )
    rate: float = Field(
        default=0.2, gt=0, description="how fast: the norm changes by at most this factor's exponential"
    )
    bit_noise: float = Field(
        default=10.0,
        gt=0,
        description="standard deviation of the noise of what a client says about its norm; more than half of "
        "noise_multiplier",
    )


class Privacy(Table):
    """Clipping, noise and the question asked of the accountant."""

    unit: Literal["record", "node"] = Field(
        examples=["record"], description="what is protected: one record, or all data of a node"
    )
    adjacency: Literal["add-remove", "replace", "zero-out"] = Field(
        examples=["add-remove"],
        description="which data sets are neighbours; replace has twice the sensitivity of the others",
    )
    clip: float = Field(
        gt=0, examples=[1.0], description="clipping norm: the most one unit may contribute to a sum"
    )
    noise_multiplier: float | None = Field(
        default=None,
        gt=0,
        examples=[17.3],
        description="standard deviation of the noise / clip; see noise for whose",
    )
    target_epsilon: float | None = Field(
        default=None,
        gt=0,
        examples=[4.0],
        description="largest certified epsilon over all rounds; picks or checks the noise",
    )
    budget: float | None = Field(
        default=None,
        gt=0,
        examples=[8.0],
        description="epsilon that a node's noised sums may cost, each charged on its own; a node that has spent it "
        "trains no more",
    )
    when_spent: Literal["node", "run"] = Field(
        default="node",
        examples=["run"],
        description="what stops when a node has spent its budget: its own training (it still mixes), or the run",
    )
    noise: Literal["member", "sum"] | None = Field(
        default=None,
        examples=["sum"],
        description="noise_multiplier of each member's own noise, or of the noise left in an opened sum "
        "without the colluders' part; absent: sum with secure, member with ldp",
    )
    law: Literal["gaussian", "skellam", "discrete-gaussian"] | None = Field(
        default=None,
        examples=["skellam"],
        description="of the noise: gaussian (real numbers), or integers added to the words of a secure sum: skellam, "
        "discrete-gaussian; absent: skellam where a server opens sums of equal weights and adds nothing of its own, "
        "gaussian elsewhere",
    )
    correlated: CorrelatedNoise | None = Field(
        default=None,
        description="noise on top of each node's own that cancels in averages; only D-PSGD with exchange = ldp",
    )
    adaptive_clip: AdaptiveClipping | None = Field(
        default=None,
        description="let clip follow the norms of whole updates; only federated averaging on a star with exchange = "
        "ldp and unit = node",
    )
    bands: Annotated[
        int | tuple[float, ...] | None,
        BeforeValidator(_bands),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 2},
                    {"type": "array", "items": {"type": "number"}},
                    {"type": "null"},
                ]
            }
        ),
    ] = Field(
        default=None,
        examples=[8],
        description="noise correlated over so many rounds (banded matrix factorisation): how many, or the "
        "coefficients, which are scaled to norm 1; only with exchange = ldp and one noised sum a round",
    )
    surplus: Literal["keep", "remove"] = Field(
        default="keep",
        examples=["remove"],
        description="of skellam noise that dropouts might have made necessary and did not: keep it, or remove it "
        "when the sum is open",
    )
    delta: float = Field(
        default=1e-5, gt=0, lt=1, description="delta of (epsilon, delta), strictly between 0 and 1"
    )
    observers: Annotated[
        Literal["each node"] | tuple[tuple[int, ...] | str, ...],
        BeforeValidator(_observers),
        WithJsonSchema(
            {
                "anyOf": [
                    {"const": "each node"},
                    {
                        "type": "array",
                        "items": {
                            "anyOf": [
                                {"type": "string"},
                                {"type": "array", "items": {"type": "integer", "minimum": 0}},
                            ]
                        },
                    },
                ]
            }
        ),
    ] = Field(
        default="each node",
        examples=[[[3], [3, 7], "public", "random:10"]],
        description='who looks: "each node" alone, or sets that pool what they see: lists of nodes, or words with '
        'commas between them: "public" (all opened sums), "wire" (the wiretap), "random:K", "degree:K", '
        '"betweenness:K", "neighbours:V"',
    )
