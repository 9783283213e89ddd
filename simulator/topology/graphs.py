"""Graphs by name or from a file, as networkx graphs on 0..n-1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log1p

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError


def ring(nodes: int) -> nx.Graph:
    """A cycle."""
    return nx.cycle_graph(nodes)


def path(nodes: int) -> nx.Graph:
    """A path graph: nodes in a line."""
    return nx.path_graph(nodes)


def complete(nodes: int) -> nx.Graph:
    """A complete graph."""
    return nx.complete_graph(nodes)


def star(nodes: int) -> nx.Graph:
    """A star with node 0 at its centre."""
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


def regular_edges(nodes: int, degree: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """A random regular graph, connected or not, as an array of edges of shape (nodes x degree / 2, 2).

    Half-edges are paired at random; each loop or double edge is then switched with a random edge. Uniform up to o(1)
    as the graph grows at a fixed degree (McKay and Wormald 1990, J. Algorithms 11, make such switchings exact).
    Dense graphs are complements of sparse ones.
    """
    if 2 * degree > nodes - 1:
        absent = np.ones((nodes, nodes), bool)
        np.fill_diagonal(absent, False)
        left_out = regular_edges(nodes, nodes - 1 - degree, rng)
        absent[left_out[:, 0], left_out[:, 1]] = absent[left_out[:, 1], left_out[:, 0]] = False
        return np.argwhere(np.triu(absent))
    while True:
        ends = rng.permutation(np.repeat(np.arange(nodes), degree)).reshape(-1, 2)
        if _made_simple(ends, nodes, rng):
            return ends


def _made_simple(ends: NDArray[np.int64], nodes: int, rng: np.random.Generator) -> bool:
    """Switch loops and double edges away, in place; False if no switch was found for one of them."""

    def code(a: int, b: int) -> int:
        return min(a, b) * nodes + max(a, b)

    codes = ends.min(1) * nodes + ends.max(1)
    bad = np.ones(len(ends), bool)
    bad[np.unique(codes, return_index=True)[1]] = False
    bad |= ends[:, 0] == ends[:, 1]
    present = set(codes[~bad].tolist())
    for broken in np.flatnonzero(bad).tolist():
        a, b = ends[broken].tolist()
        for other in rng.integers(len(ends), size=_SWITCHES).tolist():
            c, d = ends[other].tolist()
            if rng.integers(2):
                c, d = d, c
            if bad[other] or a == c or b == d or code(a, c) in present or code(b, d) in present:
                continue
            present.remove(code(c, d))
            present.update((code(a, c), code(b, d)))
            ends[broken], ends[other], bad[broken] = (a, c), (b, d), False
            break
        else:
            return False
    return True


def erdos_renyi(nodes: int, p: float, rng: np.random.Generator) -> nx.Graph:
    """A connected G(n, p)."""
    _refuse_isolated([(nodes, (nodes - 1) * log1p(-min(p, _NEARLY_ONE)))], "topology.p")
    return _connected(lambda seed: nx.fast_gnp_random_graph(nodes, p, seed=seed), rng, "topology.p")


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
    absent = [log1p(-min(p, _NEARLY_ONE)) for p in (inside, between)]
    _refuse_isolated(
        [(size, (size - 1) * absent[0] + (sum(sizes) - size) * absent[1]) for size in sizes],
        "topology.between",
    )
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


def neighborhoods(graph: nx.Graph) -> list[tuple[int, ...]]:
    """Neighbours of each node in ascending order."""
    return [tuple(sorted(graph[i])) for i in range(graph.number_of_nodes())]


_SWITCHES = 200
_NEARLY_ONE = 1 - 2.0**-53
_HOPELESS = 40.0


def _refuse_isolated(expected: Sequence[tuple[int, float]], key: str) -> None:
    """Refuse without trying where isolated nodes are sure: (nodes, log of the probability that one has no link).

    Their number is nearly Poisson (Bollobás 2001, section 3.1), so none has probability exp(-40) or less.
    """
    if sum(nodes * exp(alone) for nodes, alone in expected) > _HOPELESS:
        raise ConfigurationError("no draw would give a connected graph; make it denser", key)


def _connected(
    draw: Callable[[int], nx.Graph], rng: np.random.Generator, key: str, tries: int = 200
) -> nx.Graph:
    for _ in range(tries):
        graph = draw(int(rng.integers(2**31)))
        if nx.is_connected(graph):
            return graph
    raise ConfigurationError(f"{tries} draws gave no connected graph; make it denser", key)
