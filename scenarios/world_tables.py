"""Tables of the world a scenario runs in: topology, mixing, links and outages."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.tables import Node, Table, written
from scenarios.units import Duration, Fraction, Rate, Size


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
    header: Size = Field(default=written("40 B"), ge=0, description='bytes added to every message: "40 B"')


class Fault(Table):
    """One outage of one node."""

    node: Node
    down_at: Duration = Field(ge=0, description='when the node crashes: "12 s"')
    up_at: Duration | None = Field(default=None, description='when it is back: "20 s"; absent: never')


def node_count(topology: Topology) -> int | None:
    """Number of nodes, None when only the graph file knows."""
    if isinstance(topology, GridTopology):
        return topology.rows * topology.columns
    return None if isinstance(topology, FileTopology) else topology.nodes
