"""Build the graph, mixing weights and links of a run from its tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import networkx as nx
from scipy.sparse import csr_array

from scenarios.assembly.links import build_links
from scenarios.schema import Scenario
from simulator.network.links import LinkModel
from simulator.topology import mixing
from simulator.topology.overlays import Overlay


@dataclass(frozen=True)
class NetworkParts:
    """Graph, mixing weights and links of a run.

    Args:
        graph: undirected, on 0..n-1; None if links change during the run.
        neighbors: nodes that each node may ever exchange messages with, ascending; all other nodes if a topology that
            changes does not restrict them.
        weights: mixing matrix, row = receiver; if links change, that of time 0 and round 0.
        overlay: links and weights of every node in every epoch.
        link: model of the links.
        found: facts from files: ``labels`` of a graph file, ``places``, ``coordinates_deg`` and ``filled`` of
            delays.
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
    """Build graph, mixing weights and links from their tables.

    Args:
        scenario: the scenario.
        base: the folder that relative file names start at.
        placed: places the adversary in the graph and checks it, before neighbours and weights are computed; called
            with a graph without links if links change.

    Raises:
        ConfigurationError: the graph cannot be built, or a file is missing or wrong.
    """
    topology = scenario.topology
    built = topology.build(scenario.seed, base, scenario.mixing, placed)
    nodes = built.overlay.nodes
    described = built.file if topology.describes_links else None
    links = build_links(scenario.network, scenario.seed, nodes, base, built.graph, described)
    labels = {} if built.file is None else {"labels": list(built.file.labels)}
    return NetworkParts(
        graph=built.graph,
        neighbors=built.neighbors,
        weights=built.weights,
        overlay=built.overlay,
        link=links.link,
        found=labels | dict(links.notes),
    )
