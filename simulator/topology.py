"""Who is connected to whom: networkx graphs by name or from a file, relabelled 0..n-1."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import networkx as nx
import numpy as np

from simulator.errors import ConfigurationError


def ring(nodes: int) -> nx.Graph:
    """A cycle."""
    return nx.cycle_graph(nodes)


def path(nodes: int) -> nx.Graph:
    """A line."""
    return nx.path_graph(nodes)


def complete(nodes: int) -> nx.Graph:
    """Everybody knows everybody."""
    return nx.complete_graph(nodes)


def star(nodes: int) -> nx.Graph:
    """Node 0 in the middle."""
    return nx.star_graph(nodes - 1)


def grid(rows: int, columns: int, *, periodic: bool = False) -> nx.Graph:
    """A 2-D grid, or a torus when periodic; node index = row · columns + column."""
    return nx.convert_node_labels_to_integers(
        nx.grid_2d_graph(rows, columns, periodic=periodic), ordering="sorted"
    )


def regular(nodes: int, degree: int, rng: np.random.Generator) -> nx.Graph:
    """A connected random regular graph."""
    if degree >= nodes or nodes * degree % 2:
        raise ConfigurationError(
            f"no {degree}-regular graph on {nodes} nodes: degree must be below nodes, nodes x degree even",
            "topology.degree",
        )
    return _connected(lambda seed: nx.random_regular_graph(degree, nodes, seed=seed), rng, "topology.degree")


def erdos_renyi(nodes: int, p: float, rng: np.random.Generator) -> nx.Graph:
    """A connected G(n, p)."""
    return _connected(lambda seed: nx.gnp_random_graph(nodes, p, seed=seed), rng, "topology.p")


def small_world(nodes: int, degree: int, rewire: float, rng: np.random.Generator) -> nx.Graph:
    """A connected Watts–Strogatz graph."""
    if not 0 < degree < nodes:
        raise ConfigurationError(
            f"degree must be from 1 to nodes - 1 = {nodes - 1}, got {degree}", "topology.degree"
        )
    return _connected(
        lambda seed: nx.watts_strogatz_graph(nodes, degree, rewire, seed=seed), rng, "topology.degree"
    )


def barabasi_albert(nodes: int, links: int, rng: np.random.Generator) -> nx.Graph:
    """Preferential attachment: every new node links to ``links`` others, likelier to those with many."""
    if not 1 <= links < nodes:
        raise ConfigurationError(
            f"links must be from 1 to nodes - 1 = {nodes - 1}, got {links}", "topology.links"
        )
    return nx.barabasi_albert_graph(nodes, links, seed=int(rng.integers(2**31)))


def hypercube(dimension: int) -> nx.Graph:
    """2^dimension nodes; neighbours differ in one bit of their number."""
    nodes = range(2**dimension)
    return nx.Graph((node, node ^ (1 << bit)) for node in nodes for bit in range(dimension))


def exponential(nodes: int) -> nx.Graph:
    """Node i is linked to i + 1, i + 2, i + 4, … (mod nodes), without direction (Assran et al. 2019)."""
    graph = nx.empty_graph(nodes)
    hops = [2**k for k in range((nodes - 1).bit_length())]
    graph.add_edges_from((i, (i + hop) % nodes) for i in range(nodes) for hop in hops)
    return graph


def clusters(sizes: Sequence[int], inside: float, between: float, rng: np.random.Generator) -> nx.Graph:
    """A connected stochastic block graph: ``inside`` and ``between`` are edge probabilities."""
    probabilities = [[inside if i == j else between for j in range(len(sizes))] for i in range(len(sizes))]
    return _connected(
        lambda seed: nx.stochastic_block_model(list(sizes), probabilities, seed=seed), rng, "topology.between"
    )


def dumbbell(clique: int, bridge: int = 0) -> nx.Graph:
    """Two cliques of ``clique`` nodes joined by a path of ``bridge`` further nodes."""
    return nx.barbell_graph(clique, bridge)


def tree(branching: int, height: int) -> nx.Graph:
    """A full tree; node 0 is the root, leaves are ``height`` hops away."""
    return nx.balanced_tree(branching, height)


def named(name: str) -> nx.Graph:
    """A small graph that papers use: karate, florentine or petersen, numbered as networkx lists its nodes."""
    known = {
        "karate": nx.karate_club_graph,
        "florentine": nx.florentine_families_graph,
        "petersen": nx.petersen_graph,
    }
    graph = known[name]()
    numbers = {node: i for i, node in enumerate(graph)}
    plain = nx.empty_graph(len(numbers))
    plain.add_edges_from((numbers[a], numbers[b]) for a, b in graph.edges)
    return plain


_INTEGER = re.compile(r"-?[0-9]+")

_READERS: dict[str, Callable[[Path], nx.Graph]] = {
    "graphml": nx.read_graphml,
    "gml": nx.read_gml,
    "edgelist": nx.read_edgelist,
    "adjlist": nx.read_adjlist,
}


def from_file(file: Path, format: str) -> nx.Graph:
    """Read a graph; nodes are renumbered in the order of their labels, numeric if all are numbers."""
    if format not in _READERS:
        known = ", ".join(_READERS)
        raise ConfigurationError(
            f"topology format {format!r} is unknown; expected one of {known}", "topology.format"
        )
    try:
        graph = _READERS[format](file)
    except FileNotFoundError:
        raise ConfigurationError(f"topology file {file} does not exist", "topology.path") from None
    except (
        nx.NetworkXException,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        OSError,
        SyntaxError,
    ) as error:
        raise ConfigurationError(
            f"topology file {file} is no readable {format}: {error}", "topology.path"
        ) from error
    graph = nx.Graph(graph)
    graph.remove_edges_from([(i, j) for i, j in graph.edges if i == j])
    if graph.number_of_nodes() < 2:
        raise ConfigurationError(f"topology file {file} holds fewer than two nodes", "topology.path")
    labels = list(graph.nodes)
    numeric = all(_INTEGER.fullmatch(str(label)) for label in labels)
    ordered = sorted(labels, key=(lambda label: int(label)) if numeric else str)
    return nx.relabel_nodes(graph, {label: i for i, label in enumerate(ordered)})


def neighborhoods(graph: nx.Graph) -> list[tuple[int, ...]]:
    """Neighbours of each node in ascending order."""
    return [tuple(sorted(graph[i])) for i in range(graph.number_of_nodes())]


def _connected(
    draw: Callable[[int], nx.Graph], rng: np.random.Generator, key: str, tries: int = 200
) -> nx.Graph:
    for _ in range(tries):
        graph = draw(int(rng.integers(2**31)))
        if nx.is_connected(graph):
            return graph
    raise ConfigurationError(f"{tries} draws gave no connected graph; make it denser", key)
