"""Graphs by name and from files, and what files say of their links."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import streams
from simulator.errors import ConfigurationError
from simulator.topology import files as graph_file
from simulator.topology import graphs as topology
from simulator.topology import mixing


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
    read = graph_file.read(file, format).graph
    assert topology.neighborhoods(read) == topology.neighborhoods(nx.path_graph(12))


@settings(max_examples=60, deadline=None)
@given(nodes=st.integers(1, 24), degree=st.integers(0, 23), seed=st.integers(0, 2**32))
def test_paired_graphs_are_simple_and_regular(nodes: int, degree: int, seed: int) -> None:
    degree = min(degree, nodes - 1)
    degree -= nodes * degree % 2
    edges = topology.regular_edges(nodes, degree, rng(seed))
    assert edges.shape == (nodes * degree // 2, 2)
    assert (np.bincount(edges.ravel(), minlength=nodes) == degree).all()
    assert len({(min(i, j), max(i, j)) for i, j in edges.tolist() if i != j}) == len(edges)


def test_paired_edges_are_equally_likely() -> None:
    """Each edge of K_30 is in 2,000 3-regular graphs 3/29 of the time: within 7 deviations, error below 1e-6."""
    counts, graphs = np.zeros((30, 30)), 2_000
    for seed in range(graphs):
        i, j = topology.regular_edges(30, 3, rng(seed)).T
        np.add.at(counts, (np.minimum(i, j), np.maximum(i, j)), 1)
    p = 3 / 29
    assert np.abs(counts[np.triu_indices(30, 1)] / graphs - p).max() < 7 * (p * (1 - p) / graphs) ** 0.5


@pytest.mark.parametrize(
    "build",
    [
        lambda: topology.erdos_renyi(10_000, 0.0005, rng()),
        lambda: topology.clusters([5_000, 5_000], 0.0005, 0.0005, rng()),
    ],
)
def test_large_graphs_that_cannot_connect_are_refused_at_once(build: Callable[[], nx.Graph]) -> None:
    with pytest.raises(ConfigurationError, match="make it denser"):
        build()


# ---------------------------------------------------------------- files


def test_labels_that_only_look_like_numbers_are_names(tmp_path: Path) -> None:
    file = tmp_path / "graph.edgelist"
    file.write_text("1 \u00b2\n\u00b2 --5\n", encoding="utf-8")
    assert topology.neighborhoods(graph_file.read(file, "edgelist").graph) == [(2,), (2,), (0, 1)]


def test_degrees_and_formats_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="degree must be from 1 to"):
        topology.small_world(4, 6, 0.1, rng())
    with pytest.raises(ConfigurationError, match="expected one of graphml"):
        graph_file.read(tmp_path / "graph.dot", "dot")


def test_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        graph_file.read(tmp_path / "none.gml", "gml")
    for format, text in (
        ("graphml", "<oops"),
        ("gml", "graph ["),
        ("edgelist", "1 2 {oops"),
        ("adjlist", "7\n"),
        ("gml", "graph [ edge 3 ]"),
        ("adjlist", "\n \n"),
        ("edgelist", "1 2 5\n"),
        ("edgelist", "1 2 " + "(" * 5000 + "\n"),
    ):
        file = tmp_path / f"broken.{format}"
        file.write_text(text)
        with pytest.raises(ConfigurationError, match="broken") as refused:
            graph_file.read(file, format)
        assert "\n" not in str(refused.value)


def test_an_edge_list_says_what_holds_of_its_links(tmp_path: Path) -> None:
    file = tmp_path / "graph.edgelist"
    file.write_text("# a comment\n7 9 {'latency': '50 ms', 'weight': 0.25}\n9 8 {'loss': 0.1}\n8 8\n7 8\n")
    found = graph_file.read(file, "edgelist")
    assert found.labels == ("7", "8", "9")
    assert topology.neighborhoods(found.graph) == [(1, 2), (0, 2), (0, 1)]
    given = {"latency": "50 ms", "weight": 0.25}
    assert found.attributes == {
        **{(0, 2): given, (2, 0): given},
        **{(2, 1): {"loss": 0.1}, (1, 2): {"loss": 0.1}},
        **{(0, 1): {}, (1, 0): {}},
    }


@pytest.mark.parametrize("format", ["graphml", "gml"])
def test_directed_files_speak_of_each_direction(tmp_path: Path, format: str) -> None:
    graph = nx.DiGraph()
    graph.add_edge("a", "b", latency="5 ms", weight=0.25)
    graph.add_edge("b", "a", latency="7 ms", weight=0.5)
    graph.add_edge("b", "c", bandwidth=1e6)
    file = tmp_path / "graph"
    getattr(nx, f"write_{format}")(graph, file)
    found = graph_file.read(file, format)
    assert topology.neighborhoods(found.graph) == [(1,), (0, 2), (1,)]
    assert found.attributes == {
        (0, 1): {"latency": "5 ms", "weight": 0.25},
        (1, 0): {"latency": "7 ms", "weight": 0.5},
        (1, 2): {"bandwidth": 1e6},
        (2, 1): {},
    }
    with pytest.raises(ConfigurationError, match="link from b to c has no attribute weight") as refused:
        graph_file.mixing_weights(found)
    assert refused.value.key == "mixing.kind"


def test_weights_of_a_file_mix_towards_the_receiver(tmp_path: Path) -> None:
    graph = nx.DiGraph()
    graph.add_edge("a", "b", weight=0.25)
    graph.add_edge("b", "a", weight=0.5)
    nx.write_graphml(graph, tmp_path / "graph")
    found = graph_file.read(tmp_path / "graph", "graphml")
    weights = mixing.from_edges(topology.neighborhoods(found.graph), graph_file.mixing_weights(found))
    assert weights.toarray().tolist() == [[0.5, 0.5], [0.25, 0.75]]
    graph["a"]["b"]["weight"] = "heavy"
    nx.write_gml(graph, tmp_path / "text")
    with pytest.raises(ConfigurationError, match="weight 'heavy', which is no number"):
        graph_file.mixing_weights(graph_file.read(tmp_path / "text", "gml"))


def test_a_link_listed_twice_is_one_link_or_a_contradiction(tmp_path: Path) -> None:
    file = tmp_path / "graph.edgelist"
    file.write_text("1 2 {'latency': 5}\n2 1 {'latency': 5}\n")
    assert graph_file.read(file, "edgelist").attributes[0, 1] == {"latency": 5}
    file.write_text("1 2 {'latency': 5}\n2 1 {'latency': 6}\n")
    with pytest.raises(ConfigurationError, match="more than once, with different attributes") as refused:
        graph_file.read(file, "edgelist")
    assert refused.value.key == "topology.path"


def test_blank_lines_of_an_adjacency_list_mean_nothing(tmp_path: Path) -> None:
    file = tmp_path / "graph.adjlist"
    file.write_text("# three nodes\n\n1 2 3\n  # and no more\n2 3\n \n")
    assert topology.neighborhoods(graph_file.read(file, "adjlist").graph) == [(1, 2), (0, 2), (0, 1)]


def test_gml_without_labels_is_numbered_by_its_ids(tmp_path: Path) -> None:
    file = tmp_path / "graph.gml"
    file.write_text("graph [ node [ id 3 ] node [ id 10 ] edge [ source 3 target 10 loss 0.5 ] ]")
    found = graph_file.read(file, "gml")
    assert found.labels == ("3", "10")
    assert found.attributes[1, 0] == {"loss": 0.5}


def test_schedules_are_read_time_by_time(tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    file.write_text("from, a, b\n0, 1, 0\n0, 2, 1\n\n1.5, , \n4, 0, 2\n")
    assert graph_file.read_schedule(file, 3) == [(0, [(0, 1), (1, 2)]), (1.5, []), (4, [(0, 2)])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", ":1: the columns are missing; expected from, a, b"),
        ("from,a,b\n", "is empty; expected at least one row"),
        ("from,x,b\n0,1,2\n", ":1: the columns are from, x, b; expected"),
        ("from,a,b\n0,0,1\n0,1\n", ":3: 2 columns; expected 3"),
        ("from,a,b\nsoon,0,1\n", ":2: from is 'soon'; expected seconds or a round"),
        ("from,a,b\n-1,0,1\n", ":2: from is '-1'"),
        ("from,a,b\nnan,0,1\n", ":2: from is 'nan'"),
        ("from,a,b\n5,0,1\n4,1,2\n", ":3: from is 4 after 5; expected times that ascend"),
        ("from,a,b\n0,0,3\n", ":2: b is '3'; expected a node from 0 to 2"),
        ("from,a,b\n0,,1\n", ":2: a is ''; expected a node"),
        ("from,a,b\n0,1,1\n", ":2: node 1 is linked to itself"),
        ("from,a,b\n0,0,1\n0,1,0\n", ":3: the link 0-1 is listed twice at 0"),
        ("from,a,b\n0,0,1\n0,,\n", ":3: at 0 there are both links and a row that says there are none"),
        ("from,a,b\n0,,\n0,0,1\n", ":3: at 0 there are both"),
        ('from,a,b\n0,"0,1\n', "is no readable CSV"),
        ("from,a,b\n0,0,\x00\n", ":2: b is"),
    ],
)
def test_broken_schedules_are_named_by_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "links.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        graph_file.read_schedule(file, 3)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.key == "topology.path"


def test_a_schedule_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        graph_file.read_schedule(tmp_path / "none.csv", 3)


def test_clusters_are_denser_inside() -> None:
    graph = topology.clusters([20, 20], 0.8, 0.05, rng())
    inside = sum((i < 20) == (j < 20) for i, j in graph.edges)
    assert inside > 5 * (graph.number_of_edges() - inside)


def test_more_links_than_nodes_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="links must be"):
        topology.barabasi_albert(5, 5, rng())


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
    from scenarios.kinds.topologies import Topology

    table = Topology.kinds()[str(spec["kind"])].model_validate(spec)
    graph = table.graph(1, Path())
    assert graph is not None
    around = topology.neighborhoods(graph)
    assert table.node_count == len(around)
    assert table.least_degree in (None, min(map(len, around)))
    if table.regular:
        assert len({len(neighbors) for neighbors in around}) == 1
    if table.tree_levels:
        assert nx.is_tree(graph)
        assert nx.eccentricity(graph, 0) == table.tree_levels
