"""Tables of what happens to nodes and links: outages, sessions, partitions, slow times; and how nodes notice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.format.kind import Kind
from scenarios.format.tables import Node, Nodes, Pairs, Table, is_node_list, written
from scenarios.format.units import Duration, Size


def _all_or(value: Any) -> Any:
    if value == "all" or is_node_list(value):
        return value if value == "all" else tuple(value)
    raise PydanticCustomError("choice", 'expected "all" or a list of nodes, like [0, 3]')


def _group(value: Any) -> Any:
    if isinstance(value, str) or (is_node_list(value) and value):
        return value if isinstance(value, str) else tuple(value)
    raise PydanticCustomError("choice", "expected a list of nodes, like [0, 3], or the name of a [[region]]")


_NODES = {"type": "array", "items": {"type": "integer", "minimum": 0}}
AllOr: TypeAlias = Annotated[
    Literal["all"] | tuple[int, ...],
    BeforeValidator(_all_or),
    WithJsonSchema({"anyOf": [{"const": "all"}, _NODES]}),
]
Group: TypeAlias = Annotated[
    str | tuple[int, ...],
    BeforeValidator(_group),
    WithJsonSchema({"anyOf": [{"type": "string"}, _NODES]}),
]


class Fault(Kind):
    """What goes wrong."""

    group: ClassVar[str] = "sottovoce.faults"


class Members(Fault):
    """Some nodes, named in one of three ways."""

    node: Node | None = Field(default=None, examples=[3], description="which node")
    nodes: Nodes | None = Field(default=None, min_length=1, examples=[[3, 4]], description="or which nodes")
    region: str | None = Field(default=None, examples=["north"], description="or the name of a [[region]]")


class OutageFault(Members):
    """A crash, and perhaps a return; of a region, all its nodes at once or nearly so."""

    kind: Literal["outage"] = Field(default="outage", description="a crash, and a return if up_at says when")
    down_at: Duration = Field(ge=0, examples=["12 s"], description='when the node crashes: "12 s"')
    up_at: Duration | None = Field(
        default=None, examples=["20 s"], description='when it is back: "20 s"; absent: never'
    )
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether it finds its disk when it returns"
    )
    spread: Duration = Field(
        default=written("0 s"),
        ge=0,
        examples=["2 s"],
        description="each node's outage is later by a random time up to this",
    )


class ArrivalFault(Members):
    """Nodes that are not there at first."""

    kind: Literal["arrival"] = Field(description="a node that joins late")
    at: Duration = Field(gt=0, examples=["30 s"], description='when it starts: "30 s"')


class SessionLaw(Table):
    """How long a node stays, or stays away."""

    kind: Literal["exponential", "weibull"] = Field(
        description="exponential, or weibull: many short and some very long times if shape is below 1"
    )
    mean: Duration = Field(gt=0, examples=["60 s"], description='mean time: "60 s"')
    shape: float | None = Field(
        default=None,
        ge=0.01,
        le=1000,
        examples=[0.6],
        description="shape of the Weibull law, 0.01 to 1000; 1 is exponential",
    )


class SessionsFault(Fault):
    """Nodes that come and go without end."""

    kind: Literal["sessions"] = Field(description="nodes up and down in turn, for random times")
    nodes: AllOr = Field(default="all", examples=[[3, 4]], description='which nodes, or "all"')
    up: SessionLaw = Field(description="how long a node stays")
    down: SessionLaw = Field(description="how long it is away")
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether a node finds its disk when it returns"
    )
    together: bool = Field(default=False, examples=[True], description="whether all share their times")
    stationary: bool = Field(
        default=False,
        examples=[True],
        description="whether some are down at first, as they are later; else all are up",
    )
    at: Duration = Field(
        default=written("0 s"), ge=0, examples=["30 s"], description="from when; they are up before"
    )


class AvailabilityFault(Fault):
    """Who was there when, from a file."""

    kind: Literal["availability"] = Field(
        description="who was there when, from a CSV file with columns node, up_s, down_s"
    )
    path: str = Field(
        min_length=1, examples=["availability.csv"], description="the file, relative to the scenario"
    )
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether a node finds its disk when it returns"
    )


class PartitionFault(Fault):
    """Groups that cannot reach each other for a while."""

    kind: Literal["partition"] = Field(description="the network falls apart, and heals")
    groups: tuple[Group, ...] = Field(
        strict=False,
        min_length=1,
        examples=[[[0, 1, 2], "north"]],
        description="disjoint groups: lists of nodes, or names of regions; all others are one more group",
    )
    at: Duration = Field(ge=0, examples=["30 s"], description="from when; messages under way arrive")
    until: Duration | None = Field(
        default=None, examples=["45 s"], description="until when; absent: for ever"
    )


class LinksFault(Fault):
    """Some links that carry nothing for a while."""

    kind: Literal["cut", "hold"] = Field(
        description="cut: messages that would leave meanwhile are dropped; hold: they wait"
    )
    links: Pairs = Field(examples=[[[0, 1], [2, 5]]], description="pairs of nodes: [[0, 1], [2, 5]]")
    both: bool = Field(default=True, examples=[False], description="whether both directions are meant")
    at: Duration = Field(ge=0, examples=["30 s"], description="from when")
    until: Duration | None = Field(
        default=None, examples=["45 s"], description="until when; absent: for ever"
    )

    @property
    def directions(self) -> frozenset[tuple[int, int]]:
        """The directed links meant."""
        return frozenset(self.links) | (
            frozenset((b, a) for a, b in self.links) if self.both else frozenset()
        )


class SlowFault(Members):
    """A time in which nodes compute slowly."""

    kind: Literal["slow"] = Field(description="computing takes longer for a while")
    factor: float = Field(
        gt=0, examples=[4.0], description="how many times as long computing takes; below 1 it is faster"
    )
    at: Duration = Field(default=written("0 s"), ge=0, examples=["30 s"], description="from when")
    until: Duration | None = Field(
        default=None, examples=["45 s"], description="until when; absent: for ever"
    )


DEFAULT_FAULT = "outage"
"""What a fault without a kind is."""


class Slowdown(Kind):
    """How many times as long each node takes to compute."""

    group: ClassVar[str] = "sottovoce.slowdowns"


class GivenSlowdown(Slowdown):
    """A factor for each node."""

    kind: Literal["given"] = Field(description="a factor for each node")
    factors: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        strict=False,
        min_length=1,
        examples=[[1, 1, 2.5]],
        description="how many times as long computing takes, one per node",
    )


class UniformSlowdown(Slowdown):
    """Factors drawn evenly."""

    kind: Literal["uniform"] = Field(description="one draw per node, evenly between two factors")
    low: float = Field(gt=0, examples=[0.5], description="smallest factor")
    high: float = Field(gt=0, examples=[4.0], description="largest factor")


class LognormalSlowdown(Slowdown):
    """Factors around 1, some nodes much slower."""

    kind: Literal["lognormal"] = Field(description="one draw per node, log-normal with median 1")
    sigma: float = Field(gt=0, examples=[0.5], description="standard deviation of the logarithm")


class Compute(Table):
    """How fast nodes compute."""

    slowdown: Slowdown


class Detector(Table):
    """Heartbeats, by which nodes suspect neighbours that have gone silent."""

    period: Duration = Field(
        gt=0, examples=["500 ms"], description='time between heartbeats to every neighbour: "500 ms"'
    )
    timeout: Duration = Field(
        gt=0, examples=["2 s"], description="silence after which a neighbour is suspected, above the period"
    )
    size: Size = Field(default=written("8 B"), ge=0, examples=["16 B"], description="payload of a heartbeat")


def members_of(table: Members, regions: Sequence[tuple[str, tuple[int, ...]]]) -> tuple[int, ...]:
    """The nodes a table names."""
    if table.region is not None:
        return dict(regions)[table.region]
    return (table.node,) if table.node is not None else table.nodes or ()
