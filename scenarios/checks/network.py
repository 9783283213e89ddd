"""Cross-checks of the network tables: what they say together, and whether it fits the topology."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from scenarios.format.locate import Key
from scenarios.kinds.links import Network
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    import networkx as nx

Found: TypeAlias = Iterator[tuple[Key, str]]


def latency_and_jitter(scenario: Scenario) -> Found:
    """Jitter and directions mean something with the latency there is."""
    network = scenario.network
    law = network.latency
    if law.per_message:
        if network.jitter is not None:
            yield (
                ("network", "jitter"),
                f'the {law.kind} latency is drawn for each message already; use per = "link" in it, or leave '
                "jitter out",
            )
        for i, link in enumerate(network.link):
            if link.latency is not None:
                yield (
                    ("network", "link", i, "latency"),
                    f"a link's own latency cannot stand in for a {law.kind} latency drawn for each message; use "
                    'per = "link" or a constant latency, and network.jitter for what varies',
                )
    elif network.jitter is not None and not network.jitter.varies and network.jitter.median_s == 0:
        yield ("network", "jitter"), "a jitter of 0 adds nothing; leave network.jitter out"


def copies_of_messages(scenario: Scenario) -> Found:
    """Copies of messages are asked for only where they are seen."""
    transport = scenario.network.transport
    if transport.delivers_once and scenario.network.duplication:
        yield (
            ("network", "duplication"),
            f"a {transport.kind} transport hands over each message once, so copies are never seen; remove one of "
            "the two",
        )


def node_rates(scenario: Scenario) -> Found:
    """No node has its rates in two [[network.node]]."""
    seen: set[int] = set()
    for i, exception in enumerate(scenario.network.node):
        for node in exception.members:
            if node in seen:
                yield ("network", "node", i), f"node {node} has its rates already"
            seen.add(node)


def link_exceptions(scenario: Scenario) -> Found:
    """Each [[network.link]] is the only one for its direction, and its rate is of a link that stays."""
    network = scenario.network
    seen: set[tuple[int, int]] = set()
    for i, link in enumerate(network.link):
        key: Key = ("network", "link", i)
        if link.source != link.to and not seen.isdisjoint(link.directions):
            yield (
                key,
                f"the link between {link.source} and {link.to} was given earlier; both = false gives one way",
            )
        if link.rate is not None and network.link_rate is not None and not scenario.topology.is_fixed():
            yield (
                (*key, "rate"),
                f"with link_rate, a link can have a rate of its own only where links stay, and those of "
                f"{scenario.topology.kind} change",
            )
        seen.update(link.directions)


def misfits(scenario: Scenario, nodes: int) -> Found:
    """Lists of rates that are not one per node."""
    for name in ("uplink", "downlink"):
        rates = getattr(scenario.network, name)
        if isinstance(rates, tuple) and len(rates) != nodes:
            yield (
                ("network", name),
                f"{len(rates)} rates for {nodes} nodes; give one for all, or a list with one per node",
            )


def network_nodes(scenario: Scenario) -> Found:
    """Every node that regions and network tables name is in the graph, and lists have one value per node."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from outside(mentioned_nodes(scenario), nodes)
        yield from misfits(scenario, nodes)


def outside(mentioned: Iterable[tuple[Key, int]], nodes: int) -> Found:
    """Those of the nodes mentioned that are not in the graph."""
    for key, node in mentioned:
        if node >= nodes:
            yield key, f"node {node} is not in the graph; its nodes are 0 to {nodes - 1}"


def mentioned_nodes(scenario: Scenario) -> Iterator[tuple[Key, int]]:
    """Every node that regions and network tables name, with its place."""
    for i, region in enumerate(scenario.region):
        for j, node in enumerate(region.nodes):
            yield ("region", i, "nodes", j), node
    for i, exception in enumerate(scenario.network.node):
        if exception.node is not None:
            yield ("network", "node", i, "node"), exception.node
        for j, node in enumerate(exception.nodes or ()):
            yield ("network", "node", i, "nodes", j), node
    for i, link in enumerate(scenario.network.link):
        yield ("network", "link", i, "from"), link.source
        yield ("network", "link", i, "to"), link.to


def latency_file(scenario: Scenario, base: Path) -> Found:
    """The file of delays or places is there."""
    for key, message in scenario.network.latency.file_problems(base):
        yield ("network", "latency", *key), message


def linked_pairs(scenario: Scenario, base: Path) -> Found:
    """The pairs of [[network.link]] are linked; the graph is built to see that."""
    network = scenario.network
    if not network.link:
        return
    try:
        graph = scenario.topology.graph(scenario.seed, base)
    except ConfigurationError:
        return  # told by the checks of the topology, or when it is built
    if graph is None:
        return
    for (*key, i), message in strangers(network, graph):
        link = network.link[int(i)]
        if link.source != link.to and max(link.source, link.to) < len(graph):
            yield (*key, i), message


def strangers(network: Network, graph: nx.Graph) -> Found:
    """Links told about in [[network.link]] that the graph does not have."""
    for i, link in enumerate(network.link):
        if not graph.has_edge(link.source, link.to):
            yield (
                ("network", "link", i),
                f"nodes {link.source} and {link.to} are not linked in this topology; name a pair that is",
            )


CHECKS = (latency_and_jitter, copies_of_messages, node_rates, link_exceptions, network_nodes)
FILE_CHECKS = (latency_file, linked_pairs)
