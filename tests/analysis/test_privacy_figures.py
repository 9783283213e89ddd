"""Pictures of who loses how much to whom."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from analysis.figures.catalogue import plot
from analysis.figures.collusion import coalitions, collusion_figure, has_coalitions
from analysis.figures.victims import has_victims, victims_figure
from analysis.store import read_run, read_study
from analysis.tables.study import epsilon_terms
from scenarios.load import load
from scenarios.run import run
from scenarios.studies import study
from simulator.errors import StorageError


def test_coalitions_of_a_sweep(tmp_path: Path) -> None:
    changes = ["topology.nodes=14", "protocol.rounds=3", "topology.degree=4", "training.divisor=100"]
    changes.append('privacy.observers=[[0], "random:2", "random:4", "neighbours:1"]')
    sums = '"protocol.exchange"="secure", "privacy.noise"="member", "secure"={crypto="ideal", tolerated_dropouts=0}'
    changes.append(f'sweep.series=[{{name="models"}}, {{name="sums", set={{{sums}}}}}]')
    out = study.sweep(
        load(Path("collusion"), changes), tmp_path / "study", jobs=1, on_progress=lambda f, t: None
    )
    made = read_study(out)
    assert has_coalitions(made)
    assert "any single node" not in epsilon_terms(made)[0], "these observers are sets of nodes"
    assert "(nodes 0, " in epsilon_terms(made)[0]
    found = coalitions(made)
    assert {(seen.series, seen.size) for seen in found if not seen.around} == {
        (series, size) for series in ("models", "sums") for size in (1, 2, 4)
    }
    assert sum(seen.around for seen in found) == 4
    for series in ("models", "sums"):
        worst = {
            s.size: s.loss for s in found if s.series == series and s.basis == "open-loop" and not s.around
        }
        assert 0 < worst[1] <= worst[2] + 1e-9 <= 1 + 1e-6 or series == "sums"
        assert max(worst.values()) <= 1 + 1e-6
    assert {ax.get_xlabel() for ax in collusion_figure(made).axes} == {"colluding nodes"}
    assert [path.name for path in plot(out)] == ["collusion.png"]
    table = out / "runs" / made.summaries.filter(pl.col("series") == "sums")["id"][0] / "privacy.parquet"
    lost = (pl.col("basis") == "open-loop") & (pl.col("observers").str.count_matches(",") == 3)
    rows = pl.read_parquet(table)
    rows.with_columns(epsilon=pl.when(lost).then(math.inf).otherwise("epsilon")).write_parquet(table)
    for ax in collusion_figure(read_study(out)).axes:
        signs = {text.get_text(): text.get_position()[0] for text in ax.texts}
        assert signs["∞"] == 4, "what four nodes learn is infinite, and is said where it would be drawn"


@pytest.mark.slow
def test_victims_of_a_run(tmp_path: Path) -> None:
    changes = ["protocol.rounds=3", "evaluation.every='1 s'"]
    run(load(Path("quickstart"), changes).scenario, tmp_path / "run")
    folder = read_run(tmp_path / "run")
    assert has_victims(folder)
    heat, against, bar = victims_figure(folder).axes
    assert heat.get_ylabel() == "victim (node)"
    assert "open-loop" in bar.get_ylabel()
    assert len(against.get_legend_handles_labels()[1]) == 2
    assert "victims.png" in [path.name for path in plot(tmp_path / "run")]


def test_a_run_seen_by_coalitions_alone_has_no_map(tmp_path: Path) -> None:
    changes = ["protocol.rounds=3", "evaluation.every='1 s'", "privacy.observers=[[0, 1], [2]]"]
    run(load(Path("quickstart"), changes).scenario, tmp_path / "run")
    assert not has_victims(read_run(tmp_path / "run"))
    with pytest.raises(StorageError, match="single observers"):
        victims_figure(read_run(tmp_path / "run"))
