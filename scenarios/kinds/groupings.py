"""Schedules of groups: which nodes average with one another in each round of ``protocol.kind = "groups"``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind

if TYPE_CHECKING:
    from protocols.gossip.grouping import Draws, Schedule

Size: TypeAlias = Annotated[int, Field(ge=3, le=100_000, examples=[4])]


@dataclass(frozen=True)
class GroupingContext:
    """Inputs of a schedule, all of them public.

    Args:
        nodes: number of nodes.
        least: fewest members of a group.
        draws: public random numbers of the run, by a key of words and numbers.
        neighbours: links of a round, by node, ascending.
    """

    nodes: int
    least: int
    draws: Draws
    neighbours: Callable[[int], Sequence[Sequence[int]]]


class Grouping(Kind):
    """Schedule of disjoint groups, drawn anew every round from public inputs.

    A node that is in no group of a round neither trains nor sends in it. A group has at least three members that do
    not collude; groups of two are refused, since each of two members reads the other's vector off their mean.
    """

    group: ClassVar[str] = "sottovoce.groupings"

    needs_all_links: ClassVar[bool] = False
    """Whether any two nodes may meet, so that there must be a link between all."""
    one_opener: ClassVar[bool] = False
    """Whether one member of a group alone can open its sum, so that nobody can take over."""
    by_tree: ClassVar[bool] = False
    """Whether sums go up a tree inside the group, so that members need no link to whoever opens the sum."""

    @abstractmethod
    def smallest(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the size of the groups that the table asks for; None if only the built graph tells.

        Args:
            neighbours: of the node that has fewest; None if only the built graph tells.
            nodes: of the graph; None if only its file tells.
        """

    @abstractmethod
    def build(self, context: GroupingContext) -> Schedule:
        """Return the schedule."""


class StarsGrouping(Grouping):
    """Closed neighbourhoods that do not overlap, packed at random; the centre of each opens its sum."""

    kind: Literal["stars"] = Field(description="closed neighbourhoods of the graph that do not overlap")

    one_opener: ClassVar[bool] = True

    def smallest(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the closed neighbourhood of the node with fewest neighbours."""
        return None if neighbours is None else neighbours + 1

    def build(self, context: GroupingContext) -> Schedule:
        """Return :class:`protocols.gossip.grouping.Stars`."""
        from protocols.gossip.grouping import Stars

        return Stars(context.nodes, context.least, context.draws, context.neighbours)


class ConnectedGrouping(Grouping):
    """Random connected parts of the graph; masked sums go up a tree inside each part, along links of the graph."""

    kind: Literal["connected"] = Field(
        description="random connected parts of the graph, with sums up a tree inside each part"
    )
    size: Size = Field(
        description="most members of a part, at least 3; parts are as equal as the graph allows"
    )

    one_opener: ClassVar[bool] = True
    by_tree: ClassVar[bool] = True

    def smallest(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the size of equal parts."""
        return self.size if nodes is None else nodes // -(-nodes // self.size)

    def build(self, context: GroupingContext) -> Schedule:
        """Return :class:`protocols.gossip.grouping.ConnectedParts`."""
        from protocols.gossip.grouping import ConnectedParts

        return ConnectedParts(context.nodes, context.least, context.draws, self.size, context.neighbours)


class RandomGrouping(Grouping):
    """Groups of any nodes, redrawn every round; over an affine plane where there are size² nodes."""

    kind: Literal["random"] = Field(
        description="any nodes, redrawn every round; every two meet equally often where size is a prime power "
        "and nodes = size²"
    )
    size: Size = Field(
        description="members of a group, at least 3; where it does not divide the nodes, some groups have more"
    )

    needs_all_links: ClassVar[bool] = True

    def smallest(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the size."""
        return self.size if nodes is None else min(self.size, nodes)

    def build(self, context: GroupingContext) -> Schedule:
        """Return :class:`protocols.gossip.grouping.RandomGroups`."""
        from protocols.gossip.grouping import RandomGroups

        return RandomGroups(context.nodes, context.least, context.draws, self.size)


class GridGrouping(Grouping):
    """Lines of a grid, one axis a round (Moshpit, Ryabinin et al. 2021, arXiv 2103.03239)."""

    kind: Literal["grid"] = Field(description="lines of a grid of nodes, one axis a round (Moshpit)")
    dimensions: int = Field(
        ge=2,
        le=10,
        examples=[2],
        description="axes of the grid; its side is the smallest that holds all nodes",
    )

    needs_all_links: ClassVar[bool] = True

    def smallest(self, neighbours: int | None, nodes: int | None) -> int | None:
        """Return the side of the grid."""
        if nodes is None:
            return None
        side = 1
        while side**self.dimensions < nodes:
            side += 1
        return side

    def build(self, context: GroupingContext) -> Schedule:
        """Return :class:`protocols.gossip.grouping.GridGroups`."""
        from protocols.gossip.grouping import GridGroups

        return GridGroups(context.nodes, context.least, context.draws, self.dimensions)
