"""Arguments from Python: what has a wrong type is one line, and is never read as something else."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sottovoce as sv
from scenarios.load import shipped

sv_: Any = sv  # called with what the types forbid
NESTED: Any = reduce(lambda inner, _: [inner], range(5000), 1)
ITSELF: dict[str, Any] = {}
ITSELF["x"] = ITSELF


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sv_.load({1: 2}), "scenario: keys must be text, got 1"),
        (lambda: sv_.load({"training": {1: 2}}), "scenario: training: keys must be text, got 1"),
        (lambda: sv_.load({"x": NESTED}), "scenario: x: must have at most 50 levels"),
        (lambda: sv_.load(ITSELF), "scenario: x: must have at most 50 levels"),
        (lambda: sv_.load(b"quickstart"), "expected a scenario file, .* got bytes"),
        (lambda: sv_.load(None), "expected a scenario file, .* got NoneType"),
        (lambda: sv_.load("a\0b"), "is no path of a file: it has a NUL character"),
        (lambda: sv_.load(Path("a\0b")), "is no path of a file: it has a NUL character"),
        (lambda: sv_.load("a" * 5000), "is no path of a file: File name too long"),
        (lambda: sv_.load("quickstart", ["x"]), "changes: expected a mapping .* got list"),
        (lambda: sv_.load("quickstart", {1: 2}), "change 1: keys must be text"),
        (
            lambda: sv_.load("quickstart", {"description": "\udcff"}),
            "description: must be text of whole Unicode",
        ),
        (
            lambda: sv_.load("quickstart", {"data": {"kind": "csv", "path": "a\0", "label": "y"}}),
            "without NUL characters",
        ),
        (lambda: sv_.kinds(3), "no key 3 of a scenario"),
        (lambda: sv_.read_run(None), "path: expected the path of a folder, got NoneType"),
        (lambda: sv_.read_study(3), "path: expected the path of a folder, got int"),
        (lambda: sv_.report(b"x"), "result: expected the path of a folder, got bytes"),
        (lambda: sv_.plot("a\0b"), "with a NUL character"),
        (lambda: sv_.run("quickstart", "a\0b"), "out: expected the path of a folder"),
        (lambda: sv_.run("quickstart", on_progress=3), "on_progress: expected a function"),
        (lambda: sv_.sweep("tradeoff", jobs="x"), "jobs: expected a whole number of at least 1, got 'x'"),
        (lambda: sv_.privacy("x", observers="3,7"), "observers: expected a list of texts"),
        (lambda: sv_.privacy("x", observers=[3]), "observers: expected a list of texts"),
        (lambda: sv_.privacy("x", delta="1e-5"), "delta: expected a number, got '1e-5'"),
        (lambda: sv_.privacy("x", jobs=0), "jobs: expected a whole number of at least 1, got 0"),
        (lambda: sv_.infer("x", coalition=3), "coalition: expected a list of node numbers"),
        (lambda: sv_.infer("x", coalition="37"), "coalition: expected a list of node numbers"),
        (
            lambda: sv_.infer("x", coalition=[1.5]),
            "coalition: expected a whole number of at least 0, got 1.5",
        ),
        (lambda: sv_.infer("x", shadows="x"), "shadows: expected a whole number of at least 0, got 'x'"),
        (lambda: sv_.audit("quickstart", trials="x"), "trials: expected a whole number of at least 4"),
        (lambda: sv_.audit("quickstart", view="x"), "view: expected a list of node numbers"),
    ],
)
def test_an_argument_of_a_wrong_type_is_one_line(call: Callable[[], Any], said: str) -> None:
    with pytest.raises(sv.ConfigurationError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_numbers_and_arrays_of_numpy_are_plain_ones() -> None:
    raw = sv.load("quickstart").raw
    loaded = sv.load(
        raw | {"seed": np.int64(3)}, {"protocol.rounds": np.int64(2), "training.step": np.float32(2)}
    )
    assert (loaded.scenario.seed, loaded.scenario.protocol.rounds) == (3, 2)
    assert type(loaded.raw["seed"]) is int
    assert type(loaded.raw["training"]["step"]) is float
    seed: Any = np.int64(5)
    assert sv.load("quickstart", seed=seed).scenario.seed == 5


def test_a_changed_key_is_told_once() -> None:
    with pytest.raises(sv.ScenarioErrors) as caught:
        sv.load("quickstart", {"protocol.rounds": 0})
    assert str(caught.value).count("protocol.rounds") == 1


def test_a_changed_kind_that_leaves_keys_behind_says_what_to_do() -> None:
    with pytest.raises(
        sv.ScenarioErrors, match=r'set the whole table, like topology = { kind = "ring", \.\.\. }'
    ):
        sv.load("quickstart", {"topology.kind": "ring"})


@pytest.mark.parametrize("name", shipped())
def test_a_resolved_scenario_is_read_back_as_itself(name: str) -> None:
    """Also with relative files, and with keys that a sweep may not have beside its own changes."""
    scenario = sv.load(name).scenario
    again = sv.load(scenario)
    assert again.scenario == scenario
    assert again.scenario is not scenario


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"whatif": [{"name": "baseline", "set": {"network.loss": 0.1}}]}, r'name: must not be "baseline"'),
        (
            {"sweep.grid": {"training.step": [1.0, 2.0, 1.0]}},
            r"lists 1\.0 twice, which would count one run twice",
        ),
        ({"study.seeds": 2**63}, "must be at most 1,000,000 seeds"),
        ({"study.seeds": [2**63]}, r"every seed must be below 2\*\*63"),
        ({"seed": 2**63 - 1, "study.seeds": 2}, "counts beyond the largest seed"),
        (
            {"seed": 2**63 - 1, "sweep": {"seeds": 2, "grid": {"training.step": [1.0]}}},
            "beyond the largest seed",
        ),
    ],
)
def test_a_study_whose_runs_would_be_confused_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(sv.ScenarioErrors, match=said) as caught:
        sv.load("quickstart", changes)
    assert "\n" not in str(caught.value)


def test_a_run_in_a_temporary_folder_is_not_pickled(tmp_path: Path) -> None:
    """The copy would lose its folder with the run that owns it."""
    run = sv.run("quickstart", changes={"protocol.exchange": "plain", "protocol.rounds": 1})
    with pytest.raises(sv.StorageError, match=r"is in a temporary folder .* keep it with save\(folder\)"):
        pickle.dumps(run)
    kept = run.save(tmp_path / "kept")
    assert kept.summary is not None
    assert pickle.loads(pickle.dumps(kept)).summary == run.summary


def test_an_error_about_data_in_memory_names_them_and_no_file() -> None:
    few = np.zeros((20, 2)), np.arange(20) % 2
    with pytest.raises(sv.ConfigurationError, match=r"^data in memory: partition") as caught:
        sv.run("quickstart", changes={"protocol.exchange": "plain"}, data=few)
    assert ".toml" not in str(caught.value)
    same = np.zeros((400, 2)), np.zeros(400, int)
    with pytest.raises(sv.ConfigurationError, match=r"^data in memory: all labels are 0"):
        sv.run("quickstart", changes={"protocol.exchange": "plain"}, data=same)
