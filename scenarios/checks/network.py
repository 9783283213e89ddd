"""Cross-checks of the network tables: what they say together, and whether it fits the topology."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import log
from pathlib import Path
from typing import TypeAlias, get_args

from scenarios.format.locate import Key
from scenarios.kinds.latencies import (
    ConstantLaw,
    DrawnLatency,
    GeographicLatency,
    MatrixLatency,
    UniformLaw,
)
from scenarios.kinds.links import ReliableTransport
from scenarios.kinds.topologies import DynamicTopology, node_count
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError

Found: TypeAlias = Iterator[tuple[Key, str]]

LONGEST_TIMEOUT_S = 1e7
"""Four months; a last time-out beyond that is a slip in backoff or attempts."""


def law_bounds(scenario: Scenario) -> Found:
    """A uniform law has its bounds in order."""
    for name in ("latency", "jitter"):
        law = getattr(scenario.network, name)
        if isinstance(law, UniformLaw) and law.low > law.high:
            yield ("network", name, "low"), "low must not be above high"


def latency_and_jitter(scenario: Scenario) -> Found:
    """Jitter and directions mean something with the latency there is."""
    network = scenario.network
    law = network.latency
    if isinstance(law, get_args(DrawnLatency)) and law.per == "message":
        if network.jitter is not None:
            yield (
                ("network", "jitter"),
                f'the {law.kind} latency is drawn for each message already; use per = "link" in it, or leave '
                "jitter out",
            )
        if law.symmetric:
            yield (
                ("network", "latency", "symmetric"),
                'a latency drawn for each message is never symmetric; use per = "link" or remove this key',
            )
        for i, link in enumerate(network.link):
            if link.latency is not None:
                yield (
                    ("network", "link", i, "latency"),
                    f"a link's own latency cannot stand in for a {law.kind} latency drawn for each message; use "
                    'per = "link" or a constant latency, and network.jitter for what varies',
                )
    elif isinstance(network.jitter, ConstantLaw) and network.jitter.value == 0:
        yield ("network", "jitter", "value"), "a jitter of 0 adds nothing; leave network.jitter out"


def reliable_transport(scenario: Scenario) -> Found:
    """Time-outs stay within what a run can last, and nothing is asked for that nobody would see."""
    transport = scenario.network.transport
    if isinstance(transport, ReliableTransport):
        if scenario.network.duplication:
            yield (
                ("network", "duplication"),
                "a reliable transport hands over each message once, so copies are never seen; remove one of the two",
            )
        doublings = (transport.attempts - 1) * log(transport.backoff)
        if log(transport.timeout) + doublings > log(LONGEST_TIMEOUT_S):
            yield (
                ("network", "transport", "attempts"),
                f"the last of {transport.attempts} time-outs, each {transport.backoff:g} times the one before, "
                "would be longer than four months; use fewer attempts or a smaller backoff",
            )


def node_rates(scenario: Scenario) -> Found:
    """Each [[network.node]] names nodes in one way, once, and gives a rate."""
    seen: set[int] = set()
    for i, exception in enumerate(scenario.network.node):
        key: Key = ("network", "node", i)
        if (exception.node is None) == (exception.nodes is None):
            yield key, "give node (one) or nodes (a list), and not both"
        if exception.uplink is None and exception.downlink is None:
            yield key, "neither uplink nor downlink is given; nothing would differ"
        for node in exception.members:
            if node in seen:
                yield key, f"node {node} has its rates already"
            seen.add(node)


def link_exceptions(scenario: Scenario) -> Found:
    """Each [[network.link]] joins two nodes, says something, and is the only one for its direction."""
    network = scenario.network
    changing = isinstance(scenario.topology, get_args(DynamicTopology))
    seen: set[tuple[int, int]] = set()
    for i, link in enumerate(network.link):
        key: Key = ("network", "link", i)
        if link.source == link.to:
            yield (*key, "to"), f"a link joins two different nodes, this one begins and ends at {link.to}"
        elif not seen.isdisjoint(link.directions):
            yield (
                key,
                f"the link between {link.source} and {link.to} was given earlier; both = false gives one way",
            )
        if link.latency is None and link.rate is None and link.loss is None:
            yield key, "none of latency, rate and loss is given; nothing would differ"
        if link.rate is not None and network.link_rate is not None and changing:
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
    nodes = node_count(scenario.topology)
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
    law = scenario.network.latency
    if isinstance(law, MatrixLatency | GeographicLatency) and not (base / law.path).is_file():
        yield (
            ("network", "latency", "path"),
            f"there is no file {base / law.path}; paths start at the scenario file",
        )


def linked_pairs(scenario: Scenario, base: Path) -> Found:
    """The pairs of [[network.link]] are linked; the graph is built to see that."""
    network = scenario.network
    if not network.link or isinstance(scenario.topology, get_args(DynamicTopology)):
        return
    from scenarios.assembly.links import strangers  # not at import: --help needs no networkx
    from scenarios.assembly.network import build_graph

    try:
        graph = build_graph(scenario, base)
    except ConfigurationError:
        return  # told by the checks of the topology, or when it is built
    for (*key, i), message in strangers(network, graph):
        link = network.link[int(i)]
        if link.source != link.to and max(link.source, link.to) < len(graph):
            yield (*key, i), message


CHECKS = (law_bounds, latency_and_jitter, reliable_transport, node_rates, link_exceptions, network_nodes)
FILE_CHECKS = (latency_file, linked_pairs)
