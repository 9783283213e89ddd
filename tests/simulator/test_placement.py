"""Where adversaries sit."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator import streams
from simulator.adversary import placement
from simulator.errors import ConfigurationError
from simulator.topology import graphs as topology
from simulator.topology import mixing

KARATE = topology.named("karate")


def graphs(min_nodes: int = 5, max_nodes: int = 24) -> st.SearchStrategy[nx.Graph]:
    def build(nodes: int, p: float, seed: int) -> nx.Graph:
        return topology.erdos_renyi(nodes, p, streams.generator(seed, "graph"))

    return st.builds(build, st.integers(min_nodes, max_nodes), st.floats(0.3, 0.9), st.integers(0, 1000))


def test_ranks_of_the_karate_club() -> None:
    # Zachary 1977: the officer (33) has most friends, the instructor (0) is on most shortest paths.
    assert placement.by_degree(KARATE, 4) == (33, 0, 32, 2)
    assert placement.by_betweenness(KARATE, 4) == (0, 33, 32, 2)


def test_ties_go_to_the_lower_number_however_the_graph_was_built() -> None:
    cycle = nx.Graph([(i, (i + 1) % 11) for i in reversed(range(11))])
    assert placement.by_degree(cycle, 3) == placement.by_betweenness(cycle, 3) == (0, 1, 2)


def test_estimated_betweenness_finds_the_hubs_and_repeats_itself() -> None:
    hubs = nx.disjoint_union_all([nx.star_graph(199)] * 5)
    hubs.add_edges_from((200 * i, 200 * j) for i in range(5) for j in range(i))
    shuffled = nx.Graph(list(hubs.edges)[::-1])
    assert placement.by_betweenness(hubs, 7) == placement.by_betweenness(shuffled, 7)
    assert set(placement.by_betweenness(hubs, 5)) == {0, 200, 400, 600, 800}


def test_random_placement_is_nested_repeatable_and_uniform() -> None:
    big = placement.at_random(range(50), 20, seed=3)
    assert placement.at_random(range(50), 5, seed=3) == big[:5]
    assert len(set(big)) == 20
    assert placement.at_random([7, 9, 11], 1, seed=1)[0] in (7, 9, 11)
    draws = [node for seed in range(2000) for node in placement.at_random(range(10), 3, seed)]
    # Chi-squared at 1e-7; drawing without replacement only shrinks the statistic.
    assert stats.chisquare(np.bincount(draws, minlength=10)).pvalue > 1e-7


@pytest.mark.parametrize("count", [0, 34, -1])
def test_nobody_and_everybody_are_no_adversaries(count: int) -> None:
    for place in (placement.by_degree, placement.by_betweenness):
        with pytest.raises(ConfigurationError, match="expected from 1 to 33 of 34"):
            place(KARATE, count)


def test_given_nodes_are_checked() -> None:
    assert placement.given([4, 2], 5) == (4, 2)
    with pytest.raises(ConfigurationError, match="node 2 is listed twice"):
        placement.given([2, 2], 5)
    with pytest.raises(ConfigurationError, match="there is no node 5; expected from 0 to 4"):
        placement.given([5], 5)


@settings(max_examples=60, deadline=None)
@given(
    graph=graphs(min_nodes=6),
    identities=st.integers(1, 6),
    links=st.integers(1, 5),
    seed=st.integers(0, 99),
    how=st.sampled_from(["random", "degree", "given"]),
)
def test_sybils_only_add(graph: nx.Graph, identities: int, links: int, seed: int, how: str) -> None:
    targets = [0, 1, 2, 3, 4] if how == "given" else how
    before = set(graph.edges)
    grown, new = placement.with_sybils(graph, identities, links, seed, targets)  # type: ignore[arg-type]
    n = len(graph)
    assert new == tuple(range(n, n + identities))
    assert set(grown.subgraph(range(n)).edges) == set(graph.edges) == before
    assert [grown.degree[i] for i in new] == [links] * identities
    assert all(j < n for i in new for j in grown[i])
    if how == "given":
        assert all(j in (0, 1, 2, 3, 4) for i in new for j in grown[i])
    if how == "degree":
        assert {j for i in new for j in grown[i]} == set(placement.by_degree(graph, links))
    more, _ = placement.with_sybils(graph, identities + 1, links, seed, targets)  # type: ignore[arg-type]
    assert all(set(more[i]) == set(grown[i]) for i in new)


@pytest.mark.parametrize(("identities", "degree"), [(1, 4), (3, 4), (7, 2)])
def test_weight_that_sybils_win_under_metropolis(identities: int, degree: int) -> None:
    ring = topology.regular(12, degree, streams.generator(1, "g")) if degree > 2 else topology.ring(12)
    grown, new = placement.with_sybils(ring, identities, 1, seed=1, targets=[5])
    weights = mixing.metropolis(topology.neighborhoods(grown))
    won = sum(float(weights[5, i]) for i in new)
    assert won == pytest.approx(identities / (1 + degree + identities), rel=1e-12)


def test_sybils_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="links_each must be from 1 to the 34 nodes"):
        placement.with_sybils(KARATE, 1, 35, 1)
    with pytest.raises(ConfigurationError, match="links_each must be from 1 to the 2 nodes"):
        placement.with_sybils(KARATE, 1, 3, 1, [4, 5])
    with pytest.raises(ConfigurationError, match="identities must be at least 1"):
        placement.with_sybils(KARATE, 0, 1, 1)
    with pytest.raises(ConfigurationError, match="no node 34"):
        placement.with_sybils(KARATE, 1, 1, 1, [34])
    with pytest.raises(ConfigurationError, match="expected random, degree or a list"):
        placement.with_sybils(KARATE, 1, 1, 1, "hubs")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="numbered from 0"):
        placement.with_sybils(nx.path_graph(range(1, 4)), 1, 1, 1)
    with pytest.raises(ConfigurationError, match="have a direction"):
        placement.with_sybils(nx.DiGraph([(0, 1)]), 1, 1, 1)


@settings(max_examples=150, deadline=None)
@given(graph=graphs(), data=st.data(), seed=st.integers(0, 99))
def test_an_eclipsed_node_hears_attackers_only(graph: nx.Graph, data: st.DataObject, seed: int) -> None:
    n = len(graph)
    victim = data.draw(st.integers(0, n - 1))
    attackers = data.draw(
        st.lists(st.integers(0, n - 1).filter(lambda i: i != victim), min_size=1, unique=True, max_size=n - 2)
    )
    before = set(graph.edges)
    try:
        rewired = placement.eclipsed(graph, victim, attackers, seed)
    except ConfigurationError:
        assume(False)
    assert set(graph.edges) == before
    assert set(rewired[victim]) <= set(attackers)
    assert rewired.degree[victim] == min(graph.degree[victim], len(attackers))
    assert set(graph[victim]) & set(attackers) <= set(rewired[victim])
    assert nx.is_connected(rewired)
    assert not list(nx.selfloop_edges(rewired))
    full = n - 2  # everybody but itself and the victim
    for u in set(graph) - set(attackers) - {victim}:
        assert rewired.degree[u] >= min(graph.degree[u], full)
    assert nx.utils.edges_equal(rewired.edges, placement.eclipsed(graph, victim, attackers, seed).edges)


def test_an_eclipse_by_as_many_attackers_keeps_every_degree() -> None:
    graph = topology.regular(200, 6, streams.generator(1, "g"))
    attackers = [i for i in range(100, 120) if i not in graph[0]]
    rewired = placement.eclipsed(graph, 0, attackers)
    assert dict(rewired.degree) == dict(graph.degree)
    assert set(rewired[0]) == set(attackers[:6])


def test_an_eclipse_by_fewer_attackers_leaves_the_honest_their_degree() -> None:
    graph = topology.regular(50, 6, streams.generator(1, "g"))
    attackers = [i for i in range(1, 50) if i not in graph[0]][:2]
    rewired = placement.eclipsed(graph, 0, attackers)
    assert set(rewired[0]) == set(attackers)
    assert all(rewired.degree[i] == 6 for i in range(1, 50))


def test_sybils_can_eclipse() -> None:
    grown, new = placement.with_sybils(KARATE, 20, 2, seed=1, targets="random")
    rewired = placement.eclipsed(grown, 33, new)
    assert set(rewired[33]) <= set(new)
    assert rewired.degree[33] >= 17


def test_links_that_stay_keep_their_attributes() -> None:
    graph = topology.regular(20, 4, streams.generator(1, "g"))
    nx.set_edge_attributes(graph, 0.25, "latency_s")
    attackers = [i for i in range(1, 20) if i not in graph[0]][:4]
    rewired = placement.eclipsed(graph, 0, attackers)
    stayed = set(graph.edges) & set(rewired.edges)
    assert stayed
    assert all(rewired.edges[link] == {"latency_s": 0.25} for link in stayed)
    grown, _ = placement.with_sybils(graph, 1, 2, 1)
    assert all(grown.edges[link] == {"latency_s": 0.25} for link in graph.edges)


@pytest.mark.parametrize(
    ("victim", "attackers", "why"),
    [
        (0, [], "needs attackers other than itself"),
        (0, [0, 1], "needs attackers other than itself"),
        (34, [0], "no node 34"),
        (0, [40], "no node 40"),
    ],
)
def test_eclipses_that_cannot_be_are_refused(victim: int, attackers: list[int], why: str) -> None:
    with pytest.raises(ConfigurationError, match=why):
        placement.eclipsed(KARATE, victim, attackers)


def test_who_lost_the_victim_is_linked_to_an_honest_stranger() -> None:
    rewired = placement.eclipsed(nx.path_graph(5), 2, [1])
    assert set(rewired[2]) == {1}
    assert set(rewired[3]) == {0, 4}


def test_a_victim_that_held_the_others_together_cannot_be_eclipsed() -> None:
    two = nx.Graph([(0, 1), (0, 2), (0, 3), (1, 2), (4, 5), (5, 6), (4, 6), (3, 4)])
    two.remove_edge(0, 3)
    two.add_edge(0, 4)  # 1 and 2 on one side, 3, 4, 5, 6 on the other, 0 between
    with pytest.raises(ConfigurationError, match=r"leaves the others in 2 parts of 2, 4 nodes"):
        placement.eclipsed(two, 0, [1, 2, 4])


def test_ten_thousand_nodes_have_their_adversaries() -> None:
    graph = nx.random_regular_graph(10, 10_000, seed=1)
    grown, new = placement.with_sybils(graph, 1000, 10, 1)
    placement.eclipsed(grown, 17, new)
    assert len(set(placement.by_degree(grown, 100))) == 100
    assert len(set(placement.at_random(range(10_000), 100, 1))) == 100


@pytest.mark.slow
def test_betweenness_of_ten_thousand_nodes_is_estimated() -> None:
    graph = nx.barabasi_albert_graph(10_000, 5, seed=1)
    assert 0 in placement.by_betweenness(graph, 5)
