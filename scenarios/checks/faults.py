"""Cross-checks of the fault, compute, detector and adversary tables."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

from scenarios.format.locate import Key
from scenarios.kinds import adversaries
from scenarios.kinds import faults as fault_tables
from scenarios.reading.wording import nearest
from scenarios.schema import Scenario

SPELLS = (fault_tables.PartitionFault, fault_tables.LinksFault, fault_tables.SlowFault)

Found: TypeAlias = Iterator[tuple[Key, str]]


def fault_members(scenario: Scenario) -> Found:
    """Each fault names its nodes in one way, and regions that are there."""
    known = [region.name for region in scenario.region]
    for i, fault in enumerate(scenario.fault):
        if isinstance(fault, fault_tables.Members):
            given = [name for name in ("node", "nodes", "region") if getattr(fault, name) is not None]
            if len(given) != 1:
                yield ("fault", i), "name the nodes once: node (one), nodes (a list) or region (a name)"
            if fault.region is not None and fault.region not in known:
                yield ("fault", i, "region"), _no_region(fault.region, known)
        if isinstance(fault, fault_tables.PartitionFault):
            for j, group in enumerate(fault.groups):
                if isinstance(group, str) and group not in known:
                    yield ("fault", i, "groups", j), _no_region(group, known)


def _no_region(name: str, known: list[str]) -> str:
    return f"there is no [[region]] named '{name}'{nearest(name, known)}; regions here: {', '.join(known) or 'none'}"


def fault_times(scenario: Scenario) -> Found:
    """Whatever ends, ends after it begins, and outages of one node that are listed do not overlap."""
    planned: list[tuple[int, float, float | None, int]] = []
    for i, fault in enumerate(scenario.fault):
        if isinstance(fault, fault_tables.OutageFault):
            if fault.up_at is not None and fault.up_at <= fault.down_at:
                yield (
                    ("fault", i, "up_at"),
                    "up_at must be later than down_at; leave it out if the node never returns",
                )
            if fault.spread and fault.region is None and fault.nodes is None:
                yield (
                    ("fault", i, "spread"),
                    "a single node has nobody to be spread from; name nodes or a region",
                )
            planned += [(node, fault.down_at, fault.up_at, i) for node in _named(scenario, fault)]
        elif isinstance(fault, SPELLS) and fault.until is not None and fault.until <= fault.at:
            yield ("fault", i, "until"), "until must be later than at; leave it out if it never ends"
    for before, after in pairwise(sorted(planned, key=lambda outage: outage[:2])):
        if before[0] == after[0] and (before[2] is None or after[1] <= before[2]):
            yield (
                ("fault", after[3], "down_at"),
                f"node {after[0]} is still down from an outage that began earlier",
            )


def fault_groups(scenario: Scenario) -> Found:
    """Groups of a partition have no node in common; links join two nodes; a Weibull law has its shape."""
    regions = {region.name: region.nodes for region in scenario.region}
    for i, fault in enumerate(scenario.fault):
        if isinstance(fault, fault_tables.PartitionFault):
            seen: set[int] = set()
            for j, group in enumerate(fault.groups):
                nodes = regions.get(group, ()) if isinstance(group, str) else group
                if both := sorted(seen.intersection(nodes)):
                    yield ("fault", i, "groups", j), f"node {both[0]} is in an earlier group too"
                seen.update(nodes)
        elif isinstance(fault, fault_tables.LinksFault):
            for j, (source, to) in enumerate(fault.links):
                if source == to:
                    yield (
                        ("fault", i, "links", j),
                        f"a link joins two different nodes, not {source} and itself",
                    )
        elif isinstance(fault, fault_tables.SessionsFault):
            for name in ("up", "down"):
                law = getattr(fault, name)
                if (law.kind == "weibull") != (law.shape is not None):
                    wanted = "needs a shape" if law.kind == "weibull" else "has no shape; use weibull"
                    yield ("fault", i, name, "shape"), f"a law of kind {law.kind} {wanted}"


def trace_files(scenario: Scenario, base: Path) -> Found:
    """Availability traces are there."""
    for i, fault in enumerate(scenario.fault):
        if isinstance(fault, fault_tables.AvailabilityFault) and not (base / fault.path).is_file():
            yield ("fault", i, "path"), f"there is no file {fault.path} beside the scenario"


def compute_and_detector(scenario: Scenario) -> Found:
    """Factors have their bounds in order and fit the graph; silence is longer than a heartbeat period."""
    nodes = scenario.topology.node_count
    if scenario.compute is not None:
        law = scenario.compute.slowdown
        if isinstance(law, fault_tables.UniformSlowdown) and law.low > law.high:
            yield ("compute", "slowdown", "low"), "low must not be above high"
        if isinstance(law, fault_tables.GivenSlowdown) and nodes is not None and len(law.factors) != nodes:
            yield (
                ("compute", "slowdown", "factors"),
                f"{len(law.factors)} factors for {nodes} nodes; give one per node",
            )
    if scenario.detector is not None and scenario.detector.timeout <= scenario.detector.period:
        yield (
            ("detector", "timeout"),
            "timeout must be longer than the period, or everybody is suspected between two heartbeats",
        )


def adversary_nodes(scenario: Scenario) -> Found:
    """Adversary tables name their nodes in one way, nobody twice, and no node both lies and is honest."""
    adversary = scenario.adversary
    for role in ("byzantine", "curious"):
        table: adversaries.Placed | None = getattr(adversary, role)
        if table is None:
            continue
        key: Key = ("adversary", role)
        if (table.nodes is None) == (table.count is None):
            yield key, "give nodes (a list) or count (how many), and not both"
        if table.placement is not None and table.count is None:
            yield (*key, "placement"), "placement goes with count; nodes that are listed are placed already"
        if table.nodes is not None and table.enabled and not table.nodes:
            yield (*key, "nodes"), "the list is empty; name at least one node or set enabled = false"
        if table.nodes is not None and len(set(table.nodes)) < len(table.nodes):
            yield (*key, "nodes"), "a node is listed twice"
    byzantine, curious = adversary.byzantine, adversary.curious
    if byzantine and curious and byzantine.enabled and curious.enabled:
        for node in sorted(set(byzantine.nodes or ()) & set(curious.nodes or ())):
            yield (
                ("adversary", "curious", "nodes"),
                f"node {node} is Byzantine too; a curious node is one that follows the protocol",
            )


def adversary_places(scenario: Scenario) -> Found:
    """What depends on the graph is asked of a graph that stays, and leaves somebody honest."""
    adversary, nodes = scenario.adversary, scenario.topology.node_count
    for role in ("byzantine", "curious"):
        table = getattr(adversary, role)
        if table is not None and table.count is not None and nodes is not None and table.count >= nodes:
            yield (
                ("adversary", role, "count"),
                f"{table.count} of {nodes} nodes; at least one has to be honest",
            )
    for name in ("sybil", "eclipse"):
        table = getattr(adversary, name)
        if table is None or not table.enabled:
            continue
        if not scenario.topology.is_fixed():
            yield (
                ("adversary", name),
                f"links of {scenario.topology.kind} change, so there is no place in the graph to take; "
                "use a topology that stays",
            )
        byzantine = adversary.byzantine
        if table.role == "byzantine" and (byzantine is None or not byzantine.enabled):
            yield (
                ("adversary", name, "role"),
                "byzantine ones need [adversary.byzantine] to say what they claim",
            )
    if not scenario.topology.is_fixed():
        for role in ("byzantine", "curious"):
            table = getattr(adversary, role)
            if table is not None and table.placement in ("degree", "betweenness"):
                yield (
                    ("adversary", role, "placement"),
                    "links change, so only random placement means something",
                )
    eclipse = adversary.eclipse
    if eclipse is not None and eclipse.victim in eclipse.attackers:
        yield ("adversary", "eclipse", "attackers"), f"node {eclipse.victim} is the victim"


def messages(scenario: Scenario) -> tuple[str, ...]:
    """List the kinds of message that are sent in a scenario."""
    protocol, secure, privacy = scenario.protocol, scenario.secure, scenario.privacy
    sent = protocol.messages
    if secure is not None and protocol.exchange == "secure":
        sent = (*secure.aggregation.messages, *protocol.messages_beside_sums)
    if privacy is not None and privacy.correlated is not None:
        sent = (*sent, *privacy.correlated.messages)
    return (*sent, "heartbeat")


def tampering(scenario: Scenario) -> Found:
    """Meddling has a place, what it reads it can read, and what it changes is there to be changed."""
    adversary = scenario.adversary
    for i, table in enumerate(adversary.tamper):
        key: Key = ("adversary", "tamper", i)
        if (table.nodes is None) == (table.links is None):
            yield key, "give nodes (whose messages) or links (where), and not both"
        exchange = scenario.protocol.exchange
        changes = isinstance(table, adversaries.AlterTampering | adversaries.EquivocateTampering)
        if table.links is not None and adversary.encrypted and (changes or table.messages is not None):
            yield (
                (*key, "kind" if changes else "messages"),
                "links are encrypted, so an attacker there cannot read what it would have to; use drop, delay or "
                "replay of all messages, or adversary.encrypted = false",
            )
        if changes and exchange != "secure":
            yield (
                (*key, "kind"),
                f'with exchange = "{scenario.protocol.exchange}" messages carry models, which adversary.byzantine '
                "changes; arrays on the wire are those of secure",
            )
        sent = messages(scenario)
        for j, kind in enumerate(table.messages or ()):
            if kind not in sent:
                yield (
                    (*key, "messages", j),
                    f'there are no "{kind}" messages with protocol {scenario.protocol.kind}, exchange = "{exchange}"'
                    f"{nearest(kind, sent)}; there are: {', '.join(sent)}",
                )
        if table.at is not None and table.until is not None and table.until <= table.at:
            yield (*key, "until"), "until must be later than at"


def strangers(scenario: Scenario, neighbors: Sequence[Collection[int]]) -> Found:
    """Links that faults, taps and attackers name but the graph does not have."""
    named: list[tuple[Key, Sequence[tuple[int, int]]]] = [
        (("fault", i, "links"), fault.links)
        for i, fault in enumerate(scenario.fault)
        if isinstance(fault, fault_tables.LinksFault)
    ]
    adversary = scenario.adversary
    if adversary.wiretap is not None and adversary.wiretap.links != "all":
        named.append((("adversary", "wiretap", "links"), adversary.wiretap.links))
    named += [
        (("adversary", "tamper", i, "links"), table.links or ()) for i, table in enumerate(adversary.tamper)
    ]
    for key, links in named:
        for j, (source, to) in enumerate(links):
            if not (source < len(neighbors) and to in neighbors[source]):
                yield (
                    (*key, j),
                    f"nodes {source} and {to} are not linked in this topology; name a pair that is",
                )


def mentioned(scenario: Scenario) -> Iterator[tuple[Key, int]]:
    """Every node that these tables name, with its place."""
    for i, fault in enumerate(scenario.fault):
        node = getattr(fault, "node", None)
        if node is not None:
            yield ("fault", i, "node"), node
        if isinstance(nodes := getattr(fault, "nodes", None), tuple):
            yield from ((("fault", i, "nodes", j), node) for j, node in enumerate(nodes))
        for j, group in enumerate(getattr(fault, "groups", ())):
            if not isinstance(group, str):
                yield from ((("fault", i, "groups", j, k), node) for k, node in enumerate(group))
        for j, link in enumerate(getattr(fault, "links", ())):
            yield from ((("fault", i, "links", j, k), node) for k, node in enumerate(link))
    adversary: Any = scenario.adversary
    for role in ("byzantine", "curious"):
        if (table := getattr(adversary, role)) and table.nodes is not None:
            yield from ((("adversary", role, "nodes", i), node) for i, node in enumerate(table.nodes))
    if adversary.eclipse is not None:
        yield ("adversary", "eclipse", "victim"), adversary.eclipse.victim
        for i, node in enumerate(adversary.eclipse.attackers):
            yield ("adversary", "eclipse", "attackers", i), node
    for i, table in enumerate(adversary.tamper):
        yield from (
            (("adversary", "tamper", i, "nodes", j), node) for j, node in enumerate(table.nodes or ())
        )


def _named(scenario: Scenario, fault: fault_tables.Members) -> tuple[int, ...]:
    regions = {region.name: region.nodes for region in scenario.region}
    if fault.region is not None:
        return tuple(regions.get(fault.region, ()))
    return (fault.node,) if fault.node is not None else fault.nodes or ()


CHECKS = (
    fault_members,
    fault_times,
    fault_groups,
    compute_and_detector,
    adversary_nodes,
    adversary_places,
    tampering,
)
FILE_CHECKS = (trace_files,)
