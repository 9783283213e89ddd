"""Cross-checks of the network tables with each other and with the topology."""

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
    """Check that jitter and latencies of single links have an effect with the latency law."""
    network = scenario.network
    law = network.latency
    if law.per_message:
        if network.jitter is not None:
            yield (
                ("network", "jitter"),
                f'jitter has no effect with {law.kind} latency, which is drawn for each message; set per = "link" '
                "there, or remove jitter",
            )
        for i, link in enumerate(network.link):
            if link.latency is not None:
                yield (
                    ("network", "link", i, "latency"),
                    f"a link's own latency cannot replace a {law.kind} latency drawn for each message; use "
                    'per = "link" or a constant latency, and network.jitter for variation',
                )
    elif network.jitter is not None and not network.jitter.varies and network.jitter.median_s == 0:
        yield ("network", "jitter"), "must be above 0 to have an effect, got 0; remove network.jitter"


def copies_of_messages(scenario: Scenario) -> Found:
    """Check that duplicates are not combined with a transport that removes them."""
    transport = scenario.network.transport
    if transport.delivers_once and scenario.network.duplication:
        yield (
            ("network", "duplication"),
            f"duplicates have no effect with a {transport.kind} transport, which delivers each message once; remove "
            "one of the two",
        )


def node_rates(scenario: Scenario) -> Found:
    """Check that no node has its rates in two [[network.node]] tables."""
    seen: set[int] = set()
    for i, exception in enumerate(scenario.network.node):
        for node in exception.members:
            if node in seen:
                yield (
                    ("network", "node", i),
                    f"node {node} has rates in an earlier [[network.node]]; give them once",
                )
            seen.add(node)


def link_exceptions(scenario: Scenario) -> Found:
    """Check that each direction has one [[network.link]] at most, and that rates of links have fixed links."""
    network = scenario.network
    seen: set[tuple[int, int]] = set()
    for i, link in enumerate(network.link):
        key: Key = ("network", "link", i)
        if link.source != link.to and not seen.isdisjoint(link.directions):
            yield (
                key,
                f"the link between {link.source} and {link.to} is in an earlier [[network.link]]; give each "
                "direction once (both = false gives one direction)",
            )
        if link.rate is not None and network.link_rate is not None and not scenario.topology.is_fixed():
            yield (
                (*key, "rate"),
                f"a rate of a link together with link_rate needs fixed links, and those of {scenario.topology.kind} "
                "change; remove one of the two",
            )
        seen.update(link.directions)


def misfits(scenario: Scenario, nodes: int) -> Found:
    """Yield lists of rates whose length is not the number of nodes."""
    for name in ("uplink", "downlink"):
        rates = getattr(scenario.network, name)
        if isinstance(rates, tuple) and len(rates) != nodes:
            yield (
                ("network", name),
                f"{len(rates)} rates for {nodes} nodes; give one for all, or a list with one per node",
            )


def network_nodes(scenario: Scenario) -> Found:
    """Check that nodes named by regions and network tables exist and that lists have one value per node."""
    nodes = scenario.topology.node_count
    if nodes is not None:
        yield from outside(mentioned_nodes(scenario), nodes)
        yield from misfits(scenario, nodes)


def outside(mentioned: Iterable[tuple[Key, int]], nodes: int) -> Found:
    """Yield mentioned nodes that are not in the graph."""
    for key, node in mentioned:
        if node >= nodes:
            yield key, f"node {node} is not in the graph; its nodes are 0 to {nodes - 1}"


def mentioned_nodes(scenario: Scenario) -> Iterator[tuple[Key, int]]:
    """Yield every node that regions and network tables name, with its key."""
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
    """Check that the file of delays or places exists."""
    for key, message in scenario.network.latency.file_problems(base):
        yield ("network", "latency", *key), message


def linked_pairs(scenario: Scenario, base: Path) -> Found:
    """Check that the pairs of [[network.link]] are linked, by building the graph."""
    network = scenario.network
    if not network.link:
        return
    try:
        graph = scenario.topology.graph(scenario.seed, base)
    except ConfigurationError:
        return  # reported by the checks of the topology, or when it is built
    if graph is None:
        return
    for (*key, i), message in strangers(network, graph):
        link = network.link[int(i)]
        if link.source != link.to and max(link.source, link.to) < len(graph):
            yield (*key, i), message


def strangers(network: Network, graph: nx.Graph) -> Found:
    """Yield links of [[network.link]] that the graph does not have."""
    for i, link in enumerate(network.link):
        if not graph.has_edge(link.source, link.to):
            yield (
                ("network", "link", i),
                f"nodes {link.source} and {link.to} are not linked in this topology; name a linked pair",
            )


CHECKS = (latency_and_jitter, copies_of_messages, node_rates, link_exceptions, network_nodes)
FILE_CHECKS = (latency_file, linked_pairs)
