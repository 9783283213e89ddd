"""Run folders: what is read, what is refused and with which words."""

from __future__ import annotations

import json
import math
import pkgutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import analysis
from analysis.figures.catalogue import plot
from analysis.report import report
from analysis.store import Outage, is_study, read_run, read_study
from simulator.errors import StorageError
from tests.support.synthetic_runs import make_run, make_sweep, make_whatif


def test_a_run_is_read_whole(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "a[1]", epsilon_worst=math.inf))
    assert run.finished
    assert run.summary is not None
    assert run.summary["epsilon_worst"] == math.inf
    assert run.metrics.height > 0
    assert run.messages.height > 0
    assert run.releases.height == 2
    assert run.privacy.height > 0
    assert run.outages == (Outage(3, 8.0, 14.5), Outage(4, 22.0, None))
    (run.path / "activity.parquet").unlink()
    assert read_run(run.path).outages == run.outages  # as the scenario of an older run scheduled them


def test_an_unfinished_run_is_readable_and_drawn(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", finished=False)
    (path / "privacy.parquet").unlink()
    assert read_run(path).summary is None
    drawn = {p.name for p in plot(path)}
    assert {"accuracy.png", "network.png"} <= drawn
    assert not {"epsilon.png", "victims.png"} & drawn
    assert "interrupted" in report(path).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["manifest.json", "summary.json"])
@pytest.mark.parametrize("damage", ["", '{"format": 1', "[1]", "\udcff"])
def test_damaged_json_is_a_storage_error(tmp_path: Path, name: str, damage: str) -> None:
    path = make_run(tmp_path / "run")
    (path / name).write_bytes(damage.encode("utf-8", "surrogateescape"))
    with pytest.raises(StorageError, match=name) as caught:
        report(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["metrics", "messages", "releases", "privacy", "activity"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty", "columns"])
def test_damaged_tables_are_storage_errors(tmp_path: Path, table: str, damage: str) -> None:
    path = make_run(tmp_path / "run")
    file = path / f"{table}.parquet"
    if damage == "missing":
        file.unlink()
    elif damage == "columns":
        pl.DataFrame({"t_s": [1.0]}).write_parquet(file)
    else:
        file.write_bytes(file.read_bytes()[: 100 if damage == "truncated" else 0])
    with pytest.raises(StorageError, match=f"{table}.parquet") as caught:
        getattr(read_run(path), table)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["manifest.json", "summary.json", "metrics.parquet"])
def test_a_finished_run_that_lacks_a_part_is_refused(tmp_path: Path, name: str) -> None:
    path = make_run(tmp_path / "run")
    (path / name).unlink()
    with pytest.raises(StorageError, match=name):
        report(path)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | {"format": 2}))
    with pytest.raises(StorageError, match=r"newer.*upgrade"):
        read_run(path)
    del manifest["format"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StorageError, match="no format number"):
        read_run(path)


def test_runs_and_studies_are_told_apart(tmp_path: Path) -> None:
    study, run = make_sweep(tmp_path / "sweep", seeds=2), make_run(tmp_path / "run")
    assert is_study(study)
    assert not is_study(run)
    with pytest.raises(StorageError, match="is a study"):
        read_run(study)
    with pytest.raises(StorageError, match=r"study\.json: is missing"):
        read_study(run)
    with pytest.raises(StorageError, match=r"manifest\.json: is missing"):
        read_run(tmp_path / "nowhere")


def test_summaries_are_numbers_even_if_infinity_was_text(tmp_path: Path) -> None:
    path = make_sweep(tmp_path / "sweep", seeds=2)
    table = pl.read_parquet(path / "summaries.parquet")
    table.with_columns(pl.col("epsilon_worst").cast(pl.String)).write_parquet(path / "summaries.parquet")
    found = read_study(path).summaries["epsilon_worst"]
    assert found.dtype == pl.Float64
    assert found.to_list() == table["epsilon_worst"].to_list()


def test_an_unfinished_study_is_gathered_from_its_runs(tmp_path: Path) -> None:
    path = make_whatif(tmp_path / "study", seeds=2, folders=True)
    whole = read_study(path).summaries
    (path / "summaries.parquet").unlink()
    (path / "runs" / "run003" / "summary.json").unlink()
    manifest = path / "runs" / "run003" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("finished", "running"))
    study = read_study(path)
    gathered = study.summaries
    assert gathered.height == whole.height - 1
    assert sorted(gathered["id"]) == sorted(set(whole["id"]) - {"run003"})
    assert (
        gathered["accuracy_mean"].to_list()
        == whole.filter(pl.col("id") != "run003")["accuracy_mean"].to_list()
    )
    assert not study.run("run003").finished


def test_analysis_does_not_import_jax() -> None:
    names = [module.name for module in pkgutil.walk_packages(analysis.__path__, "analysis.")]
    drawing = [name for name in names if not name.startswith("analysis.inference")]
    assert len(drawing) > 25
    code = f"import sys, {', '.join(drawing)}; sys.exit('jax' in sys.modules or 'matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    modules = "analysis.store, analysis.tables.summary, analysis.tables.compare, analysis.metrics.catalogue"
    code = f"import sys, {modules}; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
