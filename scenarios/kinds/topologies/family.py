"""Families of topologies: graphs that stay, and links that change during a run.

Kinds are subclasses of :class:`FixedTopology` or :class:`ChangingTopology`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias, overload

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.locate import Key
from scenarios.format.tables import Problems
from scenarios.kinds.mixing import MetropolisMixing, Mixing

if TYPE_CHECKING:
    import networkx as nx
    import numpy as np
    from scipy.sparse import csr_array

    from simulator.topology.files import GraphFile
    from simulator.topology.overlays import Overlay

Degree: TypeAlias = Annotated[
    int,
    Field(ge=1, examples=[4], description="neighbours of each node; below nodes, and nodes x degree even"),
]


@dataclass(frozen=True)
class BuiltTopology:
    """Links and mixing weights of a run.

    Args:
        graph: undirected, on 0..n-1; None where links change during the run.
        neighbors: of each node, all that it may ever exchange messages with, ascending.
        weights: mixing matrix, row = receiver; where links change, that of the epoch of time 0 and round 0.
        overlay: links and weights of every node in every epoch.
        file: the graph file with its labels and the attributes of its links, where there is one.
    """

    graph: nx.Graph | None
    neighbors: Sequence[tuple[int, ...]]
    weights: csr_array
    overlay: Overlay
    file: GraphFile | None = None


class Topology(Kind):
    """Links between nodes: one graph for the whole run, or links that change.

    Topologies from ``epidemic`` on change during a run: by rounds, or by the clock where ``every`` is a duration.
    They bring their own weights, so that a [mixing] table is refused: 1/2 for ``matching`` and
    ``one-peer-exponential``, 1/(senders heard + 1) for ``epidemic`` with ``where = "local"``, Metropolis
    elsewhere. Secure sums need links that stay.

    A graph file with ``attributes = true`` gives links the attributes ``latency`` ("5 ms"), ``bandwidth`` ("10
    Mbit/s") and ``loss`` (0.01 or "1 %"), as text wherever there is a unit; links and directions without them are
    as [network] says. ``weight``, a number, is read with [mixing] ``kind = "file"``: the weight that the receiver
    gives to the source.
    """

    group: ClassVar[str] = "sottovoce.topologies"
    denser: ClassVar[str] = "kind"
    """The key of the table that makes neighbourhoods larger; ``kind`` where it takes another kind."""
    larger: ClassVar[str] = "kind"
    """The key of the table that adds nodes; ``kind`` where that is not one key alone."""

    @classmethod
    @abstractmethod
    def is_fixed(cls) -> bool:
        """Return whether links stay as they are for the whole run."""

    @property
    @abstractmethod
    def node_count(self) -> int | None:
        """Number of nodes; None where only a file knows."""

    @property
    @abstractmethod
    def least_degree(self) -> int | None:
        """Size of the smallest neighbourhood; None where only the built graph knows."""

    @property
    def misses_pairs(self) -> bool:
        """Whether some two nodes are sure to have no link."""
        nodes, least = self.node_count, self.least_degree
        return nodes is not None and least is not None and least < nodes - 1

    @property
    @abstractmethod
    def regular(self) -> bool:
        """Whether all nodes are sure to have one number of neighbours."""

    @property
    @abstractmethod
    def one_way(self) -> bool:
        """Whether links carry messages in one direction only, so that nothing can be answered."""

    @property
    @abstractmethod
    def tree_levels(self) -> int | None:
        """Levels below node 0 of a tree with node 0 as root; 0 for no tree, None where only the built graph knows."""

    @property
    @abstractmethod
    def weights_links(self) -> bool:
        """Whether links may have mixing weights of their own, as in a graph file."""

    @property
    @abstractmethod
    def describes_links(self) -> bool:
        """Whether links may have a latency, rate and loss of their own, as in a graph file."""

    @abstractmethod
    def uneven_weights(self) -> tuple[Key, str] | None:
        """Return the key to change and the reason why weights that links bring are not doubly stochastic.

        None where they are, and where [mixing] gives the weights.
        """

    @abstractmethod
    def graph(self, seed: int, base: Path) -> nx.Graph | None:
        """Make the graph, undirected and on 0..n-1; None where links change during a run.

        Args:
            seed: the run's; random graphs are drawn from its stream "topology".
            base: the folder relative file names start at.

        Raises:
            ConfigurationError: there is no such graph, or a file is missing or wrong.
        """

    @abstractmethod
    def build(
        self, seed: int, base: Path, mixing: Mixing | None, placed: Callable[[nx.Graph], nx.Graph]
    ) -> BuiltTopology:
        """Make the links of every node in every epoch.

        Args:
            seed: the run's.
            base: the folder relative file names start at.
            mixing: rule of the weights; None for the usual one, and where links bring weights of their own.
            placed: puts an adversary into the graph, before anything follows from it; told of a graph without
                links where links change.

        Raises:
            ConfigurationError: there is no such graph, or a file is missing or wrong.
        """

    def file_problems(self, base: Path) -> Problems:
        """Find files that are not there, as (key in the table, message); by default no key names a file."""
        yield from ()


class PlainTopology(Topology):
    """Base class of topologies of which nothing special is known; a kind states what it is."""

    @property
    def regular(self) -> bool:
        """Not known to be."""
        return False

    @property
    def tree_levels(self) -> int | None:
        """No tree."""
        return 0

    @property
    def weights_links(self) -> bool:
        """No: there is no file."""
        return False

    @property
    def describes_links(self) -> bool:
        """No: there is no file."""
        return False


class RegularLinks(Topology):
    """Base class of topologies in which all nodes have one number of neighbours."""

    @property
    def regular(self) -> bool:
        """Always."""
        return True


class _NodesKey(Topology):
    """Base class of topologies of as many nodes as their table says."""

    kind: str  # ahead of nodes, as files are written
    nodes: int = Field(ge=2, examples=[16], description="number of nodes, at least 2")
    larger: ClassVar[str] = "nodes"

    @property
    def node_count(self) -> int:
        """The key nodes."""
        return self.nodes


class FixedTopology(PlainTopology):
    """A graph that stays as it is for the whole run.

    A kind makes its ``graph`` and knows its ``node_count`` and ``least_degree``. What it does not say of itself is
    taken not to hold: it is no tree and not regular, and what needs that is refused.
    """

    @classmethod
    def is_fixed(cls) -> bool:
        """Return true."""
        return True

    @property
    def one_way(self) -> bool:
        """Never: graphs are undirected."""
        return False

    def uneven_weights(self) -> None:
        """Return None: [mixing] gives the weights."""

    @abstractmethod
    def graph(self, seed: int, base: Path) -> nx.Graph:
        """Make the graph, undirected and on 0..n-1; see :meth:`Topology.graph`."""

    def file(self, base: Path) -> GraphFile | None:
        """Read the graph file, where the graph is from one; None by default.

        Raises:
            ConfigurationError: the file is missing or wrong.
        """
        return None

    def build(
        self, seed: int, base: Path, mixing: Mixing | None, placed: Callable[[nx.Graph], nx.Graph]
    ) -> BuiltTopology:
        """Make the graph, and its weights by the rule; see :meth:`Topology.build`."""
        from simulator.topology import graphs, overlays

        file = self.file(base)
        graph = placed(self.graph(seed, base) if file is None else file.graph)
        neighbors = graphs.neighborhoods(graph)
        weights = (mixing or MetropolisMixing()).build(neighbors, file)
        return BuiltTopology(graph, neighbors, weights, overlays.fixed(neighbors, weights), file)


class CountedTopology(_NodesKey, FixedTopology):
    """A graph that stays, of as many nodes as its table says."""


class ChangingTopology(_NodesKey, PlainTopology):
    """Links that change during a run and bring their own mixing weights.

    A kind makes its ``overlay``, and says whether links are ``one_way`` and why their weights are uneven.
    """

    @classmethod
    def is_fixed(cls) -> bool:
        """Return false."""
        return False

    @property
    def least_degree(self) -> None:
        """Unknown: it changes with the links."""

    @abstractmethod
    def overlay(self, seed: int, base: Path) -> Overlay:
        """Make the links and weights of every node in every epoch.

        Args:
            seed: the run's; epochs are drawn from its streams ("topology", epoch).
            base: the folder relative file names start at.

        Raises:
            ConfigurationError: there are no such links, or a file is missing or wrong.
        """

    def ever_linked(self, base: Path) -> Sequence[tuple[int, ...]]:
        """Return the nodes that each node may ever be linked to, ascending; by default all others."""
        return _Others(self.nodes)

    def graph(self, seed: int, base: Path) -> None:
        """Return None: there is no one graph."""

    def build(
        self, seed: int, base: Path, mixing: Mixing | None, placed: Callable[[nx.Graph], nx.Graph]
    ) -> BuiltTopology:
        """Make the overlay; see :meth:`Topology.build`."""
        import networkx as nx

        from simulator.topology import overlays

        placed(nx.empty_graph(self.nodes))
        overlay = self.overlay(seed, base)
        weights = overlays.matrix(overlay, overlay.epoch(0, 0))
        return BuiltTopology(None, self.ever_linked(base), weights, overlay)


class _Others(Sequence[tuple[int, ...]]):
    """All other nodes, for each node; made when asked for, as n lists of n - 1 nodes take much room."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes

    def __len__(self) -> int:
        return self._nodes

    @overload
    def __getitem__(self, node: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, node: slice) -> list[tuple[int, ...]]: ...
    def __getitem__(self, node: int | slice) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(node, slice):
            return [self[one] for one in range(self._nodes)[node]]
        own = range(self._nodes)[node]
        return (*range(own), *range(own + 1, self._nodes))


# ---------------------------------------------------------------- what kinds share


def stream(seed: int) -> np.random.Generator:
    """Return the generator that random graphs are drawn from."""
    from simulator import streams

    return streams.generator(seed, "topology")


def degree_problems(nodes: int, degree: int) -> Problems:
    """Find that no node can have so many neighbours."""
    if degree >= nodes:
        yield ("degree",), f"degree {degree} needs more than {nodes} nodes; it must be below nodes"


def regular_problems(nodes: int, degree: int, *, connected: bool) -> Problems:
    """Find that there is no regular graph of that degree, or none that is connected."""
    if degree >= nodes:
        yield from degree_problems(nodes, degree)
    elif degree * nodes % 2:
        yield (
            ("degree",),
            f"no {degree}-regular graph on {nodes} nodes exists: nodes x degree must be even",
        )
    elif connected and degree == 1 and nodes > 2:
        yield ("degree",), "a 1-regular graph of more than 2 nodes is not connected; use at least 2"
