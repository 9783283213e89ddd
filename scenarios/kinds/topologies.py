"""Tables of who is connected to whom: topology, mixing weights, named groups of nodes."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import Nodes, Table
from scenarios.format.units import Duration, Every, Fraction


class Topology(Kind):
    """Who is connected to whom."""

    group: ClassVar[str] = "sottovoce.topologies"


class NamedTopology(Topology):
    """A graph given by its name and size."""

    kind: Literal["ring", "path", "complete", "star", "exponential"] = Field(
        description="ring (a cycle), path (a line), complete (all pairs), star (node 0 in the middle) or "
        "exponential (links to the nodes 1, 2, 4, ... further)"
    )
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")


class RegularTopology(Topology):
    """A connected random regular graph."""

    kind: Literal["regular"] = Field(description="every node has the same number of neighbours")
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    degree: int = Field(
        ge=1, examples=[4], description="neighbours of each node; below nodes, and nodes x degree even"
    )


class ErdosRenyiTopology(Topology):
    """A connected G(n, p) graph."""

    kind: Literal["erdos-renyi"] = Field(description="every pair is connected with probability p")
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    p: Fraction = Field(
        gt=0, le=1, examples=[0.3], description="probability of an edge, above 0 and at most 1"
    )


class SmallWorldTopology(Topology):
    """A connected Watts-Strogatz graph."""

    kind: Literal["small-world"] = Field(description="a ring of near neighbours with some edges rewired")
    nodes: int = Field(ge=3, examples=[16], description="number of nodes, at least 3")
    degree: int = Field(
        ge=2, examples=[4], description="neighbours in the ring before rewiring, even, below nodes"
    )
    rewire: Fraction = Field(
        ge=0, le=1, examples=["10 %"], description="probability that an edge is rewired, 0 to 1"
    )


class GridTopology(Topology):
    """A two-dimensional grid."""

    kind: Literal["grid", "torus"] = Field(description="a grid; a torus has its borders joined")
    rows: int = Field(ge=1, examples=[4], description="rows, at least 1 (grid) or 3 (torus)")
    columns: int = Field(ge=1, examples=[5], description="columns, at least 1 (grid) or 3 (torus)")


class BarabasiAlbertTopology(Topology):
    """A graph grown by preferential attachment."""

    kind: Literal["barabasi-albert"] = Field(description="new nodes link to nodes that have many links")
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    links: int = Field(ge=1, examples=[3], description="links of each new node, at least 1 and below nodes")


class HypercubeTopology(Topology):
    """A hypercube."""

    kind: Literal["hypercube"] = Field(description="neighbours differ in one bit of their number")
    dimension: int = Field(ge=1, le=20, examples=[4], description="2^dimension nodes of that degree, 1 to 20")


class ClustersTopology(Topology):
    """A connected stochastic block graph."""

    kind: Literal["clusters"] = Field(description="dense groups, few links between them")
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        strict=False,
        min_length=2,
        examples=[[8, 8, 16]],
        description="nodes of each group, two groups at least",
    )
    inside: Fraction = Field(
        gt=0, le=1, examples=["80 %"], description="probability of an edge inside a group"
    )
    between: Fraction = Field(
        gt=0, le=1, examples=["5 %"], description="probability of an edge between groups"
    )


class DumbbellTopology(Topology):
    """Two cliques and a bridge."""

    kind: Literal["dumbbell"] = Field(description="two cliques joined by a path")
    clique: int = Field(ge=3, examples=[10], description="nodes of each clique, at least 3")
    bridge: int = Field(default=0, ge=0, examples=[2], description="nodes on the path between them")


class TreeTopology(Topology):
    """A full tree."""

    kind: Literal["tree"] = Field(description="a full tree, node 0 its root")
    branching: int = Field(ge=1, le=1000, examples=[2], description="children of each inner node")
    height: int = Field(ge=1, le=20, examples=[3], description="hops from the root to a leaf, 1 to 20")


class KnownTopology(Topology):
    """A small graph that papers use."""

    kind: Literal["named"] = Field(description="a small graph that papers use")
    name: Literal["karate", "florentine", "petersen"] = Field(
        examples=["karate"], description="karate (34 nodes), florentine (15) or petersen (10)"
    )


class FileTopology(Topology):
    """A graph read from a file."""

    kind: Literal["file"] = Field(description="a graph in a file")
    path: str = Field(
        min_length=1,
        examples=["graphs/campus.graphml"],
        description="the file, relative to the scenario file",
    )
    format: Literal["graphml", "gml", "edgelist", "adjlist"] = Field(
        examples=["graphml"], description="how the file is written"
    )
    attributes: bool = Field(
        default=False,
        examples=[True],
        description="take latency, bandwidth and loss of links from the file where it has them",
    )


# ---------------------------------------------------------------- graphs that change


class EpidemicTopology(Topology):
    """Epidemic learning: fresh random links every epoch (de Vos et al. 2023, arXiv 2310.01972)."""

    kind: Literal["epidemic"] = Field(description="epidemic learning: fresh random links every epoch")
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    degree: int = Field(ge=1, examples=[4], description="whom each node sends to, below nodes")
    where: Literal["global", "local"] = Field(
        default="global",
        examples=["local"],
        description="where links are drawn: global (EL-Oracle, one regular graph; nodes x degree even) or local "
        "(EL-Local, each node picks whom it sends to)",
    )
    every: Every = Field(
        default="round",
        examples=["10 s"],
        description='length of an epoch: "round" or a duration like "10 s"',
    )


class OnePeerExponentialTopology(Topology):
    """One-peer exponential graphs (Ying et al. 2021, arXiv 2110.13363)."""

    kind: Literal["one-peer-exponential"] = Field(
        description="every node sends to the one 1, 2, 4, ... further, the next power of two each epoch"
    )
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    every: Every = Field(
        default="round",
        examples=["10 s"],
        description='length of an epoch: "round" or a duration like "10 s"',
    )


class MatchingTopology(Topology):
    """Random matchings."""

    kind: Literal["matching"] = Field(description="everybody meets one other node, drawn afresh every epoch")
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    every: Every = Field(
        default="round",
        examples=["10 s"],
        description='length of an epoch: "round" or a duration like "10 s"',
    )


class PeerSamplingTopology(Topology):
    """A random regular graph that is shuffled as peer-sampling services do."""

    kind: Literal["peer-sampling"] = Field(
        description="a random regular graph, shuffled a little from epoch to epoch"
    )
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    degree: int = Field(
        ge=1, examples=[4], description="neighbours of each node; below nodes, and nodes x degree even"
    )
    switches: float = Field(
        default=0.25,
        gt=0,
        le=1000,
        examples=[0.5],
        description="swaps of neighbours tried in an epoch / number of links",
    )
    every: Every = Field(
        default="round",
        examples=["10 s"],
        description='length of an epoch: "round" or a duration like "10 s"',
    )


class ScheduleTopology(Topology):
    """Graphs given by the time from which they hold."""

    kind: Literal["schedule"] = Field(description="the links of a file, each from a time to the next")
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    path: str = Field(
        min_length=1,
        examples=["graphs/meetings.csv"],
        description="a CSV file with the columns from, a and b, relative to the scenario file",
    )
    by: Literal["round", "seconds"] = Field(
        default="seconds", examples=["round"], description="what the column from counts: round or seconds"
    )


class ChurnTopology(Topology):
    """A random regular graph that closes around nodes that stay away and opens for those that return."""

    kind: Literal["churn"] = Field(
        description="a random regular graph that is repaired as nodes leave and return"
    )
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    degree: int = Field(
        ge=1, examples=[4], description="neighbours of each node; below nodes, and nodes x degree even"
    )
    repair: Duration = Field(
        ge=0, examples=["5 s"], description='how long a node is down before the others replace it: "5 s"'
    )


DynamicTopology: TypeAlias = (
    EpidemicTopology
    | OnePeerExponentialTopology
    | MatchingTopology
    | PeerSamplingTopology
    | ScheduleTopology
    | ChurnTopology
)
"""Links change during a run; such overlays bring their own mixing weights."""

DYNAMIC: tuple[str, ...] = tuple(
    kind for table in get_args(DynamicTopology) for kind in get_args(table.model_fields["kind"].annotation)
)
"""The kinds of topology whose links change."""


class Mixing(Table):
    """Weights of the gossip average."""

    kind: Literal["metropolis", "max-degree", "lazy", "uniform-neighbour", "file"] = Field(
        default="metropolis",
        description="rule that turns the graph into mixing weights; all but uniform-neighbour and file are doubly "
        "stochastic. file: the attribute weight of the links in the topology's file",
    )


class Region(Table):
    """A group of nodes, under the name that fault tables call it by."""

    name: str = Field(
        pattern=r"^[a-z0-9_-]+$",
        examples=["europe"],
        description="what the group is called: a-z, 0-9, _ and -",
    )
    nodes: Nodes = Field(
        min_length=1, examples=[[0, 1, 2]], description="its nodes; a node may be in several groups"
    )


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
