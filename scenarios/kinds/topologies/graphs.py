"""Graphs that are given by their sizes, by name or by a file, and stay for the whole run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import Problems, missing_file
from scenarios.kinds.topologies.family import CountedTopology, FixedTopology, RegularLinks

if TYPE_CHECKING:
    import networkx as nx

    from simulator.topology.files import GraphFile


class RingTopology(RegularLinks, CountedTopology):
    """A cycle."""

    kind: Literal["ring"] = Field(description="a cycle")

    @property
    def least_degree(self) -> int:
        """Two, but for two nodes."""
        return min(2, self.nodes - 1)

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.ring(self.nodes)


class PathTopology(CountedTopology):
    """A line."""

    kind: Literal["path"] = Field(description="a line")

    @property
    def least_degree(self) -> int:
        """One, at the ends."""
        return 1

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.path(self.nodes)


class CompleteTopology(RegularLinks, CountedTopology):
    """All pairs."""

    kind: Literal["complete"] = Field(description="all pairs are linked")
    denser: ClassVar[str] = "nodes"

    @property
    def least_degree(self) -> int:
        """All others."""
        return self.nodes - 1

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.complete(self.nodes)


class StarTopology(CountedTopology):
    """A server and its clients."""

    kind: Literal["star"] = Field(description="all are linked to node 0 in the middle")

    @property
    def least_degree(self) -> int:
        """One, away from the middle."""
        return 1

    @property
    def tree_levels(self) -> int:
        """One."""
        return 1

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.star(self.nodes)


class ExponentialTopology(CountedTopology):
    """Links to the nodes 1, 2, 4, ... numbers further (Assran et al. 2019)."""

    kind: Literal["exponential"] = Field(description="links to the nodes 1, 2, 4, ... numbers further")

    @property
    def least_degree(self) -> None:
        """Unknown: links of both ends may coincide."""

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.exponential(self.nodes)


class _RowsTopology(FixedTopology):
    """Nodes in rows and columns."""

    kind: str  # ahead of rows, as files are written
    rows: int = Field(ge=1, examples=[4], description="rows, at least 1 (grid) or 3 (torus)")
    columns: int = Field(ge=1, examples=[5], description="columns, at least 1 (grid) or 3 (torus)")

    @property
    def node_count(self) -> int:
        """Rows times columns."""
        return self.rows * self.columns


class GridTopology(_RowsTopology):
    """A two-dimensional grid."""

    kind: Literal["grid"] = Field(description="a grid, row by row")

    @property
    def least_degree(self) -> int:
        """Two in the corners, one if there is one row or column."""
        return (self.rows > 1) + (self.columns > 1)

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.grid(self.rows, self.columns)

    def problems(self) -> Problems:
        """Find a grid of one node."""
        if self.rows * self.columns < 2:
            yield ("rows",), "rows = 1 and columns = 1 give a graph of one node; use at least 2 nodes"


class TorusTopology(RegularLinks, _RowsTopology):
    """A two-dimensional grid with joined borders."""

    kind: Literal["torus"] = Field(description="a grid with its borders joined")

    @property
    def least_degree(self) -> int:
        """Four."""
        return 4

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.grid(self.rows, self.columns, periodic=True)

    def problems(self) -> Problems:
        """Find borders that are too close to be joined."""
        if min(self.rows, self.columns) < 3:
            key = "rows" if self.rows < 3 else "columns"
            yield (key,), "a torus needs at least 3 rows and 3 columns; use a grid or a ring"


class HypercubeTopology(RegularLinks, FixedTopology):
    """A hypercube."""

    kind: Literal["hypercube"] = Field(description="neighbours differ in one bit of their number")
    dimension: int = Field(ge=1, le=20, examples=[4], description="2^dimension nodes of that degree, 1 to 20")

    @property
    def node_count(self) -> int:
        """Two to the dimension."""
        return 1 << self.dimension

    @property
    def least_degree(self) -> int:
        """The dimension."""
        return self.dimension

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.hypercube(self.dimension)


class DumbbellTopology(FixedTopology):
    """Two cliques and a bridge."""

    kind: Literal["dumbbell"] = Field(description="two cliques joined by a path")
    clique: int = Field(ge=3, examples=[10], description="nodes of each clique, at least 3")
    bridge: int = Field(default=0, ge=0, examples=[2], description="nodes on the path between them")

    @property
    def node_count(self) -> int:
        """Both cliques and the bridge."""
        return 2 * self.clique + self.bridge

    @property
    def least_degree(self) -> int:
        """Two on a bridge, else all others of the clique."""
        return min(2, self.clique - 1) if self.bridge else self.clique - 1

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.dumbbell(self.clique, self.bridge)


class TreeTopology(FixedTopology):
    """A full tree."""

    kind: Literal["tree"] = Field(description="a full tree, node 0 its root")
    branching: int = Field(ge=1, le=1000, examples=[2], description="children of each inner node")
    height: int = Field(ge=1, le=20, examples=[3], description="hops from the root to a leaf, 1 to 20")

    @property
    def node_count(self) -> int:
        """The sum over all levels."""
        return sum(int(self.branching**level) for level in range(self.height + 1))

    @property
    def least_degree(self) -> int:
        """One, of a leaf."""
        return 1

    @property
    def tree_levels(self) -> int:
        """The height."""
        return self.height

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.tree(self.branching, self.height)


class KnownTopology(FixedTopology):
    """A small graph that papers use."""

    kind: Literal["named"] = Field(description="a small graph from the literature")
    name: Literal["karate", "florentine", "petersen"] = Field(
        examples=["karate"], description="karate (34 nodes), florentine (15) or petersen (10)"
    )

    @property
    def node_count(self) -> int:
        """Of the graph of that name."""
        return {"karate": 34, "florentine": 15, "petersen": 10}[self.name]

    @property
    def least_degree(self) -> int:
        """Of the graph of that name."""
        return {"karate": 1, "florentine": 1, "petersen": 3}[self.name]

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph."""
        from simulator.topology import graphs

        return graphs.named(self.name)


class FileTopology(FixedTopology):
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

    @property
    def node_count(self) -> None:
        """Unknown before the file is read."""

    @property
    def least_degree(self) -> None:
        """Unknown before the file is read."""

    @property
    def tree_levels(self) -> None:
        """Unknown before the file is read."""

    @property
    def weights_links(self) -> bool:
        """Links may have the attribute weight."""
        return True

    @property
    def describes_links(self) -> bool:
        """Whether the key attributes says so."""
        return self.attributes

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Read the graph."""
        return self.file(base).graph

    def file(self, base: Path) -> GraphFile:
        """Read the file."""
        from simulator.topology import files

        return files.read(base / self.path, self.format)

    def file_problems(self, base: Path) -> Problems:
        """Find that the file is not there."""
        yield from missing_file(base, self.path)
