"""Linear reconstruction: exact sets of known graphs, and updates of decentralised gradient descent."""

from __future__ import annotations

import json
from typing import Any

import networkx as nx
import numpy as np
import pytest

from analysis.inference.elimination import PRIME, Elimination
from analysis.inference.reconstruction import rational, reach, solve_updates
from simulator.topology import mixing
from tests.support.places import DATA
from tests.support.rational import rational_weights

GRAPHS = json.loads((DATA / "reconstruction.json").read_text())["graphs"]
CASES = [(name, i) for name, graph in GRAPHS.items() for i in range(len(graph["cases"]))]


def graph_of(name: str) -> nx.Graph:
    graph = nx.empty_graph(GRAPHS[name]["n"])
    graph.add_edges_from(GRAPHS[name]["edges"])
    return graph


@pytest.mark.parametrize("prime", [None, PRIME])
@pytest.mark.parametrize(("name", "i"), CASES)
def test_plain_views(name: str, i: int, prime: int | None) -> None:
    case = GRAPHS[name]["cases"][i]
    weights = rational_weights(graph_of(name), "metropolis" if case["W"] == "metropolis" else "max-degree")
    reached = reach(weights, case["attackers"], case["Tmax"], "plain", prime)
    found = [[after.rounds, after.rank, list(after.nodes)] for after in reached]
    assert found == case["by_T"]


NAMED: dict[str, nx.Graph] = {
    "ring10": nx.cycle_graph(10),
    "complete8": nx.complete_graph(8),
    "petersen": nx.petersen_graph(),
    "cube": nx.convert_node_labels_to_integers(nx.hypercube_graph(4)),
    "grid": nx.convert_node_labels_to_integers(nx.grid_2d_graph(4, 4)),
    "line": nx.path_graph(11),
    "karate": nx.Graph(nx.karate_club_graph().edges),
    "barbell": nx.barbell_graph(5, 1),
}


@pytest.mark.parametrize(
    ("name", "coalition", "plain", "sums"),
    [
        ("ring10", {0}, 10, 2),
        ("ring10", {0, 1}, 10, 10),
        ("complete8", {0}, 8, 1),
        ("petersen", {0}, 4, 1),
        ("cube", {0}, 10, 2),
        ("grid", {0}, 16, 4),
        ("line", {0}, 11, 11),
        ("karate", {0}, 29, 23),
        ("karate", {0, 1}, 29, 23),
        ("barbell", {0}, 7, 4),
    ],
)
def test_secure_sums_hide_more_but_not_everything(
    name: str, coalition: set[int], plain: int, sums: int
) -> None:
    """Counts include the coalition, Metropolis weights, as many rounds as nodes."""
    weights = rational_weights(NAMED[name], "metropolis")
    for view, count in (("plain", plain), ("sums", sums)):
        *_, last = reach(weights, coalition, len(weights), view, PRIME)  # type: ignore[arg-type]
        assert len(last.nodes) == count, view


def test_patience_pays() -> None:
    """Sums of the karate club tell node 0 nothing for 17 rounds, and 22 others' values after 34."""
    weights = rational_weights(NAMED["karate"], "metropolis")
    found = [len(after.nodes) for after in reach(weights, {0}, 34, "sums", PRIME)]
    assert found[16] == 1
    assert found[-1] == 23


def test_weights_of_a_run_are_found_again_in_fractions() -> None:
    graph = graph_of("florentine")
    floats = mixing.metropolis([sorted(graph[v]) for v in range(len(graph))]).toarray()
    assert rational(floats) == rational_weights(graph, "metropolis")


def test_elimination() -> None:
    solver = Elimination(3)
    assert solver.add([1, 1, 0])
    assert solver.known() == []
    assert solver.add([0, 1, 0])
    assert not solver.add([5, 7, 0])
    assert solver.known() == [0, 1]
    assert solver.rank == 2


def descent(
    graph: nx.Graph, coalition: set[int], rounds: int, drift: float = 0.0, sigma: float = 0.0
) -> tuple[Any, Any, Any, Any, Any]:
    """Gradient descent whose updates are the same in every round but for a drift and noise."""
    drawn = np.random.Generator(np.random.PCG64(5))
    weights = mixing.metropolis([sorted(graph[v]) for v in range(len(graph))]).toarray()
    updates = drawn.standard_normal((len(graph), 6))
    model = np.tile(drawn.standard_normal(6), (len(graph), 1))
    start, shown, own = model[0].copy(), {}, {}
    for t in range(rounds):
        moved = model + updates * (1 + drift * t) + sigma * drawn.standard_normal(model.shape)
        for v in range(len(graph)):
            if v in coalition:
                own[v, t] = moved[v]
            elif any(v in graph[a] for a in coalition):
                shown[v, t] = moved[v]
        model = weights @ moved
    return weights, updates, shown, own, start


@pytest.mark.parametrize("coalition", [{0}, {4}, {0, 7}])
def test_updates_are_found_exactly_if_they_stay_the_same(coalition: set[int]) -> None:
    graph = nx.path_graph(8)
    weights, updates, shown, own, start = descent(graph, coalition, 8)
    found = solve_updates(weights, coalition, shown, own, start)
    assert found.determined.all()
    for node, update, sure in zip(found.nodes, found.updates, found.determined, strict=True):
        if sure:
            np.testing.assert_allclose(update, updates[node], atol=1e-4)


def test_what_is_not_determined_is_known_to_be() -> None:
    """On a star the hub sees every leaf; a leaf sees the hub and, of the others, only their sum."""
    star = nx.star_graph(5)
    for coalition, sure in (({0}, 5), ({1}, 1)):
        weights, _, shown, own, start = descent(star, coalition, 6)
        assert solve_updates(weights, coalition, shown, own, start).determined.sum() == sure


def test_errors_grow_with_drift_and_distance() -> None:
    graph, errors = nx.path_graph(10), {}
    for drift in (1e-6, 1e-4):
        weights, updates, shown, own, start = descent(graph, {0}, 10, drift)
        found = solve_updates(weights, {0}, shown, own, start)
        errors[drift] = np.linalg.norm(found.updates - updates[1:], axis=1) / np.linalg.norm(
            updates[1:], axis=1
        )
    assert 50 < np.median(errors[1e-4] / errors[1e-6]) < 200
    assert errors[1e-4][0] < errors[1e-4][4] < errors[1e-4][8]


def test_weighing_equations_helps_against_noise() -> None:
    graph = nx.complete_graph(6)
    weights, updates, shown, own, start = descent(graph, {0}, 30, sigma=0.3)
    plain, weighed = (solve_updates(weights, {0}, shown, own, start, sigma) for sigma in (0.0, 0.3))
    errors = [np.linalg.norm(found.updates - updates[1:]) for found in (plain, weighed)]
    assert errors[1] < errors[0]
    assert errors[1] < 0.3 * np.sqrt(30) * 1.5 / np.sqrt(30) * np.sqrt(5)
