"""Poisson sampling: what it saves, and where it does not apply."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.sampling import sampled_epsilon
from scenarios.load import resolve
from scenarios.run import run
from scenarios.studies.reaccount import reaccount

# Privacy loss distributions of dp-accounting 0.6.0 (add or remove one); the first row lies in the interval
# [1.5054, 1.5254] of prv-accountant 0.2.0, the last two (no sampling) are the exact Gaussian values.
DPSGD = [
    (0.01, 1.1, 1000, 1e-5, 1.5153702482034066),
    (0.01, 1.0, 10000, 1e-5, 6.187744996636386),
    (0.02, 1.0, 2000, 1e-5, 5.615800829994957),
    (0.1, 2.0, 200, 1e-5, 3.3596607441369803),
    (0.25, 4.0, 300, 1e-5, 4.969184220691825),
    (0.001, 0.7, 5000, 1e-6, 1.3805690247844569),
    (1.0, 5.0, 1, 1e-5, 0.725521750857797),
    (1.0, 20.0, 400, 1e-6, 4.886554117462215),
]


@pytest.mark.parametrize(("rate", "z", "steps", "delta", "epsilon"), DPSGD)
def test_reference_values(rate: float, z: float, steps: int, delta: float, epsilon: float) -> None:
    clip = 3.0
    found = sampled_epsilon(rate, {(clip, (z * clip) ** 2): steps}, 1.0, "add-remove", delta)
    assert found == pytest.approx(epsilon, rel=1e-4)


@pytest.mark.parametrize("adjacency", ["add-remove", "zero-out", "replace"])
def test_without_sampling_it_is_the_gaussian_mechanism(adjacency: str) -> None:
    factor = 2.0 if adjacency == "replace" else 1.0
    found = sampled_epsilon(1.0, {(factor, 16.0): 9}, factor, adjacency, 1e-5)
    assert found == pytest.approx(epsilon_of(9 * factor**2 / 16, 1e-5), rel=1e-3)
    assert found >= epsilon_of(9 * factor**2 / 16, 1e-5) * (1 - 1e-6)


def test_what_cannot_be_saved() -> None:
    assert sampled_epsilon(0.1, {(1.0, 0.0): 1}, 1.0, "add-remove", 1e-5) == math.inf
    assert sampled_epsilon(0.1, {(math.inf, 1.0): 1}, 1.0, "add-remove", 1e-5) == math.inf
    assert sampled_epsilon(0.1, {(0.0, 0.0): 5}, 1.0, "add-remove", 1e-5) == 0.0
    assert sampled_epsilon(0.1, {}, 1.0, "add-remove", 1e-5) == 0.0


def test_mixed_noise_is_composed() -> None:
    mixed = sampled_epsilon(0.1, {(1.0, 4.0): 10, (1.0, 9.0): 10}, 1.0, "add-remove", 1e-5)
    quiet, loud = (sampled_epsilon(0.1, {(1.0, v): 20}, 1.0, "add-remove", 1e-5) for v in (4.0, 9.0))
    assert loud < mixed < quiet


def gossip(**changes: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "sampled",
            "topology": {"kind": "regular", "nodes": 6, "degree": 4},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 600, "features": 5, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 20, "rate": 0.2, "local_steps": 2, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": 5, "exchange": "ldp", "timeout": "2 s"},
            "privacy": {
                "unit": "record",
                "adjacency": "add-remove",
                "clip": 1.0,
                "noise_multiplier": 2.0,
            },
        }
        | changes
    )


def test_a_run_is_charged_for_the_samples_it_took(tmp_path: Path) -> None:
    summary = run(gossip(), tmp_path / "run")
    expected = sampled_epsilon(0.2, {(1.0, 4.0): 10}, 1.0, "add-remove", 1e-5)
    assert summary["epsilon_worst"] == pytest.approx(expected, rel=1e-6)
    assert summary["epsilon_worst"] < 0.5 * epsilon_of(10 / 4, 1e-5)
    claims = pl.read_parquet(tmp_path / "run" / "privacy.parquet")
    assert claims["epsilon"].max() == summary["epsilon_worst"]
    assert claims.filter(pl.col("epsilon") == summary["epsilon_worst"])["mu2"].is_null().all()
    again = reaccount(tmp_path / "run", observers=["0"], unit=None, adjacency="replace", delta=None)
    certified = next(row for row in again if row["basis"] == "certified")
    assert expected < certified["epsilon (worst victim)"] < 2.5 * expected
    whole = reaccount(tmp_path / "run", observers=["0"], unit="node", adjacency=None, delta=None)
    assert all(row["epsilon (worst victim)"] > 100 for row in whole)


def test_whole_nodes_are_not_amplified(tmp_path: Path) -> None:
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 2.0}
    training = {"step": 0.5, "divisor": 20, "rate": 0.2, "step_cost": "20 ms"}
    summary = run(gossip(privacy=privacy, training=training), tmp_path / "run")
    assert summary["epsilon_worst"] == pytest.approx(epsilon_of(5 / 4, 1e-5), rel=1e-9)


def test_accounting_says_how_far_it_is_and_composes_what_is_alike_once(tmp_path: Path) -> None:
    """Five rounds on links that lose nothing: as many multisets of releases as there are numbers of rounds seen."""
    told: list[tuple[float, str]] = []
    run(gossip(), tmp_path / "run", on_progress=lambda fraction, text: told.append((fraction, text)))
    observers = [text for _, text in told if text.endswith("sets of observers")]
    assert observers == [
        f"accounting {i + 1} of {len(observers)} sets of observers" for i in range(len(observers))
    ]
    steps = [
        (fraction, text)
        for fraction, text in told
        if text.startswith("accounting") and not text.endswith("observers")
    ]
    assert [text for _, text in steps] == [f"accounting {i + 1} of {len(steps)}" for i in range(len(steps))]
    assert [fraction for fraction, _ in steps] == [i / len(steps) for i in range(len(steps))]
    assert 2 <= len(steps) <= 11
