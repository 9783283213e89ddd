"""Differences to the baseline in every table that shows them, and what one pair of runs cannot say."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import scipy.stats
from rich.console import Console
from rich.table import Table

from analysis.store import read_study
from analysis.tables.compare import compare
from analysis.tables.paired import METRICS, paired, study_differences, swept_keys
from analysis.tables.study import in_words, paired_rows, paired_table, study_rows, study_table
from scenarios.load import ScenarioErrors, load
from tests.support.synthetic_runs import make_run, make_summary, make_sweep, make_whatif

stats: Any = scipy.stats


def text_of(table: Table | None) -> str:
    assert table is not None
    out = io.StringIO()
    Console(file=out, width=400, color_system=None).print(table)
    return out.getvalue()


def rows_of(table: Table) -> dict[str, list[str]]:
    """First cell -> the others."""
    columns = [[str(cell) for cell in column.cells] for column in table.columns]
    return {name: list(cells) for name, *cells in zip(*columns, strict=True)}


def with_baseline(path: Path, name: str) -> Path:
    """Let a made-up sweep name the series that the others are compared with."""
    described = json.loads((path / "study.json").read_text())
    noise = [0.5, 1, 2, 4, 8]
    described["scenario"]["sweep"] = {
        "baseline": name,
        "grid": {"privacy.noise_multiplier": noise},
        "series": [{"name": "plain gossip", "grid": {}}],
    }
    (path / "study.json").write_text(json.dumps(described))
    return path


def test_a_whatif_says_its_differences(tmp_path: Path) -> None:
    study = read_study(make_whatif(tmp_path / "study"))
    rows = paired_rows(study)
    assert rows is not None
    header, (flipped, crashed, noiseless) = rows
    assert header[:4] == ["variant", "pairs", "Δ mean acc. (points)", "Δ worst acc. (points)"]
    assert header[4:8] == ["Δ ε certified", "Δ ε open-loop", "Δ virtual (s)", "Δ traffic (MiB)"]
    assert [row[:2] for row in rows[1]] == [
        ["one sign flipper", "8"],
        ["two crashes", "8"],
        ["no noise", "8"],
    ]
    accuracy = {
        variant: study.summaries.filter(pl.col("variant").eq_missing(variant)).sort("seed")["accuracy_mean"]
        for variant in (None, "one sign flipper")
    }
    reference = stats.ttest_rel(accuracy["one sign flipper"].to_numpy(), accuracy[None].to_numpy())
    low, high = reference.confidence_interval(0.95)
    assert flipped[2] == f"−{-50 * (low + high):.1f} ± {50 * (high - low):.1f}"
    assert crashed[4] == "+0.600"
    assert noiseless[4] == "+∞ (finite → ∞)"
    assert "95 % t interval over pairs of runs (8 seeds)" in text_of(paired_table(study))


def test_one_seed_has_no_interval(tmp_path: Path) -> None:
    study = read_study(make_whatif(tmp_path / "study", seeds=1))
    printed = text_of(study_table(study)) + text_of(paired_table(study))
    assert "one seed, no interval" in printed
    assert "one pair, no interval" in printed
    assert "±" not in printed
    assert "95 %" not in printed
    rows = paired_rows(study)
    assert rows is not None
    assert {row[1] for row in rows[1]} == {"1"}


def test_a_sweep_is_compared_with_the_series_it_names(tmp_path: Path) -> None:
    path = make_sweep(tmp_path / "sweep", seeds=3)
    assert paired_rows(read_study(path)) is None
    by_point = read_study(with_baseline(path, "LDP gossip"))
    assert swept_keys(by_point) == ("privacy.noise_multiplier",)
    found = {
        (one.variant, dict(one.setting).get("privacy.noise_multiplier"), one.metric.key): one
        for one in study_differences(by_point)
    }
    one = found["secure, sparse", 2.0, "accuracy_mean"]
    of = {
        series: by_point.summaries.filter(
            (pl.col("series") == series) & (pl.col("set.privacy.noise_multiplier") == 2.0)
        ).sort("seed")["accuracy_mean"]
        for series in ("secure, sparse", "LDP gossip")
    }
    by_hand = 100 * (of["secure, sparse"] - of["LDP gossip"])
    assert [value for _, value in one.per_seed] == pytest.approx(by_hand.to_list())
    assert found["plain gossip", None, "accuracy_mean"].note == "no pair"
    with_all = read_study(with_baseline(path, "plain gossip"))
    differences = study_differences(with_all)
    assert {one.note for one in differences if one.metric.key == "accuracy_mean"} == {""}
    assert {len(one.per_seed) for one in differences if one.metric.key == "accuracy_mean"} == {3}
    certified = {one.note: one.mean for one in differences if one.metric.key == "epsilon_certified"}
    assert certified == {"∞ → finite": -math.inf}
    assert "−∞ (∞ → finite)" in text_of(paired_table(with_all))


def test_compare_subtracts_runs_of_one_seed(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", accuracy_mean=0.80)
    two = make_run(tmp_path / "two", accuracy_mean=0.85, epsilon_worst=math.inf)
    other = make_run(tmp_path / "other", seed=2, accuracy_mean=0.9)
    rows = rows_of(compare([one, two, other]))
    assert rows["Δ against"] == ["–", "one", "one"]
    assert rows["pairs of one seed"] == ["–", "1 (no interval)", "0"]
    assert rows["Δ accuracy, mean (percentage points)"] == ["–", "+5.00", "no pair"]
    assert rows["Δ ε, certified"] == ["–", "+∞ (finite → ∞)", "no pair"]


def test_compare_subtracts_studies_variant_by_variant(tmp_path: Path) -> None:
    first, second = make_whatif(tmp_path / "a", seeds=4), make_whatif(tmp_path / "b", seeds=4)
    table = pl.read_parquet(second / "summaries.parquet")
    table.with_columns(pl.col("accuracy_mean") - 0.01).write_parquet(second / "summaries.parquet")
    alone = rows_of(compare([first]))
    assert alone["Δ against"] == ["–", *["what-if: baseline"] * 3]
    both = rows_of(compare([first, second]))
    assert both["Δ accuracy, mean (percentage points)"] == ["–"] * 4 + ["−1.00"] * 4
    assert both["pairs of one seed"] == ["–"] * 4 + ["4"] * 4
    assert both["Δ against"][4:] == [
        f"a: {name}" for name in ("baseline", "one sign flipper", "two crashes", "no noise")
    ]


def test_opened_sums_and_whole_mixes_are_in_the_tables(tmp_path: Path) -> None:
    path = make_whatif(tmp_path / "study", seeds=2)
    header, rows = study_rows(read_study(path))
    places = [header.index(name) for name in ("sums opened (%)", "mixes with all (%)")]
    assert {row[place] for row in rows for place in places} == {"–"}, "runs of before have neither"
    table = pl.read_parquet(path / "summaries.parquet")
    crashed = pl.col("variant") == "two crashes"
    table = table.with_columns(
        sums_opened_fraction=pl.when(crashed).then(0.75).otherwise(1.0),
        mixes_complete_fraction=pl.when(crashed).then(None).otherwise(0.5),
    )
    table.write_parquet(path / "summaries.parquet")
    _, rows = study_rows(read_study(path))
    told = {row[0]: [row[place] for place in places] for row in rows}
    assert told["baseline"] == ["100", "50.0"]
    assert told["two crashes"] == ["75.0", "–"]
    compared = rows_of(compare([path]))
    assert compared["sums opened (%)"] == ["100", "100", "75.0", "100"]
    assert compared["Δ secure sums opened (percentage points)"][2] == "−25.0"


def test_losses_that_no_linear_view_has_are_blank(tmp_path: Path) -> None:
    path = make_whatif(tmp_path / "study", seeds=2)
    table = pl.read_parquet(path / "summaries.parquet")
    table.with_columns(epsilon_worst_open_loop=pl.lit(None)).write_parquet(path / "summaries.parquet")
    study = read_study(path)
    header, rows = study_rows(study)
    assert {row[header.index("ε open-loop")] for row in rows} == {"–"}
    paired_header = (paired_rows(study) or ([], []))[0]
    assert "Δ ε certified" in paired_header
    assert "Δ ε open-loop" not in paired_header


def test_infinite_in_both_has_no_difference() -> None:
    certified = next(metric for metric in METRICS if metric.key == "epsilon_certified")
    before = {1: make_summary(), 2: make_summary(epsilon_worst=math.inf)}
    after = {1: make_summary(epsilon_worst=5.0), 2: make_summary(epsilon_worst=math.inf)}
    one = paired("v", certified, after, before)
    assert math.isnan(one.mean)
    assert one.note == "1 of 2 seeds: ∞ in both"


@pytest.mark.parametrize(
    ("baseline", "series"), [("nobody", '[{name="a"}, {name="b"}]'), ("a", '[{name="a"}]'), ("a", "[]")]
)
def test_a_baseline_is_one_of_several_series(baseline: str, series: str) -> None:
    with pytest.raises(
        ScenarioErrors, match=f'sweep.baseline: must name one of two or more .* got "{baseline}"'
    ):
        load(Path("quickstart"), [f'sweep={{baseline="{baseline}", series={series}}}'])


def test_rounding_is_no_difference() -> None:
    metric = next(metric for metric in METRICS if metric.key == "epsilon_certified")
    one = paired(
        "v", metric, {1: make_summary(epsilon_worst=1.5 + 4e-16)}, {1: make_summary(epsilon_worst=1.5)}
    )
    assert one.per_seed == ((1, 0.0),)
    assert in_words(one) == "0"
    tiny = paired("v", metric, {1: make_summary(epsilon_worst=2e-9)}, {1: make_summary(epsilon_worst=1e-9)})
    assert in_words(tiny) == "+1.00e-09"


def test_losses_are_rounded_up_on_every_basis(tmp_path: Path) -> None:
    path = make_whatif(tmp_path / "study", seeds=1)
    table = pl.read_parquet(path / "summaries.parquet")
    table.with_columns(epsilon_worst=pl.lit(1.5612), epsilon_worst_open_loop=pl.lit(1.5612)).write_parquet(
        path / "summaries.parquet"
    )
    header, rows = study_rows(read_study(path))
    assert {row[header.index(f"ε {basis}")] for row in rows for basis in ("certified", "open-loop")} == {
        "1.57"
    }
