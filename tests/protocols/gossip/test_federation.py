"""Federated averaging on stars and trees: who is asked, how much each counts, crashes of servers and clients."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from protocols.gossip.federation import Place, fedavg, hierarchical
from protocols.gossip.peers import Once, Peers, shares
from protocols.privacy.entries import COMBINE, CONTRIBUTE, Release
from scenarios.kinds.protocols.federation import places
from simulator.errors import ConfigurationError
from simulator.faults.plan import Outage
from simulator.topology import graphs, mixing, overlays
from simulator.topology.overlays import Overlay
from tests.support.family import federated, scattered, star, tree
from tests.support.worlds import Lab


def fixed(neighbors: list[tuple[int, ...]]) -> Overlay:
    return overlays.fixed(neighbors, mixing.metropolis(neighbors))


def rounds_of(lab: Lab) -> Counter[int]:
    return Counter(e.node for e in lab.learner.lineage.entries if e.kind == CONTRIBUTE)


# ---------------------------------------------------------------- the tree


def test_places_in_a_tree() -> None:
    found = places(fixed(graphs.neighborhoods(graphs.tree(2, 2))))
    assert found[0] == Place(None, (1, 2), 2)
    assert found[1] == Place(0, (3, 4), 1)
    assert found[6] == Place(2, (), 0)
    assert places(fixed(star(4))) == [Place(None, (1, 2, 3), 1), *[Place(0, (), 0)] * 3]


@pytest.mark.parametrize(
    ("neighbors", "said"),
    [
        (graphs.neighborhoods(graphs.ring(5)), "have a cycle"),
        ([(1,), (0,), (3,), (2,)], "cannot be reached from there"),
    ],
)
def test_what_is_no_tree(neighbors: list[tuple[int, ...]], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        places(fixed(neighbors))
    assert refused.value.key == "topology.kind"


# ---------------------------------------------------------------- who counts for how much


def test_the_server_asks_a_fraction_of_its_clients() -> None:
    """Two of nine in each of twelve cycles of two local updates; the server trains in all of them."""
    lab = Lab(star(10))
    kernel, _ = lab.run(federated(fedavg, participation=0.25, mix_every=2)(lab, 24))
    made = rounds_of(lab)
    assert made[0] == 24
    assert sum(made[client] for client in range(1, 10)) == 2 * 24
    assert len(made) > 5, "not always the same ones"
    kinds = Counter(np.asarray(kernel.log.columns()["kind"]).tolist())
    assert kinds == {"task": 24, "result": 24, "final": 9, "done": 9}


def test_weights_by_samples() -> None:
    lab, values = scattered(star(4))
    counts = [4.0, 1.0, 0.0, 3.0]
    lab.run(federated(fedavg, shares=counts)(lab, 1))
    expected = np.average(values, axis=0, weights=counts)
    for model in lab.final_models().values():
        np.testing.assert_allclose(model, expected, atol=1e-6)


def test_a_server_without_data_of_its_own_averages_its_clients() -> None:
    lab, values = scattered(star(4))
    lab.run(federated(fedavg, inner_train=False)(lab, 1))
    for model in lab.final_models().values():
        np.testing.assert_allclose(model, values[1:].mean(axis=0), atol=1e-6)


def test_every_node_of_a_tree_counts_alike() -> None:
    lab, values = scattered(tree())
    lab.run(federated(hierarchical)(lab, 1))
    for model in lab.final_models().values():
        np.testing.assert_allclose(model, values.mean(axis=0), atol=1e-5)


def test_aggregators_average_often_and_the_root_now_and_then() -> None:
    """Twelve rounds: an average of aggregators after two, of the root after three of those."""
    lab = Lab(tree())
    kernel, _ = lab.run(federated(hierarchical, mix_every=2, global_every=3)(lab, 12))
    made = rounds_of(lab)
    assert dict(made) == dict.fromkeys(range(13), 12)
    columns = kernel.log.columns()
    tasks = Counter(
        src
        for src, kind in zip(columns["src"].tolist(), np.asarray(columns["kind"]).tolist(), strict=True)
        if kind == "task"
    )
    assert tasks == {0: 2 * 3, 1: 6 * 3, 2: 6 * 3, 3: 6 * 3}
    finals = list(lab.final_models().values())
    assert all(np.array_equal(model, finals[0]) for model in finals)
    mixes = [e for e in lab.learner.lineage.entries if e.kind == COMBINE and e.node == 0]
    np.testing.assert_allclose([e.coefs for e in mixes], [[1 / 13, 4 / 13, 4 / 13, 4 / 13]] * 2)


# ---------------------------------------------------------------- losses and crashes


def test_a_server_that_returns_goes_on_where_it_was() -> None:
    lab = Lab(star(6))
    _, ending = lab.run(federated(fedavg)(lab, 30), faults=[Outage(0, 1.0, 4.0)])
    assert not ending.unfinished
    made = Counter((e.node, e.round) for e in lab.learner.lineage.entries if e.kind == CONTRIBUTE)
    assert set(made.values()) == {1}
    assert rounds_of(lab)[3] >= 29
    finals = list(lab.final_models().values())
    assert all(np.array_equal(model, finals[0]) for model in finals)


def test_clients_of_a_server_that_is_gone_give_up_in_the_end() -> None:
    lab = Lab(star(6))
    _, ending = lab.run(federated(fedavg)(lab, 30), faults=[Outage(0, 1.0)])
    assert ending.down == {0}
    assert not ending.unfinished
    assert len(lab.of_kind("gave up")) == 5
    assert ending.t_s < 1.0 + (30 + 3) * 0.6


def test_a_client_that_is_away_costs_bounded_time_and_its_results_alone() -> None:
    calm, lab = Lab(star(6)), Lab(star(6))
    _, without = calm.run(federated(fedavg)(calm, 30))
    _, with_fault = lab.run(federated(fedavg)(lab, 30), faults=[Outage(2, 1.0)])
    assert with_fault.t_s - without.t_s < 8 * 0.5
    heard = [f["heard"] for _, node, f in lab.of_kind("mixed") if node == 0]
    assert (heard[0], heard[-1]) == (5, 4)


def test_the_final_model_reaches_everybody_on_lossy_links() -> None:
    lab = Lab(star(12))
    lab.run(federated(fedavg)(lab, 5), loss=0.25)
    last = {node: f["round"] for _, node, f in lab.of_kind("model")}
    finals = lab.final_models()
    same = [node for node, model in finals.items() if np.array_equal(model, finals[0])]
    assert len(same) + len(lab.of_kind("gave up")) == 12
    assert len(same) >= 11
    assert all(last[node] == 5 for node in same)
    assert len([e for e in lab.learner.lineage.entries if isinstance(e, Release)]) > 60


# ---------------------------------------------------------------- what protocols share


def test_shares_of_those_that_are_there() -> None:
    weights = {1: 0.25, 2: 0.25, 3: 0.25}
    assert shares(weights, [1, 3]) == (0.5, {1: 0.25, 3: 0.25})
    own, rest = shares(weights, [1, 3], rescale=True)
    assert own == pytest.approx(1 / 3)
    assert rest == pytest.approx({1: 1 / 3, 3: 1 / 3})
    assert shares({1: 1.0}, [], rescale=True) == (1.0, {})


def test_a_message_counts_once() -> None:
    once = Once()
    assert once.first(1, 5)
    assert not once.first(1, 5)
    assert once.first(2, 5)
    assert once.first(1, 3), "late, and new"
    assert all(once.first(1, round) for round in range(6, 300))
    assert not once.first(1, 3)
    assert not once.first(1, 299)


def test_silence_counts_only_while_there_is_a_link() -> None:
    class Clock:
        id = 0
        neighbors = (1, 2)
        now_s = 0.0
        suspects: frozenset[int] = frozenset()

    clock = Clock()
    peers = Peers(clock, timeout_s=1.0)  # type: ignore[arg-type]
    clock.now_s = 2.0
    peers.meet((1, 3))
    clock.now_s = 50.0
    assert peers.alive_of((1, 2, 3)) == []
    peers.meet((2, 3))
    assert peers.alive_of((2, 3)) == [2], "two seconds of silence before, none since"
    clock.now_s = 51.5
    assert peers.alive_of((2, 3)) == []
    peers.heard(2, 4)
    peers.meet((1,))
    clock.now_s = 90.0
    peers.meet((2,))
    assert peers.alive_of((2,)) == [2]
