"""Tables of the world a scenario runs in: topology, mixing, links and outages."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.tables import Node, Table, written
from scenarios.units import Duration, Fraction, Rate, Size


class NamedTopology(Table):
    """A graph given by its name and size."""

    kind: Literal["ring", "path", "complete", "star", "exponential"] = Field(
        description="ring (a cycle), path (a line), complete (all pairs), star (node 0 in the middle) or "
        "exponential (links to the nodes 1, 2, 4, ... further)"
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


class BarabasiAlbertTopology(Table):
    """A graph grown by preferential attachment."""

    kind: Literal["barabasi-albert"] = Field(description="new nodes link to nodes that have many links")
    nodes: int = Field(ge=2, description="number of nodes, at least 2")
    links: int = Field(ge=1, description="links of each new node, at least 1 and below nodes")


class HypercubeTopology(Table):
    """A hypercube."""

    kind: Literal["hypercube"] = Field(description="neighbours differ in one bit of their number")
    dimension: int = Field(ge=1, le=20, description="2^dimension nodes of that degree, 1 to 20")


class ClustersTopology(Table):
    """A connected stochastic block graph."""

    kind: Literal["clusters"] = Field(description="dense groups, few links between them")
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        strict=False, min_length=2, description="nodes of each group, two groups at least"
    )
    inside: Fraction = Field(gt=0, le=1, description="probability of an edge inside a group")
    between: Fraction = Field(gt=0, le=1, description="probability of an edge between groups")


class DumbbellTopology(Table):
    """Two cliques and a bridge."""

    kind: Literal["dumbbell"] = Field(description="two cliques joined by a path")
    clique: int = Field(ge=3, description="nodes of each clique, at least 3")
    bridge: int = Field(default=0, ge=0, description="nodes on the path between them")


class TreeTopology(Table):
    """A full tree."""

    kind: Literal["tree"] = Field(description="a full tree, node 0 its root")
    branching: int = Field(ge=1, le=1000, description="children of each inner node")
    height: int = Field(ge=1, le=20, description="hops from the root to a leaf, 1 to 20")


class KnownTopology(Table):
    """A small graph that papers use."""

    kind: Literal["named"] = Field(description="a small graph that papers use")
    name: Literal["karate", "florentine", "petersen"] = Field(
        description="karate (34 nodes), florentine (15) or petersen (10)"
    )


class FileTopology(Table):
    """A graph read from a file."""

    kind: Literal["file"] = Field(description="a graph in a file")
    path: str = Field(min_length=1, description="the file, relative to the scenario file")
    format: Literal["graphml", "gml", "edgelist", "adjlist"] = Field(description="how the file is written")


Topology: TypeAlias = Annotated[
    NamedTopology
    | RegularTopology
    | ErdosRenyiTopology
    | SmallWorldTopology
    | GridTopology
    | BarabasiAlbertTopology
    | HypercubeTopology
    | ClustersTopology
    | DumbbellTopology
    | TreeTopology
    | KnownTopology
    | FileTopology,
    Field(discriminator="kind", description="who is connected to whom"),
]


class Mixing(Table):
    """Weights of the gossip average."""

    kind: Literal["metropolis", "max-degree", "lazy", "uniform-neighbour"] = Field(
        default="metropolis",
        description="rule that turns the graph into mixing weights; all but uniform-neighbour are doubly stochastic",
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


class NormalLatency(Table):
    """Latency drawn from a normal law cut off at zero, once per message."""

    kind: Literal["normal"] = Field(description="normal, never negative")
    mean: Duration = Field(gt=0, description='mean before the cut: "50 ms"')
    deviation: Duration = Field(gt=0, description='standard deviation before the cut: "10 ms"')


class GammaLatency(Table):
    """Latency drawn from a gamma law, once per message."""

    kind: Literal["gamma"] = Field(description="gamma; shape 1 is exponential")
    mean: Duration = Field(gt=0, description='mean: "50 ms"')
    shape: float = Field(gt=0, le=1e6, description="shape, above 0; large means nearly constant")


class ParetoLatency(Table):
    """Latency drawn from a Pareto law, once per message."""

    kind: Literal["pareto"] = Field(description="heavy tail above a minimum")
    minimum: Duration = Field(gt=0, description='smallest one-way latency: "30 ms"')
    tail: float = Field(gt=0, le=100, description="tail index; the mean is infinite at 1 and below")


class EmpiricalLatency(Table):
    """Latency drawn from measured values, once per message."""

    kind: Literal["empirical"] = Field(description="one of the samples, each equally likely")
    samples: tuple[Duration, ...] = Field(
        strict=False, min_length=1, description='measured one-way latencies: ["40 ms", "55 ms"]'
    )


Latency: TypeAlias = Annotated[
    ConstantLatency
    | UniformLatency
    | LognormalLatency
    | NormalLatency
    | GammaLatency
    | ParetoLatency
    | EmpiricalLatency,
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
    match topology:
        case GridTopology():
            return topology.rows * topology.columns
        case HypercubeTopology():
            return int(2**topology.dimension)
        case ClustersTopology():
            return sum(topology.sizes)
        case DumbbellTopology():
            return 2 * topology.clique + topology.bridge
        case TreeTopology():
            return sum(int(topology.branching**level) for level in range(topology.height + 1))
        case KnownTopology():
            return {"karate": 34, "florentine": 15, "petersen": 10}[topology.name]
        case FileTopology():
            return None
        case _:
            return topology.nodes
