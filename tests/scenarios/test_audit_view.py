"""Audits of whole views: the recorded map is what coalitions read, and bugs in noise or in its credit are noticed.

Statistical: a true claim is called violated with probability at most 5 % by construction; seeds are fixed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.gossip.learner import Learner
from protocols.learning.executor import BatchedExecutor
from protocols.privacy import coalitions
from protocols.privacy.record import Record, read_record
from scenarios.audits.canaries import AGAINST, ALONG
from scenarios.audits.view import audit_view
from scenarios.audits.view_trial import Table, Trial, climbed
from scenarios.build import build
from scenarios.load import Loaded, resolve
from simulator.contract.compute import Vector
from simulator.errors import ConfigurationError
from simulator.runtime.participant import Participant

TRIALS = 100
"""Runs of each arm: every planted bug must be noticed with so many."""
LDP = {"kind": "dsgd", "rounds": 4, "exchange": "ldp", "timeout": "2 s"}
SECURE: dict[str, Any] = {
    "topology": {"kind": "complete", "nodes": 5},
    "protocol": LDP | {"exchange": "secure"},
    "secure": {"crypto": "ideal"},
    "privacy": {"noise": "sum", "noise_multiplier": 1.0},
}


def loaded(changes: dict[str, Any] | None = None, **privacy: Any) -> Loaded:
    given = dict(changes or {})
    table = {"unit": "record", "adjacency": "add-remove", "clip": 1.0} | given.pop("privacy", {}) | privacy
    if not {"noise_multiplier", "target_epsilon"} & table.keys():
        table["noise_multiplier"] = 1.2
    scenario = resolve(
        {
            "format": 1,
            "name": "viewed",
            "seed": 1,
            "topology": {"kind": "ring", "nodes": 6},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 120, "features": 4, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 20, "step_cost": "20 ms"},
            "protocol": LDP,
            "privacy": table,
        }
        | given
    )
    return Loaded(scenario=scenario, path=Path("viewed.toml"), raw={})


def play(made: Loaded, *coalition: int, trials: int = TRIALS, **options: Any) -> dict[str, Any]:
    return audit_view(made, coalition, trials=trials, on_progress=lambda f, t: None, **options)


def figure(found: dict[str, Any], word: str) -> float:
    value: float = next(value for key, value in found.items() if key.startswith(word))
    return value


# ---------------------------------------------------------------- the map is what is read


ASYNCHRONOUS = {"kind": "push", "rounds": 4, "exchange": "ldp", "period": "200 ms"}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "ldp": {},
    "ldp, lossy": {
        "network": {"latency": {"kind": "lognormal", "median": "50 ms", "sigma": 0.4}, "loss": "10 %"},
    },
    "secure": SECURE,
    "secure, real": SECURE | {"secure": {"crypto": "real"}},
    "push": {"protocol": ASYNCHRONOUS},
    "push-sum": {"protocol": {"kind": "push-sum", "rounds": 4, "exchange": "ldp", "timeout": "2 s"}},
    "tracking": {"protocol": {"kind": "gradient-tracking", "rounds": 4, "exchange": "ldp", "timeout": "2 s"}},
    "star": {
        "topology": {"kind": "star", "nodes": 6},
        "protocol": {
            "kind": "fedavg",
            "rounds": 4,
            "exchange": "secure",
            "inner_train": False,
            "timeout": "2 s",
        },
        "secure": {"crypto": "ideal"},
        "privacy": {"noise": "sum", "noise_multiplier": 1.0, "law": "gaussian"},
    },
    "steps": {"training": {"step": 0.5, "divisor": 20, "step_cost": "20 ms", "local_steps": 2}},
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_members_read_is_what_the_record_says(name: str) -> None:
    """Of one run with all its noise known, every value that members read follows from the record to rounding."""
    scenario = loaded(PROTOCOLS[name]).scenario
    members, victim, signs = frozenset({0, 2}), 1, [ALONG, AGAINST, AGAINST, ALONG]
    parts = build(scenario, BatchedExecutor(), Path())
    trial = Trial.play(Table.of(scenario, parts, members, victim), 1, 0, signs)
    record = read_record(trial.lineage.record())
    rows = trial._rows(record)
    contributions = np.zeros((len(record.owner), len(trial.initial)))
    for node, draws in trial.drawn.items():
        contributions[record.owner == node] = np.concatenate([np.atleast_2d(draw) for draw in draws])
    canary = np.full(len(trial.initial), len(trial.initial) ** -0.5)
    for column in np.flatnonzero(record.owner == victim).tolist():
        contributions[column] += signs[record.round[column]] * canary
    expected = rows @ contributions + np.outer(trial._origin(record), trial.initial)
    read = np.stack(trial._values([value for value, _ in trial.seen]))
    assert len(read) > 0
    assert np.abs(expected).max() > 0.02
    np.testing.assert_allclose(read, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("made", "coalition", "victim"),
    [
        (loaded(), (0,), 2),
        (loaded(unit="node", adjacency="replace"), (0, 4), 2),
        pytest.param(loaded(SECURE), (0, 2, 3), 1, marks=pytest.mark.slow),
    ],
    ids=["ldp", "node, replace", "secure"],
)
def test_an_honest_run_is_consistent(made: Loaded, coalition: tuple[int, ...], victim: int) -> None:
    found = play(made, *coalition, victim=victim)
    assert found["verdict"] == "consistent"
    lower = figure(found, "lower bound, Gaussian")
    assert lower < figure(found, "open-loop")
    assert found["would have noticed"].startswith("noise below")
    assert figure(found, "open-loop") <= figure(found, "certified")
    assert 0.9 * figure(found, "open-loop") < figure(found, "epsilon of this attack")
    assert figure(found, "epsilon of this attack") <= figure(found, "open-loop") * (1 + 1e-9)


def test_by_default_the_victim_is_who_loses_most() -> None:
    assert play(loaded(), 0, trials=4)["victim"] in (1, 5)


@pytest.mark.slow
def test_processes_find_what_one_process_finds() -> None:
    made = loaded()
    assert play(made, 0, trials=32, jobs=2) == play(made, 0, trials=32, jobs=1)


# ---------------------------------------------------------------- planted bugs


SHORT = loaded(SECURE | {"protocol": LDP | {"exchange": "secure", "rounds": 2}})
"""Two rounds of sums: towards a coalition of three of five only two members' noise counts."""


def test_noise_drawn_once_for_all_rounds_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Participant.rng

    def rng(self: Participant, purpose: str, *key: int) -> np.random.Generator:
        return honest(self, purpose, *(() if purpose == "noise" else key))

    monkeypatch.setattr(Participant, "rng", rng)
    assert play(loaded(), 0, victim=1)["verdict"] == "violated"


@pytest.mark.slow
def test_noise_halved_is_caught_from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Learner.noise
    monkeypatch.setattr(Learner, "noise", lambda self, node, rng: np.float32(0.5) * honest(self, node, rng))
    found = play(loaded(noise_multiplier=0.7), 0, victim=2)
    assert figure(found, "open-loop") < 0.8 * figure(found, "certified")
    assert found["verdict"] == "violated"


@pytest.mark.slow
def test_a_member_that_forgets_its_noise_in_sums_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the noise in sums of four members two colluders know theirs: what is missing is half of the rest."""
    honest = Learner.noise

    def noise(self: Learner, node: int, rng: np.random.Generator) -> Vector:
        drawn = honest(self, node, rng)
        return np.zeros_like(drawn) if node == 4 else drawn

    monkeypatch.setattr(Learner, "noise", noise)
    assert play(SHORT, 0, 2, 3, victim=1, trials=300)["verdict"] == "violated"


@pytest.mark.slow
def test_noise_credited_that_the_coalition_knows_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the first member were alone: the sum it opens would have the noise of the two others, who know it."""
    honest = coalitions.expose

    def expose(record: Record, coalition: frozenset[int], factor: float) -> Any:
        return honest(record, frozenset({min(coalition)}), factor)

    monkeypatch.setattr(coalitions, "expose", expose)
    assert play(SHORT, 0, 2, 3, victim=1, trials=300)["verdict"] == "violated"


# ---------------------------------------------------------------- signs, and what is refused


def test_signs_are_climbed_to_the_best_of_a_small_case() -> None:
    rng = np.random.default_rng(4)
    factor = rng.standard_normal((9, 6))
    gram = factor.T @ factor
    everything = [np.array([1.0 if i >> k & 1 else -1.0 for k in range(6)]) for i in range(64)]
    best = max(float(s @ gram @ s) for s in everything)
    found = max(float(s @ gram @ s) for s in (climbed(gram, start) for start in everything))
    assert found == pytest.approx(best)
    start = np.ones(6)
    reached = climbed(gram, start)
    assert float(reached @ gram @ reached) >= float(start @ gram @ start)


@pytest.mark.parametrize(
    ("changes", "coalition", "victim", "said"),
    [
        ({}, (0,), 0, "in the coalition"),
        ({}, (0, 9), None, "node 9 does not exist"),
        (PROTOCOLS["star"] | {"privacy": {"noise": "sum"}}, (0,), None, "no linear view"),
        (
            {"training": {"step": 0.5, "step_cost": "20 ms", "rate": 0.5}},
            (0,),
            None,
            "full batches",
        ),
        ({"privacy": {"bands": 2}}, (0,), None, r"leave out privacy\.bands"),
        (
            {"adversary": {"byzantine": {"nodes": [3], "attack": {"kind": "sign-flip"}}}},
            (0,),
            None,
            "honest runs",
        ),
        (
            {"training": {"step": 0.5, "step_cost": "20 ms", "optimizer": {"kind": "momentum"}}},
            (0,),
            None,
            "no open-loop figure",
        ),
    ],
)
def test_what_has_no_linear_view_is_refused(
    changes: dict[str, Any], coalition: tuple[int, ...], victim: int | None, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        play(loaded(changes), *coalition, victim=victim, trials=4)
