"""The family of faults, the nodes and links that they name, and base classes for its kinds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.format.kind import Kind
from scenarios.format.locate import Key
from scenarios.format.tables import Node, Nodes, is_node_list
from scenarios.format.units import not_later

if TYPE_CHECKING:
    from simulator.faults import plan


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
    WithJsonSchema({"anyOf": [{"const": "all"}, _NODES], "title": '"all" or list of nodes'}),
]
Group: TypeAlias = Annotated[
    str | tuple[int, ...],
    BeforeValidator(_group),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, _NODES | {"minItems": 1}],
            "title": "list of nodes or name of a region",
        }
    ),
]


Regions: TypeAlias = Mapping[str, tuple[int, ...]]
"""Nodes of each [[region]], by its name."""


@dataclass(frozen=True)
class Site:
    """Nodes, regions and files of a run with faults.

    Args:
        nodes: how many.
        regions: nodes of each region, by its name.
        base: where relative file names start.
        seed: of the run.
    """

    nodes: int
    regions: Regions
    base: Path
    seed: int


class Named(NamedTuple):
    """Nodes, links and regions that a fault names, each with its key within the fault's table.

    Args:
        nodes: node numbers.
        links: (source, destination).
        regions: names of regions.
        groups: groups that must be disjoint, as lists of nodes or names of regions.
    """

    nodes: tuple[tuple[Key, int], ...] = ()
    links: tuple[tuple[Key, tuple[int, int]], ...] = ()
    regions: tuple[tuple[Key, str], ...] = ()
    groups: tuple[tuple[Key, Group], ...] = ()


class Planned(NamedTuple):
    """An outage that is known beforehand; no two of one node may overlap.

    Args:
        node: who is down.
        down_s: from when, seconds.
        up_s: until when, seconds; None for ever.
        key: that says so, within the fault's table.
    """

    node: int
    down_s: float
    up_s: float | None
    key: Key


class Fault(Kind):
    """Fault of nodes or links.

    Nodes are named once: by ``node``, ``nodes`` or ``region``. A node learns of a failure only by a time-out, or by
    the failure detector of [detector].
    """

    group: ClassVar[str] = "sottovoce.faults"
    usual: ClassVar[str] = "outage"

    @abstractmethod
    def named(self) -> Named:
        """Return what the table names, to be looked up in the scenario and in its graph."""

    @abstractmethod
    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return the events of this fault.

        Raises:
            ConfigurationError: there can be no such events on this site.
        """

    def planned(self, regions: Regions) -> Sequence[Planned]:
        """Return outages that are known beforehand; none unless a kind says so. Unknown regions have no nodes."""
        return ()

    @property
    def slows(self) -> bool:
        """Whether nodes compute at another speed for a while; not unless a kind says so."""
        return False

    @property
    def file(self) -> str | None:
        """File that is read, relative to the scenario; None unless a kind says so."""
        return None


class Members(Fault):
    """Base class of faults of some nodes, named in one of three ways."""

    node: Node | None = Field(default=None, examples=[3], description="number of the node")
    nodes: Nodes | None = Field(
        default=None, min_length=1, examples=[[3, 4]], description="numbers of the nodes, in place of node"
    )
    region: str | None = Field(
        default=None, examples=["north"], description="name of a [[region]], in place of node"
    )

    def named(self) -> Named:
        """Return the nodes or the region."""
        one = () if self.node is None else ((("node",), self.node),)
        several = listed(("nodes",), self.nodes or ())
        return Named((*one, *several), regions=() if self.region is None else ((("region",), self.region),))

    def members(self, regions: Regions) -> tuple[int, ...]:
        """Return the nodes; an unknown region has none."""
        if self.region is not None:
            return regions.get(self.region, ())
        return (self.node,) if self.node is not None else self.nodes or ()

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find nodes named in no way or in several."""
        if sum(given is not None for given in (self.node, self.nodes, self.region)) != 1:
            yield (), "name the nodes in one way: node (one), nodes (a list) or region (a name)"


def listed(key: Key, nodes: Sequence[int]) -> tuple[tuple[Key, int], ...]:
    """Return each node of a list with its key."""
    return tuple(((*key, i), node) for i, node in enumerate(nodes))


def in_order(at_s: float, until_s: float | None) -> Iterator[tuple[Key, str]]:
    """Yield what is wrong if the end is not later than the beginning."""
    if until_s is not None and until_s <= at_s:
        yield ("until",), not_later("until", until_s, "at", at_s)
