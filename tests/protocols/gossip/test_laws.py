"""Gossip against theory: averages kept, rates of consensus, optima reached, mass conserved."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols.gossip.asynchronous import Pace, pull, push_pull
from protocols.gossip.dsgd import dsgd
from protocols.gossip.federation import fedavg
from protocols.gossip.merging import Aged, MergeRules
from protocols.gossip.pairwise import pairwise
from protocols.gossip.plain_exchange import DirectExchange
from protocols.gossip.push_sum import Reliable, push_sum
from protocols.gossip.tracking import tracking
from protocols.privacy.entries import COMBINE, CONTRIBUTE
from simulator.contract.node import Program
from simulator.faults.plan import Outage
from simulator.topology import graphs
from simulator.topology.overlays import epidemic, epidemic_local, one_peer_exponential
from tests.support.family import LOPSIDED, Floats, federated, regression, scattered, second_eigenvalue, star
from tests.support.worlds import Lab, complete, regular

RING = graphs.neighborhoods(graphs.ring(8))
TIMEOUT_S = 2.0


def gossip(lab: Lab, rounds: int, mix_every: int = 1, rescale: bool = False) -> Program:
    def exchange(node: Any) -> DirectExchange:
        return DirectExchange(node, lab.learner, TIMEOUT_S, rescale=rescale)

    return lambda node: dsgd(node, lab.learner, exchange, rounds, mix_every)


def tracked(lab: Lab, rounds: int) -> Program:
    return lambda node: tracking(node, lab.learner, rounds, TIMEOUT_S)


def summed(lab: Lab, rounds: int, reliable: Reliable = "none") -> Program:
    return lambda node: push_sum(node, lab.learner, rounds, TIMEOUT_S, reliable)


def finals(lab: Lab) -> Floats:
    models = lab.final_models()
    return np.array([models[node] for node in sorted(models)], np.float64)


def disagreement(models: Floats) -> float:
    return float(np.linalg.norm(models - models.mean(axis=0)))


# ---------------------------------------------------------------- averages and consensus


@pytest.mark.parametrize("mix_every", [1, 3])
def test_doubly_stochastic_mixing_keeps_the_average(mix_every: int) -> None:
    lab, values = scattered(regular(10, 4))
    lab.run(gossip(lab, 9, mix_every))
    np.testing.assert_allclose(finals(lab).mean(axis=0), values.mean(axis=0), atol=1e-6)
    assert disagreement(finals(lab)) < disagreement(values)


@pytest.mark.parametrize("neighbors", [RING, regular(10, 4)], ids=["ring", "regular"])
def test_consensus_comes_at_the_spectral_rate(neighbors: list[tuple[int, ...]]) -> None:
    """Once the slowest mode is left, each mix shrinks disagreement by the second largest eigenvalue of W."""
    rate = second_eigenvalue(neighbors)
    distance = {}
    lab, _ = scattered(neighbors)
    lab.run(gossip(lab, 21))
    for rounds in (11, 21):
        handles = [f["value"] for _, _, f in lab.of_kind("model") if f["round"] == rounds]
        distance[rounds] = disagreement(np.array(lab.executor.read(handles), np.float64))
    assert (distance[21] / distance[11]) ** (1 / 10) == pytest.approx(rate, rel=0.02)


def test_local_updates_between_mixes_are_the_matrix_iteration() -> None:
    """Three local steps and a mix, by hand; the messages are those of the mixing rounds alone."""
    lab, rate = regression(RING, 0.1)[0], 3
    kernel, _ = lab.run(gossip(lab, 6, rate))
    models: list[Any] = [lab.initial] * 8
    for round in range(6):
        handles = [
            lab.executor.submit(lab.learner.operations.update(), [m, i], node=i, size=3)
            for i, m in enumerate(models)
        ]
        models = lab.executor.read(handles)
        if round % rate == rate - 1:
            models = list((lab.weights @ np.array(models, np.float64)).astype(np.float32))
    np.testing.assert_allclose(finals(lab), models, atol=1e-5)
    assert len(kernel.log) == 2 * 8 * 2


def test_pairwise_averaging_keeps_the_average_however_exchanges_overlap() -> None:
    """With a period far below the latency nearly all exchanges overlap with others."""
    for period_s in (0.01, 0.5):
        lab, values = scattered(regular(10, 4))
        lab.run(lambda node, p=period_s, lab=lab: pairwise(node, lab.learner, 40, p, TIMEOUT_S))
        np.testing.assert_allclose(finals(lab).mean(axis=0), values.mean(axis=0), atol=1e-5)
        assert disagreement(finals(lab)) < 1e-2 * disagreement(values)
        assert not lab.of_kind("unanswered")
        active = [f["active"] for _, _, f in lab.of_kind("averaged")]
        assert active.count(True) == active.count(False) == 10 * 40


def test_lost_answers_are_what_makes_pairwise_averages_drift() -> None:
    lab, values = scattered(regular(10, 4))
    kernel, _ = lab.run(lambda node: pairwise(node, lab.learner, 40, 0.5, TIMEOUT_S), loss=0.2)
    moved = [f["active"] for _, _, f in lab.of_kind("averaged")]
    assert len(lab.of_kind("unanswered")) >= kernel.log.count("lost") > 50, (
        "a node that has finished is silent too"
    )
    assert moved.count(False) - moved.count(True) == len(lost_of(kernel, "answer")) > 0
    drift = np.abs(finals(lab).mean(axis=0) - values.mean(axis=0)).max()
    assert 1e-3 < drift < 1.0
    assert disagreement(finals(lab)) < 1e-2 * disagreement(values)


def lost_of(kernel: Any, kind: str) -> list[int]:
    columns = kernel.log.columns()
    return [
        i
        for i, (k, s) in enumerate(zip(columns["kind"].tolist(), columns["status"].tolist(), strict=True))
        if k == kind and s == "lost"
    ]


@pytest.mark.parametrize("program", [pull, push_pull])
def test_pulling_and_swapping_converge(program: Any) -> None:
    lab, values = scattered(regular(10, 4))
    lab.run(lambda node: program(node, lab.learner, Pace(60, 0.3, MergeRules())))
    assert disagreement(finals(lab)) < 1e-3 * disagreement(values)
    low, high = values.min(axis=0), values.max(axis=0)
    assert np.all((finals(lab) >= low) & (finals(lab) <= high)), "a convex combination of the values"


# ---------------------------------------------------------------- push-sum


def test_ratio_consensus_reaches_the_true_average_on_directed_links() -> None:
    lab, values = scattered(complete(5))
    lab.run(summed(lab, 60), overlay=LOPSIDED)
    np.testing.assert_allclose(finals(lab), np.tile(values.mean(axis=0), (5, 1)), atol=1e-5)
    weights = [f["weight"] for _, _, f in lab.of_kind("mass") if f["round"] == 60]
    assert np.ptp(weights) > 0.3, "weights make up for the lopsided links"
    plain, _ = scattered(complete(5))
    plain.run(gossip(plain, 60), overlay=LOPSIDED)
    assert disagreement(finals(plain)) < 1e-4
    assert np.abs(finals(plain) - values.mean(axis=0)).max() > 0.05, "averaging by rows finds another value"


@pytest.mark.parametrize("reliable", ["none", "running-sums"])
def test_push_sum_weights_sum_to_the_number_of_nodes(reliable: Reliable) -> None:
    """After every round of a loss-free run, and with what is on its way at any other time."""
    lab, _ = scattered(regular(10, 4))
    lab.run(summed(lab, 12, reliable))
    for round in range(1, 13):
        weights = [f["weight"] for _, _, f in lab.of_kind("mass") if f["round"] == round]
        assert len(weights) == 10
        assert sum(weights) == pytest.approx(10, abs=1e-9)
    halfway, _ = scattered(regular(10, 4))
    kernel, _ = halfway.run(summed(halfway, 12, reliable), loss=0.2, until_s=1.3)
    disks = [node.disk for node in kernel.nodes]
    held = sum(disk["mass"].weight for disk in disks)
    under_way = sum(disk["sent"] - disk.get("received", 0.0) for disk in disks)
    assert under_way > 0.1
    assert held + under_way == pytest.approx(10, abs=1e-9)


def test_what_is_lost_takes_its_mass_along_and_running_sums_bring_it_back() -> None:
    def spread(reliable: Reliable) -> tuple[float, float]:
        lab, values = scattered(regular(10, 4))
        kernel, _ = lab.run(summed(lab, 60, reliable), loss=0.2, faults=[Outage(4, 1.0, 4.0)])
        disks = [node.disk for node in kernel.nodes]
        held = sum(disk["mass"].weight for disk in disks)
        assert held + sum(disk["sent"] - disk["received"] for disk in disks) == pytest.approx(10, abs=1e-9)
        return held, float(np.abs(finals(lab) - values.mean(axis=0)).max())

    (lost, error), (kept, exact) = spread("none"), spread("running-sums")
    assert lost < 1.0
    assert kept > 4.0, "what is missing was sent last, and nothing came after it"
    assert exact < 0.3 * error


def test_running_sums_change_nothing_without_losses() -> None:
    plain, _ = regression(RING, 0.1)
    plain.run(summed(plain, 15))
    sums, _ = regression(RING, 0.1)
    sums.run(summed(sums, 15, "running-sums"))
    np.testing.assert_allclose(finals(plain), finals(sums), atol=1e-4)


def test_push_sum_learns_on_links_that_change_and_lead_one_way() -> None:
    lab, optimum = regression(complete(8), 0.05)
    lab.run(summed(lab, 200), overlay=one_peer_exponential(8))
    assert np.abs(finals(lab).mean(axis=0) - optimum).max() < 0.05
    lossy, optimum = regression(complete(8), 0.05)
    lossy.run(summed(lossy, 120, "running-sums"), overlay=epidemic_local(8, 2, seed=1), loss=0.1)
    assert np.abs(finals(lossy).mean(axis=0) - optimum).max() < 0.2


# ---------------------------------------------------------------- optima


def test_complete_graph_gossip_is_federated_averaging() -> None:
    gossiping = Lab(complete(8))
    gossiping.run(gossip(gossiping, 6))
    serving = Lab(star(8))
    serving.run(federated(fedavg)(serving, 6))
    np.testing.assert_allclose(finals(gossiping), finals(serving), atol=1e-5)


def test_gossip_on_the_complete_graph_reaches_the_global_optimum() -> None:
    lab, optimum = regression(complete(8), 0.3)
    lab.run(gossip(lab, 120))
    np.testing.assert_allclose(finals(lab), np.tile(optimum, (8, 1)), atol=1e-4)


def test_tracking_is_exact_where_gossip_keeps_a_bias_that_shrinks_with_the_step() -> None:
    def error(program: Any, step: float) -> float:
        lab, optimum = regression(RING, step)
        lab.run(program(lab, round(24 / step)))
        return float(np.abs(finals(lab) - optimum).max())

    large, small = error(gossip, 0.2), error(gossip, 0.05)
    assert 2.5 < large / small < 6, "the bias is about proportional to the step"
    assert error(tracking_of, 0.2) < 1e-3 * large


def tracking_of(lab: Lab, rounds: int) -> Program:
    return tracked(lab, rounds)


def test_tracking_is_the_matrix_iteration() -> None:
    lab, _ = regression(RING, 0.1)
    kernel, _ = lab.run(tracked(lab, 7))
    w = lab.weights.toarray()
    x = np.tile(np.asarray(lab.initial, np.float64), (8, 1))
    y = last = np.zeros_like(x)
    for _ in range(7):
        handles = [
            lab.executor.submit(
                lab.learner.operations.update(),
                [x[i].astype(np.float32), i],
                node=i,
                size=3,
            )
            for i in range(8)
        ]
        d = np.array(lab.executor.read(handles), np.float64) - x
        y = w @ y + d - last if last.any() else d
        x, last = w @ (x + y), d
    np.testing.assert_allclose(finals(lab), x, atol=1e-4)
    sizes = kernel.log.columns()["size_bytes"]
    assert set(sizes.tolist()) == {8 + 2 * 4 * 3 + 40}, "two vectors, a header and the network's own"


# ---------------------------------------------------------------- epidemic learning


@pytest.mark.parametrize("local", [False, True], ids=["EL-Oracle", "EL-Local"])
def test_epidemic_learning_averages_what_was_received(local: bool) -> None:
    """Rows are plain averages over those heard and the node itself, and nobody's message is missed."""
    nodes, degree, rounds = 40, 3, 25
    links = (epidemic_local if local else epidemic)(nodes, degree, 5)
    lab = Lab(complete(nodes))
    kernel, _ = lab.run(gossip(lab, rounds), overlay=links)
    assert kernel.log.count("delivered") == nodes * degree * rounds
    mixes = [e for e in lab.learner.lineage.entries if e.kind == COMBINE]
    assert len(mixes) == nodes * rounds
    for entry in mixes:
        received = len(links.links(entry.node, entry.round).sources)
        assert received == degree or local
        np.testing.assert_allclose(entry.coefs, [1 / (received + 1)] * (received + 1), rtol=1e-12)


def test_epidemic_learning_with_losses_averages_what_is_there() -> None:
    lab = Lab(complete(20))
    lab.run(gossip(lab, 10, rescale=True), overlay=epidemic_local(20, 3, 5), loss=0.2)
    sizes = {len(e.coefs) for e in lab.learner.lineage.entries if e.kind == COMBINE}
    assert len(sizes) > 3
    for entry in lab.learner.lineage.entries:
        if entry.kind == COMBINE:
            np.testing.assert_allclose(entry.coefs, [1 / len(entry.coefs)] * len(entry.coefs), rtol=1e-12)


# ---------------------------------------------------------------- merging


def test_the_weight_of_a_received_model() -> None:
    lab = Lab(RING)
    start = lab.learner.start
    mine, fresh, stale = Aged(start, 12, 10), Aged(start, 4, 11), Aged(start, 6, 7)
    assert MergeRules().share(mine, stale) == 0.5
    by_updates = MergeRules(weight="updates")
    assert by_updates.share(mine, fresh) == 4 / 16
    assert by_updates.share(Aged(start, 0, 0), Aged(start, 0, 0)) == 0.5
    weighted = MergeRules(staleness="weight")
    assert weighted.share(mine, fresh) == 0.5, "nobody is younger than new"
    assert weighted.share(mine, stale) == 0.5 / 4
    assert MergeRules(weight="updates", staleness="weight").share(mine, stale) == 6 / 18 / 4


@pytest.mark.parametrize("order", ["merge-update", "update-merge"])
def test_a_round_merges_and_steps_in_the_order_asked_for(order: Any) -> None:
    lab = Lab(RING)
    rules = MergeRules(order=order, staleness="discard", stale_after=2)
    done: list[Aged] = []

    async def program(node: Any) -> None:
        if node.id:
            return
        own, one, two, old = [
            await lab.learner.local_update(node, lab.learner.start, 100 + i) for i in range(4)
        ]
        mine = Aged(own, 5, 9)
        arrived = [Aged(one, 2, 8), Aged(two, 7, 7), Aged(old, 9, 6)]
        done.append(await rules.round(node, lab.learner, mine, arrived))

    lab.run(program)
    assert [f["age"] for _, _, f in lab.of_kind("stale")] == [3]
    (result,) = done
    assert (result.updates, result.steps) == (8, 10)
    entries = {
        e.state: e for e in lab.learner.lineage.entries if e.kind in (COMBINE, CONTRIBUTE) and e.state > 4
    }
    steps = [e for e in entries.values() if e.kind == CONTRIBUTE]
    assert [(e.node, e.round) for e in steps] == [(0, 9)]
    mixes = [(e.parents, e.coefs) for e in entries.values() if e.kind == COMBINE]
    if order == "merge-update":
        assert mixes == [((1, 2, 3), (0.25, 0.25, 0.5))]
        assert steps[0].parents == (5,)
    else:
        assert mixes == [((2, 3), (0.5, 0.5)), ((1, 6), (0.5, 0.5))]
        assert steps[0].parents == (5,)
