"""Rules that turn a graph into the weights of the gossip average."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.kind import Kind
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from simulator.topology.files import GraphFile


class Mixing(Kind):
    """Weights of the gossip average."""

    group: ClassVar[str] = "sottovoce.mixing"
    usual: ClassVar[str] = "metropolis"
    reads_weights: ClassVar[bool] = False
    """Whether weights are read off the links of a graph file, which then has to be there."""

    @abstractmethod
    def doubly_stochastic(self, *, regular: bool) -> bool:
        """Return whether columns sum up to 1 as rows do, as far as the rule decides it.

        Args:
            regular: whether all nodes of the graph have one number of neighbours.
        """

    @abstractmethod
    def build(self, neighbors: Sequence[tuple[int, ...]], file: GraphFile | None) -> csr_array:
        """Make the mixing matrix, row = receiver, column = sender; rows sum up to 1.

        Args:
            neighbors: of every node, ascending; the relation is symmetric.
            file: the graph file, where the graph is from one.

        Raises:
            ConfigurationError: the weights of the file are no mixing matrix.
        """


class _Symmetric(Mixing):
    """A rule whose weights are the same in both directions of a link."""

    def doubly_stochastic(self, *, regular: bool) -> bool:
        """Return that they are, on every graph."""
        return True


class MetropolisMixing(_Symmetric):
    """Metropolis weights."""

    kind: Literal["metropolis"] = Field(
        default="metropolis",
        description="1 / (1 + the larger number of neighbours of the two); doubly stochastic",
    )

    def build(self, neighbors: Sequence[tuple[int, ...]], file: GraphFile | None) -> csr_array:
        """Make the mixing matrix."""
        from simulator.topology import mixing

        return mixing.metropolis(neighbors)


class MaxDegreeMixing(_Symmetric):
    """Weights by the largest degree."""

    kind: Literal["max-degree"] = Field(
        description="1 / (1 + the largest number of neighbours of all nodes) on every link; doubly stochastic"
    )

    def build(self, neighbors: Sequence[tuple[int, ...]], file: GraphFile | None) -> csr_array:
        """Make the mixing matrix."""
        from simulator.topology import mixing

        return mixing.max_degree(neighbors)


class LazyMixing(_Symmetric):
    """Metropolis weights, halved."""

    kind: Literal["lazy"] = Field(
        description="half of metropolis, the other half kept by the node; doubly stochastic"
    )

    def build(self, neighbors: Sequence[tuple[int, ...]], file: GraphFile | None) -> csr_array:
        """Make the mixing matrix."""
        from simulator.topology import mixing

        return mixing.lazy(neighbors)


class UniformNeighbourMixing(Mixing):
    """Plain average of a node and its neighbours."""

    kind: Literal["uniform-neighbour"] = Field(
        description="1 / (1 + the receiver's number of neighbours); doubly stochastic only where all "
        "nodes have "
        "one number of neighbours"
    )

    def doubly_stochastic(self, *, regular: bool) -> bool:
        """Return whether all nodes have one number of neighbours."""
        return regular

    def build(self, neighbors: Sequence[tuple[int, ...]], file: GraphFile | None) -> csr_array:
        """Make the mixing matrix."""
        from simulator.topology import mixing

        return mixing.uniform_neighbour(neighbors)


class FileMixing(Mixing):
    """Weights of a graph file."""

    kind: Literal["file"] = Field(description="the attribute weight of the links in the topology's file")
    reads_weights: ClassVar[bool] = True

    def doubly_stochastic(self, *, regular: bool) -> bool:
        """Return true: only the file tells, whatever the graph."""
        return True

    def build(self, neighbors: Sequence[tuple[int, ...]], file: GraphFile | None) -> csr_array:
        """Make the mixing matrix from the weights at the links.

        Raises:
            ConfigurationError: there is no graph file, or its weights are no mixing matrix.
        """
        from simulator.topology import files, mixing

        if file is None:
            raise ConfigurationError(
                'kind = "file" needs a graph file; use topology.kind = "file" or another rule', "mixing.kind"
            )
        return mixing.from_edges(neighbors, files.mixing_weights(file))
