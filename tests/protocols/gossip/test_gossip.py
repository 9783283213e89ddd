"""D-PSGD and push gossip: laws of mixing, crashes, noise, attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from protocols.attacks.byzantine import Stage, sign_flip
from protocols.gossip.asynchronous import Pace, push
from protocols.gossip.dsgd import dsgd
from protocols.gossip.merging import MergeRules
from protocols.gossip.peers import Peers
from protocols.gossip.plain_exchange import DirectExchange
from protocols.privacy.entries import COMBINE, CONTRIBUTE, Release
from simulator import streams
from simulator.adversary.coalition import Adversary
from simulator.contract.node import Links, Node
from simulator.faults.plan import Outage
from tests.support.worlds import Lab, complete, regular


def run_direct(lab: Lab, rounds: int, **options: Any) -> Any:
    return lab.run(
        lambda node: dsgd(node, lab.learner, lambda n: DirectExchange(n, lab.learner, 0.5), rounds), **options
    )


def by_hand(lab: Lab, rounds: int) -> np.ndarray[Any, Any]:
    """D-PSGD as matrix algebra, one node at a time."""
    from protocols.learning.eager import EagerExecutor

    eager = EagerExecutor()
    models = [lab.initial] * len(lab.neighbors)
    for round in range(rounds):
        stepped = []
        for node, model in enumerate(models):
            noise = []
            if lab.sigma:
                rng = streams.generator(lab.seed, "node", node, "noise", round)
                noise = [rng.standard_normal(lab.learner.size, dtype=np.float32) * np.float32(lab.sigma)]
            update = lab.learner.operations.update()
            handle = eager.submit(update, [model, node, *noise], node=node, size=lab.learner.size)
            stepped.append(eager.read([handle])[0])
        models = list((lab.weights @ np.array(stepped, np.float64)).astype(np.float32))
    return np.array(models)


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_dsgd_is_the_matrix_iteration(sigma: float) -> None:
    lab = Lab(regular(10, 4), sigma=sigma)
    run_direct(lab, 6)
    expected = by_hand(lab, 6)
    for node, model in lab.final_models().items():
        np.testing.assert_allclose(model, expected[node], atol=1e-5)


def test_complete_graph_reaches_consensus_in_one_round() -> None:
    lab = Lab(complete(6))
    run_direct(lab, 1)
    models = list(lab.final_models().values())
    for model in models[1:]:
        np.testing.assert_allclose(model, models[0], atol=1e-6)


def test_losses_keep_rows_stochastic() -> None:
    """Every mixed model is a convex combination: its coefficients sum to one, whatever was lost."""
    lab = Lab(regular(10, 4))
    run_direct(lab, 8, loss=0.2)
    mixes = [e for e in lab.learner.lineage.entries if e.kind == COMBINE]
    assert {len(e.parents) for e in mixes} > {5}
    assert all(abs(sum(e.coefs) - 1) < 1e-6 for e in mixes)


def test_a_dead_neighbour_costs_bounded_time() -> None:
    """Silence is waited for three time-outs in all, not one a round."""
    lab, calm = Lab(regular(10, 4)), Lab(regular(10, 4))
    _, with_fault = run_direct(lab, 30, faults=[Outage(3, 0.5)])
    _, without = run_direct(calm, 30)
    assert with_fault.t_s - without.t_s < 5 * 0.5
    assert with_fault.down == {3}


def test_a_node_that_returns_continues_where_the_others_are() -> None:
    lab = Lab(regular(10, 4))
    _, ending = run_direct(lab, 60, faults=[Outage(3, 1.0, 3.0)])
    assert not ending.down
    assert not ending.unfinished
    mine = [f["round"] for _, node, f in lab.of_kind("model") if node == 3]
    assert mine[-1] == 60
    assert len(mine) < 60, "the rounds spent down are not made up for"


def test_each_round_draws_its_noise_once() -> None:
    lab = Lab(regular(10, 4), sigma=1.0)
    run_direct(lab, 5)
    contributions = [(e.node, e.round) for e in lab.learner.lineage.entries if e.kind == CONTRIBUTE]
    assert len(contributions) == len(set(contributions)) == 50


def test_direct_exchange_releases_every_delivered_model() -> None:
    lab = Lab(regular(10, 4))
    kernel, _ = run_direct(lab, 5, loss=0.1)
    releases = [e for e in lab.learner.lineage.entries if isinstance(e, Release)]
    assert len(releases) == kernel.log.count("delivered")


def test_sign_flip_is_linear_in_the_lineage_and_hurts() -> None:
    honest, attacked = Lab(regular(10, 4)), Lab(regular(10, 4))
    run_direct(honest, 10)
    nobody = frozenset[int]()
    stage = Stage(attacked.learner, attacked.executor, lambda *_: Links((), (), {}), nobody)
    claim = stage.substitution(sign_flip(stage, 2.0))
    kernel, _ = run_direct(attacked, 10, adversary=Adversary(byzantine={0: claim}))
    flips = [e for e in attacked.learner.lineage.entries if e.kind == COMBINE and e.coefs == (-2.0,)]
    assert len(flips) == 4 * 10
    distance = np.mean(
        [np.linalg.norm(attacked.final_models()[n] - honest.final_models()[n]) for n in range(1, 10)]
    )
    assert distance > 0.1
    assert kernel.log.trace_hash == run_direct(Lab(regular(10, 4)), 10)[0].log.trace_hash


def test_push_gossip_learns_and_survives_losses_and_crashes() -> None:
    lab = Lab(regular(10, 4))

    def program(node: Node) -> Any:
        return push(node, lab.learner, Pace(20, 0.2, MergeRules()))

    kernel, ending = lab.run(program, loss=0.1, faults=[Outage(1, 1.0), Outage(2, 1.0, 2.0)])
    assert ending.down == {1}
    assert kernel.log.count("lost") > 0
    finished = {node for _, node, _ in lab.of_kind("finished")}
    assert finished == set(range(10)) - {1}
    merges = [e for e in lab.learner.lineage.entries if e.kind == COMBINE]
    assert merges
    for merge in merges:  # each model in turn half and half with what there was
        own, *others = merge.coefs
        assert own == 0.5 ** len(others)
        assert others == [0.5 ** (len(others) - i) for i in range(len(others))]
    start = np.linalg.norm(lab.initial)
    assert all(np.linalg.norm(model) > start for model in lab.final_models().values())


def test_peers_wait_for_the_slow_and_give_up_on_the_silent() -> None:
    class Clock:
        neighbors = (1, 2)
        now_s = 0.0
        suspects: frozenset[int] = frozenset()

    clock: Any = Clock()
    peers = Peers(clock, timeout_s=1.0)
    assert peers.awaited(0) == {1, 2}
    peers.heard(1, 4)
    clock.now_s = 2.5
    assert peers.awaited(5) == {1, 2}
    peers.heard(1, 4)
    clock.now_s = 3.5
    assert peers.awaited(5) == {1}, "node 2 was silent for more than three time-outs"
    peers.heard(2, 5)
    assert peers.awaited(6) == {1, 2}
    assert peers.typical_round == 4
    clock.suspects = frozenset({2})
    assert peers.awaited(6) == {1}, "a failure detector is believed"
    peers.meet((3,))
    assert peers.awaited(6) == {1, 3}, "nobody who is new has been silent"


def test_noise_has_the_stated_standard_deviation_and_differs_between_rounds_and_nodes() -> None:
    """80,000 normal draws: the sample deviation is off by more than 1.3 % with probability below 1e-6."""
    lab = Lab(regular(10, 4), sigma=3.0)
    draws = [
        lab.learner.noise(node, streams.generator(lab.seed, "node", node, "noise", round))
        for node in range(10)
        for round in range(1000)
    ]
    assert abs(np.std(np.concatenate(draws)) / 3.0 - 1) < 0.013
    assert len({d.tobytes() for d in draws}) == len(draws)
