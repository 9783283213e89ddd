"""The command line: exit codes, one line per error, nothing heavy where nothing heavy is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import typer

from scenarios.commands import cli, progress
from scenarios.load import Loaded
from simulator.errors import ConfigurationError, ProgramError
from tests.support.places import BROKEN


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


def stand_in(monkeypatch: pytest.MonkeyPatch, module: str, **functions: Any) -> None:
    """Replace a module the command line would import by one that only has these functions."""
    double = types.ModuleType(module)
    for name, function in functions.items():
        setattr(double, name, function)
    monkeypatch.setitem(sys.modules, module, double)
    package, _, name = module.partition(".")
    monkeypatch.setattr(sys.modules[package], name, double, raising=False)


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "quickstart"], ["schema"], ["list"], []])
def test_light_commands_never_import_jax(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom scenarios.commands.cli import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit as left:\n    assert not left.code, left.code\n"
        "heavy = {'jax', 'polars', 'matplotlib', 'sklearn', 'networkx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_validate_prints_one_line_per_error(capsys: pytest.CaptureFixture[str]) -> None:
    file = BROKEN / "wrong_type.toml"
    assert call("validate", str(file), "quickstart", str(BROKEN / "not_toml.toml")) == 2
    told = capsys.readouterr()
    assert "valid" in told.out
    lines = told.err.splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"{file}:21: training.step: expected a number")
    assert lines[1] == f'{file}:25: protocol.rounds: expected a whole number, got "100"'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run"], "missing argument"),
        (["run", "quickstart", "--sed", "3"], "--sed"),
        (["walk"], "walk"),
        (["run", "quickstart", "--seed", "-1"], "--seed"),
        (
            ["run", "quickstart", "--set", "protocol.rounds=0"],
            "--set protocol.rounds=0: must be",
        ),
        (["sweep", "quickstart"], "has no [sweep] table"),
        (["privacy", "x", "--observers", "3;7"], "is no observer"),
        (["privacy", "x", "--delta", "2"], "delta must lie"),
        (["privacy", "x", "--unit", "person"], "unit must be one of record, node"),
        (["plot", "x", "--format", "jpg"], "'--format': 'jpg' is not one of 'png', 'pdf', 'svg'"),
        (["run", "nowhere.toml"], "no such file"),
    ],
)
def test_bad_arguments(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    assert "Value error" not in told
    assert len(told.splitlines()) == 1


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").write_text("mine")
    assert call("run", "quickstart", "--out", str(tmp_path)) == 2
    assert "nothing was overwritten" in capsys.readouterr().err
    assert (tmp_path / "kept").read_text() == "mine"


def test_run_hands_over_what_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def run(scenario: Any, out: Path, **options: Any) -> dict[str, Any]:
        options["on_progress"](0.5, "half way")
        asked.update(options, scenario=scenario, out=out)
        return {"status": "diverged"}

    stand_in(monkeypatch, "scenarios.run", run=run)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "quickstart-7").mkdir(parents=True)
    assert call("run", "quickstart", "--seed", "7", "--set", "protocol.rounds=3", "-q") == 0
    told = capsys.readouterr()
    assert told.out == f"{Path('runs/quickstart-7-2')}\n"
    assert "diverged" in told.err
    assert asked["scenario"].protocol.rounds == 3
    assert asked["live"] is False
    assert (asked["base"] / "quickstart.toml").is_file()


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "stopped; what was recorded so far is in"),
        (ConfigurationError("no", "topology.degree"), 2, "quickstart.toml:17: topology.degree: no"),
        (ProgramError(3, 1.5, "boom"), 1, "node 3 failed at 1.500000 s: boom"),
        (ValueError("surprise"), 1, "internal error: ValueError: surprise (set SOTTOVOCE_DEBUG=1"),
    ],
)
def test_ways_a_run_can_end(
    raised: BaseException,
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(scenario: Any, out: Path, **options: Any) -> dict[str, Any]:
        out.mkdir(parents=True)
        (out / "manifest.json").write_text("{}")
        raise raised

    stand_in(monkeypatch, "scenarios.run", run=run)
    monkeypatch.delenv("SOTTOVOCE_DEBUG", raising=False)
    out = tmp_path / "run"
    assert call("run", "quickstart", "--out", str(out)) == code
    told = capsys.readouterr().err
    assert said in told
    assert "Traceback" not in told
    if not isinstance(raised, ValueError | ConfigurationError):
        assert f"what was recorded so far is in {out}" in told
    monkeypatch.setenv("SOTTOVOCE_DEBUG", "1")
    assert call("run", "quickstart", "--out", str(tmp_path / "again")) == code
    assert ("Traceback" in capsys.readouterr().err) == isinstance(raised, ValueError)


def test_reaccounting_prints_its_rows(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def reaccount(run: Path, **options: Any) -> list[dict[str, Any]]:
        asked.update(options)
        return [{"observers": "3,7", "epsilon": 1.23456}]

    stand_in(monkeypatch, "scenarios.studies.reaccount", reaccount=reaccount)
    options = ("--observers", "7,3", "--observers", "5", "--delta", "1e-6", "--adjacency", "replace")
    assert call("privacy", "run", *options) == 0
    assert asked.pop("jobs") >= 1
    assert callable(asked.pop("on_progress"))
    expected = {"unit": None, "adjacency": "replace", "delta": 1e-6, "target": None, "per_message": False}
    assert asked == expected | {"observers": ["7,3", "5"]}
    assert "1.235" in capsys.readouterr().out


def test_audit_passes_the_scenario_and_trials(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def audit(loaded: Loaded, *, trials: int, on_progress: Any, canary: str) -> dict[str, Any]:
        on_progress(1.0, "done")
        verdict = "violated" if canary == "features" else "consistent"
        return {"name": loaded.scenario.name, "trials": trials, "canary": canary, "verdict": verdict}

    stand_in(monkeypatch, "scenarios.audits.audit", audit=audit)
    assert call("audit", "quickstart", "--trials", "50", "-q") == 0
    out = capsys.readouterr().out
    assert "quickstart" in out
    assert "50" in out
    assert "gradient" in out
    assert call("audit", "quickstart", "--canary", "features", "-q") == 1
    said = capsys.readouterr()
    assert "violated" in said.out
    assert "the audit contradicts the ledger" in said.err


def test_an_audit_of_a_view_is_told_who_looks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def audit_view(loaded: Loaded, coalition: tuple[int, ...], **options: Any) -> dict[str, Any]:
        asked.update(options, coalition=coalition)
        return {"verdict": "consistent"}

    stand_in(monkeypatch, "scenarios.audits.view", audit_view=audit_view)
    assert call("audit", "quickstart", "--view", "7,3", "--victim", "5", "--jobs", "1", "-q") == 0
    asked.pop("on_progress")
    assert asked == {"coalition": (3, 7), "victim": 5, "trials": 200, "jobs": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--one-run",), "sums as well"),
        (("--sums", "--view", "3"), "one of them"),
        (("--victim", "3"), "view as well"),
        (("--canary", "features", "--sums"), "leave out canary"),
        (("--canary", "parrot"), "gradient, mislabelled, features, got parrot"),
    ],
)
def test_audits_refuse_options_that_do_not_go_together(
    options: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("audit", "quickstart", *options) == 2
    assert said in capsys.readouterr().err


def test_a_long_step_says_where_it_is_and_a_short_one_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = Event()

    def echo(text: str, *, err: bool) -> None:
        lines.append(text)
        told.set()

    lines: list[str] = []
    monkeypatch.setattr(typer, "echo", echo)
    monkeypatch.setattr(progress, "FIRST_LINE_S", 0.0)
    with progress.progress("report", quiet=False) as on_progress:
        on_progress(0.5, "drawing it")
        told.wait()
    assert lines[0] in ("report: 50% drawing it", "report: 0% starting")
    monkeypatch.setattr(progress, "FIRST_LINE_S", 1e6)
    lines.clear()
    for quiet in (False, True):
        with progress.progress("report", quiet=quiet) as on_progress:
            on_progress(0.5, "drawing it")
    assert lines == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_commands_and_options(shell: str) -> None:
    words = "sottovoce run --ea"
    asked = {"COMP_WORDS": words, "COMP_CWORD": "2", "_TYPER_COMPLETE_ARGS": words}
    asked |= {"_SOTTOVOCE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    done = subprocess.run(
        [sys.executable, "-m", "sottovoce"],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "--eager" in done.stdout, done.stderr


def test_completion_can_be_shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    assert call("--show-completion", "bash") == 0
    assert "_SOTTOVOCE_COMPLETE" in capsys.readouterr().out


def test_schema_is_json_and_list_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("schema") == 0
    assert "topology" in json.loads(capsys.readouterr().out)["properties"]
    assert call("list") == 0
    listed = capsys.readouterr().out
    for word in ("erdos-renyi", "dirichlet", "secure", "sign-flip", "quickstart"):
        assert word in listed
