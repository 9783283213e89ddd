"""The numbers: summaries, aggregates over seeds, Pareto fronts, paired differences."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from analysis.store import read_run, read_study
from analysis.tables.compare import compare, compare_below
from analysis.tables.estimate import estimate
from analysis.tables.paired import differences, metrics_of
from analysis.tables.study import study_rows, study_table
from analysis.tables.summary import number, summary_rows, summary_table, upper, worst_node
from analysis.tables.tradeoff import (
    curves,
    epsilon_of,
    grid_points,
    pareto_front,
    unbounded,
    without_epsilon,
)
from simulator.errors import StorageError
from tests.support.synthetic_runs import make_run, make_summary, make_sweep, make_whatif

stats: Any = scipy.stats
FINITE = st.floats(0.01, 100, allow_nan=False)


def text_of(table: Table) -> str:
    out = io.StringIO()
    Console(file=out, width=240, color_system=None).print(table)
    return out.getvalue()


def test_a_summary_says_what_matters() -> None:
    rows = dict(summary_rows(make_summary(), worst=6))
    assert (
        rows["privacy"]
        == "ε ≤ 4.38 (certified) at δ = 1e-05, unit record, adjacency add-remove, any single node"
    )
    assert rows["privacy, open-loop"] == "ε = 1.25 (not a bound for adaptive training)"
    assert rows["accuracy, mean"] == "87.3 %"
    assert rows["accuracy, worst honest node"] == "81.2 % (node 6)"
    assert rows["time to 80 % accuracy"] == "18.5 s (first evaluation there), 5.00 MiB sent by then"
    assert rows["traffic"] == "10.0 MiB of all nodes, 2000 messages"
    assert rows["messages lost"] == "20 (1.0 %)"
    assert rows["secure sums"] == "600 opened, 7 failed attempts, 3 contributions out of range withheld"
    assert rows["nodes down at the end"] == "4"
    assert rows["trace hash"] == "0123456789ab"
    printed = text_of(summary_table(make_summary(), 6))
    assert all(value in printed for value in rows.values())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epsilon_worst": math.inf}, "ε = ∞ (no guarantee)"),
        ({"epsilon_worst": None}, "none accounted"),
        ({"basis": "ldp-fallback"}, "ε ≤ 4.38 (certified, by the local bound: ldp-fallback)"),
        ({"certified_by": "local"}, "ε ≤ 4.38 (certified, each update alone) at"),
        ({"certified_by": "sums"}, "ε ≤ 4.38 (certified, sums of updates) at"),
        ({"certified_by": "states"}, "ε ≤ 4.38 (certified, all states public) at"),
        ({"certified_by": "view"}, "ε ≤ 4.38 (certified, the view itself) at"),
        ({"basis": "open-loop"}, "ε = 4.38 (open-loop: not a bound for adaptive training)"),
        ({"observers": [[3], [3, 7]]}, "nodes 3, 3+7"),
        ({"observers": "3,7"}, "nodes 3+7"),
        ({"observers": "any"}, "any observer"),
        ({"epsilon_worst": 4.3812}, "ε ≤ 4.39 "),
    ],
)
def test_privacy_in_words(changes: dict[str, object], expected: str) -> None:
    assert expected in dict(summary_rows(make_summary(**changes)))["privacy"]


def test_the_weakest_node_is_more_than_an_instant() -> None:
    recent = {"accuracy_worst_recent": 0.79, "recent_evaluations": 5, "recent_from_s": 36.0}
    lowest = {"accuracy_lowest_recent": 0.8, "accuracy_lowest_recent_node": 3, "accuracy_worst_node": 6}
    rows = dict(summary_rows(make_summary(**recent, **lowest)))
    assert rows["accuracy, worst honest node"] == (
        "81.2 % (node 6) at the last evaluation; last 5 averaged (from 36.0 s): "
        "worst of each 79.0 %, lowest node (3) 80.0 %"
    )


@pytest.mark.parametrize(
    ("changes", "rounds", "privacy"),
    [
        ({}, "40 rounds planned", "any single node"),
        ({"rounds_done_min": 40, "rounds_done_max": 40}, "40 rounds", "any single node"),
        (
            {"rounds_done_min": 3, "rounds_done_max": 40},
            "3 (slowest node) to 40 of 40 rounds",
            "any single node",
        ),
        ({"rounds_done_min": 7, "rounds_done_max": 8}, "7 (slowest node) to 8 of 40 rounds", "up to 3.20 s"),
        ({"rounds_done_min": 8, "rounds_done_max": 8}, "8 of 40 rounds", "up to 3.20 s"),
        ({"status": "interrupted", "epsilon_worst": 0.0}, "40 rounds planned", "up to 3.20 s"),
    ],
)
def test_a_run_that_was_cut_says_up_to_when(changes: dict[str, object], rounds: str, privacy: str) -> None:
    shown = dict(summary_rows(make_summary(simulated_s=3.2, **changes)))
    assert shown["virtual time"] == f"3.20 s, {rounds}"
    assert shown["privacy"].endswith(privacy)


def test_an_open_loop_that_is_missing_says_why() -> None:
    missing = {"epsilon_worst_open_loop": None, "open_loop_missing": "non-linear view"}
    assert (
        dict(summary_rows(make_summary(**missing)))["privacy, open-loop"] == "not available (non-linear view)"
    )
    none = make_summary(epsilon_worst=0.0, epsilon_worst_open_loop=0.0)
    assert "privacy, open-loop" not in dict(summary_rows(none))
    assert dict(summary_rows(none))["privacy"].startswith("ε = 0: what observers received depends on no")


def test_warnings_come_first() -> None:
    rows = summary_rows(make_summary(warnings=["One thing.", "Another."]))
    assert rows[1] == ("warnings", "One thing. Another.")


def test_a_live_diverged_plain_run_has_no_blanks() -> None:
    rows = dict(
        summary_rows(
            make_summary(
                status="diverged",
                diverged=True,
                trace_hash=None,
                time_to_accuracy_s=None,
                accuracy_mean=None,
                consensus_distance=None,
                epsilon_worst=None,
                epsilon_worst_open_loop=None,
                sums_opened=None,
                sums_skipped=None,
                nodes_down=[],
            )
        )
    )
    assert rows["name"] == "made-up (diverged)"
    assert rows["trace hash"] == "none (live run)"
    assert rows["time to 80 % accuracy"] == "never"
    assert rows["accuracy, mean"] == "–"
    assert rows["nodes down at the end"] == "none"
    assert "secure sums" not in rows
    assert "privacy, open-loop" not in rows


def test_the_worst_node_is_the_last_evaluations(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    last = run.metrics.filter((pl.col("t_s") == 40.0) & (pl.col("metric") == "accuracy"))
    values = dict(zip(last["node"], last["value"], strict=True))
    assert worst_node(run) == min(values, key=lambda node: values[node])


@given(st.floats(1e-6, 1e9))
def test_a_printed_bound_is_a_bound(value: float) -> None:
    printed = float(upper(value))
    assert value * (1 - 1e-9) <= printed <= value * 1.0101


def test_numbers() -> None:
    shown = [number(v) for v in (None, math.nan, math.inf, 0.0, 1.25, 40.0, 1234.0, 1e-5, 0.0312)]
    assert shown == ["–", "–", "∞", "0.00", "1.25", "40.0", "1234", "1.00e-05", "0.0312"]


@given(st.lists(FINITE, min_size=2, max_size=12))
def test_intervals_are_students(values: list[float]) -> None:
    found = estimate([*values, None])
    error = stats.sem(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert found.missing == 1
    if error > 1e-9:
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert (found.low, found.high) == pytest.approx((low, high))


def test_estimates_at_the_edges() -> None:
    assert math.isnan(estimate([None, math.nan]).mean)
    assert estimate([1.0, math.inf]).mean == math.inf
    one = estimate([2.0])
    assert one.mean == 2.0
    assert math.isnan(one.half_width)


def test_grid_points_match_the_table(tmp_path: Path) -> None:
    study = read_study(make_sweep(tmp_path / "sweep"))
    points = grid_points(study.summaries, "open-loop")
    assert len(points) == 16
    point = points[2]
    rows = study.summaries.filter(
        (pl.col("series") == "secure, sparse") & (pl.col("set.privacy.noise_multiplier") == 2.0)
    )
    assert point.setting == (("privacy.noise_multiplier", 2.0),)
    assert point.accuracy_mean.mean == pytest.approx(np.mean(rows["accuracy_mean"].to_list()))
    assert point.epsilon.mean == pytest.approx(np.mean(rows["epsilon_worst_open_loop"].to_list()))
    assert point.accuracy_mean.count == 8
    never = next(p for p in points if p.series == "LDP gossip" and p.setting[0][1] == 8)
    assert never.time_to_accuracy_s.count == 0
    assert never.median_time_to_accuracy_s == math.inf


def test_bases_are_never_mixed(tmp_path: Path) -> None:
    assert epsilon_of(make_summary(), "certified") == 4.38
    assert epsilon_of(make_summary(), "open-loop") == 1.25
    only = make_summary(basis="open-loop", epsilon_worst=2.0, epsilon_worst_open_loop=None)
    assert epsilon_of(only, "certified") is None
    assert epsilon_of(only, "open-loop") == 2.0
    study = read_study(make_sweep(tmp_path / "sweep"))
    found = curves(study.summaries)
    assert list(found) == [
        ("secure, sparse", "certified"),
        ("secure, complete", "certified"),
        ("LDP gossip", "certified"),
        ("secure, sparse", "open-loop"),
        ("LDP gossip", "open-loop"),
    ]
    assert [p.series for p in without_epsilon(study.summaries)] == ["plain gossip"]
    same = study.summaries.with_columns(epsilon_worst_open_loop=pl.col("epsilon_worst"))
    assert {basis for _, basis in curves(same)} == {"certified"}
    lost = study.summaries.with_columns(
        epsilon_worst=pl.when(pl.col("series") == "secure, sparse").then(math.inf).otherwise("epsilon_worst")
    )
    assert unbounded(lost) == ["secure, sparse"]
    assert unbounded(study.summaries) == []


@given(
    st.lists(
        st.tuples(st.sampled_from([0.5, 1.0, 2.0, 4.0, math.inf]), st.sampled_from([0.1, 0.5, 0.9]) | FINITE)
    )
)
def test_the_pareto_front_is_what_nobody_beats(points: list[tuple[float, float]]) -> None:
    def beaten(i: int) -> bool:
        e, a = points[i]
        return any(x <= e and y >= a and (x, y) != (e, a) for x, y in points)

    front = pareto_front(points)
    assert sorted(front) == [i for i in range(len(points)) if math.isfinite(points[i][0]) and not beaten(i)]
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_a_sweep_without_series_goes_by_protocol(tmp_path: Path) -> None:
    study = read_study(make_sweep(tmp_path / "sweep", seeds=2))
    bare = study.summaries.filter(pl.col("series") == "LDP gossip").with_columns(
        series=pl.lit(None, pl.String)
    )
    assert {point.series for point in grid_points(bare)} == {"dsgd/ldp"}
    assert len(grid_points(bare)) == 5


def test_study_rows(tmp_path: Path) -> None:
    study = read_study(make_sweep(tmp_path / "sweep"))
    header, rows = study_rows(study)
    assert header[:3] == ["series", "noise_multiplier", "seeds"]
    assert len(rows) == 16
    first = study.summaries.head(8)["accuracy_mean"].to_list()
    low, _ = stats.t.interval(0.95, 7, loc=np.mean(first), scale=stats.sem(first))
    mean = float(np.mean(first))
    assert rows[0][3] == f"{100 * mean:.2f} ± {100 * (mean - low):.2f}"
    assert rows[0][5] == "32.0"
    assert rows[-1][5] == "∞"
    assert "mean ± half of the 95 % t interval over 8 seeds" in text_of(study_table(study))


def test_paired_differences_by_hand(tmp_path: Path) -> None:
    study = read_study(make_whatif(tmp_path / "study"))
    found = {(one.variant, one.metric.key): one for one in differences(study.summaries)}
    assert len(found) == 3 * len(metrics_of(study.summaries.to_dicts()))
    base = study.summaries.filter(pl.col("variant").is_null()).sort("seed")
    other = study.summaries.filter(pl.col("variant") == "one sign flipper").sort("seed")
    by_hand = 100 * (other["accuracy_mean"].to_numpy() - base["accuracy_mean"].to_numpy())
    one = found["one sign flipper", "accuracy_mean"]
    assert [seed for seed, _ in one.per_seed] == list(range(1, 9))
    assert [value for _, value in one.per_seed] == pytest.approx(list(by_hand))
    assert one.mean == pytest.approx(by_hand.mean())
    half = 2.364624251592784 * by_hand.std(ddof=1) / math.sqrt(8)  # the table's t of 7 degrees of freedom
    assert (one.low, one.high) == pytest.approx((by_hand.mean() - half, by_hand.mean() + half))
    reference = stats.ttest_rel(other["accuracy_mean"].to_numpy(), base["accuracy_mean"].to_numpy())
    low, high = reference.confidence_interval(0.95)
    assert (one.low, one.high) == pytest.approx((100 * low, 100 * high))
    lost = found["no noise", "epsilon_certified"]
    assert lost.per_seed == tuple((seed, math.inf) for seed in range(1, 9))
    assert lost.note == "finite → ∞"
    assert lost.mean == math.inf
    assert math.isnan(lost.low)


def test_seeds_without_a_pair_are_counted(tmp_path: Path) -> None:
    study = read_study(make_whatif(tmp_path / "study", seeds=4))
    rows = study.summaries.filter(~(pl.col("variant").eq_missing("two crashes") & (pl.col("seed") == 2)))
    one = next(d for d in differences(rows) if d.variant == "two crashes")
    assert [seed for seed, _ in one.per_seed] == [1, 3, 4]
    assert one.note == "1 of 4 seeds: no pair"
    with pytest.raises(StorageError, match="no finished baseline"):
        differences(rows.filter(pl.col("variant").is_not_null()))
    with pytest.raises(StorageError, match="twice"):
        differences(pl.concat([rows, rows.head(1)]))


def test_compare_of_studies_lists_what_their_runs_were(tmp_path: Path) -> None:
    one = make_sweep(tmp_path / "one", seeds=2, folders=True)
    two = make_sweep(tmp_path / "two", seeds=2, folders=True)
    table = compare([one, two])
    keys = [str(cell) for cell in table.columns[0].cells]
    assert not [key for key in keys if key.startswith(("sweep.", "whatif.", "study.")) or key == "seed"]
    assert table.columns[0].no_wrap
    titles = [str(column.header) for column in table.columns[1:]]
    assert all(title.startswith(("one: ", "two: ")) for title in titles)
    assert any(title.startswith("one: ") for title in titles)
    assert any(title.startswith("two: ") for title in titles)


def test_compare_shows_what_differs(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one")
    two = make_run(tmp_path / "two", seed=2, topology={"kind": "ring", "nodes": 16}, finished=False)
    table = compare([one, two])
    printed = text_of(table)
    assert "topology.kind" in printed
    assert "training.step" not in printed
    assert "interrupted" in printed
    study = make_whatif(tmp_path / "study", seeds=2)
    assert len(compare([study]).columns) == 1 + 4
    assert [len(part.columns) for part in compare_below([study, study]).renderables[:2]] == [1 + 4, 1 + 4]
    with pytest.raises(StorageError, match="at least two"):
        compare([one])
