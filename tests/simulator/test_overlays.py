"""Overlays: laws of every kind, golden small cases, repair under churn."""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator import streams
from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.topology import graphs, mixing, overlays
from simulator.topology.overlays import Links, Overlay
from simulator.topology.repair import churn_driven

SPLIT = [(0.0, [(0, 1), (2, 3)]), (2.0, [(1, 2), (3, 0), (0, 2)]), (3.0, [])]


def start(nodes: int) -> list[tuple[int, ...]]:
    return graphs.neighborhoods(graphs.barabasi_albert(nodes, 2, streams.generator(1, "start")))


MAKERS: dict[str, Callable[[int, int], Overlay]] = {
    "fixed": lambda nodes, seed: overlays.fixed(start(nodes), mixing.lazy(start(nodes))),
    "epidemic": lambda nodes, seed: overlays.epidemic(nodes, 4, seed),
    "epidemic-local": lambda nodes, seed: overlays.epidemic_local(nodes, 3, seed),
    "one-peer-exponential": lambda nodes, seed: overlays.one_peer_exponential(nodes),
    "matching": lambda nodes, seed: overlays.matching(nodes, seed),
    "peer-sampling": lambda nodes, seed: overlays.peer_sampling(start(nodes), seed),
    "schedule": lambda nodes, seed: overlays.schedule(nodes, SPLIT, by="round"),
    "churn-driven": lambda nodes, seed: churn_driven(nodes, 4, seed, 1.0),
}
DIRECTED = {"epidemic-local", "one-peer-exponential"}

nodes_ = st.integers(6, 24)
seeds = st.integers(0, 2**32)


def everything(made: Overlay, epoch: int) -> list[Links]:
    return [made.links(node, epoch) for node in range(made.nodes)]


def graph(made: Overlay, epoch: int) -> set[tuple[int, int]]:
    """Its links as (from, to)."""
    return {(i, j) for i, links in enumerate(everything(made, epoch)) for j in links.to}


# ---------------------------------------------------------------- laws of all


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=20, deadline=None)
@given(nodes=nodes_, seed=seeds, epoch=st.integers(0, 3))
def test_links_agree_with_each_other_and_weights_are_stochastic(
    kind: str, nodes: int, seed: int, epoch: int
) -> None:
    made = MAKERS[kind](nodes, seed)
    links = everything(made, epoch)
    arrows = graph(made, epoch)
    assert arrows == {(j, i) for i, around in enumerate(links) for j in around.sources}
    for node, around in enumerate(links):
        assert list(around.to) == sorted(set(around.to) - {node})
        assert list(around.sources) == sorted(set(around.sources) - {node})
        assert tuple(around.weights) == around.sources
        assert all(0 < share <= 0.5 for share in around.weights.values())
        assert sum(around.weights.values()) <= 1 + 1e-12
    found = mixing.properties(overlays.matrix(made, epoch))
    if kind not in DIRECTED:
        assert all(around.to == around.sources for around in links)
        assert found["symmetric"]
    assert found["doubly_stochastic"] or kind == "epidemic-local"
    assert made.fixed == (kind == "fixed")


@pytest.mark.parametrize("kind", MAKERS)
@settings(max_examples=10, deadline=None)
@given(seed=seeds, asked=st.lists(st.integers(0, 3), max_size=12), data=st.data())
def test_an_epoch_is_the_same_whatever_was_asked_before(
    kind: str, seed: int, asked: list[int], data: st.DataObject
) -> None:
    fresh, used = MAKERS[kind](12, seed), MAKERS[kind](12, seed)
    for epoch in asked:
        used.links(data.draw(st.integers(0, 11)), epoch)
    assert everything(fresh, 3) == everything(used, 3)
    assert everything(fresh, 1) == everything(used, 1)


@pytest.mark.parametrize("kind", ["epidemic", "epidemic-local", "matching", "peer-sampling"])
def test_epochs_differ_and_follow_the_seed(kind: str) -> None:
    made = MAKERS[kind](30, 1)
    assert len({frozenset(graph(made, epoch)) for epoch in range(5)}) == 5
    assert graph(MAKERS[kind](30, 1), 4) == graph(made, 4) != graph(MAKERS[kind](30, 2), 4)


@pytest.mark.parametrize("kind", ["epidemic", "peer-sampling"])
def test_forgotten_epochs_are_drawn_again_alike(kind: str) -> None:
    made = MAKERS[kind](3_000, 1)
    before = everything(made, 1)
    for epoch in range(2, 70):
        made.links(0, epoch)
    assert everything(made, 1) == before
    assert everything(made, 66) == everything(MAKERS[kind](3_000, 1), 66)


def test_epochs_count_rounds_or_seconds() -> None:
    by_round, by_time = overlays.matching(6, 1), overlays.matching(6, 1, every=0.5)
    assert [by_round.epoch(to_ns(9.0), round) for round in (None, 0, 7)] == [0, 0, 7]
    assert [by_time.epoch(to_ns(t_s), 7) for t_s in (0.0, 0.499999999, 0.5, 5.0)] == [0, 0, 1, 10]
    assert graph(by_round, 3) == graph(by_time, 3)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: overlays.epidemic(5, 3, 1), "topology.degree"),
        (lambda: overlays.epidemic(4, 4, 1), "topology.degree"),
        (lambda: overlays.epidemic_local(4, 4, 1), "topology.degree"),
        (lambda: overlays.one_peer_exponential(1), "topology.nodes"),
        (lambda: overlays.matching(1, 1), "topology.nodes"),
        (lambda: overlays.matching(4, 1, every=0.0), "topology.every"),
        (lambda: overlays.matching(4, 1, every=1e-12), "topology.every"),
        (lambda: overlays.matching(4, 1, every=float("inf")), "topology.every"),
        (lambda: overlays.matching(4, 1, every="hour"), "topology.every"),  # type: ignore[arg-type]
        (lambda: overlays.peer_sampling([(1,), (0,)], 1, switches=0), "topology.switches"),
        (lambda: overlays.schedule(3, []), "topology.path"),
        (lambda: overlays.schedule(3, [(1, []), (1, [])]), "topology.path"),
        (lambda: overlays.schedule(3, [(1, [(0, 3)])]), "topology.path"),
        (lambda: overlays.schedule(3, [(1, [(1, 1)])]), "topology.path"),
        (lambda: churn_driven(5, 3, 1, 1.0), "topology.degree"),
        (lambda: churn_driven(6, 3, 1, -1.0), "topology.repair"),
    ],
)
def test_overlays_that_cannot_be_are_refused(make: Callable[[], Overlay], key: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make()
    assert refused.value.key == key


# ---------------------------------------------------------------- laws of each


def test_a_fixed_overlay_is_its_graph_and_its_matrix() -> None:
    around = start(9)
    weights = mixing.uniform_neighbour(around)
    made = overlays.fixed(around, weights)
    assert {made.epoch(t_ns, round) for t_ns in (0, 10**12) for round in (None, 3)} == {0}
    assert [links.to for links in everything(made, 0)] == around
    np.testing.assert_allclose(overlays.matrix(made, 0).toarray(), weights.toarray(), atol=1e-15)
    made.changed(5, frozenset())
    assert made.links(0, 0).to == around[0]


@settings(max_examples=30, deadline=None)
@given(nodes=st.integers(2, 30), degree=st.integers(1, 29), seed=seeds)
def test_epidemic_degrees(nodes: int, degree: int, seed: int) -> None:
    degree = min(degree, nodes - 1)
    local = everything(overlays.epidemic_local(nodes, degree, seed), 2)
    assert {len(links.to) for links in local} == {degree}
    assert all(share == 1 / (1 + len(links.sources)) for links in local for share in links.weights.values())
    if nodes * degree % 2 == 0:
        oracle = everything(overlays.epidemic(nodes, degree, seed), 2)
        assert {len(links.to) for links in oracle} == {degree}
        assert {share for links in oracle for share in links.weights.values()} == {1 / (1 + degree)}


@pytest.mark.slow
@pytest.mark.parametrize("degree", [2, 4])
def test_local_targets_are_uniform_sets(degree: int) -> None:
    """All sets of others are as likely for each node: within 7 deviations (630 cells, 57 expected
    in each; binomial tails summed: error below 1e-6).

    With 9 nodes, degree 2 is drawn by rejection and degree 4 by sorting.
    """
    epochs, nodes = 4_000, 9
    made = overlays.epidemic_local(nodes, degree, 1)
    counts: dict[tuple[int, tuple[int, ...]], int] = {}
    for epoch in range(epochs):
        for node in range(nodes):
            cell = (node, made.links(node, epoch).to)
            counts[cell] = counts.get(cell, 0) + 1
    p = 1 / comb(nodes - 1, degree)
    assert len(counts) == nodes * comb(nodes - 1, degree)
    assert max(abs(seen / epochs - p) for seen in counts.values()) < 7 * (p / epochs) ** 0.5


@pytest.mark.parametrize("power", [1, 2, 3, 5])
def test_one_peer_exponential_graphs_average_exactly(power: int) -> None:
    """On powers of two, in any log2 n epochs in a row (Ying et al. 2021, lemma 1)."""
    n = 2**power
    made = overlays.one_peer_exponential(n)
    for first in (0, 1, 5):
        product = np.eye(n)
        for epoch in range(first, first + power):
            product = overlays.matrix(made, epoch) @ product
        np.testing.assert_allclose(product, np.full((n, n), 1 / n), atol=1e-15)


def test_one_peer_exponential_hops() -> None:
    made = overlays.one_peer_exponential(6)
    assert [made.links(5, epoch).to for epoch in range(4)] == [(0,), (1,), (3,), (0,)]
    assert [made.links(5, epoch).sources for epoch in range(4)] == [(4,), (3,), (1,), (4,)]
    assert dict(made.links(5, 0).weights) == {4: 0.5}


@settings(max_examples=40, deadline=None)
@given(nodes=st.integers(2, 31), seed=seeds, epoch=st.integers(0, 10**6))
def test_a_matching_pairs_everybody_but_one(nodes: int, seed: int, epoch: int) -> None:
    links = everything(overlays.matching(nodes, seed), epoch)
    assert sum(not around.to for around in links) == nodes % 2
    for node, around in enumerate(links):
        assert len(around.to) <= 1
        assert all(links[peer].to == (node,) and share == 0.5 for peer, share in around.weights.items())


@settings(max_examples=30, deadline=None)
@given(nodes=nodes_, seed=seeds, epoch=st.integers(0, 12))
def test_peer_sampling_keeps_degrees_and_keeps_the_graph_connected(nodes: int, seed: int, epoch: int) -> None:
    around = start(nodes)
    made = overlays.peer_sampling(around, seed, switches=1.0)
    assert [links.to for links in everything(made, 0)] == around
    assert [len(links.to) for links in everything(made, epoch)] == list(map(len, around))
    assert nx.is_connected(nx.Graph(graph(made, epoch)))


def test_peer_sampling_forgets_its_start() -> None:
    """From a ring lattice to a graph whose spectral gap is a random regular one's."""
    lattice = graphs.neighborhoods(graphs.small_world(200, 6, 0.0, streams.generator(1, "start")))
    made = overlays.peer_sampling(lattice, 1)
    gaps = [mixing.properties(overlays.matrix(made, epoch))["spectral_gap"] for epoch in (0, 30)]
    drawn = mixing.properties(overlays.matrix(overlays.epidemic(200, 6, 1), 0))["spectral_gap"]
    assert gaps[0] is not None
    assert gaps[1] is not None
    assert drawn is not None
    assert gaps[0] < 0.01
    assert gaps[1] == pytest.approx(drawn, rel=0.2)


def test_a_schedule_holds_until_its_next_time() -> None:
    made = overlays.schedule(4, [(0.5, [(1, 0), (2, 3)]), (2.0, [(1, 2), (2, 1), (3, 0)]), (3.0, [])])
    held = {t_s: graph(made, made.epoch(to_ns(t_s), None)) for t_s in (0.0, 0.5, 1.999, 2.0, 3.0, 99.0)}
    first, second = {(0, 1), (1, 0), (2, 3), (3, 2)}, {(1, 2), (2, 1), (0, 3), (3, 0)}
    assert held == {0.0: set(), 0.5: first, 1.999: first, 2.0: second, 3.0: set(), 99.0: set()}
    assert set(made.links(1, 2).weights.values()) == {0.5}
    by_round = overlays.schedule(4, [(0, [(0, 1)]), (3, [(2, 3)])], by="round")
    assert [graph(by_round, by_round.epoch(to_ns(7.0), round)) for round in (None, 2, 3)] == [
        {(0, 1), (1, 0)},
        {(0, 1), (1, 0)},
        {(2, 3), (3, 2)},
    ]


# ---------------------------------------------------------------- churn


def test_a_node_that_stays_down_is_replaced_and_gets_links_when_it_returns() -> None:
    made = churn_driven(12, 4, 1, repair_s=2.0)
    all_up, without = frozenset(range(12)), frozenset(range(1, 12))
    begun = graph(made, made.epoch(0, None))
    made.changed(to_ns(1.0), without)
    assert graph(made, made.epoch(to_ns(2.999999999), None)) == begun
    mended = made.epoch(to_ns(3.0), None)
    assert mended == 1
    assert made.links(0, mended) == Links((), (), {})
    assert {len(made.links(node, mended).to) for node in without} == {4}
    made.changed(to_ns(8.0), all_up)
    assert made.epoch(to_ns(7.9), None) == mended
    back = made.epoch(to_ns(8.0), None)
    assert {len(links.to) for links in everything(made, back)} == {4}
    assert graph(made, 0) == begun


def test_a_short_absence_changes_nothing() -> None:
    made = churn_driven(12, 4, 1, repair_s=2.0)
    all_up = frozenset(range(12))
    for t_s in (1.0, 2.9, 4.0):
        made.changed(to_ns(t_s), all_up - {0})
        made.changed(to_ns(t_s + 1.5), all_up)
    assert made.epoch(to_ns(99.0), None) == 0


changes = st.lists(
    st.tuples(st.integers(0, 1500), st.sets(st.integers(0, 15), max_size=6)), min_size=1, max_size=25
)


@settings(max_examples=40, deadline=None)
@given(changes=changes, degree=st.sampled_from([1, 2, 3, 4, 5]), seed=seeds)
def test_repairs_keep_the_graph_simple_and_nearly_regular(
    changes: list[tuple[int, set[int]]], degree: int, seed: int
) -> None:
    """And what is there does not depend on whether somebody asked in between."""
    quiet, asked = (churn_driven(16, degree, seed, repair_s=1.0) for _ in range(2))
    t_ns, up = 0, frozenset(range(16))
    for gap_ms, down in changes:
        t_ns, up = t_ns + gap_ms * 10**6, frozenset(range(16)) - down
        for made in (quiet, asked):
            made.changed(t_ns, up)
        epoch = asked.epoch(t_ns, None)
        links = everything(asked, epoch)
        arrows = {(i, j) for i, around in enumerate(links) for j in around.to}
        assert all((j, i) in arrows and i != j for i, j in arrows)
        assert max(len(around.to) for around in links) <= degree
        assert mixing.properties(overlays.matrix(asked, epoch))["symmetric"]
    end = t_ns + to_ns(1.0)
    final = quiet.epoch(end, None)
    assert final == asked.epoch(end, None)
    assert everything(quiet, final) == everything(asked, final)
    links = everything(quiet, final)
    assert all(not links[node].to for node in range(16) if node not in up)
    lacking = sum(degree - len(links[node].to) for node in up)
    if len(up) > 2 * degree:
        assert lacking <= 1 + degree // 2 * 2
