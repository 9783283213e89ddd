"""The scenario file, format 1: every table, key, unit and range.

Durations are held in seconds, rates in bits per second, sizes in bytes, fractions as fractions of one. What
needs more than one key to judge lives in :mod:`scenarios.checks`; reading files and wording errors in
:mod:`scenarios.load`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from scenarios.units import Duration, Fraction, Rate, Size

FORMAT = 1

Node: TypeAlias = Annotated[int, Field(ge=0, description="node number, from 0")]
Nodes: TypeAlias = Annotated[tuple[Node, ...], Field(strict=False)]


def _written(text: str) -> Any:
    """A default as a file would write it, so that the JSON Schema shows it; validation makes it a float."""
    return text


class Table(BaseModel):
    """A TOML table: no unknown keys, no silent conversions, never changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


# ---------------------------------------------------------------- topology and mixing


class NamedTopology(Table):
    """A graph given by its name and size."""

    kind: Literal["ring", "path", "complete", "star"] = Field(
        description="ring (a cycle), path (a line), complete (all pairs) or star (node 0 in the middle)"
    )
    nodes: int = Field(ge=2, description="number of nodes, at least 2")


class RegularTopology(Table):
    """A connected random regular graph."""

    kind: Literal["regular"] = Field(description="every node has the same number of neighbours")
    nodes: int = Field(ge=2, description="number of nodes, at least 2")
    degree: int = Field(ge=1, description="neighbours of each node; below nodes, and nodes x degree even")


class ErdosRenyiTopology(Table):
    """A connected G(n, p) graph."""

    kind: Literal["erdos-renyi"] = Field(description="every pair is connected with probability p")
    nodes: int = Field(ge=2, description="number of nodes, at least 2")
    p: Fraction = Field(gt=0, le=1, description="probability of an edge, above 0 and at most 1")


class SmallWorldTopology(Table):
    """A connected Watts-Strogatz graph."""

    kind: Literal["small-world"] = Field(description="a ring of near neighbours with some edges rewired")
    nodes: int = Field(ge=3, description="number of nodes, at least 3")
    degree: int = Field(ge=2, description="neighbours in the ring before rewiring, even, below nodes")
    rewire: Fraction = Field(ge=0, le=1, description="probability that an edge is rewired, 0 to 1")


class GridTopology(Table):
    """A two-dimensional grid."""

    kind: Literal["grid", "torus"] = Field(description="a grid; a torus has its borders joined")
    rows: int = Field(ge=1, description="rows, at least 1 (grid) or 3 (torus)")
    columns: int = Field(ge=1, description="columns, at least 1 (grid) or 3 (torus)")


class FileTopology(Table):
    """A graph read from a file."""

    kind: Literal["file"] = Field(description="a graph in a file")
    path: str = Field(min_length=1, description="the file, relative to the scenario file")
    format: Literal["graphml", "gml", "edgelist", "adjlist"] = Field(description="how the file is written")


Topology: TypeAlias = Annotated[
    NamedTopology | RegularTopology | ErdosRenyiTopology | SmallWorldTopology | GridTopology | FileTopology,
    Field(discriminator="kind", description="who is connected to whom"),
]


class Mixing(Table):
    """Weights of the gossip average."""

    kind: Literal["metropolis", "max-degree"] = Field(
        default="metropolis", description="rule that turns the graph into a doubly stochastic matrix"
    )


# ---------------------------------------------------------------- network and faults


class ConstantLatency(Table):
    """The same latency for every message."""

    kind: Literal["constant"] = Field(description="always the same")
    value: Duration = Field(ge=0, description='one-way latency, for example "50 ms"')


class UniformLatency(Table):
    """Latency drawn uniformly, once per message."""

    kind: Literal["uniform"] = Field(description="uniform between low and high")
    low: Duration = Field(ge=0, description='smallest one-way latency, for example "20 ms"')
    high: Duration = Field(ge=0, description='largest one-way latency, for example "80 ms"')


class LognormalLatency(Table):
    """Latency drawn from a log-normal law, once per message."""

    kind: Literal["lognormal"] = Field(description="log-normal: the logarithm is Gaussian")
    median: Duration = Field(gt=0, description='median one-way latency, for example "50 ms"')
    sigma: float = Field(ge=0, le=5, description="standard deviation of the natural logarithm, 0 to 5")


Latency: TypeAlias = Annotated[
    ConstantLatency | UniformLatency | LognormalLatency,
    Field(discriminator="kind", description="law of the one-way latency of a message"),
]


class Network(Table):
    """The links between nodes."""

    latency: Latency
    uplink: Rate = Field(gt=0, description='sending rate of each node, shared by its messages: "10 Mbit/s"')
    loss: Fraction = Field(
        default=0.0, ge=0, lt=1, description='probability of losing a message: "1 %" or 0.01'
    )
    header: Size = Field(default=_written("40 B"), ge=0, description='bytes added to every message: "40 B"')


class Fault(Table):
    """One outage of one node."""

    node: Node
    down_at: Duration = Field(ge=0, description='when the node crashes: "12 s"')
    up_at: Duration | None = Field(default=None, description='when it is back: "20 s"; absent: never')


# ---------------------------------------------------------------- data, model, training


class DigitsData(Table):
    """Handwritten digits, 1797 images of 8 x 8 pixels, 10 classes (Alpaydin and Kaynak 1998)."""

    kind: Literal["digits"] = Field(description="1797 handwritten digits, 64 features, 10 classes")
    test_fraction: Fraction = Field(default=0.2, gt=0, lt=1, description="share kept for testing, 0 to 1")


class BlobsData(Table):
    """Gaussian blobs, one per class."""

    kind: Literal["blobs"] = Field(description="one Gaussian blob per class")
    samples: int = Field(ge=2, le=10_000_000, description="samples in all, training and test")
    features: int = Field(ge=1, le=100_000, description="dimensions")
    classes: int = Field(ge=2, le=10_000, description="blobs")
    spread: float = Field(default=1.0, gt=0, description="standard deviation of each blob")
    test_fraction: Fraction = Field(default=0.2, gt=0, lt=1, description="share kept for testing, 0 to 1")


Data: TypeAlias = Annotated[
    DigitsData | BlobsData, Field(discriminator="kind", description="what is learned from")
]


class IidPartition(Table):
    """Samples dealt out at random in equal parts."""

    kind: Literal["iid"] = Field(default="iid", description="equal random parts")
    min_samples: int = Field(default=10, ge=1, description="fewest training samples a node may hold")


class DirichletPartition(Table):
    """Label-skewed parts: class shares drawn from a Dirichlet law (Hsu et al. 2019, arXiv 1909.06335)."""

    kind: Literal["dirichlet"] = Field(description="label-skewed parts")
    alpha: float = Field(default=0.5, gt=0, description="concentration; small means skewed")
    min_samples: int = Field(default=10, ge=1, description="fewest training samples a node may hold")


Partition: TypeAlias = Annotated[
    IidPartition | DirichletPartition,
    Field(discriminator="kind", description="who holds which training samples"),
]


class SoftmaxModel(Table):
    """Multinomial logistic regression."""

    kind: Literal["softmax"] = Field(description="multinomial logistic regression")


class MlpModel(Table):
    """One hidden layer."""

    kind: Literal["mlp"] = Field(description="one hidden layer")
    hidden: int = Field(default=32, ge=1, le=100_000, description="hidden units")


Model: TypeAlias = Annotated[
    SoftmaxModel | MlpModel, Field(discriminator="kind", description="what is trained")
]


class Training(Table):
    """The local step: model -= step x (clipped, noised sum of gradients) / divisor."""

    step: float = Field(gt=0, description="step size")
    divisor: int | None = Field(
        default=None,
        ge=1,
        description="public constant that divides the sum of gradients; absent: training samples / nodes, "
        "rounded up",
    )
    step_cost: Duration = Field(
        default=_written("20 ms"), ge=0, description='virtual time of one local update: "20 ms"'
    )


# ---------------------------------------------------------------- protocol, security, privacy


class DsgdProtocol(Table):
    """Synchronous decentralised SGD: train, exchange with all neighbours, average, round by round."""

    kind: Literal["dsgd"] = Field(description="rounds in step with the neighbours")
    rounds: int = Field(ge=1, le=1_000_000, description="local updates of each node")
    exchange: Literal["plain", "ldp", "secure"] = Field(
        description="plain (models in the clear), ldp (noised models) or secure (only sums are seen)"
    )
    timeout: Duration = Field(
        default=_written("500 ms"), gt=0, description='longest wait for a neighbour in a round: "500 ms"'
    )


class PushProtocol(Table):
    """Asynchronous gossip: each node trains and pushes to a random neighbour on its own clock."""

    kind: Literal["push"] = Field(description="asynchronous, one random neighbour at a time")
    rounds: int = Field(ge=1, le=1_000_000, description="local updates of each node")
    exchange: Literal["plain", "ldp"] = Field(
        description="plain (models in the clear) or ldp (noised models)"
    )
    period: Duration = Field(
        default=_written("250 ms"), gt=0, description='time between local updates: "250 ms"'
    )


Protocol: TypeAlias = Annotated[
    DsgdProtocol | PushProtocol, Field(discriminator="kind", description="what the nodes do")
]


class Secure(Table):
    """Secure aggregation inside each neighbourhood; only with exchange = "secure"."""

    crypto: Literal["real", "ideal"] = Field(
        default="real", description="real keys and masks, or an ideal sum of the same sizes and costs"
    )
    colluders: int = Field(
        default=0, ge=0, description="members of one neighbourhood that may pool what they see"
    )
    tolerated_dropouts: int = Field(
        default=1, ge=0, description="members that may be missing from a list before it is refused"
    )
    range_sigmas: float = Field(
        default=8.0,
        gt=0,
        description="standard deviations of noise that the fixed-point range leaves room for",
    )
    key_agreement_cost: Duration = Field(
        default=_written("120 us"), ge=0, description='time of one key agreement: "120 us"'
    )
    mask_cost_per_mib: Duration = Field(
        default=_written("1 ms"), ge=0, description='time to make 1 MiB of mask: "1 ms"'
    )


def _observers(value: Any) -> Any:
    if value == "each node":
        return value
    if isinstance(value, list | tuple) and all(isinstance(members, list | tuple) for members in value):
        sets = tuple(tuple(members) for members in value)
        if sets and all(_is_count(node, 0) for members in sets for node in members):
            return sets
    raise PydanticCustomError(
        "choice", 'expected "each node" or a list of lists of nodes, like [[3], [3, 7]]'
    )


class Privacy(Table):
    """Clipping, noise and the question asked of the accountant."""

    unit: Literal["record", "node"] = Field(
        description="what is protected: one record, or all data of a node"
    )
    adjacency: Literal["add-remove", "replace", "zero-out"] = Field(
        description="which data sets are neighbours; replace has twice the sensitivity of the others"
    )
    clip: float = Field(gt=0, description="clipping norm: the most one unit may contribute to a sum")
    noise_multiplier: float | None = Field(
        default=None, gt=0, description="standard deviation of the noise / clip; see noise for whose"
    )
    target_epsilon: float | None = Field(
        default=None, gt=0, description="largest certified epsilon over all rounds; picks or checks the noise"
    )
    noise: Literal["member", "sum"] | None = Field(
        default=None,
        description="noise_multiplier of each member's own noise, or of the noise left in an opened sum "
        "without the colluders' part; absent: sum with secure, member with ldp",
    )
    delta: float = Field(
        default=1e-5, gt=0, lt=1, description="delta of (epsilon, delta), strictly between 0 and 1"
    )
    observers: Annotated[
        Literal["each node"] | tuple[tuple[int, ...], ...],
        BeforeValidator(_observers),
        WithJsonSchema(
            {
                "anyOf": [
                    {"const": "each node"},
                    {"type": "array", "items": {"type": "array", "items": {"type": "integer", "minimum": 0}}},
                ]
            }
        ),
    ] = Field(
        default="each node", description='who looks: "each node" alone, or sets that pool what they see'
    )


# ---------------------------------------------------------------- adversaries, evaluation


class Byzantine(Table):
    """Nodes that say something else than the protocol tells them to."""

    enabled: bool = Field(default=True, description="false keeps the table for a what-if variant")
    nodes: Nodes = Field(description="which nodes attack")
    attack: Literal["sign-flip"] = Field(description="sign-flip: send -scale times the own model")
    scale: float = Field(default=1.0, gt=0, description="strength of the attack")


class Curious(Table):
    """Nodes that follow the protocol and keep all they see (written to views/)."""

    enabled: bool = Field(default=True, description="false keeps the table for a what-if variant")
    nodes: Nodes = Field(description="whose views are recorded")


class Adversary(Table):
    """Who does not play fair."""

    byzantine: Byzantine | None = Field(default=None, description="nodes that lie")
    curious: Curious | None = Field(default=None, description="nodes that record what they see")


class Evaluation(Table):
    """When and against what the models are measured."""

    every: Duration = Field(
        default=_written("1 s"), gt=0, description='virtual time between evaluations: "2 s"'
    )
    target_accuracy: Fraction = Field(
        default=0.8, gt=0, le=1, description="mean accuracy whose time and bytes are reported, 0 to 1"
    )


# ---------------------------------------------------------------- studies


def _seeds(value: Any) -> Any:
    if _is_count(value, 1):
        return value
    if isinstance(value, list | tuple) and value and all(_is_count(seed, 0) for seed in value):
        if len(set(value)) == len(value):
            return tuple(value)
        raise PydanticCustomError("choice", "the same seed twice would count one run twice")
    raise PydanticCustomError(
        "choice", "expected how many seeds (at least 1) or a list of whole numbers from 0, like [1, 2, 3]"
    )


def _is_count(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


Seeds: TypeAlias = Annotated[
    int | tuple[int, ...],
    BeforeValidator(_seeds),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
            ]
        }
    ),
]
Values: TypeAlias = Annotated[tuple[Any, ...], Field(strict=False, min_length=1)]
Grid: TypeAlias = dict[str, Values]


class Series(Table):
    """One curve of a sweep."""

    name: str = Field(min_length=1, description="name in plots and tables")
    set: dict[str, Any] = Field(default={}, description='fixed changes: {"protocol.exchange" = "ldp"}')
    grid: Grid | None = Field(default=None, description="values to sweep, in place of [sweep.grid]")


class Sweep(Table):
    """Runs over a grid of values, several seeds each."""

    seeds: Seeds = Field(default=1, description="how many seeds, from the scenario's own on, or which")
    grid: Grid = Field(
        default={}, description='values by quoted dotted key: "privacy.noise_multiplier" = [5, 10]'
    )
    series: tuple[Series, ...] = Field(
        default=(), strict=False, description="curves; absent: one without a name"
    )


class Study(Table):
    """How a what-if study repeats."""

    seeds: Seeds = Field(default=1, description="how many seeds, from the scenario's own on, or which")


class Whatif(Table):
    """One variant, compared with the scenario itself on the same seeds."""

    name: str = Field(min_length=1, description="name in plots and tables")
    set: dict[str, Any] = Field(
        min_length=1, description='what changes: {"adversary.byzantine.enabled" = true}'
    )


# ---------------------------------------------------------------- the whole


def filled(raw: Any) -> Any:
    """Write out what the exchange implies: what noise means, and that sums are secured.

    A resolved scenario then says so even where its file did not. Anything that is no scenario comes back as it is.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("protocol"), dict):
        return raw
    exchange, privacy = raw["protocol"].get("exchange"), raw.get("privacy")
    result = dict(raw)
    if exchange == "secure":
        result.setdefault("secure", {})
    if isinstance(privacy, dict) and exchange in ("ldp", "secure"):
        result["privacy"] = {"noise": "sum" if exchange == "secure" else "member"} | privacy
    return result


class Scenario(Table):
    """One scenario of sottovoce, format 1."""

    format: Literal[1] = Field(description="version of this format: 1")
    name: str = Field(pattern=r"^[a-z0-9_-]+$", description="short name: a-z, 0-9, _ and -")
    description: str = Field(default="", description="what is simulated, in prose")
    expect: str = Field(default="", description="the expected outcome, in prose")
    seed: int = Field(default=1, ge=0, lt=2**63, description="seed of every random stream")
    topology: Topology
    mixing: Mixing = Mixing()
    network: Network
    fault: tuple[Fault, ...] = Field(default=(), strict=False, description="outages, one [[fault]] each")
    data: Data
    partition: Partition = IidPartition()
    model: Model
    training: Training
    protocol: Protocol
    secure: Secure | None = Field(
        default=None, description='secure aggregation; only with exchange = "secure"'
    )
    privacy: Privacy | None = Field(default=None, description='needed unless exchange = "plain"')
    adversary: Adversary = Adversary()
    evaluation: Evaluation = Evaluation()
    sweep: Sweep | None = Field(default=None, description="runs of `sottovoce sweep`")
    study: Study = Study()
    whatif: tuple[Whatif, ...] = Field(default=(), strict=False, description="variants of `sottovoce whatif`")

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, raw: Any) -> Any:
        return filled(raw)


STUDY_TABLES = ("sweep", "study", "whatif")


def node_count(topology: Topology) -> int | None:
    """Number of nodes, None when only the graph file knows."""
    if isinstance(topology, GridTopology):
        return topology.rows * topology.columns
    return None if isinstance(topology, FileTopology) else topology.nodes


def seeds_of(seeds: int | tuple[int, ...], first: int) -> tuple[int, ...]:
    """The seeds a study runs: the list given, or that many from ``first`` on."""
    return seeds if isinstance(seeds, tuple) else tuple(range(first, first + seeds))


def models_of(annotation: Any) -> list[type[Table]]:
    """The tables a field may hold, looking through unions, options, lists and annotations."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return [annotation]
    return [model for inner in get_args(annotation) for model in models_of(inner)]


def kinds_of(model: type[Table]) -> tuple[str, ...]:
    """The values ``kind`` may have in a table; empty when it has none."""
    field = model.model_fields.get("kind")
    return get_args(field.annotation) if field else ()


def choices_of(annotation: Any) -> list[str]:
    """The words a key chooses from, through options and annotations."""
    if getattr(annotation, "__origin__", None) is Literal:
        return [word for word in get_args(annotation) if isinstance(word, str)]
    return [word for inner in get_args(annotation) for word in choices_of(inner)]


def _collect(models: list[type[Table]], prefix: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for model in models:
        for name, field in model.model_fields.items():
            below = models_of(field.annotation)
            key = prefix if name == "kind" else f"{prefix}.{name}".lstrip(".")
            words = choices_of(field.annotation) if not below else []
            found.setdefault(key, [])
            found[key] += [word for word in words if word not in found[key]]
            for inner_key, inner in _collect(below, key).items():
                found[inner_key] = list(dict.fromkeys(found.get(inner_key, []) + inner))
    return {key: words for key, words in found.items() if words}


KINDS: Mapping[str, list[str]] = _collect([Scenario], "")
"""Every key that chooses between words, and the words: {"topology": ["ring", ...], ...}."""
