"""Cross-checks of faults, speeds and the adversary with regions, topology, protocol and each other."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from scenarios.format.locate import Key
from scenarios.kinds.faults import Planned, Regions
from scenarios.reading.wording import nearest
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]


def _regions(scenario: Scenario) -> Regions:
    return {region.name: region.nodes for region in scenario.region}


def named_regions(scenario: Scenario) -> Found:
    """Check that regions named by faults exist and that groups which must be disjoint are."""
    regions = _regions(scenario)
    known = list(regions)
    for i, fault in enumerate(scenario.fault):
        named = fault.named()
        for key, name in named.regions:
            if name not in regions:
                yield (
                    ("fault", i, *key),
                    f"there is no [[region]] named '{name}'{nearest(name, known)}; the regions are: "
                    f"{', '.join(known) or 'none'}",
                )
        seen: set[int] = set()
        for key, group in named.groups:
            nodes = regions.get(group, ()) if isinstance(group, str) else group
            if both := sorted(seen.intersection(nodes)):
                yield (
                    ("fault", i, *key),
                    f"groups must be disjoint, and node {both[0]} is in an earlier one too; remove it",
                )
            seen.update(nodes)


def overlapping_outages(scenario: Scenario) -> Found:
    """Check that listed outages of one node do not overlap."""
    regions = _regions(scenario)
    found: list[tuple[int, Planned]] = [
        (i, outage) for i, fault in enumerate(scenario.fault) for outage in fault.planned(regions)
    ]
    for (_, before), (i, after) in pairwise(sorted(found, key=lambda one: one[1][:2])):
        if before.node == after.node and (before.up_s is None or after.down_s <= before.up_s):
            yield (
                ("fault", i, *after.key),
                f"outages of one node must not overlap, and node {after.node} is still down from an earlier one; "
                "change its times",
            )


def trace_files(scenario: Scenario, base: Path) -> Found:
    """Check that files read by faults exist."""
    for i, fault in enumerate(scenario.fault):
        if fault.file is not None and not (base / fault.file).is_file():
            yield (
                ("fault", i, "path"),
                f"there is no file {fault.file} in the folder of the scenario; correct the path",
            )


def listed_factors(scenario: Scenario) -> Found:
    """Check that there is one listed slowdown factor per node."""
    nodes = scenario.topology.node_count
    listed = None if scenario.compute is None else scenario.compute.slowdown.listed
    if listed is not None and nodes is not None and listed != nodes:
        yield ("compute", "slowdown", "factors"), f"{listed} factors for {nodes} nodes; give one per node"


def adversary_places(scenario: Scenario) -> Found:
    """Check that placements by graph have fixed links and that at least one node is honest."""
    adversary, nodes = scenario.adversary, scenario.topology.node_count
    changing = not scenario.topology.is_fixed()
    for role, table in (("byzantine", adversary.byzantine), ("curious", adversary.curious)):
        if table is None:
            continue
        if table.count is not None and nodes is not None and table.count >= nodes:
            yield (
                ("adversary", role, "count"),
                f"must be below the number of nodes, {nodes}, got {table.count}: at least one must be honest; use "
                "fewer",
            )
        if changing and table.placement in ("degree", "betweenness"):
            yield (
                ("adversary", role, "placement"),
                f'placement by graph needs fixed links, and those of {scenario.topology.kind} change; use "random", '
                "or "
                "a fixed topology",
            )
    for name, placed in (("sybil", adversary.sybil), ("eclipse", adversary.eclipse)):
        if changing and placed is not None and placed.enabled:
            yield (
                ("adversary", name),
                f"needs fixed links, and those of {scenario.topology.kind} change; use a fixed topology",
            )


def messages(scenario: Scenario) -> tuple[str, ...]:
    """Return the kinds of message that are sent in a scenario."""
    protocol, secure, privacy = scenario.protocol, scenario.secure, scenario.privacy
    sent = protocol.messages
    if secure is not None and protocol.exchange == "secure":
        sent = (*secure.aggregation.messages, *protocol.messages_beside_sums)
    if privacy is not None and privacy.correlated is not None:
        sent = (*sent, *privacy.correlated.messages)
    return (*sent, "heartbeat")


def tampering(scenario: Scenario) -> Found:
    """Check that messages to tamper with are sent, and that changed ones carry arrays."""
    exchange = scenario.protocol.exchange
    for i, table in enumerate(scenario.adversary.tamper):
        key: Key = ("adversary", "tamper", i)
        if table.changes and exchange != "secure":
            yield (
                (*key, "kind"),
                f'needs messages that carry arrays, and with exchange = "{exchange}" they carry models; use '
                'exchange = "secure", or change models with adversary.byzantine',
            )
        sent = messages(scenario)
        for j, kind in enumerate(table.messages or ()):
            if kind not in sent:
                yield (
                    (*key, "messages", j),
                    f'"{kind}" messages are not sent by protocol {scenario.protocol.kind} with exchange = '
                    f'"{exchange}"'
                    f"{nearest(kind, sent)}; sent are: {', '.join(sent)}",
                )


def strangers(scenario: Scenario, neighbors: Sequence[Collection[int]]) -> Found:
    """Yield links that faults, wiretaps and attackers name but the graph does not have."""
    named: list[tuple[Key, tuple[int, int]]] = [
        (("fault", i, *key), link)
        for i, fault in enumerate(scenario.fault)
        for key, link in fault.named().links
    ]
    adversary = scenario.adversary
    if adversary.wiretap is not None and adversary.wiretap.links != "all":
        named += [
            (("adversary", "wiretap", "links", j), link) for j, link in enumerate(adversary.wiretap.links)
        ]
    for i, table in enumerate(adversary.tamper):
        named += [(("adversary", "tamper", i, "links", j), link) for j, link in enumerate(table.links or ())]
    for key, (source, to) in named:
        if not (source < len(neighbors) and to in neighbors[source]):
            yield key, f"nodes {source} and {to} are not linked in this topology; name a linked pair"


def mentioned(scenario: Scenario) -> Iterator[tuple[Key, int]]:
    """Yield every node that these tables name, with its key."""
    for i, fault in enumerate(scenario.fault):
        yield from ((("fault", i, *key), node) for key, node in fault.named().nodes)
    adversary = scenario.adversary
    for role, table in (("byzantine", adversary.byzantine), ("curious", adversary.curious)):
        if table is not None:
            yield from ((("adversary", role, "nodes", i), node) for i, node in enumerate(table.nodes or ()))
    if adversary.eclipse is not None:
        yield ("adversary", "eclipse", "victim"), adversary.eclipse.victim
        for i, node in enumerate(adversary.eclipse.attackers):
            yield ("adversary", "eclipse", "attackers", i), node
    for i, tamper in enumerate(adversary.tamper):
        yield from (
            (("adversary", "tamper", i, "nodes", j), node) for j, node in enumerate(tamper.nodes or ())
        )


CHECKS = (
    named_regions,
    overlapping_outages,
    listed_factors,
    adversary_places,
    tampering,
)
FILE_CHECKS = (trace_files,)
