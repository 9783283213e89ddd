"""What goes wrong with nodes and links: outages, sessions, partitions, closed links and slow times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from scenarios.format.locate import Key
from scenarios.format.tables import Pairs, Table, written
from scenarios.format.units import Duration
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

    kind: Literal["outage"] = Field(default="outage", description="a crash, and a return if up_at says when")
    down_at: Duration = Field(ge=0, examples=["12 s"], description='when the node crashes: "12 s"')
    up_at: Duration | None = Field(
        default=None, examples=["20 s"], description='when it is back: "20 s"; absent: never'
    )
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether it finds its disk when it returns"
    )
    spread: Duration = Field(
        default=written("0 s"),
        ge=0,
        examples=["2 s"],
        description="each node's outage is later by a random time up to this",
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
        """The return is later than the crash, and several nodes have a spread."""
        yield from super().problems()
        if self.up_at is not None and self.up_at <= self.down_at:
            yield ("up_at",), "up_at must be later than down_at; leave it out if the node never returns"
        if self.spread and self.region is None and self.nodes is None:
            yield ("spread",), "spread has no effect on a single node; name nodes or a region, or remove it"


class ArrivalFault(Members):
    """Nodes that are not there at first."""

    kind: Literal["arrival"] = Field(description="a node that joins late")
    at: Duration = Field(gt=0, examples=["30 s"], description='when it starts: "30 s"')

    def build(self, site: Site) -> Sequence[plan.Fault]:
        """Return an arrival of each node."""
        from simulator.faults import plan

        return [plan.Arrival(node, self.at) for node in self.members(site.regions)]


class SessionLaw(Table):
    """How long a node stays, or stays away."""

    kind: Literal["exponential", "weibull"] = Field(
        description="exponential, or weibull: many short and some very long times if shape is below 1"
    )
    mean: Duration = Field(gt=0, examples=["60 s"], description='mean time: "60 s"')
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
        """A Weibull law has its shape, and no other has one."""
        if (self.kind == "weibull") != (self.shape is not None):
            wanted = "needs a shape" if self.kind == "weibull" else "has no shape; use weibull"
            yield ("shape",), f"a law of kind {self.kind} {wanted}"


class SessionsFault(Fault):
    """Nodes that come and go without end."""

    kind: Literal["sessions"] = Field(description="nodes up and down in turn, for random times")
    nodes: AllOr = Field(default="all", examples=[[3, 4]], description='which nodes, or "all"')
    up: SessionLaw = Field(description="how long a node stays")
    down: SessionLaw = Field(description="how long it is away")
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether a node finds its disk when it returns"
    )
    together: bool = Field(default=False, examples=[True], description="whether all share their times")
    stationary: bool = Field(
        default=False,
        examples=[True],
        description="whether some are down at first, as they are later; else all are up",
    )
    at: Duration = Field(
        default=written("0 s"), ge=0, examples=["30 s"], description="from when; they are up before"
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
    """Who was there when, from a file."""

    kind: Literal["availability"] = Field(
        description="who was there when, from a CSV file with columns node, up_s, down_s"
    )
    path: str = Field(
        min_length=1, examples=["availability.csv"], description="the file, relative to the scenario"
    )
    keeps_disk: bool = Field(
        default=True, examples=[False], description="whether a node finds its disk when it returns"
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

    kind: Literal["partition"] = Field(description="the network falls apart, and heals")
    groups: tuple[Group, ...] = Field(
        strict=False,
        min_length=1,
        title="list of groups",
        examples=[[[0, 1, 2], "north"]],
        description="disjoint groups: lists of nodes, or names of regions; all others are one more group",
    )
    at: Duration = Field(ge=0, examples=["30 s"], description="from when; messages under way arrive")
    until: Duration | None = Field(
        default=None, examples=["45 s"], description="until when; absent: for ever"
    )

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
        """It ends after it begins."""
        yield from in_order(self.at, self.until)


class LinksFault(Fault):
    """Some links that carry nothing for a while."""

    kind: Literal["cut", "hold"] = Field(
        description="cut: messages that would leave meanwhile are dropped; hold: they wait"
    )
    links: Pairs = Field(examples=[[[0, 1], [2, 5]]], description="pairs of nodes: [[0, 1], [2, 5]]")
    both: bool = Field(default=True, examples=[False], description="whether both directions are meant")
    at: Duration = Field(ge=0, examples=["30 s"], description="from when")
    until: Duration | None = Field(
        default=None, examples=["45 s"], description="until when; absent: for ever"
    )

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
        """It ends after it begins, and a link joins two nodes."""
        yield from in_order(self.at, self.until)
        for j, (source, to) in enumerate(self.links):
            if source == to:
                yield ("links", j), f"a link joins two different nodes, not {source} and itself"


class SlowFault(Members):
    """A time in which nodes compute slowly."""

    kind: Literal["slow"] = Field(description="computing takes longer for a while")
    factor: float = Field(
        gt=0, examples=[4.0], description="how many times as long computing takes; below 1 it is faster"
    )
    at: Duration = Field(default=written("0 s"), ge=0, examples=["30 s"], description="from when")
    until: Duration | None = Field(
        default=None, examples=["45 s"], description="until when; absent: for ever"
    )

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
        """Nodes are named in one way, and it ends after it begins."""
        yield from super().problems()
        yield from in_order(self.at, self.until)
