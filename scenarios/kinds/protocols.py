"""Tables of what the nodes do: gossip protocols, and how the sums of one are secured.

Every protocol has ``rounds``, the local updates of a node, which is what privacy accounting and progress count. In
asynchronous protocols a round is one local update of a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import written
from scenarios.format.units import Duration, Fraction
from scenarios.kinds.robust_rules import RobustRule

Rounds: TypeAlias = Annotated[
    int, Field(ge=1, le=1_000_000, description="local updates of each node, at least 1")
]
InTheClear: TypeAlias = Annotated[
    Literal["plain", "ldp"],
    Field(description="plain (models in the clear) or ldp (noised models)"),
]
Exchange: TypeAlias = Annotated[
    Literal["plain", "ldp", "secure"],
    Field(description="plain (models in the clear), ldp (noised models) or secure (only sums are seen)"),
]
Timeout: TypeAlias = Annotated[
    Duration, Field(gt=0, description='longest wait for a neighbour in a round: "500 ms"')
]
Period: TypeAlias = Annotated[Duration, Field(gt=0, description='time between local updates: "250 ms"')]


class Protocol(Kind):
    """What the nodes do."""

    group: ClassVar[str] = "sottovoce.protocols"

    rounds: Rounds
    exchange: Exchange


class DsgdProtocol(Protocol):
    """Synchronous decentralised SGD: train, exchange with all neighbours, average, round by round."""

    kind: Literal["dsgd"] = Field(description="rounds in step with the neighbours")
    rounds: Rounds
    exchange: Exchange
    timeout: Timeout = written("500 ms")
    mix_every: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        examples=[5],
        description="local updates between two mixes with the neighbours",
    )
    mixes: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        examples=[10],
        description="mixes with the neighbours, one after another, when it is time to mix; many of them average "
        "(rounds = 1: Muffliato)",
    )
    robust: RobustRule | None = Field(
        default=None, description="how a node mixes what it hears with its own model, if not by weights"
    )
    missing: Literal["own", "rescale"] = Field(
        default="own",
        examples=["rescale"],
        description="where the weight of neighbours that are not heard goes: own (to the own model) or rescale (to "
        "all that are there, in proportion); secure sums know only own",
    )


class AsynchronousProtocol(Protocol):
    """Asynchronous gossip: each node trains and talks to a random neighbour on its own clock."""

    kind: Literal["push", "pull", "push-pull"] = Field(
        description="asynchronous, one random neighbour at a time: send the model (push), ask for one (pull) or both"
    )
    exchange: InTheClear
    period: Period = written("250 ms")
    merge: Literal["merge-update", "update-merge"] = Field(
        default="merge-update",
        examples=["update-merge"],
        description="merge-update (merge what arrived, then make the local step) or update-merge (make it on what "
        "arrived, then merge)",
    )
    merge_weight: Literal["half", "updates"] = Field(
        default="half",
        examples=["updates"],
        description="weight of a received model: half, or updates (in proportion to the updates it has been through)",
    )
    staleness: Literal["accept", "discard", "weight"] = Field(
        default="accept",
        examples=["weight"],
        description="models whose sender has made fewer local updates: accept, discard (beyond stale_after) or "
        "weight (divided by 1 + how many fewer)",
    )
    stale_after: int | None = Field(
        default=None,
        ge=0,
        examples=[10],
        description="local updates a sender may be behind; only with staleness = discard",
    )


class PairwiseProtocol(Protocol):
    """AD-PSGD: asynchronous SGD with pairwise averaging."""

    kind: Literal["ad-psgd"] = Field(description="asynchronous, averages with one random neighbour at a time")
    exchange: InTheClear
    period: Period = written("250 ms")
    timeout: Duration = Field(
        default=written("500 ms"), gt=0, description='longest wait for the answer to an offer: "500 ms"'
    )


class PushSumProtocol(Protocol):
    """Stochastic gradient push: models with weights, on links with or without a direction."""

    kind: Literal["push-sum"] = Field(description="weights travel with models, links may be directed")
    exchange: InTheClear
    timeout: Timeout = written("500 ms")
    reliable: Literal["none", "running-sums"] = Field(
        default="none",
        examples=["running-sums"],
        description="none (lost messages take their weight along) or running-sums (the next message brings it)",
    )


class TrackingProtocol(Protocol):
    """Gradient tracking: neighbours mix models and estimates of the average step."""

    kind: Literal["gradient-tracking"] = Field(
        description="rounds in step; models and estimates of everybody's average step travel"
    )
    exchange: InTheClear
    timeout: Timeout = written("500 ms")


class FederatedProtocol(Protocol):
    """What federated averaging on a star and on a tree have in common."""

    rounds: Rounds
    timeout: Duration = Field(
        default=written("500 ms"),
        gt=0,
        examples=["1 s"],
        description='longest wait for the results of those below: "500 ms"',
    )
    mix_every: int = Field(
        default=1,
        ge=1,
        le=1_000_000,
        examples=[5],
        description="local updates between two averages at the lowest level",
    )
    participation: Fraction = Field(
        default=1.0,
        gt=0,
        le=1,
        examples=["50 %"],
        description="fraction of those below that are asked each time, at least one",
    )
    weights: Literal["equal", "samples"] = Field(
        default="equal",
        examples=["samples"],
        description="weights of the average: equal, or by the public numbers of samples",
    )
    inner_train: bool = Field(
        default=True, examples=[False], description="whether nodes that average train on their own data too"
    )
    robust: RobustRule | None = Field(default=None, description="how results are averaged, if not by weights")


class FedavgProtocol(FederatedProtocol):
    """Federated averaging on a star."""

    kind: Literal["fedavg"] = Field(description="node 0 of a star is the server")
    exchange: Exchange


class HierarchicalProtocol(FederatedProtocol):
    """Federated averaging on a tree: aggregators between the leaves and the root."""

    kind: Literal["hierarchical-fedavg"] = Field(
        description="node 0 of a tree is the root, inner nodes average their leaves"
    )
    exchange: InTheClear
    global_every: int = Field(
        default=5, ge=1, le=1000, description="averages at one level between two averages at the next"
    )


class LocalProtocol(Protocol):
    """No messages: every node trains alone."""

    kind: Literal["local"] = Field(description="a yardstick: every node trains alone")
    exchange: InTheClear


class CentralisedProtocol(Protocol):
    """All data at one place."""

    kind: Literal["centralised"] = Field(
        description="a yardstick: one model is trained on everybody's data, a step on as many samples as all "
        "nodes take together"
    )
    exchange: Literal["plain"] = Field(
        examples=["plain"], description="plain: data were pooled, so no privacy is claimed"
    )


MESSAGES: Mapping[str, tuple[str, ...]] = {
    "dsgd": ("model",),
    "push": ("model",),
    "pull": ("request", "model"),
    "push-pull": ("offer", "model"),
    "ad-psgd": ("offer", "answer"),
    "push-sum": ("model",),
    "gradient-tracking": ("model",),
    "fedavg": ("task", "result", "final", "done"),
    "hierarchical-fedavg": ("task", "result", "final", "done"),
    "local": (),
    "centralised": (),
}
"""Kinds of message, by protocol, where models travel in the clear."""
