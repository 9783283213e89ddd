"""Budgets: noise for a target before a run, and training that stops when ε is spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from protocols.privacy.accounting import epsilon_of
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run


def gossip(privacy: dict[str, Any], **changes: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "budget",
            "topology": {"kind": "regular", "nodes": 6, "degree": 4},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 300, "features": 5, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 50, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": 8, "exchange": "ldp", "timeout": "2 s"},
            "privacy": {"unit": "node", "adjacency": "replace", "clip": 1.0} | privacy,
        }
        | changes
    )


@pytest.mark.parametrize("kind", ["dsgd", "push"])
def test_a_node_trains_until_its_budget_is_spent_and_mixes_on(kind: str, tmp_path: Path) -> None:
    """Noise 4, replacement: a release costs (2 / 4)^2; five of them cost less than six."""
    budget = epsilon_of(5.5 / 4, 1e-5)
    protocol = {"kind": kind, "rounds": 8, "exchange": "ldp"}
    summary = run(gossip({"noise_multiplier": 4.0, "budget": budget}, protocol=protocol), tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["rounds"] == 8
    assert summary["budget_spent"] == [0, 1, 2, 3, 4, 5]
    assert summary["epsilon_worst"] == pytest.approx(epsilon_of(5 / 4, 1e-5), rel=1e-9)
    made = pl.read_parquet(tmp_path / "run" / "releases.parquet").filter(pl.col("kind") == "contribute")
    assert made.group_by("node").len()["len"].to_list() == [5] * 6
    over_time = pl.read_parquet(tmp_path / "run" / "privacy.parquet").filter(pl.col("basis") == "certified")
    worst = over_time.group_by("t_s").agg(pl.col("epsilon").max()).sort("t_s")["epsilon"].to_list()
    assert worst == sorted(worst)
    assert worst[-1] <= budget


@pytest.mark.parametrize("exchange", ["ldp", "secure"])
def test_a_run_ends_when_the_first_budget_is_spent(exchange: str, tmp_path: Path) -> None:
    budget = epsilon_of(3.5 / 4, 1e-5)
    privacy = {"noise_multiplier": 4.0, "budget": budget, "when_spent": "run", "noise": "member"}
    protocol = {"kind": "dsgd", "rounds": 8, "exchange": exchange, "timeout": "2 s"}
    changes: dict[str, Any] = {"protocol": protocol}
    if exchange == "secure":
        changes["secure"] = {"tolerated_dropouts": 0}
    summary = run(gossip(privacy, **changes), tmp_path / "run")
    assert summary["status"] == "finished"
    assert len(summary["budget_spent"]) == 1
    assert summary["epsilon_worst"] <= budget
    assert summary["rounds"] < 8 or summary["simulated_s"] < 8 * 0.07


def test_a_returning_node_does_not_start_its_budget_again(tmp_path: Path) -> None:
    fault = [{"kind": "outage", "node": 2, "down_at": "150 ms", "up_at": "300 ms"}]
    budget = epsilon_of(4.5 / 4, 1e-5)
    made = gossip({"noise_multiplier": 4.0, "budget": budget}, fault=fault)
    summary = run(made, tmp_path / "run")
    contributed = pl.read_parquet(tmp_path / "run" / "releases.parquet").filter(
        pl.col("kind") == "contribute"
    )
    counts = dict(contributed.group_by("node").len().iter_rows())
    assert max(counts.values()) == 4
    assert summary["epsilon_worst"] <= budget


@pytest.mark.slow
def test_noise_for_a_target_counts_on_sampling(tmp_path: Path) -> None:
    """Poisson batches need less noise than full ones for the same target, and the ledger agrees with it."""
    privacy = {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "target_epsilon": 2.0}
    sampled = {"step": 0.5, "divisor": 10, "rate": 0.2, "step_cost": "20 ms"}
    found = {}
    for name, training in (("sampled", sampled), ("full", sampled | {"rate": None})):
        training = {key: value for key, value in training.items() if value is not None}
        found[name] = run(gossip(privacy, training=training), tmp_path / name)
        assert 1.95 < found[name]["epsilon_worst"] <= 2.0 * (1 + 1e-6)
    sigma = {name: pl.read_parquet(tmp_path / name / "releases.parquet")["sigma"].max() for name in found}
    assert sigma["sampled"] < 0.5 * sigma["full"]


@pytest.mark.parametrize(
    ("privacy", "exchange", "said"),
    [
        ({"noise_multiplier": 1.0, "when_spent": "run"}, "ldp", "no effect without budget"),
        ({"noise_multiplier": 1.0, "budget": 3.0}, "secure", "too little"),
        ({"budget": 3.0}, "plain", "adds no noise"),
    ],
)
def test_budgets_that_make_no_sense(privacy: dict[str, Any], exchange: str, said: str) -> None:
    protocol = {"kind": "dsgd", "rounds": 8, "exchange": exchange, "timeout": "2 s"}
    changes: dict[str, Any] = {"protocol": protocol}
    if exchange == "secure":
        changes["secure"] = {}
    with pytest.raises(ScenarioErrors, match=said):
        gossip(privacy, **changes)
