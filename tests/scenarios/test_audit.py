"""Audits of single updates: consistent where noise is right, violated where it was broken on purpose.

Statistical: a true claim is called violated with probability at most 5 % by construction, in fact far less (see
docs/audit.md); seeds are fixed, so what passes once passes always.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.gossip.learner import Learner
from protocols.learning.executor import BatchedExecutor
from protocols.learning.gradient import clipped
from scenarios.audits.audit import audit, likelihood
from scenarios.audits.canaries import ALONG, NOTHING, marked, operations_with, sign_of
from scenarios.build import build
from scenarios.load import Loaded, load, resolve
from scenarios.run import run
from simulator import streams
from simulator.errors import ConfigurationError
from simulator.runtime.participant import Participant
from tests.support.matrix import covering

TRIALS = 160
"""Of each arm: every planted bug must be noticed with so many."""


def loaded(changes: dict[str, Any] | None = None, seed: int = 1, **privacy: Any) -> Loaded:
    scenario = resolve(
        {
            "format": 1,
            "name": "audited",
            "seed": seed,
            "topology": {"kind": "ring", "nodes": 4},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 120, "features": 6, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 20, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": 8, "exchange": "ldp", "timeout": "2 s"},
            "privacy": {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "target_epsilon": 4.38}
            | privacy,
        }
        | (changes or {})
    )
    return Loaded(scenario=scenario, path=Path("audited.toml"), raw={})


def play(trials: int = TRIALS, canary: Any = "gradient", **options: Any) -> dict[str, Any]:
    return audit(loaded(**options), trials=trials, on_progress=lambda f, t: None, canary=canary)


def lower_bound(found: dict[str, Any]) -> float:
    return max(value for key, value in found.items() if key.startswith("lower bound"))


def noticed(found: dict[str, Any]) -> float:
    """Below which share of the noise the audit would have noticed."""
    words = found["would have noticed"].split()
    return float(words[2]) if words[0] == "noise" else 0.0


def claimed(found: dict[str, Any]) -> float:
    value: float = next(value for key, value in found.items() if key.startswith("claimed"))
    return value


# ---------------------------------------------------------------- what is right stays unsuspected


def steps(**changes: Any) -> dict[str, Any]:
    return {"training": {"step": 0.5, "divisor": 20, "step_cost": "20 ms"} | changes}


@pytest.mark.parametrize(
    ("options", "power"),
    [
        ({}, 0.4),
        ({"unit": "node", "adjacency": "zero-out"}, 0.4),
        *covering(
            [
                ({"adjacency": "replace"}, 0.4),
                ({"changes": steps(schedule={"kind": "exponential", "half_life": 4})}, 0.4),
                ({"changes": steps(local_steps=3)}, 0.4),
                (
                    {
                        "changes": steps(optimizer={"kind": "momentum"}),
                        "unit": "node",
                        "adjacency": "zero-out",
                    },
                    0.4,
                ),
                ({"changes": {"model": {"kind": "mlp", "hidden": 5}}}, 0.4),
                ({"adjacency": "replace", "changes": steps(batch=15)}, 0.2),
                ({"changes": steps(rate=0.5), "target_epsilon": None, "noise_multiplier": 0.8}, 0.2),
            ],
            lambda case: case == ({"adjacency": "replace"}, 0.4),
        ),
    ],
    ids=["record", "node", "replace", "schedule", "steps", "momentum", "mlp", "batch", "poisson"],
)
def test_an_honest_run_is_consistent_and_missing_noise_would_be_noticed(
    options: dict[str, Any], power: float
) -> None:
    found = play(**options)
    assert found["verdict"] == "consistent"
    assert lower_bound(found) < claimed(found)
    assert found["mean norm, in clipping norms"] == pytest.approx(1.0, abs=0.05)
    assert noticed(found) > power


@pytest.mark.slow
def test_the_lower_bound_is_a_good_part_of_the_claim() -> None:
    found = play(trials=600)
    assert 0.45 * claimed(found) < lower_bound(found) < claimed(found)
    assert found["fraction of these at the clipping norm"] == 1.0


def test_the_claim_is_the_ledgers_own_for_the_scenario(tmp_path: Path) -> None:
    """A node of a ring shows every model it makes to its neighbours, so its certified loss is that of the game."""
    scenario = loaded().scenario
    summary = run(scenario, tmp_path / "run")
    assert claimed(play(trials=8)) == pytest.approx(summary["epsilon_worst"], rel=1e-9)


@pytest.mark.slow
def test_batches_leave_the_canary_out_and_the_audit_says_how_often() -> None:
    found = play(changes=steps(rate=0.5), target_epsilon=None, noise_multiplier=0.8, trials=60)
    assert found["fraction of rounds with the canary"] == pytest.approx(0.5, abs=0.08)
    assert "lower bound, Gaussian trade-off (95 %)" not in found


@pytest.mark.slow
def test_records_need_not_be_at_the_clipping_norm_and_the_audit_says_so() -> None:
    """A record with large features is classified after a round or two, and its gradient is gone."""
    cancer = {
        "data": {"kind": "breast-cancer"},
        "protocol": {"kind": "dsgd", "rounds": 30, "exchange": "ldp", "timeout": "2 s"},
        "training": {"step": 0.5, "step_cost": "20 ms"},
    }
    features = play(changes=cancer, canary="features", trials=16)
    assert features["fraction of these at the clipping norm"] < 0.7
    mislabelled = play(changes=cancer, canary="mislabelled", trials=16)
    assert mislabelled["mean norm, in clipping norms"] > features["mean norm, in clipping norms"]


def test_a_spent_budget_ends_the_game_and_the_claim() -> None:
    found = play(target_epsilon=None, noise_multiplier=1.5, budget=3.0, trials=40)
    assert found["fraction of rounds with the canary"] < 1.0
    assert claimed(found) <= 3.0


# ---------------------------------------------------------------- planted bugs


class Faint:
    """A generator whose normal draws are a tenth of what they should be."""

    def __init__(self, inner: np.random.Generator) -> None:
        self._inner = inner

    def standard_normal(self, *args: Any, **options: Any) -> Any:
        return np.float32(0.1) * self._inner.standard_normal(*args, **options)


def halved(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Learner.noise
    monkeypatch.setattr(Learner, "noise", lambda self, node, rng: np.float32(0.5) * honest(self, node, rng))


def _drawn(monkeypatch: pytest.MonkeyPatch, draw: Callable[..., Any]) -> None:
    """Change the place where every node of every run gets its streams from."""
    honest = Participant.rng

    def rng(self: Participant, purpose: str, *key: int) -> Any:
        return draw(self, honest, key) if purpose == "noise" else honest(self, purpose, *key)

    monkeypatch.setattr(Participant, "rng", rng)


def a_tenth_after_round_0(monkeypatch: pytest.MonkeyPatch) -> None:
    _drawn(
        monkeypatch,
        lambda self, honest, key: (
            honest(self, "noise", *key) if key[0] == 0 else Faint(honest(self, "noise", *key))
        ),
    )


def reused(monkeypatch: pytest.MonkeyPatch) -> None:
    _drawn(monkeypatch, lambda self, honest, key: honest(self, "noise", 0))


def reused_every_second_round(monkeypatch: pytest.MonkeyPatch) -> None:
    _drawn(monkeypatch, lambda self, honest, key: honest(self, "noise", key[0] % 2))


def seedless(monkeypatch: pytest.MonkeyPatch) -> None:
    _drawn(monkeypatch, lambda self, honest, key: streams.generator(0, "node", self.id, "noise", *key))


@pytest.mark.parametrize(
    "plant", [halved, a_tenth_after_round_0, reused, reused_every_second_round, seedless]
)
def test_planted_bugs_are_caught(
    plant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    found = play()
    assert found["verdict"] == "violated"
    assert lower_bound(found) > claimed(found)


def test_a_planted_bug_is_caught_where_nodes_are_protected(monkeypatch: pytest.MonkeyPatch) -> None:
    halved(monkeypatch)
    assert play(unit="node", adjacency="zero-out")["verdict"] == "violated"


@pytest.mark.slow
def test_a_planted_bug_is_caught_under_poisson_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    a_tenth_after_round_0(monkeypatch)
    sampled = {"changes": steps(rate=0.5), "target_epsilon": None, "noise_multiplier": 0.8}
    assert play(**sampled)["verdict"] == "violated"


def test_noise_credited_in_full_and_never_added_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Learner._updated

    async def fourfold(self: Learner, *args: Any, **options: Any) -> Any:
        return await honest(replace(self, sigma=[4 * sigma for sigma in self.sigma]), *args, **options)

    monkeypatch.setattr(Learner, "_updated", fourfold)
    assert play()["verdict"] == "violated"


@pytest.mark.slow
def test_what_would_have_been_noticed_is_noticed_and_what_would_not_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The figure is worked out from scores; here the noise of the run itself is scaled to either side of it."""
    share = noticed(play())
    honest = Learner.noise
    for factor, verdict in ((share - 0.04, "violated"), (share + 0.06, "consistent")):
        monkeypatch.setattr(
            Learner, "noise", lambda self, node, rng, f=factor: np.float32(f) * honest(self, node, rng)
        )
        assert play()["verdict"] == verdict


# ---------------------------------------------------------------- canaries


@pytest.mark.parametrize("model", [{"kind": "softmax"}, {"kind": "mlp", "hidden": 5}])
@pytest.mark.parametrize("alone", covering([False, True], {False}))
def test_a_gradient_canary_is_at_the_clipping_norm_at_any_model(model: dict[str, Any], alone: bool) -> None:
    made = loaded({"model": model})
    parts = build(made.scenario, BatchedExecutor(), Path())
    privacy = made.scenario.privacy
    assert privacy is not None
    operations = {
        sign: operations_with(parts.learner.operations, 0, "gradient", sign, privacy, alone=alone)
        for sign in (ALONG, -ALONG, NOTHING)
    }
    bank, task = operations[NOTHING].bank, operations[NOTHING].task
    assert (task.network is None) == alone
    for scale in (0.0, 1.0, 30.0):
        params = (scale * np.random.default_rng(3).standard_normal(task.size)).astype(np.float32)
        sums = {
            sign: np.asarray(
                clipped(task, "record")(
                    params, made_.bank.x[0], made_.bank.y[0], bank.mask[0], np.float32(2.0)
                ),
                np.float64,
            )
            for sign, made_ in operations.items()
        }
        canary = sums[ALONG] - sums[NOTHING]
        assert np.linalg.norm(canary) == pytest.approx(2.0, rel=1e-5)
        np.testing.assert_allclose(sums[NOTHING] - sums[-ALONG], canary, atol=2e-5)
        if alone:
            np.testing.assert_allclose(canary, 2.0 * task.size**-0.5, rtol=1e-5)


@pytest.mark.slow
def test_marked_tasks_leave_other_samples_as_they_are() -> None:
    made = loaded({"data": {"kind": "diabetes"}, "model": {"kind": "linear"}}, clip=5.0)
    parts = build(made.scenario, BatchedExecutor(), Path())
    operations = parts.learner.operations
    bank, task = operations.bank, operations.task
    params = np.random.default_rng(1).standard_normal(task.size).astype(np.float32)
    given = (params, bank.x[1], bank.y[1], bank.mask[1], np.float32(5.0))
    for layered in (True, False):
        with_marks = clipped(marked(task, 1e3, through_layers=layered), "record")(*given)
        np.testing.assert_allclose(with_marks, clipped(task, "record")(*given), rtol=2e-4, atol=1e-4)


def test_signs_cancel_over_pairs_of_rounds_and_over_every_second_round() -> None:
    signs = [sign_of(round) for round in range(16)]
    assert all(signs[i] + signs[i + 1] == 0 for i in range(0, 16, 2))
    assert sum(signs[::2]) == sum(signs[1::2]) == 0


def test_the_likelihood_of_a_sampled_canary() -> None:
    """One look against the density of a mixture of two normal laws over that of one."""
    from scipy.stats import norm

    seen, size = np.array([[0.7]]), np.array([[1.5]])
    mixture = 0.3 * norm.pdf(0.7, 1.5, 2.0) + 0.7 * norm.pdf(0.7, 0.0, 2.0)
    expected = np.log(mixture / norm.pdf(0.7, 0.0, 2.0))
    np.testing.assert_allclose(likelihood(seen, size, sigma=2.0, rate=0.3), [expected], rtol=1e-12)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": {"kind": "momentum"}, "optimizer_state": "node"}, 'use "fresh"'),
        ({"optimizer": {"kind": "momentum"}, "optimizer_state": "travels"}, 'use "fresh"'),
    ],
)
def test_updates_that_cannot_be_predicted_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        play(changes=steps(**changes), trials=4)


def test_noise_that_remembers_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"leave out privacy\.bands"):
        play(bands=2, target_epsilon=None, noise_multiplier=1.0, trials=4)


def test_there_is_nothing_to_audit_without_noise() -> None:
    with pytest.raises(ConfigurationError, match="nothing to audit"):
        audit(load(Path("quickstart"), ["protocol.exchange=plain"]), trials=4, on_progress=lambda f, t: None)
    integers = loaded_integers()
    with pytest.raises(ConfigurationError, match="--sums"):
        audit(integers, trials=4, on_progress=lambda f, t: None)


def loaded_integers() -> Loaded:
    from tests.scenarios.test_audit_sums import loaded as sums

    return sums(law="skellam")
