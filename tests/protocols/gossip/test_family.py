"""What holds for every protocol of the gossip family: honest records, no repeated noise, losses, churn, sockets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from protocols.attacks.byzantine import Stage, two_faced
from protocols.gossip.messages import shown
from protocols.learning.evaluate import Evaluator
from protocols.privacy.entries import CONTRIBUTE, Release
from simulator.adversary.coalition import Adversary
from simulator.contract.compute import values_of
from simulator.contract.node import Delivery, Links
from simulator.faults.plan import Outage
from simulator.runtime.real import Live
from simulator.runtime.world import World
from tests.support.family import FAMILY, Traced, values_of_states, with_learner
from tests.support.matrix import covering
from tests.support.worlds import Lab

CHURN = [Outage(1, 0.9), Outage(2, 0.7, 1.9), Outage(5, 1.2, 1.6)]
QUICK_CHURN = [Outage(1, 0.09), Outage(2, 0.07, 0.19), Outage(5, 0.12, 0.16)]
"""For training alone, which is over in a fifth of a second."""
NAMES = list(FAMILY)


def losses(lab: Lab) -> list[float]:
    models = lab.final_models()
    return [
        float(x)
        for x in Evaluator(lab.learner.operations.task, lab.dataset)
        .evaluate(np.stack(list(models.values())))
        .loss
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("attacked", covering([False, True], {True}))
def test_every_value_that_is_shown_is_what_its_state_says(name: str, attacked: bool) -> None:
    """With noise, losses, crashes and a node that tells its neighbours different things."""
    links, make = FAMILY[name]
    lab = Lab(links(), sigma=1.0)
    with_learner(lab, Traced)
    seen: list[Delivery] = []
    nodes = frozenset(range(len(lab.neighbors)))
    byzantine = frozenset({3})
    stage = Stage(lab.learner, lab.executor, lambda *_: Links((), (), {}), byzantine)
    claims = {3: stage.substitution(two_faced(stage, 2.0))} if attacked else {}
    watched = Adversary(nodes, lambda node, delivery: seen.append(delivery), byzantine=claims)
    lab.run(make(lab, 8), loss=0.1, faults=CHURN, adversary=watched)
    values = values_of_states(lab)
    models = [model for delivery in seen if delivery.message.release for model in shown(delivery.message)]
    for model, value in zip(models, values_of(lab.executor, [m.params for m in models]), strict=True):
        expected = values[model.state]
        np.testing.assert_allclose(value, expected, atol=2e-4 * (1 + np.abs(expected).max()))
    released = [e for e in lab.learner.lineage.entries if isinstance(e, Release)]
    assert len(released) == len(models)
    assert (len(models) > 30) == (name != "local")
    assert Counter(e.parents[0] for e in released) == Counter(model.state for model in models)


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_churn_are_survived_without_repeating_a_round(name: str) -> None:
    links, make = FAMILY[name]
    lab = Lab(links())
    kernel, ending = lab.run(make(lab, 20), loss=0.1, faults=QUICK_CHURN if name == "local" else CHURN)
    assert ending.down == {1}
    assert not ending.unfinished
    assert {node for _, node, _ in lab.of_kind("finished")} == set(range(len(lab.neighbors))) - {1}
    assert kernel.log.count("lost") > 0 or name == "local"
    made = Counter((e.node, e.round) for e in lab.learner.lineage.entries if e.kind == CONTRIBUTE)
    assert set(made.values()) == {1}
    assert max(round for _, round in made) == 19
    start = float(Evaluator(lab.learner.operations.task, lab.dataset).evaluate(lab.initial[None]).loss[0])
    after = losses(lab)
    assert np.mean(after) < 0.85 * start
    # What a node has when it goes for good, or comes back to when all is over, may be little trained.
    assert np.median(after) < 0.75 * start


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_trace(name: str) -> None:
    links, make = FAMILY[name]

    def trace() -> tuple[str, dict[int, Any]]:
        lab = Lab(links())
        kernel, _ = lab.run(make(lab, 5), loss=0.1, faults=[Outage(2, 0.3, 0.8)])
        return kernel.log.trace_hash, lab.final_models()

    (first, models), (second, again) = trace(), trace()
    assert first == second
    for node, model in models.items():
        np.testing.assert_array_equal(model, again[node])


@pytest.mark.parametrize("name", covering(NAMES, {"dsgd", "pull", "fedavg"}))
def test_every_protocol_runs_on_real_sockets(name: str) -> None:
    links, make = FAMILY[name]
    lab = Lab(links())
    world = World(
        seed=lab.seed,
        neighbors=lab.neighbors,
        weights=lab.weights,
        executor=lab.executor,
        record=lambda t_s, node, kind, fields: lab.events.append((t_s, node, kind, dict(fields))),
        released=lab.learner.lineage.delivered,
    )
    live = Live(world, make(lab, 4))
    ending = live.run(until_s=600)
    assert not ending.unfinished
    assert {node for _, node, _ in lab.of_kind("finished")} == set(range(len(lab.neighbors)))
    releases = [e for e in lab.learner.lineage.entries if isinstance(e, Release)]
    assert len(releases) >= 20 or name == "local"
    start = np.linalg.norm(lab.initial)
    assert all(np.linalg.norm(model) > start for model in lab.final_models().values())
