"""Faults as plans of timed events: outages, arrivals, closed links, slow nodes, churn.

A plan is data and draws nothing, except for the few functions that build plans from a seed. Times are virtual
seconds since the start; an interval holds its beginning and not its end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import isfinite
from typing import TypeAlias, final

import numpy as np

from simulator.contract.node import Link
from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.streams import Law, Prefix


@dataclass(frozen=True)
class Outage:
    """A crash and a return.

    Args:
        node: the node that goes down.
        down_s: when; everything in memory is lost, tasks end, messages to the node are dropped.
        up_s: when it starts its program again; None means never.
        keeps_disk: whether it finds what was on its disk when it returns.
    """

    node: int
    down_s: float
    up_s: float | None = None
    keeps_disk: bool = True


@dataclass(frozen=True)
class Arrival:
    """A node that joins at ``at_s`` and then starts its program for the first time."""

    node: int
    at_s: float


@dataclass(frozen=True)
class Closure:
    """Links that carry nothing for a while.

    Args:
        links: directed links, as (source, destination).
        at_s: from when.
        until_s: until when; None for no end.
        groups: disjoint sets of nodes, none of which can reach another. Nodes in no group are together one
            more group, so a single group is a set of nodes cut off from all others.
    """

    links: frozenset[Link] = frozenset()
    at_s: float = 0.0
    until_s: float | None = None
    groups: tuple[frozenset[int], ...] = ()

    def severs(self, src: int, dst: int) -> bool:
        """Return whether the link from ``src`` to ``dst`` is affected; costs the same for any number of links."""
        if (src, dst) in self.links:
            return True
        side = self._side
        return bool(side) and side.get(src) != side.get(dst)

    def in_force(self, t_ns: int) -> bool:
        """Return whether the links are closed at ``t_ns`` nanoseconds."""
        at_ns, until_ns = self.span_ns
        return at_ns <= t_ns and (until_ns is None or t_ns < until_ns)

    @cached_property
    def span_ns(self) -> tuple[int, int | None]:
        """Return start and end of each closure, in nanoseconds."""
        return to_ns(self.at_s), None if self.until_s is None else to_ns(self.until_s)

    @cached_property
    def _side(self) -> Mapping[int, int]:
        return {node: i for i, group in enumerate(self.groups) for node in group}


@final
@dataclass(frozen=True)
class Cut(Closure):
    """Messages that would leave their sender meanwhile are dropped; those already under way arrive."""


@final
@dataclass(frozen=True)
class Hold(Closure):
    """Messages that would leave their sender meanwhile wait, and leave when it is over."""


@dataclass(frozen=True)
class Slow:
    """A time in which a node computes slowly.

    Args:
        node: the slow node.
        factor: how many times as long computing takes, above 0; below 1 it is faster.
        at_s: from when.
        until_s: until when; None for no end.
    """

    node: int
    factor: float
    at_s: float = 0.0
    until_s: float | None = None


@dataclass(frozen=True)
class Churn:
    """Nodes that are up and down in turn without end, in sessions (:func:`simulator.faults.churn.session_times`).

    Args:
        nodes: the nodes; each with times of its own.
        up: law of the time a node stays.
        down: law of the time it is away.
        keeps_disk: whether a node finds what was on its disk when it returns.
        together: whether all the nodes share their times, as the machines of one site do.
        stationary: start in equilibrium (some nodes are down at first) instead of all up and fresh.
        from_s: when churn begins; the nodes are up before.
    """

    nodes: Sequence[int]
    up: Law
    down: Law
    keeps_disk: bool = True
    together: bool = False
    stationary: bool = False
    from_s: float = 0.0


Fault: TypeAlias = Outage | Arrival | Cut | Hold | Slow | Churn


def severed(cuts: Iterable[Cut], src: int, dst: int, t_ns: int) -> bool:
    """Return whether a message that would leave ``src`` for ``dst`` at ``t_ns`` is dropped."""
    return any(cut.in_force(t_ns) and cut.severs(src, dst) for cut in cuts)


def leaves_ns(holds: Collection[Hold], src: int, dst: int, t_ns: int) -> int | None:
    """Return when a message that would leave ``src`` for ``dst`` at ``t_ns`` does leave; None if never.

    One hold may end while another is in force; the message leaves when none is.
    """
    while True:
        ends = [hold.span_ns[1] for hold in holds if hold.in_force(t_ns) and hold.severs(src, dst)]
        known = [end for end in ends if end is not None]
        if len(known) < len(ends):
            return None
        if not known:
            return t_ns
        t_ns = max(known)


def partition(groups: Iterable[Iterable[int]], at_s: float, until_s: float | None, nodes: int) -> Cut:
    """Nodes of different groups cannot reach each other from ``at_s`` until ``until_s`` (None: no end).

    Args:
        groups: disjoint; nodes that are in none are together one more group.
        at_s: seconds; messages already under way arrive.
        until_s: seconds, or None.
        nodes: how many nodes there are.

    Raises:
        ConfigurationError: a node that does not exist or is in two groups, or nothing would be cut.
    """
    cut = Cut(at_s=at_s, until_s=until_s, groups=tuple(frozenset(group) for group in groups))
    check([cut], nodes)
    return cut


def region_outage(
    nodes: Iterable[int],
    down_s: float,
    up_s: float | None = None,
    *,
    keeps_disk: bool = True,
    spread_s: float = 0.0,
    seed: int = 0,
) -> list[Outage]:
    """Outages of the nodes of a region, together.

    Args:
        nodes: of the region.
        down_s: when the first may go down.
        up_s: when that one returns; None means that none does.
        keeps_disk: whether they find their disks when they return.
        spread_s: above 0, each node's outage begins and ends later by a time of its own, uniform between 0
            and ``spread_s``; all last equally long.
        seed: of the stream (seed, "region outage", nanosecond of ``down_s``, node).
    """
    delays = Prefix(seed, "region outage", to_ns(down_s))
    plan = []
    for node in sorted(set(nodes)):
        delay_s = spread_s * delays.uniforms(node)[0] if spread_s > 0 else 0.0
        plan.append(Outage(node, down_s + delay_s, None if up_s is None else up_s + delay_s, keeps_disk))
    return plan


def check(faults: Iterable[Fault], nodes: int) -> None:
    """Refuse faults that do not fit a network of ``nodes`` nodes.

    Outages of a region may fall into sessions (a node is down while either says so), but outages of one node
    that are written one by one may not overlap.

    Raises:
        ConfigurationError: with the key ``fault``, naming the first thing that is wrong.
    """
    faults = list(faults)
    for fault in faults:
        for problem in _alone(fault, nodes):
            raise ConfigurationError(problem, "fault")
    for problem in _among(faults):
        raise ConfigurationError(problem, "fault")


def _alone(fault: Fault, nodes: int) -> Iterator[str]:
    """Yield what is wrong with one fault by itself."""
    match fault:
        case Outage():
            yield from _missing("outage", [fault.node], nodes)
            yield from _times(f"outage of node {fault.node}", fault.down_s, fault.up_s)
            if fault.up_s is not None and to_ns(fault.up_s) <= to_ns(fault.down_s):
                yield f"node {fault.node} would return before it is down: {fault.up_s} s <= {fault.down_s} s"
        case Arrival():
            yield from _missing("arrival", [fault.node], nodes)
            yield from _times(f"arrival of node {fault.node}", fault.at_s)
        case Cut() | Hold():
            yield from _closure(fault, nodes)
        case Slow():
            yield from _missing("slow period", [fault.node], nodes)
            name = f"slow period of node {fault.node}"
            if not (isfinite(fault.factor) and fault.factor > 0):
                yield f"{name}: a factor is finite and above 0, not {fault.factor}"
            yield from _interval(name, fault.at_s, fault.until_s)
        case Churn():
            yield from _sessions(fault, nodes)


def _closure(fault: Closure, nodes: int) -> Iterator[str]:
    name = type(fault).__name__.lower()
    yield from _interval(name, fault.at_s, fault.until_s)
    yield from _missing(name, [node for link in fault.links for node in link], nodes)
    yield from _missing(name, [node for group in fault.groups for node in group], nodes)
    for src, dst in sorted(fault.links):
        if src == dst:
            yield f"{name} of the link from node {src} to itself; a link joins two nodes"
    seen: set[int] = set()
    for group in fault.groups:
        if not group:
            yield f"a group of the {name} is empty"
        for node in sorted(seen & group):
            yield f"node {node} is in two groups of the {name}"
        seen |= group
    if not fault.links and (not fault.groups or (len(fault.groups) == 1 and len(seen) == nodes)):
        yield f"the {name} concerns no link; name links, or groups with nodes on each side"


def _sessions(fault: Churn, nodes: int) -> Iterator[str]:
    yield from _missing("sessions", fault.nodes, nodes)
    yield from _times("sessions", fault.from_s)
    if not len(fault.nodes):
        yield "sessions of no nodes; name at least one"
    if len(set(fault.nodes)) < len(fault.nodes):
        yield "sessions name a node twice"
    for name, law in (("up", fault.up), ("down", fault.down)):
        low, middle = law(np.array([1e-9, 0.5])).tolist()
        if not (low >= 0 and middle > 0 and isfinite(middle)):
            yield f"the law of the {name} times of sessions gives {low} to {middle} s; times are above 0"


def _missing(what: str, members: Iterable[int], nodes: int) -> Iterator[str]:
    for node in members:
        if not 0 <= node < nodes:
            yield f"{what} of node {node}, but nodes are 0..{nodes - 1}"


def _times(what: str, *times_s: float | None) -> Iterator[str]:
    for t_s in times_s:
        if t_s is not None and not (isfinite(t_s) and t_s >= 0):
            yield f"{what} at {t_s} s; times are finite and not before 0"


def _interval(what: str, at_s: float, until_s: float | None) -> Iterator[str]:
    yield from _times(what, at_s, until_s)
    if until_s is not None and to_ns(until_s) <= to_ns(at_s):
        yield f"{what} from {at_s} s would end at {until_s} s; the end is later than the beginning"


def _among(faults: Sequence[Fault]) -> Iterator[str]:
    """Yield what is wrong with faults together."""
    outages: defaultdict[int, list[Outage]] = defaultdict(list)
    for fault in faults:
        if isinstance(fault, Outage):
            outages[fault.node].append(fault)
    for node, plan in outages.items():
        for before, after in pairwise(sorted(plan, key=lambda o: o.down_s)):
            if before.up_s is None:
                yield f"node {node} goes down at {after.down_s} s, but never returns after {before.down_s} s"
            elif to_ns(after.down_s) <= to_ns(before.up_s):
                yield f"node {node} goes down at {after.down_s} s, but only returns at {before.up_s} s"
    arrivals: dict[int, float] = {}
    for fault in faults:
        if isinstance(fault, Arrival):
            if fault.node in arrivals:
                yield f"node {fault.node} arrives twice; later returns are the ends of outages"
            arrivals[fault.node] = fault.at_s
    for node, at_s in arrivals.items():
        if plan := outages.get(node, []):
            first_s = min(outage.down_s for outage in plan)
            if to_ns(first_s) <= to_ns(at_s):
                yield f"node {node} arrives at {at_s} s, after its outage at {first_s} s"
    listed: set[tuple[int, bool]] = set()
    for fault in faults:
        if isinstance(fault, Churn):
            for node in fault.nodes:
                if (node, fault.together) in listed:
                    yield f"node {node} is in two sessions of one kind; it would follow both alike"
                listed.add((node, fault.together))
                if fault.from_s < arrivals.get(node, 0.0):
                    yield f"node {node} arrives at {arrivals[node]} s, after its sessions at {fault.from_s} s"
