"""Time-outs against links: what is refused never works, what is allowed can, and what is unlikely is warned of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.learning.executor import BatchedExecutor
from scenarios.build import build
from scenarios.facts.timeouts import least_latency_s, model_bytes, tight, typical_latency_s
from scenarios.kinds.latencies import DelayLaw
from scenarios.load import ScenarioErrors, load, resolve, warned
from scenarios.run import run

REGULAR = {"kind": "regular", "nodes": 8, "degree": 4}
STAR = {"kind": "star", "nodes": 8}


def raw(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "format": 1,
        "name": "waiting",
        "topology": REGULAR,
        "network": {"latency": {"kind": "constant", "value": "50 ms"}},
        "data": {"kind": "blobs", "samples": 400, "features": 3, "classes": 4},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "step_cost": "20 ms"},
        "protocol": {"kind": "dsgd", "rounds": 4, "exchange": "plain", "timeout": "300 ms"},
    }
    for key, value in changes.items():
        made[key] = made.get(key, {}) | value if isinstance(value, dict) and key != "topology" else value
    return made


PRIVATE = {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "noise_multiplier": 5.0}
SECURE = {"privacy": PRIVATE, "secure": {"crypto": "ideal"}}
CASES: list[dict[str, Any]] = [
    {"topology": REGULAR, "protocol": {"exchange": "secure"}, **SECURE},
    {"topology": STAR, "protocol": {"kind": "fedavg", "exchange": "secure"}, **SECURE},
    {"topology": STAR, "protocol": {"kind": "fedavg"}},
]


@pytest.mark.parametrize("case", CASES)
def test_what_is_refused_would_not_have_worked_and_a_little_more_does(
    tmp_path: Path, case: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    short, enough = (
        raw(**(case | {"protocol": case["protocol"] | {"timeout": t}})) for t in ("99 ms", "105 ms")
    )
    with pytest.raises(
        ScenarioErrors, match="more than 100 ms, which a request and its answer take"
    ) as refused:
        resolve(short)
    assert refused.value.key == "protocol.timeout"
    worked = run(resolve(enough), tmp_path / "enough")
    assert worked["mixes_complete_fraction"] == 1.0
    monkeypatch.setattr("scenarios.facts.timeouts.least_latency_s", lambda scenario: 0.0)
    failed = run(resolve(short), tmp_path / "short")
    assert failed["neighbours_heard_fraction"] == 0.0


def test_slow_servers_may_hear_answers_after_all(tmp_path: Path) -> None:
    """Their own training takes longer than their clients': nothing is certain, so nothing is refused."""
    slow = {"slowdown": {"kind": "given", "factors": [10.0] + [1.0] * 7}}
    short = {"kind": "fedavg", "timeout": "99 ms"}
    summary = run(resolve(raw(topology=STAR, protocol=short, compute=slow)), tmp_path / "run")
    assert summary["mixes_complete_fraction"] == 1.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": {"timeout": "40 ms"}}, ["1 x 50 ms of latency"]),
        ({"network": {"uplink": "20 kbit/s"}, "protocol": {"timeout": "70 ms"}}, ["4 models of 64 bytes"]),
        ({"protocol": {"kind": "ad-psgd", "timeout": "70 ms"}}, ["usually take 80 ms"]),
        ({"protocol": {"kind": "gradient-tracking", "timeout": "49 ms"}}, ["usually take 50 ms"]),
        ({"protocol": {"kind": "push-sum", "timeout": "1 s"}}, []),
        ({"protocol": {"timeout": "60 ms"}}, []),
    ],
)
def test_what_hardly_fits_is_warned_of(changes: dict[str, Any], said: list[str]) -> None:
    found = [message for _, message in tight(resolve(raw(**changes)))]
    assert len(found) == len(said)
    assert all(words in message for words, message in zip(said, found, strict=True))


def test_a_warning_has_a_place_and_the_example_none() -> None:
    assert warned(load("quickstart")) == []
    (problem,) = warned(load("quickstart", ["protocol.timeout='90 ms'"]))
    assert problem.key == "protocol.timeout"
    assert problem.line is not None
    assert problem.message.startswith("warning: is 90 ms, but the messages of a round usually take 108.3 ms")


LAWS = [
    {"kind": "constant", "value": "50 ms"},
    {"kind": "uniform", "low": "20 ms", "high": "90 ms"},
    {"kind": "lognormal", "median": "50 ms", "sigma": 0.8},
    {"kind": "normal", "mean": "50 ms", "deviation": "10 ms"},
    {"kind": "gamma", "mean": "50 ms", "shape": 3.0},
    {"kind": "exponential", "mean": "50 ms"},
    {"kind": "weibull", "scale": "50 ms", "shape": 1.7},
    {"kind": "pareto", "minimum": "30 ms", "tail": 2.5},
    {"kind": "empirical", "samples": ["40 ms", "55 ms", "70 ms"]},
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law["kind"])
def test_quantiles_are_those_of_the_laws(law: dict[str, Any]) -> None:
    scenario = resolve(raw(network={"latency": law}))
    drawn = DelayLaw.kinds()[law["kind"]].model_validate(law).build()
    median = float(drawn(np.array([0.5]))[0])
    assert typical_latency_s(scenario) == pytest.approx(median, rel=0.01)
    assert least_latency_s(scenario) <= float(drawn(np.array([1e-12]))[0])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model": {"kind": "mlp", "hidden": [7, 5]}},
        {"data": {"kind": "digits"}, "model": {"kind": "mlp"}},
        {"data": {"kind": "wine"}},
        {"data": {"kind": "breast-cancer"}},
        {"data": {"kind": "diabetes"}, "model": {"kind": "linear"}},
        {"data": {"kind": "linear", "samples": 200, "features": 6}, "model": {"kind": "linear"}},
    ],
)
def test_sizes_of_models_are_those_that_are_built(tmp_path: Path, changes: dict[str, Any]) -> None:
    made = raw()
    scenario = resolve(made | changes)
    parts = build(scenario, BatchedExecutor(), tmp_path)
    assert model_bytes(scenario) == 4 * parts.learner.operations.task.size
