"""Audits of groups under a coalition of members: the attack comes close to the certificate, and never above it.

Statistical: a true claim is called violated with probability at most 5 % by construction; seeds are fixed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.gossip.learner import Learner
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.record import read_record
from scenarios.audits.canaries import AGAINST, ALONG
from scenarios.audits.view import audit_view
from scenarios.audits.view_trial import Table, Trial
from scenarios.build import build
from scenarios.load import Loaded, resolve
from tests.support.matrix import covering

COALITION = (0, 2)
SCHEDULES: dict[str, dict[str, Any]] = {
    "stars": {"kind": "stars"},
    "connected": {"kind": "connected", "size": 5},
    "random": {"kind": "random", "size": 4},
    "grid": {"kind": "grid", "dimensions": 2},
}


def loaded(schedule: str, multiplier: float = 0.7) -> Loaded:
    """Nine nodes and four rounds."""
    sparse = schedule in ("stars", "connected")
    topology = {"kind": "regular", "degree": 4} if sparse else {"kind": "complete"}
    scenario = resolve(
        {
            "format": 1,
            "name": "viewed",
            "topology": topology | {"nodes": 9},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}},
            "data": {"kind": "blobs", "samples": 180, "features": 4, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 20, "step_cost": "20 ms"},
            "protocol": {
                "kind": "groups",
                "rounds": 4,
                "exchange": "secure",
                "timeout": "2 s",
                "schedule": SCHEDULES[schedule],
            },
            "secure": {"aggregation": {"kind": "masks"}, "crypto": "ideal", "tolerated_dropouts": 0},
            "privacy": {
                "unit": "record",
                "adjacency": "add-remove",
                "clip": 1.0,
                "noise": "member",
                "noise_multiplier": multiplier,
            },
        }
    )
    return Loaded(scenario=scenario, path=Path("viewed.toml"), raw={})


def play(made: Loaded, trials: int) -> dict[str, Any]:
    return audit_view(made, COALITION, trials=trials, on_progress=lambda f, t: None)


def figure(found: dict[str, Any], word: str) -> float:
    value: float = next(value for key, value in found.items() if key.startswith(word))
    return value


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_members_read_is_what_the_record_says(schedule: str) -> None:
    """With all noise known, means and opened sums that members read follow from the record to rounding."""
    scenario = loaded(schedule).scenario
    victim, signs = 1, [ALONG, AGAINST, AGAINST, ALONG]
    parts = build(scenario, BatchedExecutor(), Path())
    trial = Trial.play(Table.of(scenario, parts, frozenset(COALITION), victim), 1, 0, signs)
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
    assert len(read) > 4
    np.testing.assert_allclose(read, expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("schedule", "trials"), covering([*((s, 200) for s in SCHEDULES), ("connected", 20)], [("connected", 20)])
)
def test_the_attack_is_close_to_the_certificate_and_never_above(schedule: str, trials: int) -> None:
    """The attack's loss is that of the certificate but for groups whose means no member hears, which it charges."""
    found = play(loaded(schedule), trials)
    certified, attack = figure(found, "certified"), figure(found, "epsilon of this attack")
    assert found["verdict"] == "consistent"
    assert figure(found, "lower bound, any") <= certified
    assert figure(found, "lower bound, Gaussian") <= certified
    assert 0.9 * certified < attack <= certified * (1 + 1e-6)
    if trials >= 200:
        assert figure(found, "lower bound, Gaussian") > 0.4 * certified
        assert found["would have noticed"].startswith("noise below")


@pytest.mark.slow
def test_members_that_add_no_noise_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the victim and the coalition add any: about half of a group's deviation, where 0.7 would be noticed."""
    honest = Learner.noise
    victim = play(loaded("connected"), 4)["victim"]
    monkeypatch.setattr(
        Learner,
        "noise",
        lambda self, node, rng: np.float32(node in (*COALITION, victim)) * honest(self, node, rng),
    )
    assert play(loaded("connected"), 200)["verdict"] == "violated"
