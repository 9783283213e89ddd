"""From graphs, mixing and network tables to what a run needs of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, get_args, overload

import networkx as nx
from scipy.sparse import csr_array

from scenarios.assembly.links import build_links
from scenarios.kinds import topologies
from scenarios.schema import Scenario
from simulator import streams
from simulator.network.links import LinkModel
from simulator.topology import files as graph_file
from simulator.topology import graphs, mixing, overlays
from simulator.topology.overlays import Overlay
from simulator.topology.repair import churn_driven

MIXING = {
    "metropolis": mixing.metropolis,
    "max-degree": mixing.max_degree,
    "lazy": mixing.lazy,
    "uniform-neighbour": mixing.uniform_neighbour,
}


@dataclass(frozen=True)
class NetworkParts:
    """Who is linked to whom, how much each counts, and how messages travel.

    Args:
        graph: undirected, on 0..n-1; None where links change during the run.
        neighbors: whom each node may ever exchange messages with, ascending. Where links change that is known for
            one-peer-exponential and schedule, and all other nodes elsewhere.
        weights: mixing matrix, row = receiver; where links change, that of the epoch of time 0 and round 0.
        overlay: links and weights of every node in every epoch.
        link: how messages travel.
        found: facts out of files: ``labels`` of a graph file, ``places`` and ``filled`` of delays.
    """

    graph: nx.Graph | None
    neighbors: Sequence[tuple[int, ...]]
    weights: csr_array
    overlay: Overlay
    link: LinkModel
    found: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def notes(self) -> Mapping[str, Any]:
        """Facts for the manifest, JSON-ready.

        ``nodes``; ``fixed``, whether links stay; of the graph, or of the one at time 0 and round 0, ``edges`` (links
        that carry messages in either direction), ``connected`` and ``mixing``
        (:func:`simulator.topology.mixing.properties`); and what was found in files.
        """
        nodes, epoch = self.overlay.nodes, self.overlay.epoch(0, 0)
        first = nx.empty_graph(nodes)
        first.add_edges_from(
            (node, peer) for node in range(nodes) for peer in self.overlay.links(node, epoch).sources
        )
        return {
            "nodes": nodes,
            "fixed": self.overlay.fixed,
            "edges": first.number_of_edges(),
            "connected": nx.is_connected(first),
            "mixing": mixing.properties(self.weights),
            **self.found,
        }


def build_network(
    scenario: Scenario, base: Path, placed: Callable[[nx.Graph], nx.Graph] = lambda graph: graph
) -> NetworkParts:
    """Make everything that graphs, mixing and network tables speak of.

    Args:
        scenario: the scenario.
        base: the folder relative file names start at.
        placed: puts an adversary into the graph and refuses one that does not fit the scenario, before anything
            follows from it; told of a graph without links where links change.

    Raises:
        ConfigurationError: there is no such graph, or a file is missing or wrong.
    """
    spec = scenario.topology
    if isinstance(spec, get_args(topologies.DynamicTopology)):
        placed(nx.empty_graph(spec.nodes))
        changing = build_overlay(scenario, base)
        links = build_links(scenario, base, changing.nodes, None, None)
        return NetworkParts(
            graph=None,
            neighbors=_ever_linked(spec, changing, base),
            weights=overlays.matrix(changing, changing.epoch(0, 0)),
            overlay=changing,
            link=links.link,
            found=links.notes,
        )
    file = None
    if isinstance(spec, topologies.FileTopology):
        file = graph_file.read(base / spec.path, spec.format)
    graph = placed(build_graph(scenario, base) if file is None else file.graph)
    neighbors = graphs.neighborhoods(graph)
    weights = build_weights(scenario, neighbors, file)
    attributed = file if isinstance(spec, topologies.FileTopology) and spec.attributes else None
    links = build_links(scenario, base, len(neighbors), graph, attributed)
    labels = {} if file is None else {"labels": list(file.labels)}
    return NetworkParts(
        graph=graph,
        neighbors=neighbors,
        weights=weights,
        overlay=overlays.fixed(neighbors, weights),
        link=links.link,
        found=labels | dict(links.notes),
    )


def build_graph(scenario: Scenario, base: Path) -> nx.Graph:
    """A topology that stays as it is, drawn from the seed's own stream where it is random."""
    spec, rng = scenario.topology, streams.generator(scenario.seed, "topology")
    match spec:
        case topologies.NamedTopology():
            named = {
                "ring": graphs.ring,
                "path": graphs.path,
                "complete": graphs.complete,
                "star": graphs.star,
                "exponential": graphs.exponential,
            }
            return named[spec.kind](spec.nodes)
        case topologies.RegularTopology():
            return graphs.regular(spec.nodes, spec.degree, rng)
        case topologies.ErdosRenyiTopology():
            return graphs.erdos_renyi(spec.nodes, spec.p, rng)
        case topologies.SmallWorldTopology():
            return graphs.small_world(spec.nodes, spec.degree, spec.rewire, rng)
        case topologies.GridTopology():
            return graphs.grid(spec.rows, spec.columns, periodic=spec.kind == "torus")
        case topologies.BarabasiAlbertTopology():
            return graphs.barabasi_albert(spec.nodes, spec.links, rng)
        case topologies.HypercubeTopology():
            return graphs.hypercube(spec.dimension)
        case topologies.ClustersTopology():
            return graphs.clusters(spec.sizes, spec.inside, spec.between, rng)
        case topologies.DumbbellTopology():
            return graphs.dumbbell(spec.clique, spec.bridge)
        case topologies.TreeTopology():
            return graphs.tree(spec.branching, spec.height)
        case topologies.KnownTopology():
            return graphs.named(spec.name)
        case topologies.FileTopology():
            return graphs.from_file(base / spec.path, spec.format)
        case _:
            raise TypeError(f"the links of {spec.kind} change; there is no one graph")


def build_overlay(scenario: Scenario, base: Path) -> Overlay:
    """A topology whose links change."""
    spec, seed = scenario.topology, scenario.seed
    match spec:
        case topologies.EpidemicTopology():
            draw = overlays.epidemic if spec.where == "global" else overlays.epidemic_local
            return draw(spec.nodes, spec.degree, seed, every=spec.every)
        case topologies.OnePeerExponentialTopology():
            return overlays.one_peer_exponential(spec.nodes, every=spec.every)
        case topologies.MatchingTopology():
            return overlays.matching(spec.nodes, seed, every=spec.every)
        case topologies.PeerSamplingTopology():
            start = graphs.regular(spec.nodes, spec.degree, streams.generator(seed, "topology"))
            return overlays.peer_sampling(
                graphs.neighborhoods(start), seed, switches=spec.switches, every=spec.every
            )
        case topologies.ScheduleTopology():
            epochs = graph_file.read_schedule(base / spec.path, spec.nodes)
            return overlays.schedule(spec.nodes, epochs, by=spec.by)
        case topologies.ChurnTopology():
            return churn_driven(spec.nodes, spec.degree, seed, spec.repair)
        case _:
            raise TypeError(f"the links of {spec.kind} do not change; build its graph")


def build_weights(
    scenario: Scenario, neighbors: Sequence[tuple[int, ...]], file: graph_file.GraphFile | None
) -> csr_array:
    """Mixing matrix of a graph that stays, by the rule of the scenario or from the graph's file."""
    rule = topologies.Mixing() if scenario.mixing is None else scenario.mixing
    if rule.kind == "file":
        if file is None:
            raise TypeError("only a graph file has mixing weights")
        return mixing.from_edges(neighbors, graph_file.mixing_weights(file))
    return MIXING[rule.kind](neighbors)


class _EverybodyElse(Sequence[tuple[int, ...]]):
    """All other nodes, for each node; put together when asked for, as n lists of n - 1 nodes take much room."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes

    def __len__(self) -> int:
        return self._nodes

    @overload
    def __getitem__(self, node: int) -> tuple[int, ...]: ...
    @overload
    def __getitem__(self, node: slice) -> list[tuple[int, ...]]: ...
    def __getitem__(self, node: int | slice) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(node, slice):
            return [self[one] for one in range(self._nodes)[node]]
        own = range(self._nodes)[node]
        return (*range(own), *range(own + 1, self._nodes))


def _ever_linked(spec: topologies.Topology, changing: Overlay, base: Path) -> Sequence[tuple[int, ...]]:
    """Whom each node may ever be linked to."""
    nodes = changing.nodes
    match spec:
        case topologies.OnePeerExponentialTopology():
            return graphs.neighborhoods(graphs.exponential(nodes))
        case topologies.ScheduleTopology():
            union = nx.empty_graph(nodes)
            for _, links in graph_file.read_schedule(base / spec.path, nodes):
                union.add_edges_from(links)
            return graphs.neighborhoods(union)
        case _:
            return _EverybodyElse(nodes)
