"""A clipping norm that follows a quantile: how it moves, what it costs, and that it finds the norm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.adaptive_clip import AdaptiveClip
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from simulator.errors import ConfigurationError


def test_the_effective_noise_and_the_trace_of_the_norm() -> None:
    """Reference values of the geometric update with eta 0.2 and gamma 0.5."""
    made = AdaptiveClip(0.1, 0.5, 0.2, 1.0, 10.0)
    assert made.update_multiplier == pytest.approx(1.0012523486435176, rel=1e-12)
    norm, trace = 0.1, []
    for fraction in (0.1, 0.3, 0.5, 0.7):
        norm = made.moved(norm, [fraction - 0.5])
        trace.append(norm)
    once, twice = 0.10832870676749587, 0.11274968515793758
    assert trace == pytest.approx([once, twice, twice, once])
    assert made.moved(norm, []) == norm


def test_bits_that_cost_more_than_all_is_to_cost() -> None:
    with pytest.raises(ConfigurationError, match="more than 4"):
        AdaptiveClip(1.0, 0.5, 0.2, 8.0, 4.0)


def star(rounds: int = 5, **privacy: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "norms",
            "topology": {"kind": "star", "nodes": 21},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 600, "features": 5, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 30, "local_steps": 2, "step_cost": "20 ms"},
            "protocol": {
                "kind": "fedavg",
                "rounds": rounds,
                "exchange": "ldp",
                "inner_train": False,
                "timeout": "2 s",
            },
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "noise_multiplier": 4.0,
                "adaptive_clip": {"rate": 0.5},
            }
            | privacy,
        }
    )


def test_updates_and_bits_together_cost_what_the_multiplier_says(tmp_path: Path) -> None:
    summary = run(star(), tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["epsilon_worst"] == pytest.approx(epsilon_of(5 / 16, 1e-5), rel=1e-9)
    made = pl.read_parquet(tmp_path / "run" / "releases.parquet").filter(pl.col("kind") == "contribute")
    np.testing.assert_allclose(made["sigma"] / made["sensitivity"], 4.0)
    norms = made.group_by("round").agg(
        pl.col("sensitivity").n_unique(), pl.col("sensitivity").first().alias("C")
    )
    assert norms["sensitivity"].to_list() == [1] * 5  # everybody clips at the norm it was told
    assert norms["C"].n_unique() == 5  # which moves


@pytest.mark.parametrize("clip", [0.01, 30.0])
def test_a_norm_far_off_finds_its_way(clip: float, tmp_path: Path) -> None:
    """With little noise the norm ends near the median norm of updates, from far below and from far above."""
    quiet = {"clip": clip, "noise_multiplier": 0.01, "adaptive_clip": {"rate": 1.0, "bit_noise": 0.05}}
    summary = run(star(25, **quiet), tmp_path / "run")
    assert 0.05 < summary["clip"] < 2.0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unit": "record", "adjacency": "add-remove"}, "whole updates"),
        ({"bands": 3}, "fixed clip|one noised sum"),
    ],
)
def test_where_a_norm_cannot_move(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioErrors, match=said):
        star(**changes)
