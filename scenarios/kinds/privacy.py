"""Tables of privacy: clipping, noise, and the observers of the accounting."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.format.kind import Kind
from scenarios.format.tables import Problems, Table, is_count, written
from scenarios.format.units import Duration, Fraction

if TYPE_CHECKING:
    from protocols.aggregation.keyring import KeyPlan
    from protocols.gossip.learner import Learner
    from protocols.gossip.message_noise import MessageNoise
    from simulator.contract.node import Node


def _observers(value: Any) -> Any:
    if value == "each node":
        return value
    if isinstance(value, list | tuple) and value:
        sets = tuple(members if isinstance(members, str) else _nodes(members) for members in value)
        if None not in sets:
            return sets
    raise PydanticCustomError(
        "choice",
        'expected "each node" or a list of sets, each a list of nodes or words, like [[3], [3, 7], '
        '"random:10"]',
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


@dataclass(frozen=True)
class NoiseContext:
    """Inputs of correlated noise.

    Args:
        learner: how every node trains; its lineage records the noise.
        sigma: standard deviation, in the units of models: multiplier x gain x clip.
        keys: makes identities and directory, from the time of one key agreement in seconds.
    """

    learner: Learner
    sigma: float
    keys: Callable[[float], KeyPlan]


class CorrelatedNoise(Kind):
    """Noise that cancels in averages."""

    group: ClassVar[str] = "sottovoce.mechanisms"

    if TYPE_CHECKING:  # every kind declares it, in its own order
        multiplier: float

    @property
    @abstractmethod
    def messages(self) -> tuple[str, ...]:
        """Kinds of message that it sends beside those of the gossip protocol."""

    @abstractmethod
    def build(self, context: NoiseContext) -> Callable[[Node], MessageNoise]:
        """Return what adds the noise at each node."""


class PairNoise(CorrelatedNoise):
    """Noise that pairs of neighbours share."""

    kind: Literal["pairs"] = Field(
        description="every two neighbours add and subtract the same noise (DECOR); hides models from all "
        "others"
    )
    multiplier: float = Field(
        gt=0, examples=[10.0], description="standard deviation of a pair's noise / (gain x clip)"
    )
    key_agreement_cost: Duration = Field(
        default=written("120 us"), ge=0, description='time of one key agreement: "120 us"'
    )

    @property
    def messages(self) -> tuple[str, ...]:
        """Public keys."""
        return ("key",)

    def build(self, context: NoiseContext) -> Callable[[Node], MessageNoise]:
        """Return DECOR."""
        from protocols.aggregation.pair_noise import PairNoises
        from protocols.gossip.decor import Decor

        learner, keys = context.learner, context.keys(self.key_agreement_cost)
        noises = PairNoises(learner.lineage, context.sigma)
        return lambda node: Decor(node, learner, keys, noises)


class ZeroSumNoise(CorrelatedNoise):
    """Noise that cancels in the copies of a model."""

    kind: Literal["zero-sum"] = Field(
        description="each neighbour's copy has different noise, which cancels in the average (Zip-DL); "
        "does not protect the average"
    )
    multiplier: float = Field(
        gt=0,
        examples=[10.0],
        description="standard deviation of a copy's noise, before it is made to cancel, / (gain x clip)",
    )

    @property
    def messages(self) -> tuple[str, ...]:
        """None."""
        return ()

    def build(self, context: NoiseContext) -> Callable[[Node], MessageNoise]:
        """Return Zip-DL."""
        from protocols.gossip.zip_dl import ZipDl

        learner, sigma = context.learner, context.sigma
        return lambda node: ZipDl(node, learner, sigma)


class AdaptiveClipping(Table):
    """Clipping norm that follows a quantile of the norms of updates."""

    quantile: Fraction = Field(
        default=0.5,
        gt=0,
        lt=1,
        examples=["60 %"],
        description="quantile of the norms that the clipping norm follows",
    )
    rate: float = Field(
        default=0.2,
        gt=0,
        description="learning rate: one round changes the norm by at most a factor exp(rate)",
    )
    bit_noise: float = Field(
        default=10.0,
        gt=0,
        description="standard deviation of the noise on each client's report about its norm; more than "
        "half of "
        "noise_multiplier",
    )


class Privacy(Table):
    """Clipping, noise and the question for the accountant."""

    unit: Literal["record", "node"] = Field(
        examples=["record"], description="what is protected: one record, or all data of a node"
    )
    adjacency: Literal["add-remove", "replace", "zero-out"] = Field(
        examples=["add-remove"],
        description="relation of neighbouring data sets; replace has twice the sensitivity of the others",
    )
    clip: float = Field(
        gt=0, examples=[1.0], description="clipping norm: the most one unit may contribute to a sum"
    )
    noise_multiplier: float | None = Field(
        default=None,
        gt=0,
        examples=[17.3],
        description="standard deviation of the noise / clip; the key noise says of which noise",
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
        description="epsilon that a node's noised sums may cost, each charged on its own; a node that has "
        "spent it "
        "trains no more",
    )
    when_spent: Literal["node", "run"] = Field(
        default="node",
        examples=["run"],
        description="what stops when a node has spent its budget: its own training (it still mixes), or "
        "the run",
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
        description="law of the noise: gaussian (real numbers), or integers added to the words of a secure "
        "sum: skellam, "
        "discrete-gaussian; absent: skellam where a server opens sums of equal weights and adds nothing "
        "of its own, "
        "gaussian elsewhere",
    )
    correlated: CorrelatedNoise | None = Field(
        default=None,
        description="noise on top of each node's own that cancels in averages; only D-PSGD with exchange "
        "= ldp",
    )
    adaptive_clip: AdaptiveClipping | None = Field(
        default=None,
        description="adaptive clipping: clip follows the norms of whole updates; only federated averaging "
        "on a star with "
        "exchange = "
        "ldp and unit = node",
    )
    bands: Annotated[
        int | tuple[float, ...] | None,
        BeforeValidator(_bands),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "integer", "minimum": 2, "maximum": 1000},
                    {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 1000},
                    {"type": "null"},
                ],
                "title": "whole number or list of numbers",
            }
        ),
    ] = Field(
        default=None,
        examples=[8],
        description="noise correlated across rounds (banded matrix factorisation): number of rounds, or "
        "the coefficients, which are scaled to norm 1; only with exchange = ldp and one noised sum a round",
    )
    surplus: Literal["keep", "remove"] = Field(
        default="keep",
        examples=["remove"],
        description="skellam noise that turned out not to be needed, as fewer members dropped out than "
        "tolerated: keep it, or remove it when the sum is open",
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
                        "minItems": 1,
                    },
                ],
                "title": '"each node" or list of sets',
            }
        ),
    ] = Field(
        default="each node",
        examples=[[[3], [3, 7], "public", "random:10"]],
        description='observers: "each node" alone, or sets that pool what they see: lists of nodes, or '
        "words with "
        'commas between them: "public" (all opened sums), "wire" (the wiretap), "random:K", "degree:K", '
        '"betweenness:K", "neighbours:V"',
    )

    def problems(self) -> Problems:
        """Yield keys that contradict one another or have no effect."""
        if self.budget is None and self.when_spent != "node":
            yield (
                ("when_spent",),
                f'when_spent = "{self.when_spent}" has no effect without budget; give budget or remove '
                "this key",
            )
        if self.adaptive_clip is not None and self.unit != "node":
            yield (
                ("adaptive_clip",),
                f'adaptive_clip needs unit = "node", got "{self.unit}": the norm of whole updates is clipped',
            )
        if self.adaptive_clip is not None and self.bands is not None:
            yield (
                ("adaptive_clip",),
                "adaptive_clip cannot be used with noise correlated across rounds (bands), which needs a "
                "fixed clip; "
                "remove one of them",
            )
        if self.surplus == "remove" and (self.law != "skellam" or self.noise != "sum"):
            yield (
                ("surplus",),
                'surplus = "remove" needs law = "skellam" and noise = "sum": only such noise comes in '
                "parts that can "
                "be removed",
            )
        if self.bands is not None:
            yield from self._band_problems(self.bands)

    def _band_problems(self, bands: int | tuple[float, ...]) -> Problems:
        if isinstance(bands, int):
            if not 2 <= bands <= 1000:
                yield ("bands",), f"bands must be 2 to 1000 rounds, got {bands}; change it"
        elif not 2 <= len(bands) <= 1000 or bands[0] == 0:
            yield (
                ("bands",),
                f"bands must be 2 to 1000 coefficients, the first not 0, got {list(bands)}; change them",
            )
        for name in ("budget", "target_epsilon"):
            if getattr(self, name) is not None:
                yield (
                    (name,),
                    f"{name} needs rounds that are charged one by one, and noise correlated across rounds "
                    "(bands) is "
                    "charged as a whole; give noise_multiplier",
                )
