"""Sweeps and what-ifs of the shipped scenarios, at reduced size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

from analysis.store import read_study
from scenarios.commands.cli import app
from scenarios.load import load
from scenarios.studies import study
from simulator.errors import ConfigurationError, SottovoceError, StorageError
from tests.support.progress import quiet

OTHER = {"format": 1, "kind": "sweep", "name": "other", "scenario": {}, "runs": []}
TINY = ["protocol.rounds=3", "evaluation.every='1 s'"]


@pytest.mark.slow
def test_the_tradeoff_sweep_runs_resumes_and_pairs_its_seeds(tmp_path: Path) -> None:
    loaded = load(
        Path("tradeoff"), [*TINY, "sweep.seeds=2", 'sweep.grid={"privacy.noise_multiplier" = [6.1, 36.0]}']
    )
    out = study.sweep(loaded, tmp_path / "study", jobs=2, on_progress=quiet)
    table = pl.read_parquet(out / "summaries.parquet")
    assert len(table) == 2 * (1 + 3 * 2)
    assert table["series"].n_unique() == 4
    assert set(table["seed"]) == {1, 2}
    assert table.filter(pl.col("series") == "plain gossip")["epsilon_worst"].is_infinite().all()
    finite = table.filter(pl.col("series") != "plain gossip")
    assert finite["epsilon_worst"].is_finite().all()
    certified = {
        name: finite.filter(pl.col("series") == name, pl.col("set.privacy.noise_multiplier") == 6.1)[
            "epsilon_worst"
        ].max()
        for name in ("LDP gossip", "secure, complete graph")
    }
    assert certified["LDP gossip"] == pytest.approx(certified["secure, complete graph"], rel=1e-6)

    before = {f: f.stat().st_mtime_ns for f in (out / "runs").glob("*/summary.json")}
    victim = next(iter(before)).parent
    for file in victim.iterdir():
        file.unlink()
    victim.rmdir()
    study.sweep(loaded, out, jobs=1, on_progress=quiet)
    after = {f: f.stat().st_mtime_ns for f in (out / "runs").glob("*/summary.json")}
    assert after.keys() == before.keys()
    repeated = [f for f in before if before[f] != after[f]]
    assert [f.parent for f in repeated] == [victim]
    assert len(read_study(out).summaries) == len(table)


@pytest.mark.slow
def test_the_whatif_is_paired(tmp_path: Path) -> None:
    loaded = load(Path("whatif_byzantine"), [*TINY, "study.seeds=2"])
    out = study.whatif(loaded, tmp_path / "study", jobs=2, on_progress=quiet)
    table = pl.read_parquet(out / "summaries.parquet")
    assert len(table) == 2 * 5
    for seed in (1, 2):
        of_seed = table.filter(pl.col("seed") == seed)
        assert of_seed["trace_hash"].n_unique() == 1, "an attacker changed somebody's latency"
    baseline = table.filter(pl.col("variant").is_null())
    assert len(baseline) == 2
    worst = table.filter(pl.col("variant") == "3 sign flippers")
    assert worst["accuracy_mean"].mean() < baseline["accuracy_mean"].mean()  # type: ignore[operator]
    changes = [word for change in (*TINY, "study.seeds=2") for word in ("--set", change)]
    told = CliRunner().invoke(app, ["whatif", "whatif_byzantine", *changes, "--out", str(out)])
    assert told.exit_code == 0, told.output
    printed = " ".join(told.output.split())  # titles are wrapped
    for words in (
        "95 % t interval over 2 seeds",
        "'baseline' with the same seed",
        "over pairs of runs (2 seeds)",
    ):
        assert words in printed, words


def test_another_study_in_the_folder_is_left_alone(tmp_path: Path) -> None:
    loaded = load(Path("whatif_byzantine"), [*TINY, "study.seeds=1", "whatif=[]"])
    (tmp_path / "study.json").write_text(json.dumps(OTHER))
    with pytest.raises(ConfigurationError, match="whatif"):
        study.whatif(loaded, tmp_path, jobs=1, on_progress=quiet)
    loaded = load(Path("whatif_byzantine"), [*TINY, "study.seeds=1"])
    with pytest.raises(StorageError, match="holds another study"):
        study.whatif(loaded, tmp_path, jobs=1, on_progress=quiet)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(StorageError, match="not empty"):
        study.whatif(loaded, tmp_path / "other", jobs=1, on_progress=quiet)


def test_a_failed_run_does_not_take_the_others_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(Path("whatif_byzantine"), [*TINY, "study.seeds=1"])
    execute = study._execute

    def fail_once(run: Any, base: Path, folder: Path) -> Any:
        return (
            (run.id, "failed", "no luck") if run.variant == "1 sign flipper" else execute(run, base, folder)
        )

    monkeypatch.setattr(study, "_execute", fail_once)
    with pytest.raises(SottovoceError, match="1 of 5 runs failed"):
        study.whatif(loaded, tmp_path / "study", jobs=1, on_progress=quiet)
    assert len(pl.read_parquet(tmp_path / "study" / "summaries.parquet")) == 4
    listed = json.loads((tmp_path / "study" / "study.json").read_text())["runs"]
    assert sorted(r["status"] for r in listed) == ["failed", *["finished"] * 4]


def test_plans_name_runs_by_their_content() -> None:
    loaded = load(Path("tradeoff"), ["sweep.seeds=2"])
    plan = study.plan_sweep(loaded)
    assert len({run.id for run in plan}) == len(plan) == 2 * (1 + 3 * 5)
    assert [run.id for run in study.plan_sweep(loaded)] == [run.id for run in plan]
    assert all("sweep" not in run.raw for run in plan)
