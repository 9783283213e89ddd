"""``import sottovoce``: every name, objects in place of tables, notebooks, hidden packages."""

from __future__ import annotations

import ast
import asyncio
import doctest
import gc
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sottovoce as sv
from scenarios.objects import Objects, describe
from simulator.errors import ConfigurationError, ContractError
from simulator.network import latency as laws
from simulator.runtime.loops import run_coroutine

ROOT = Path(sv.__file__).parent.parent
NAMES = [name for name in sv.__all__ if not name.startswith("_")]
PLAIN = {"protocol.exchange": "plain", "protocol.rounds": 2}
NOISED = {"protocol.exchange": "ldp", "protocol.rounds": 2, "privacy.noise": "member"}
EIGHT = {"topology.nodes": 8, "fault": [], "partition": {"kind": "iid"}}


def samples(count: int = 400, features: int = 5) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    x = np.random.default_rng(0).normal(size=(count, features))
    return x, (x[:, 0] > 0).astype(int)


async def gossip(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
    model = learner.start
    for round in range(rounds):
        model = await learner.local_update(node, model, round)
        sv.send_model(node, learner, node.neighbors, round, model)
        heard = await node.gather("model", round, node.neighbors, timeout_s=1.0)
        models = [model, *(sv.received_model(message) for message in heard.values())]
        model = await learner.combine(node, round, [(1 / len(models), one) for one in models])
        node.record("model", round=round + 1, value=model.params)
    node.record("finished", rounds=rounds)


async def careless(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
    model = await learner.local_update(node, learner.start, 0)
    node.send(node.neighbors[0], sv.Message("secret", 0, model.params, 100))


async def two(node: sv.Node, learner: sv.Learner) -> None:
    """A program that does not take rounds."""


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_example_that_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[str] = []
    found = doctest.DocTestFinder(recurse=False).find(getattr(sv, name), name, globs={"sv": sv})
    assert sum(len(one.examples) for one in found) > 0, f"{name} has no example"
    for one in found:
        doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(one, out=told.append)
    assert told == []


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_what_pages_show_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    assert shown
    for block in shown:
        exec(compile(block, page, "exec"), {})


def test_type_checkers_and_python_see_the_same_names() -> None:
    (block,) = [node for node in ast.parse(Path(sv.__file__).read_text()).body if isinstance(node, ast.If)][
        :1
    ]
    typed = {
        name.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    assert typed == sv._HOME
    assert sorted({*typed, "__version__"}) == sorted(sv.__all__)
    assert set(sv.__all__) <= set(dir(sv))
    assert sv.__version__
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        _ = sv.runn  # type: ignore[attr-defined]


def test_the_import_is_light() -> None:
    code = (
        "import sys, sottovoce as sv\n"
        "assert sv.__all__ and dir(sv)\n"
        "heavy = {'jax', 'pydantic', 'numpy', 'polars', 'matplotlib', 'typer'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sv.load('quickstart')\n"
        "heavy = {'jax', 'optax', 'sklearn', 'polars', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- scenarios


def test_a_scenario_is_the_same_from_a_name_a_dict_and_itself() -> None:
    by_name = sv.load("quickstart", {"protocol.rounds": 3})
    for source in (by_name.raw, by_name.scenario, by_name):
        assert sv.load(source).scenario == by_name.scenario
    assert isinstance(by_name.scenario, sv.Scenario)
    again = sv.load(by_name, {"protocol.rounds": np.int64(4)}, seed=9).scenario
    assert (again.protocol.rounds, again.seed) == (4, 9)


def test_what_is_wrong_with_a_dict_is_told_as_of_a_file() -> None:
    raw = sv.load("quickstart").raw
    with pytest.raises(sv.ScenarioErrors, match=r"^scenario: training\.stepp: unknown key"):
        sv.load(raw | {"training": raw["training"] | {"stepp": 1.0}})
    with pytest.raises(sv.ScenarioErrors, match=r"^change protocol\.rounds = 0: must be"):
        sv.load(raw, {"protocol.rounds": 0})
    with pytest.raises(sv.ScenarioErrors, match=r"\[\[whatif\]\]|whatif\[0\]"):
        sv.load(raw, {"whatif": [{"name": "none", "set": {"protocol.rounds": 0}}]})
    with pytest.raises(ConfigurationError, match=r"expected a scenario file, .* got int"):
        sv.load(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"did you mean 'network\.latency'"):
        sv.kinds("network.latenci")


# ---------------------------------------------------------------- results


def test_a_run_shows_itself_and_its_folder_goes_with_it(tmp_path: Path) -> None:
    run = sv.run("quickstart", changes={"protocol.rounds": 2})
    assert run.accuracy_mean == run.summary["accuracy_mean"]  # type: ignore[index]
    assert "accuracy_mean" in dir(run)
    assert "<table>" in run._repr_html_()
    assert "quickstart, finished" in repr(run)
    pictures = sv.plot(run)
    kept = run.save(tmp_path / "kept")
    with pytest.raises(sv.StorageError, match="nothing was overwritten"):
        run.save(tmp_path / "kept")
    folder = run.path
    del run
    gc.collect()
    assert folder.exists()  # the pictures are in it
    assert pictures._repr_html_().count("data:image/png") == len(pictures)
    del pictures
    gc.collect()
    assert not folder.exists()
    assert kept.manifest["name"] == "quickstart"


def test_a_study_shows_itself_and_its_runs_keep_its_folder() -> None:
    study = sv.sweep(
        "quickstart", changes=PLAIN | {"sweep.grid": {"network.loss": [0.0]}, "sweep.seeds": 1}, jobs=1
    )
    assert "<table>" in study._repr_html_()
    run = study.run(study.summaries["id"][0])
    del study
    gc.collect()
    assert run.metrics.height > 0
    with pytest.raises(ConfigurationError, match="sweep"):
        sv.sweep("quickstart")


# ---------------------------------------------------------------- objects


def test_a_run_is_the_same_with_and_without_the_door(tmp_path: Path) -> None:
    from scenarios.run import run as run_scenario

    summary = run_scenario(sv.load("quickstart", PLAIN).scenario, tmp_path / "inside")
    outside = sv.run("quickstart", changes=PLAIN)
    assert outside.trace_hash == summary["trace_hash"]
    assert "objects" not in outside.manifest
    assert outside.manifest["scenario_sha256"] == sv.read_run(tmp_path / "inside").manifest["scenario_sha256"]


def test_data_in_memory_take_the_place_of_the_table() -> None:
    x, y = samples()
    whole = sv.run("quickstart", changes=EIGHT | PLAIN, data=(x, y))
    assert whole.manifest["data"]["train_samples"] == 320
    assert whole.manifest["data"]["classes"] == ["0", "1"]
    told = whole.manifest["objects"]
    assert told["reproducible_from_scenario_alone"] is False
    assert told["data"]["arrays"]["train_x"] == {"dtype": "float64", "shape": [400, 5]}
    assert any("data" in text and "does not repeat" in text for text in whole.summary["warnings"])  # type: ignore[index]
    again = sv.run("quickstart", changes=EIGHT | PLAIN, data=[x, y])  # type: ignore[arg-type]
    assert (again.trace_hash, again.accuracy_mean) == (whole.trace_hash, whole.accuracy_mean)
    assert again.manifest["objects"] == told
    words = np.where(y > 0, "yes", "no").astype(object)
    apart = sv.run(
        "quickstart",
        changes=EIGHT | PLAIN,
        data={"train_x": x[:300], "train_y": words[:300], "test_x": x[300:], "test_y": words[300:]},
    )
    assert apart.manifest["data"]["classes"] == ["no", "yes"]
    assert apart.manifest["data"]["test_samples"] == 100
    assert apart.manifest["objects"]["data"]["sha256"] != told["data"]["sha256"]


def test_numbers_to_predict_need_a_model_that_predicts_them() -> None:
    x, _ = samples()
    with pytest.raises(ConfigurationError, match="softmax predicts classes"):
        sv.run("quickstart", changes=EIGHT | PLAIN, data=(x, x[:, 1]))
    linear = sv.load("quickstart").raw | {"data": {"kind": "linear", "samples": 400, "features": 5}}
    changes = EIGHT | PLAIN | {"model.kind": "linear", "training.step": 0.1}
    assert sv.run(linear, changes=changes, data=(x, x[:, 1])).manifest["data"]["classes"] is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (3, "got int"),
        ((1, 2, 3), "got tuple of 3"),
        ({"train_x": [[1.0]]}, "no train_y, test_x, test_y"),
        ({"train_x": 1, "train_y": 1, "test_x": 1, "test_y": 1, "labels": 1}, "unknown names labels"),
        (([["a"]], [0]), "must hold numbers"),
        (([[1.0], [2.0]], [0, 1, 1]), "shape"),
        (([[1.0]] * 9, [0] * 9), "nothing to tell apart"),
    ],
)
def test_data_that_are_none_are_refused(data: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Objects(data=data).dataset(1)


def test_a_task_must_fit_the_data() -> None:
    def zeros(params: Any, *_: Any) -> Any:
        return params[0]

    x, y = samples()
    few = EIGHT | PLAIN
    wrong = sv.Task("wrong", 3, lambda rng: np.zeros(3, np.float32), zeros, zeros, classes=4)
    with pytest.raises(ConfigurationError, match="wrong has 4 classes, the data have 2"):
        sv.run("quickstart", changes=few, data=(x, y), task=wrong)
    short = sv.Task("short", 3, lambda rng: np.zeros(2, np.float32), zeros, zeros, classes=2)
    with pytest.raises(ConfigurationError, match=r"parameters of shape \(2,\); expected \(3,\)"):
        sv.run("quickstart", changes=few, data=(x, y), task=short)
    with pytest.raises(ConfigurationError, match=r"expected a .*Task, got int"):
        sv.run("quickstart", changes=few, task=3)  # type: ignore[arg-type]


def test_a_program_is_accounted_by_what_it_releases() -> None:
    run = sv.run("quickstart", changes=EIGHT | NOISED, program=gossip)
    dsgd = sv.run("quickstart", changes=EIGHT | NOISED)
    assert run.epsilon_worst == pytest.approx(dsgd.epsilon_worst)
    told = run.manifest["objects"]["program"]
    assert told["name"] == f"{__name__}.gossip"
    assert len(told["sha256"]) == 64
    assert any("declare as released" in text for text in run.summary["warnings"])  # type: ignore[index]


def test_a_program_cannot_hide_what_it_sends_from_the_ledger() -> None:
    with pytest.raises(sv.ProgramError, match="has a body but no release") as failed:
        sv.run("quickstart", changes=EIGHT | NOISED, program=careless)
    assert isinstance(failed.value.__cause__, ContractError)
    without = {
        name: table for name, table in sv.load("quickstart").raw.items() if name not in ("privacy", "secure")
    }
    assert sv.run(without, changes=EIGHT | PLAIN, program=careless).messages.height == 8


@pytest.mark.parametrize("round", [0.5, 1.0, True, -1, "1"])
def test_an_update_is_refused_whose_round_names_no_noise_of_its_own(round: object) -> None:
    """Fractions of a round would share its noise without being on record as a repetition."""

    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        await learner.local_update(node, learner.start, round)  # type: ignore[arg-type]

    with pytest.raises(sv.ProgramError, match="round of an update must be a whole number"):
        sv.run("quickstart", changes=EIGHT | NOISED, program=program)


@pytest.mark.parametrize("release", [True, "secret", {"a": 1}, 3, [1], (), (2,)])
def test_a_release_that_the_ledger_does_not_know_is_refused(release: object) -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        model = await learner.local_update(node, learner.start, 0)
        node.multicast(node.neighbors, sv.Message("model", 0, model.params, 2600, release))

    with pytest.raises(sv.ProgramError, match="release"):
        sv.run("quickstart", changes=EIGHT | NOISED, program=program)


@pytest.mark.parametrize("size", [-5, 8.5])
def test_sizes_that_are_none_are_refused(size: float) -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        node.multicast(node.neighbors, sv.Message("hello", 0, None, size))  # type: ignore[arg-type]

    without = {
        name: table for name, table in sv.load("quickstart").raw.items() if name not in ("privacy", "secure")
    }
    with pytest.raises(sv.ProgramError, match="size_bytes of message 'hello' must be a whole number"):
        sv.run(without, changes=EIGHT | PLAIN, program=program)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (sv.Message("hello", "1", None, 8), "round of message 'hello' must be a whole number"),  # type: ignore[arg-type]
        (sv.Message("hello", 1.0, None, 8), "round of message 'hello' must be a whole number"),  # type: ignore[arg-type]
        (sv.Message("hello", True, None, 8), "round of message 'hello' must be a whole number"),
        (sv.Message("hello", 2**70, None, 8), "round of message 'hello' must be a whole number"),
        (sv.Message(3, 0, None, 8), "kind of a message must be text"),  # type: ignore[arg-type]
        (sv.Message("a\0b", 0, None, 8), "kind of a message must be text"),
        (sv.Message("a\udcff", 0, None, 8), "kind of a message must be text"),
        (sv.Message("hello", 0, None, 2**62), "size_bytes of message 'hello' must be a whole number"),
        (("hello", 0, None, 8), r"expected a Message\(kind, round, body, size_bytes\), got tuple"),
    ],
)
@pytest.mark.parametrize("changes", [PLAIN, NOISED], ids=["plain", "noised"])
def test_a_message_of_wrong_types_is_refused_where_it_is_sent(message: Any, said: str, changes: Any) -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        node.multicast(node.neighbors, message)

    program.messages = ("hello",)  # type: ignore[attr-defined]
    with pytest.raises(sv.ProgramError, match=said) as failed:
        sv.run("quickstart", changes=EIGHT | changes, program=program)
    assert isinstance(failed.value.__cause__, ContractError)


def test_integers_of_numpy_are_integers_of_messages() -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        size: Any = np.int64(8)
        node.multicast(node.neighbors, sv.Message("hello", np.int32(1), None, size))  # type: ignore[arg-type]

    program.messages = ("hello",)  # type: ignore[attr-defined]
    run = sv.run("quickstart", changes=EIGHT | PLAIN, program=program)
    assert set(run.messages["round"]) == {1}


@pytest.mark.parametrize("state", ["x", 1.0, 10**9, -1, None])
def test_a_state_that_no_model_has_is_refused(state: Any) -> None:
    async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        model = await learner.local_update(node, learner.start, 0)
        sv.send_model(node, learner, node.neighbors, 0, sv.Model(model.params, state))
        await node.sleep(1.0)

    with pytest.raises(
        sv.SottovoceError, match=r"which no model of this run has|expected Visible of each of its models"
    ):
        sv.run("quickstart", changes=EIGHT | NOISED, program=program)


@pytest.mark.parametrize(
    ("program", "changes", "said"),
    [
        (gossip, {}, "protocol.exchange"),
        (gossip, PLAIN | {"protocol.robust": {"kind": "median"}}, "protocol.robust"),
        (lambda node: None, PLAIN, r"expected async def program\(node, learner, rounds\)"),
        (two, PLAIN, "too many positional"),
    ],
)
def test_programs_that_do_not_go_with_the_scenario(program: Any, changes: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        sv.run("quickstart", changes=EIGHT | changes, program=program)


def test_a_latency_law_takes_the_place_of_the_table() -> None:
    law = laws.lognormal(0.05, 0.4)
    lossless = EIGHT | PLAIN | {"network.loss": 0.0}
    given = sv.run("quickstart", changes=lossless, latency=law)
    assert (
        given.trace_hash == sv.run("quickstart", changes=lossless).trace_hash
    )  # the same law as in the file
    told = given.manifest["objects"]["latency"]
    assert told["uses"]["sigma"] == 0.4
    assert told["quantiles_s"]["0.5"] == pytest.approx(0.05)
    assert sv.run("quickstart", changes=lossless, latency=lambda u: 1.0 + u).simulated_s > given.simulated_s


def test_a_latency_law_may_work_in_place_and_may_not_give_what_is_no_delay() -> None:
    def halved(u: Any) -> Any:
        u *= 0.5
        return u

    lossless = EIGHT | PLAIN | {"network.loss": 0.0}
    runs = [sv.run("quickstart", changes=lossless, latency=law) for law in (halved, lambda u: 0.5 * u)]
    assert runs[0].trace_hash == runs[1].trace_hash
    quantiles = [run.manifest["objects"]["latency"]["quantiles_s"] for run in runs]
    assert (
        quantiles[0]
        == quantiles[1]
        == {"0.05": 0.025, "0.25": 0.125, "0.5": 0.25, "0.75": 0.375, "0.95": 0.475}
    )
    with pytest.raises(sv.ProgramError, match="given from Python, gave a delay of nan s for the uniform"):
        sv.run("quickstart", changes=lossless, latency=lambda u: np.where(u < 0.04, np.nan, u))


@pytest.mark.parametrize(
    ("law", "changes", "said"),
    [
        (0.05, {}, "got float"),
        (lambda u: 0.05, {}, r"made float64 of shape \(\)"),
        (lambda u: -u, {}, "at least 0"),
        (lambda u: 1 - u, {}, "non-decreasing"),
        (lambda u: u["x"], {}, "raised IndexError"),
        (
            lambda u: u,
            {
                "network.latency": {"kind": "constant", "value": "10 ms"},
                "network.jitter": {"kind": "exponential", "mean": "1 ms"},
            },
            "network.jitter",
        ),
    ],
)
def test_latencies_that_are_none_are_refused(law: Any, changes: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        sv.run("quickstart", changes=EIGHT | PLAIN | changes, latency=law)


def test_what_is_not_in_the_manifest_is_named() -> None:
    scale, table = 3.0, [1]

    def outer(u: Any) -> Any:
        return scale * len(table) * u

    told = describe(outer)
    assert told["uses"] == {"scale": 3.0, "table": "<list>"}
    space: dict[str, Any] = {}
    exec("def hidden(u): return u", space)
    assert describe(space["hidden"])["sha256"] is None
    json.dumps(describe(np.sin))


def test_a_run_with_objects_is_not_rebuilt_from_its_folder() -> None:
    curious = EIGHT | PLAIN | {"adversary.curious.enabled": True}
    run = sv.run("quickstart", changes=curious, data=samples())
    with pytest.raises(ConfigurationError, match="was given data in memory"):
        sv.infer(run, shadows=0)


# ---------------------------------------------------------------- notebooks


def test_everything_runs_where_a_loop_is_running() -> None:
    async def cell() -> tuple[sv.Run, sv.Run]:
        return sv.live("quickstart", changes=EIGHT | PLAIN), sv.run("quickstart", changes=EIGHT | PLAIN)

    live, simulated = asyncio.run(cell())
    assert (live.mode, live.status, live.rounds_done_min) == ("live", "finished", 2)
    assert simulated.status == "finished"


def test_ctrl_c_ends_a_live_run_in_a_notebook(tmp_path: Path) -> None:
    async def interrupted(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        if node.id == 0:
            assert threading.current_thread() is not threading.main_thread()
            for _ in range(3):
                signal.raise_signal(signal.SIGINT)
        await node.sleep(1e6)

    async def cell() -> None:
        with pytest.raises(KeyboardInterrupt):
            sv.live("quickstart", out=tmp_path / "run", changes=EIGHT | PLAIN, program=interrupted)

    before = signal.getsignal(signal.SIGINT)
    asyncio.run(cell())
    assert signal.getsignal(signal.SIGINT) is before
    assert sv.read_run(tmp_path / "run").manifest["status"] == "interrupted"


def test_errors_of_a_coroutine_come_through_a_running_loop() -> None:
    async def wrong() -> None:
        raise ValueError("wrong")

    async def cell() -> None:
        run_coroutine(wrong)

    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(cell())


def test_a_live_run_has_no_latency_law() -> None:
    with pytest.raises(ConfigurationError, match="no effect in a live run"):
        Objects(latency=lambda u: u).check(sv.load("quickstart", PLAIN).scenario, live=True)


# ---------------------------------------------------------------- hidden packages


@pytest.mark.parametrize("name", ["simulator", "analysis"])
def test_a_module_that_hides_a_package_is_named(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "mine.py").write_text("import sottovoce\n")

    def python(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )

    line = f"sottovoce cannot be used here: `import {name}` finds {tmp_path / name}.py, which hides"
    script = python("mine.py")
    assert script.returncode == 1
    assert script.stderr.splitlines()[-1].startswith(f"ImportError: {line}")
    command = python("-m", "sottovoce", "list")
    assert command.returncode == 2
    assert command.stderr.startswith(line)
    assert len(command.stderr.splitlines()) == 1


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sottovoce", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == f"sottovoce {sv.__version__}\n"
