"""Local training from scenario files: what is charged, what is refused, what runs."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.learning.eager import EagerExecutor
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.entries import CONTRIBUTE, OPAQUE
from scenarios import run as runs
from scenarios.build import build
from scenarios.load import ScenarioErrors, resolve
from scenarios.studies.reaccount import reaccount
from simulator.contract.compute import Executor
from simulator.errors import ConfigurationError, ProgramError
from tests.support.matrix import covering

PRIVATE = {
    "unit": "record",
    "adjacency": "add-remove",
    "clip": 1.0,
    "noise_multiplier": 5.0,
}


def scenario(**changes: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "format": 1,
        "name": "training",
        "topology": {"kind": "regular", "nodes": 6, "degree": 4},
        "network": {"latency": {"kind": "constant", "value": "10 ms"}},
        "data": {"kind": "blobs", "samples": 200, "features": 3, "classes": 2},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5},
        "protocol": {"kind": "dsgd", "rounds": 4, "exchange": "plain"},
    }
    for key, value in changes.items():
        raw[key] = raw.get(key, {}) | value if isinstance(value, dict) else value
    return raw


def ran(tmp_path: Path, executor: Executor | None = None, **changes: Any) -> dict[str, Any]:
    return runs.run(resolve(scenario(**changes)), tmp_path / "run", executor=executor)


LDP = {"protocol": {"exchange": "ldp"}, "privacy": PRIVATE}


@pytest.mark.parametrize(
    ("optimizer", "state", "protocol"),
    covering(
        product(
            [{"kind": "momentum"}, {"kind": "adam"}],
            ["fresh", "node", "travels"],
            [{}, {"kind": "push", "period": "50 ms"}],
        ),
        lambda case: (
            (case[0]["kind"], case[1], bool(case[2]))
            in (("momentum", "node", False), ("adam", "travels", True))
        ),
    ),
)
def test_every_optimiser_runs_with_every_kind_of_state(
    tmp_path: Path, protocol: dict[str, Any], state: str, optimizer: dict[str, Any]
) -> None:
    training = {"optimizer": optimizer, "optimizer_state": state, "step": 0.05, "local_steps": 2, "batch": 8}
    summary = ran(
        tmp_path,
        training=training,
        protocol=protocol,
        fault=[{"kind": "outage", "node": 2, "down_at": "60 ms", "up_at": "120 ms"}],
    )
    assert summary["status"] == "finished"
    assert summary["accuracy_mean"] > 0.8
    elements = (
        8 if state != "travels" else 16 if optimizer["kind"] == "momentum" else 25
    )  # two moments and a count
    beside = 8 + 40 + (16 if protocol else 0)  # headers of the message and of the network; two public numbers
    assert summary["bytes_sent"] == summary["messages_sent"] * (4 * elements + beside)


@pytest.mark.slow
def test_two_steps_a_round_cost_what_twice_as_many_rounds_of_one_cost(tmp_path: Path) -> None:
    whole = ran(tmp_path / "a", **LDP)
    halves = ran(
        tmp_path / "b",
        training={"local_steps": 2},
        protocol={"exchange": "ldp", "rounds": 2},
        privacy=PRIVATE,
    )
    poisson = ran(
        tmp_path / "c",
        training={"local_steps": 2, "rate": 0.5},
        protocol={"exchange": "ldp", "rounds": 2},
        privacy=PRIVATE,
    )
    assert halves["epsilon_worst"] == pytest.approx(whole["epsilon_worst"], rel=1e-9)
    assert 0.45 * whole["epsilon_worst"] < poisson["epsilon_worst"] < 0.6 * whole["epsilon_worst"]


@pytest.mark.parametrize(
    ("training", "unit", "contributions", "opaque"),
    [
        ({}, "record", 1, False),
        ({"local_steps": 3}, "record", 3, False),
        ({"local_steps": 3, "optimizer": {"kind": "momentum"}}, "record", 3, True),
        ({"weight_decay": 0.1}, "record", 1, True),
        ({"local_steps": 3, "proximal": 0.1}, "record", 3, True),
        ({"local_steps": 3, "optimizer": {"kind": "adam"}}, "node", 1, False),
        ({"local_epochs": 2, "batch": 8}, "node", 1, False),
        ({"optimizer": {"kind": "adam"}, "optimizer_state": "node"}, "node", 1, True),
    ],
)
def test_the_lineage_holds_every_clipped_sum_and_calls_the_rest_opaque(
    training: dict[str, Any], unit: str, contributions: int, opaque: bool
) -> None:
    resolved = resolve(
        scenario(
            training=training, protocol={"exchange": "ldp", "rounds": 2}, privacy=PRIVATE | {"unit": unit}
        )
    )
    executor = BatchedExecutor()
    parts = build(resolved, executor, Path())
    from simulator.runtime.virtual import Kernel
    from simulator.runtime.world import World

    world = World(
        seed=1,
        neighbors=parts.neighbors,
        weights=parts.weights,
        executor=executor,
        released=parts.learner.lineage.delivered,
    )
    Kernel(world, parts.link, parts.program).run()
    entries = parts.learner.lineage.entries
    mine = [e for e in entries if e.kind == CONTRIBUTE and (e.node, e.round) == (0, 1)]
    assert len(mine) == contributions
    assert {e.sigma for e in mine} == {5.0}
    assert any(e.kind == OPAQUE for e in entries) == opaque


def test_an_opaque_update_is_charged_by_the_local_bound(tmp_path: Path) -> None:
    plain = ran(tmp_path / "a", **LDP)
    momentum = ran(tmp_path / "b", **LDP, training={"optimizer": {"kind": "momentum"}})
    assert momentum["epsilon_worst"] == pytest.approx(plain["epsilon_worst"], rel=1e-9)
    assert momentum["epsilon_worst_open_loop"] is momentum["epsilon_median_open_loop"] is None
    assert momentum["open_loop_missing"] == "non-linear view"
    assert plain["epsilon_worst_open_loop"] > 0
    assert plain["open_loop_missing"] is None


def test_whole_updates_may_be_summed_in_secret(tmp_path: Path) -> None:
    private = {"unit": "node", "adjacency": "zero-out", "clip": 0.5, "noise_multiplier": 0.5}
    training = {"local_steps": 3, "optimizer": {"kind": "adam"}, "step": 0.05}
    summary = ran(tmp_path, training=training, protocol={"exchange": "secure", "rounds": 6}, privacy=private)
    assert summary["sums_opened"] > 0
    assert summary["withheld"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": {"local_steps": 2, "local_epochs": 2}}, "local_epochs and local_steps are both given"),
        ({"training": {"rate": 0.1, "batch": 4}}, "rate and batch are both given"),
        ({"training": {"rate": 0.1, "local_epochs": 2}}, "use local_steps"),
        ({"training": {"optimizer_state": "node"}}, "sgd has no state"),
        ({"training": {"proximal": 0.1}}, "has no effect with one local step"),
        ({"training": {"optimizer": {"kind": "adamw"}}}, "give weight_decay"),
        ({"training": {"schedule": {"kind": "piecewise", "at": [5, 3]}}}, "do not ascend"),
        (LDP | {"training": {"batch": 4}}, "twice the clipping norm"),
        (LDP | {"training": {"batch": 4, "local_epochs": 1}}, "how many samples a node has"),
        (
            {
                "protocol": {"exchange": "ldp"},
                "privacy": PRIVATE | {"unit": "node"},
                "training": {"optimizer": {"kind": "adam"}, "optimizer_state": "travels"},
            },
            "it must not be sent",
        ),
        (
            {
                "protocol": {"exchange": "secure"},
                "privacy": PRIVATE,
                "training": {"optimizer": {"kind": "adam"}},
            },
            "adam has none",
        ),
        (
            {"protocol": {"exchange": "secure"}, "privacy": PRIVATE, "training": {"weight_decay": 0.1}},
            "weight_decay has none",
        ),
    ],
)
def test_training_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises((ConfigurationError, ScenarioErrors), match=message):
        resolve(scenario(**changes))


def test_models_and_data_have_to_fit_each_other(tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match="linear predicts numbers, but the labels of blobs are classes"):
        resolve(scenario(model={"kind": "linear"}))
    with pytest.raises(ScenarioErrors, match="cnn needs images, and samples of blobs are rows of numbers"):
        resolve(scenario(model={"kind": "cnn"}))
    np.savez(tmp_path / "rows.npz", x=np.eye(80, 3), y=np.arange(80) % 2)
    raw = scenario(model={"kind": "cnn"})
    raw["data"] = {"kind": "npz", "path": "rows.npz", "test_fraction": 0.2}
    with pytest.raises(ConfigurationError, match="needs images"):  # told when the file is loaded
        runs.run(resolve(raw, tmp_path), tmp_path / "run", base=tmp_path)


def test_regression_finds_its_optimum(tmp_path: Path) -> None:
    raw = scenario(protocol={"rounds": 60}, training={"step": 0.3})
    raw["data"] = {"kind": "linear", "samples": 400, "features": 3, "noise": 0.1}
    raw["model"] = {"kind": "linear"}
    summary = runs.run(resolve(raw), tmp_path / "run")
    assert summary["accuracy_mean"] is None
    assert 0.5 * 0.1**2 * 0.5 < summary["loss_mean"] < 0.5 * 0.1**2 * 2  # that of the noise alone


@pytest.mark.parametrize("protocol", covering(["dsgd", "push", "push-sum", "gradient-tracking"], {"dsgd"}))
def test_a_run_means_the_same_when_it_is_computed_one_operation_at_a_time(
    tmp_path: Path, protocol: str
) -> None:
    changes: dict[str, Any] = {
        "training": {"local_steps": 2, "batch": 8, "optimizer": {"kind": "momentum"}, "step": 0.1},
        "protocol": {"kind": protocol, "rounds": 5, "exchange": "plain"},
        "network": {"loss": 0.1},
    }
    batched = ran(tmp_path / "batched", **changes)
    eager = ran(tmp_path / "eager", executor=EagerExecutor(), **changes)
    assert eager["trace_hash"] == batched["trace_hash"]
    for name in ("loss_mean", "loss_worst", "consensus_distance"):
        np.testing.assert_allclose(eager[name], batched[name], rtol=1e-4)


def test_batches_of_fixed_size_are_not_accounted_for_records_that_come_and_go(tmp_path: Path) -> None:
    summary = ran(
        tmp_path,
        training={"batch": 4},
        protocol={"exchange": "ldp"},
        privacy=PRIVATE | {"adjacency": "replace"},
    )
    assert np.isfinite(summary["epsilon_worst"])
    with pytest.raises(ConfigurationError, match="ask for --adjacency replace"):
        reaccount(tmp_path / "run", observers=None, unit=None, adjacency="add-remove", delta=None)


def test_what_diverges_is_named_when_it_is_computed_one_operation_at_a_time(tmp_path: Path) -> None:
    wild = {"training": {"step": 1e30, "optimizer": {"kind": "momentum"}, "weight_decay": 1e9}}
    assert ran(tmp_path / "batched", **wild)["status"] == "diverged"
    with pytest.raises(
        ProgramError, match=r"operation 'local_update' of node \d: element \d+ is (nan|-?inf)"
    ):
        ran(tmp_path / "eager", executor=EagerExecutor(finite=True), **wild)
