"""Topologies whose links change during a run, by the round or by the clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.format.locate import Key
from scenarios.format.tables import Problems, missing_file
from scenarios.format.units import Duration, Every
from scenarios.kinds.topologies.family import (
    ChangingTopology,
    Degree,
    degree_problems,
    regular_problems,
    stream,
)

if TYPE_CHECKING:
    from simulator.topology.files import Schedule
    from simulator.topology.overlays import Overlay

Epoch: TypeAlias = Annotated[
    Every,
    Field(examples=["10 s"], description='length of an epoch: "round" or a duration like "10 s"'),
]


class _Undirected(ChangingTopology):
    """Links in both directions, with the same weight in both: doubly stochastic in every epoch."""

    @property
    def one_way(self) -> bool:
        """Never."""
        return False

    def uneven_weights(self) -> None:
        """Return None: weights are symmetric."""


class EpidemicTopology(ChangingTopology):
    """Epidemic learning: fresh random links every epoch (de Vos et al. 2023, arXiv 2310.01972)."""

    kind: Literal["epidemic"] = Field(description="epidemic learning: fresh random links every epoch")
    degree: int = Field(ge=1, examples=[4], description="receivers of each node, below nodes")
    where: Literal["global", "local"] = Field(
        default="global",
        examples=["local"],
        description="where links are drawn: global (EL-Oracle, one regular graph; nodes x degree even) or "
        "local "
        "(EL-Local, each node draws its receivers)",
    )
    every: Epoch = "round"

    @property
    def one_way(self) -> bool:
        """Whether each node draws its receivers."""
        return self.where == "local"

    def uneven_weights(self) -> tuple[Key, str] | None:
        """Return that the plain average of what was received is doubly stochastic in expectation only."""
        if self.where == "global":
            return None
        return ("where",), 'local epidemic links have on average only; use where = "global"'

    def overlay(self, seed: int, base: Path) -> Overlay:
        """Make the overlay."""
        from simulator.topology import overlays

        draw = overlays.epidemic if self.where == "global" else overlays.epidemic_local
        return draw(self.nodes, self.degree, seed, every=self.every)

    def problems(self) -> Problems:
        """Find that there is no such graph."""
        if self.where == "global":
            yield from regular_problems(self.nodes, self.degree, connected=False)
        else:
            yield from degree_problems(self.nodes, self.degree)


class OnePeerExponentialTopology(ChangingTopology):
    """One-peer exponential graphs (Ying et al. 2021, arXiv 2110.13363)."""

    kind: Literal["one-peer-exponential"] = Field(
        description="each node sends to one node 1, 2, 4, ... numbers further, by the next power of two "
        "every epoch"
    )
    every: Epoch = "round"

    @property
    def one_way(self) -> bool:
        """Always."""
        return True

    def uneven_weights(self) -> None:
        """Return None: every node sends half of its model to one node and hears from one."""

    def overlay(self, seed: int, base: Path) -> Overlay:
        """Make the overlay."""
        from simulator.topology import overlays

        return overlays.one_peer_exponential(self.nodes, every=self.every)

    def ever_linked(self, base: Path) -> Sequence[tuple[int, ...]]:
        """Return the nodes at powers of two, in both directions."""
        from simulator.topology import graphs

        return graphs.neighborhoods(graphs.exponential(self.nodes))


class MatchingTopology(_Undirected):
    """Random matchings."""

    kind: Literal["matching"] = Field(
        description="a random matching, drawn anew every epoch: each node has one neighbour"
    )
    every: Epoch = "round"

    def overlay(self, seed: int, base: Path) -> Overlay:
        """Make the overlay."""
        from simulator.topology import overlays

        return overlays.matching(self.nodes, seed, every=self.every)


class PeerSamplingTopology(_Undirected):
    """A random regular graph that is shuffled as peer-sampling services do."""

    kind: Literal["peer-sampling"] = Field(
        description="a random regular graph, shuffled a little from epoch to epoch"
    )
    degree: Degree
    switches: float = Field(
        default=0.25,
        gt=0,
        le=1000,
        examples=[0.5],
        description="swaps of neighbours tried in an epoch / number of links",
    )
    every: Epoch = "round"

    def overlay(self, seed: int, base: Path) -> Overlay:
        """Make the overlay; the graph at the start is a connected regular one."""
        from simulator.topology import graphs, overlays

        start = graphs.neighborhoods(graphs.regular(self.nodes, self.degree, stream(seed)))
        return overlays.peer_sampling(start, seed, switches=self.switches, every=self.every)

    def problems(self) -> Problems:
        """Find that there is no such graph to begin with."""
        yield from regular_problems(self.nodes, self.degree, connected=True)


class ScheduleTopology(_Undirected):
    """Graphs given by the time from which they hold."""

    kind: Literal["schedule"] = Field(description="the links of a file, each from a time to the next")
    path: str = Field(
        min_length=1,
        examples=["graphs/meetings.csv"],
        description="a CSV file with the columns from, a and b, relative to the scenario file",
    )
    by: Literal["round", "seconds"] = Field(
        default="seconds", examples=["round"], description="what the column from counts: round or seconds"
    )

    def _schedule(self, base: Path) -> Schedule:
        from simulator.topology import files

        return files.read_schedule(base / self.path, self.nodes)

    def overlay(self, seed: int, base: Path) -> Overlay:
        """Read the overlay."""
        from simulator.topology import overlays

        return overlays.schedule(self.nodes, self._schedule(base), by=self.by)

    def ever_linked(self, base: Path) -> Sequence[tuple[int, ...]]:
        """Return the neighbours of all times together."""
        import networkx as nx

        from simulator.topology import graphs

        union = nx.empty_graph(self.nodes)
        for _, links in self._schedule(base):
            union.add_edges_from(links)
        return graphs.neighborhoods(union)

    def file_problems(self, base: Path) -> Problems:
        """Find that the file is not there."""
        yield from missing_file(base, self.path)


class ChurnTopology(_Undirected):
    """A random regular graph that closes around nodes that stay away and opens for those that return."""

    kind: Literal["churn"] = Field(
        description="a random regular graph that is repaired as nodes leave and return"
    )
    degree: Degree
    repair: Duration = Field(
        ge=0, examples=["5 s"], description='time that a node is down before its links are replaced: "5 s"'
    )

    def overlay(self, seed: int, base: Path) -> Overlay:
        """Make the overlay."""
        from simulator.topology.repair import churn_driven

        return churn_driven(self.nodes, self.degree, seed, self.repair)

    def problems(self) -> Problems:
        """Find that there is no such graph to begin with."""
        yield from regular_problems(self.nodes, self.degree, connected=False)
