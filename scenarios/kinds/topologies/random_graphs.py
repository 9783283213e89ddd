"""Graphs that are drawn from the seed and stay for the whole run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import Problems
from scenarios.format.units import Fraction
from scenarios.kinds.topologies.family import (
    CountedTopology,
    Degree,
    FixedTopology,
    RegularLinks,
    Topology,
    degree_problems,
    regular_problems,
    stream,
)

if TYPE_CHECKING:
    import networkx as nx


class _DrawnDegrees(Topology):
    """Numbers of neighbours that depend on the draw."""

    @property
    def least_degree(self) -> None:
        """Unknown before the graph is drawn."""


class RegularTopology(RegularLinks, CountedTopology):
    """A connected random regular graph."""

    kind: Literal["regular"] = Field(description="every node has the same number of neighbours")
    degree: Degree
    denser: ClassVar[str] = "degree"

    @property
    def least_degree(self) -> int:
        """The key degree."""
        return self.degree

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Draw the graph."""
        from simulator.topology import graphs

        return graphs.regular(self.nodes, self.degree, stream(seed))

    def problems(self) -> Problems:
        """Find that there is no such graph."""
        yield from regular_problems(self.nodes, self.degree, connected=True)


class ErdosRenyiTopology(_DrawnDegrees, CountedTopology):
    """A connected G(n, p) graph."""

    kind: Literal["erdos-renyi"] = Field(description="every pair is connected with probability p")
    p: Fraction = Field(
        gt=0, le=1, examples=[0.3], description="probability of an edge, above 0 and at most 1"
    )
    denser: ClassVar[str] = "p"

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Draw the graph."""
        from simulator.topology import graphs

        return graphs.erdos_renyi(self.nodes, self.p, stream(seed))

    def problems(self) -> Problems:
        """Find that the graph is so sparse that no draw would be connected."""
        if self.p * self.nodes * (self.nodes - 1) / 2 < 1:
            yield ("p",), "fewer than one edge is expected in all; raise p"


class SmallWorldTopology(_DrawnDegrees, CountedTopology):
    """A connected Watts-Strogatz graph."""

    kind: Literal["small-world"] = Field(description="a ring of near neighbours with some edges rewired")
    nodes: int = Field(ge=3, examples=[16], description="number of nodes, at least 3")
    degree: int = Field(
        ge=2, examples=[4], description="neighbours in the ring before rewiring, even, below nodes"
    )
    rewire: Fraction = Field(
        ge=0, le=1, examples=["10 %"], description="probability that an edge is rewired, 0 to 1"
    )
    denser: ClassVar[str] = "degree"

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Draw the graph."""
        from simulator.topology import graphs

        return graphs.small_world(self.nodes, self.degree, self.rewire, stream(seed))

    def problems(self) -> Problems:
        """Find that there is no such ring to begin with."""
        yield from degree_problems(self.nodes, self.degree)
        if self.degree < self.nodes and self.degree % 2:
            yield ("degree",), f"degree must be even, got {self.degree}"


class BarabasiAlbertTopology(_DrawnDegrees, CountedTopology):
    """A graph grown by preferential attachment."""

    kind: Literal["barabasi-albert"] = Field(description="new nodes link to nodes that have many links")
    links: int = Field(ge=1, examples=[3], description="links of each new node, at least 1 and below nodes")

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Draw the graph."""
        from simulator.topology import graphs

        return graphs.barabasi_albert(self.nodes, self.links, stream(seed))

    def problems(self) -> Problems:
        """Find that a new node would link to more nodes than there are."""
        if self.links >= self.nodes:
            yield ("links",), f"{self.links} links need more than {self.nodes} nodes"


class ClustersTopology(_DrawnDegrees, FixedTopology):
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

    @property
    def node_count(self) -> int:
        """The sum of the sizes."""
        return sum(self.sizes)

    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Draw the graph."""
        from simulator.topology import graphs

        return graphs.clusters(self.sizes, self.inside, self.between, stream(seed))
