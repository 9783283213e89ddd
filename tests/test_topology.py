"""Graphs by name and from files, and the mixing matrices over them."""

from __future__ import annotations

from math import cos, pi
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import mixing, streams, topology
from simulator.errors import ConfigurationError


def rng(seed: int = 1) -> np.random.Generator:
    return streams.generator(seed, "test")


@pytest.mark.parametrize(
    ("graph", "nodes", "degrees"),
    [
        (topology.ring(7), 7, {2}),
        (topology.path(5), 5, {1, 2}),
        (topology.complete(6), 6, {5}),
        (topology.star(6), 6, {1, 5}),
        (topology.grid(3, 4), 12, {2, 3, 4}),
        (topology.grid(3, 4, periodic=True), 12, {4}),
        (topology.regular(16, 4, rng()), 16, {4}),
        (topology.small_world(12, 4, 0.0, rng()), 12, {4}),
        (topology.barabasi_albert(5, 4, rng()), 5, {1, 4}),
        (topology.hypercube(4), 16, {4}),
        (topology.exponential(8), 8, {5}),
        (topology.exponential(12), 12, {6}),
        (topology.clusters([4, 5], 1.0, 1.0, rng()), 9, {8}),
        (topology.dumbbell(5), 10, {4, 5}),
        (topology.dumbbell(4, 2), 10, {2, 3, 4}),
        (topology.tree(2, 3), 15, {1, 2, 3}),
        (topology.named("petersen"), 10, {3}),
        (topology.named("florentine"), 15, {1, 2, 3, 4, 6}),
    ],
)
def test_named_graphs(graph: nx.Graph, nodes: int, degrees: set[int]) -> None:
    around = topology.neighborhoods(graph)
    assert len(around) == nodes
    assert {len(n) for n in around} == degrees
    assert nx.is_connected(graph)
    assert all(i in around[j] for i, n in enumerate(around) for j in n)


def test_random_graphs_follow_their_generator() -> None:
    first, second, third = (topology.regular(16, 4, rng(seed)) for seed in (1, 1, 2))
    assert nx.utils.edges_equal(first.edges, second.edges)
    assert not nx.utils.edges_equal(first.edges, third.edges)
    assert nx.is_connected(topology.erdos_renyi(20, 0.2, rng()))


@pytest.mark.parametrize(("nodes", "degree"), [(4, 4), (5, 3)])
def test_impossible_regular_graphs_are_refused(nodes: int, degree: int) -> None:
    with pytest.raises(ConfigurationError, match="degree must be below nodes"):
        topology.regular(nodes, degree, rng())


def test_graphs_too_sparse_to_connect_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="make it denser"):
        topology.erdos_renyi(50, 0.001, rng())


@pytest.mark.parametrize("format", ["graphml", "gml", "edgelist", "adjlist"])
def test_files_are_read_with_nodes_in_the_order_of_their_labels(tmp_path: Path, format: str) -> None:
    graph = nx.relabel_nodes(nx.path_graph(12), lambda i: i + 5)
    file = tmp_path / f"graph.{format}"
    getattr(nx, f"write_{format}")(graph, file)
    read = topology.from_file(file, format)
    assert topology.neighborhoods(read) == topology.neighborhoods(nx.path_graph(12))


def test_labels_that_only_look_like_numbers_are_names(tmp_path: Path) -> None:
    file = tmp_path / "graph.edgelist"
    file.write_text("1 \u00b2\n\u00b2 --5\n", encoding="utf-8")
    assert topology.neighborhoods(topology.from_file(file, "edgelist")) == [(2,), (2,), (0, 1)]


def test_degrees_and_formats_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="degree must be from 1 to"):
        topology.small_world(4, 6, 0.1, rng())
    with pytest.raises(ConfigurationError, match="expected one of graphml"):
        topology.from_file(tmp_path / "graph.dot", "dot")


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        topology.from_file(tmp_path / "none.gml", "gml")
    for format, text in (
        ("graphml", "<oops"),
        ("gml", "graph ["),
        ("edgelist", "1 2 {oops"),
        ("adjlist", "7\n"),
        ("gml", "graph [ edge 3 ]"),
    ):
        file = tmp_path / f"broken.{format}"
        file.write_text(text)
        with pytest.raises(ConfigurationError, match="broken"):
            topology.from_file(file, format)


@settings(max_examples=30, deadline=None)
@given(nodes=st.integers(4, 20), p=st.floats(0.3, 0.9), seed=st.integers(0, 50))
def test_mixing_is_symmetric_stochastic_and_local(nodes: int, p: float, seed: int) -> None:
    around = topology.neighborhoods(topology.erdos_renyi(nodes, p, rng(seed)))
    for rule in (mixing.metropolis, mixing.max_degree):
        weights = rule(around)
        found = mixing.properties(weights)
        assert found["symmetric"]
        assert found["doubly_stochastic"]
        assert found["connected"]
        assert (weights >= -1e-15).all()
        assert all(
            (weights[i, j] > 0) == (j in around[i]) for i in range(nodes) for j in range(nodes) if i != j
        )


def test_the_spectral_gap_of_a_ring_is_known() -> None:
    n = 12
    gap = mixing.properties(mixing.metropolis(topology.neighborhoods(topology.ring(n))))["spectral_gap"]
    assert gap == pytest.approx(1 - (1 + 2 * cos(2 * pi / n)) / 3)


def test_a_disconnected_graph_is_seen() -> None:
    assert not mixing.properties(mixing.metropolis([(1,), (0,), (3,), (2,)]))["connected"]


def test_clusters_are_denser_inside() -> None:
    graph = topology.clusters([20, 20], 0.8, 0.05, rng())
    inside = sum((i < 20) == (j < 20) for i, j in graph.edges)
    assert inside > 5 * (graph.number_of_edges() - inside)


def test_more_links_than_nodes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="links must be"):
        topology.barabasi_albert(5, 5, rng())


def test_lazy_mixing_has_no_negative_eigenvalue_and_uniform_mixing_is_row_stochastic() -> None:
    around = topology.neighborhoods(topology.named("karate"))
    lazy = mixing.lazy(around)
    assert np.linalg.eigvalsh(lazy).min() >= -1e-12
    assert mixing.properties(lazy)["doubly_stochastic"]
    uniform = mixing.uniform_neighbour(around)
    assert np.allclose(uniform.sum(1), 1)
    assert not mixing.properties(uniform)["doubly_stochastic"]
    assert mixing.properties(mixing.uniform_neighbour(topology.neighborhoods(topology.ring(9))))["symmetric"]


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "exponential", "nodes": 12},
        {"kind": "barabasi-albert", "nodes": 12, "links": 2},
        {"kind": "hypercube", "dimension": 3},
        {"kind": "clusters", "sizes": [4, 5, 6], "inside": 0.9, "between": 0.2},
        {"kind": "dumbbell", "clique": 4},
        {"kind": "dumbbell", "clique": 4, "bridge": 3},
        {"kind": "tree", "branching": 2, "height": 3},
        {"kind": "named", "name": "karate"},
        {"kind": "named", "name": "florentine"},
        {"kind": "named", "name": "petersen"},
    ],
    ids=lambda spec: "-".join(map(str, spec.values())),
)
def test_what_a_scenario_says_of_its_graph_is_what_is_built(spec: dict[str, object]) -> None:
    """Node count and smallest degree, known from the tables alone, agree with the graph."""
    from scenarios.build import build_graph
    from scenarios.checks_world import least_degree
    from scenarios.load import load, merged, resolve
    from scenarios.world_tables import node_count

    raw = merged(load("quickstart", ["protocol.exchange=plain", "fault=[]"]).raw, {"topology": spec})
    raw["adversary"] = {}
    scenario = resolve(raw)
    around = topology.neighborhoods(build_graph(scenario, Path()))
    assert node_count(scenario.topology) == len(around)
    assert least_degree(scenario) in (None, min(map(len, around)))
