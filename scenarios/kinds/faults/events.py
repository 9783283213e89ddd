"""Faults of nodes and links: outages, sessions, partitions, closed links and slow times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scenarios.format.locate import Key
from scenarios.format.tables import Pairs, Table, written
from scenarios.format.units import Duration, not_later
from scenarios.kinds.faults.base import (
    AllOr,
    Fault,
    Group,
    Members,
    Named,
    Planned,
    Regions,
    Site,
    in_order,
    listed,
)

if TYPE_CHECKING:
    from simulator.faults import plan
    from simulator.streams import Law


class OutageFault(Members):
    """A crash, and perhaps a return; of a region, all its nodes at once or nearly so."""

    kind: Literal["outage"] = Field(
        default="outage", description="a crash, with a return at up_at if that is given"
    )
    down_at: Duration = Field(ge=0, examples=["12 s"], description='time of the crash: "12 s"')
    up_at: Duration | None = Field(
        default=None, examples=["20 s"], description='time of the return: "20 s"; absent: never'
    )
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether the node has its disk when it returns"
    )
    spread: Duration = Field(
        default=written("0 s"),
        ge=0,
        examples=["2 s"],
        description="largest random delay of each node's outage",
    )

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return an outage of each node."""
        from simulator.faults import plan

        return plan.region_outage(
            self.members(site.regions),
            self.down_at,
            self.up_at,
            keeps_disk=self.keeps_disk,
            spread_s=self.spread,
            seed=site.seed,
        )

    def planned(self, regions: Regions) -> Sequence[Planned]:
        """Return an outage of each node, without its spread."""
        return [Planned(node, self.down_at, self.up_at, ("down_at",)) for node in self.members(regions)]

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find a return before the crash, and a spread of a single node."""
        yield from super().problems()
        if self.up_at is not None and self.up_at <= self.down_at:
            yield ("up_at",), not_later("up_at", self.up_at, "down_at", self.down_at)
        if self.spread and self.region is None and self.nodes is None:
            yield ("spread",), "spread has no effect on a single node; name nodes or a region, or remove it"


class ArrivalFault(Members):
    """Nodes that join late."""

    kind: Literal["arrival"] = Field(description="a node that joins late")
    at: Duration = Field(gt=0, examples=["30 s"], description='time at which it joins: "30 s"')

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return an arrival of each node."""
        from simulator.faults import plan

        return [plan.Arrival(node, self.at) for node in self.members(site.regions)]


class SessionLaw(Table):
    """Law of the time that a node stays up, or down."""

    kind: Literal["exponential", "weibull"] = Field(
        description="exponential, or weibull: many short and some very long times if shape is below 1"
    )
    mean: Duration = Field(gt=0, examples=["60 s"], description='mean of the time: "60 s"')
    shape: float | None = Field(
        default=None,
        ge=0.01,
        le=1000,
        examples=[0.6],
        description="shape of the Weibull law, 0.01 to 1000; 1 is exponential",
    )

    def build(self) -> Law:
        """Return the law of the time, in seconds."""
        from simulator.faults import churn

        return churn.weibull(self.mean, 1.0 if self.shape is None else self.shape)

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find a shape that is missing, or has no effect."""
        if (self.kind == "weibull") != (self.shape is not None):
            yield (
                ("shape",),
                'kind = "weibull" needs shape; give it, or use kind = "exponential"'
                if self.shape is None
                else 'shape has no effect with kind = "exponential"; remove it, or use kind = "weibull"',
            )


class SessionsFault(Fault):
    """Nodes that alternate between up and down."""

    kind: Literal["sessions"] = Field(
        description="nodes alternate between up and down, each for a random time"
    )
    nodes: AllOr = Field(default="all", examples=[[3, 4]], description='numbers of the nodes, or "all"')
    up: SessionLaw = Field(description="law of the time that a node stays up")
    down: SessionLaw = Field(description="law of the time that a node stays down")
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether a node has its disk when it returns"
    )
    together: bool = Field(
        default=False, examples=[True], description="whether all nodes go up and down at the same times"
    )
    stationary: bool = Field(
        default=False,
        examples=[True],
        description="whether the process begins in its stationary state, with some nodes down; else all "
        "are up at first",
    )
    at: Duration = Field(
        default=written("0 s"),
        ge=0,
        examples=["30 s"],
        description="beginning of the process; nodes are up before",
    )

    def named(self) -> Named:
        """Return the nodes that are listed."""
        return Named(() if self.nodes == "all" else listed(("nodes",), self.nodes))

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return the sessions of all the nodes."""
        from simulator.faults import plan

        who = tuple(range(site.nodes)) if self.nodes == "all" else self.nodes
        up, down = self.up.build(), self.down.build()
        return [plan.Churn(who, up, down, self.keeps_disk, self.together, self.stationary, self.at)]


class AvailabilityFault(Fault):
    """Availability of nodes, from a file."""

    kind: Literal["availability"] = Field(
        description="times at which nodes are up, from a CSV file with columns node, up_s, down_s"
    )
    path: str = Field(
        min_length=1, examples=["availability.csv"], description="CSV file, relative to the scenario file"
    )
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether a node has its disk when it returns"
    )

    def named(self) -> Named:
        """Return nothing: nodes are in the file."""
        return Named()

    @property
    def file(self) -> str:
        """The CSV file."""
        return self.path

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return outages and arrivals as the file has them.

        Raises:
            ConfigurationError: the file is missing or wrong.
        """
        from simulator.faults import churn

        return churn.availability_trace(site.base / self.path, site.nodes, keeps_disk=self.keeps_disk)


class PartitionFault(Fault):
    """Groups that cannot reach each other for a while."""

    kind: Literal["partition"] = Field(
        description="groups of nodes that cannot reach each other for some time"
    )
    groups: tuple[Group, ...] = Field(
        strict=False,
        min_length=1,
        title="list of groups",
        examples=[[[0, 1, 2], "north"]],
        description="disjoint groups: lists of nodes, or names of regions; all others are one more group",
    )
    at: Duration = Field(ge=0, examples=["30 s"], description="beginning; messages under way still arrive")
    until: Duration | None = Field(default=None, examples=["45 s"], description="end; absent: for ever")

    def named(self) -> Named:
        """Return the groups, their nodes and their regions."""
        places: list[tuple[Key, Group]] = [(("groups", j), group) for j, group in enumerate(self.groups)]
        return Named(
            nodes=tuple(
                found for key, group in places if not isinstance(group, str) for found in listed(key, group)
            ),
            regions=tuple((key, group) for key, group in places if isinstance(group, str)),
            groups=tuple(places),
        )

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return the cut between the groups."""
        from simulator.faults import plan

        groups = [site.regions[group] if isinstance(group, str) else group for group in self.groups]
        return [plan.partition(groups, self.at, self.until, site.nodes)]

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find an end before the beginning."""
        yield from in_order(self.at, self.until)


class LinksFault(Fault):
    """Some links that carry nothing for a while."""

    kind: Literal["cut", "hold"] = Field(
        description="cut: messages that would leave in this time are dropped; hold: they wait until its end"
    )
    links: Pairs = Field(examples=[[[0, 1], [2, 5]]], description="pairs of nodes: [[0, 1], [2, 5]]")
    both: bool = Field(default=True, examples=[False], description="whether the fault is in both directions")
    at: Duration = Field(ge=0, examples=["30 s"], description="beginning")
    until: Duration | None = Field(default=None, examples=["45 s"], description="end; absent: for ever")

    def named(self) -> Named:
        """Return the links and their ends."""
        places: list[tuple[Key, tuple[int, int]]] = [
            (("links", j), link) for j, link in enumerate(self.links)
        ]
        return Named(tuple(found for key, link in places for found in listed(key, link)), tuple(places))

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return the closure of the links, in both directions if both are meant."""
        from simulator.faults import plan

        directions = frozenset(self.links)
        if self.both:
            directions |= frozenset((b, a) for a, b in self.links)
        closure = plan.Cut if self.kind == "cut" else plan.Hold
        return [closure(directions, self.at, self.until)]

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find an end before the beginning, and a link from a node to itself."""
        yield from in_order(self.at, self.until)
        for j, (source, to) in enumerate(self.links):
            if source == to:
                yield ("links", j), f"the two nodes of a link must differ, got {source} twice; name two nodes"


class SlowFault(Members):
    """A time in which nodes compute slowly."""

    kind: Literal["slow"] = Field(description="computing takes longer for some time")
    factor: float = Field(
        gt=0, examples=[4.0], description="ratio of computing time to normal; below 1 nodes are faster"
    )
    at: Duration = Field(default=written("0 s"), ge=0, examples=["30 s"], description="beginning")
    until: Duration | None = Field(default=None, examples=["45 s"], description="end; absent: for ever")

    @property
    def slows(self) -> bool:
        """Nodes compute at another speed for a while."""
        return True

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return a slow time of each node."""
        from simulator.faults import plan

        members = self.members(site.regions)
        return [plan.Slow(node, self.factor, self.at, self.until) for node in members]

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find nodes named in no way or in two, and an end before the beginning."""
        yield from super().problems()
        yield from in_order(self.at, self.until)
