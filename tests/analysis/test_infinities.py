"""Infinite losses through everything that averages, subtracts, sorts or draws: never dropped, never NaN."""

from __future__ import annotations

import io
import json
import math
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.console import Console

from analysis.figures.paired import paired_figure
from analysis.figures.tradeoff import tradeoff_figure
from analysis.figures.victims import victims_figure
from analysis.store import read_run, read_study
from analysis.tables.estimate import estimate, median
from analysis.tables.paired import METRICS, differences, paired
from analysis.tables.study import in_words, paired_rows, study_rows, study_table
from analysis.tables.summary import number, upper
from analysis.tables.tradeoff import (
    BASES,
    curves,
    grid_points,
    infinite_points,
    pareto_front,
    unbounded,
    without_epsilon,
)
from protocols.privacy.ledger import Claim
from scenarios.runs.summary import losses
from scenarios.studies.infer import RELATIVE, Finding, table
from scenarios.studies.study import _frame, leaks_in
from tests.support.synthetic_runs import make_run, make_summary, make_sweep, make_whatif

LOSS = st.one_of(st.just(math.inf), st.none(), st.floats(0.001, 1e6))
LOSSES = st.lists(LOSS, min_size=1, max_size=8)
SEEN = st.lists(st.one_of(st.just(math.inf), st.floats(0.001, 1e6)), min_size=1, max_size=8)
CERTIFIED = next(metric for metric in METRICS if metric.key == "epsilon_certified")
FOLDERS = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def texts(figure: Figure) -> list[str]:
    found = [figure.get_suptitle()]
    for ax in figure.axes:
        found += [text.get_text() for text in (*ax.texts, *ax.get_xticklabels())]
    return found


def column(values: Sequence[float | None]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64)


@given(LOSSES)
def test_means(values: list[float | None]) -> None:
    found = estimate(values)
    present = [value for value in values if value is not None]
    assert (found.count, found.missing) == (len(present), len(values) - len(present))
    if math.inf in present:
        assert found.mean == math.inf
        assert not found.bounded
    elif present:
        assert found.mean == pytest.approx(np.mean(present))
        assert found.bounded == (len(present) > 1)
    else:
        assert math.isnan(found.mean)


@given(SEEN)
def test_medians_and_the_worst_victim(values: list[float]) -> None:
    """Half or more of them infinite: so is the median; the summary and the terminal agree."""
    ordered = sorted(values)
    low, high = ordered[(len(values) - 1) // 2], ordered[len(values) // 2]
    assert median(values) == pytest.approx((low + high) / 2)
    claims = [
        Claim(1.0, victim, "0", "add-remove", "record", None, value, 1e-5, "certified")
        for victim, value in enumerate(values)
    ]
    assert losses(claims, {"certified"}) == (max(values), pytest.approx(statistics.median(values)))


@given(st.lists(st.tuples(LOSS, LOSS), min_size=1, max_size=8))
def test_paired_differences(pairs: list[tuple[float | None, float | None]]) -> None:
    before = {seed: make_summary(epsilon_worst=a) for seed, (a, _) in enumerate(pairs)}
    after = {seed: make_summary(epsilon_worst=b) for seed, (_, b) in enumerate(pairs)}
    one = paired("variant", CERTIFIED, after, before)
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    both = [a == b == math.inf for a, b in known]
    signs = {b - a for a, b in known if not a == b == math.inf and math.isinf(b - a)}
    assert len(one.per_seed) == len(known) - sum(both)
    if any(both):
        assert math.isnan(one.mean), "the difference of two infinities is nothing"
        assert "∞ in both" in in_words(one)
    elif len(signs) == 1:
        assert one.mean == next(iter(signs))
        assert in_words(one).startswith("+∞" if one.mean > 0 else "−∞")
    elif signs:
        assert math.isnan(one.mean)
        assert "finite → ∞" in in_words(one)
        assert "∞ → finite" in in_words(one)
    elif known:
        assert one.mean == pytest.approx(np.mean([b - a for a, b in known]), abs=1e-6)
        assert in_words(one).partition(" (")[0].count("∞") == 0
    else:
        assert in_words(one) == "–" or "no value" in in_words(one) or "∞" in in_words(one)


@pytest.mark.slow
@FOLDERS
@given(data=st.data(), seeds=st.integers(1, 3))
def test_whatifs(data: st.DataObject, seeds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = make_whatif(Path(folder) / "study", seeds=seeds)
        whole = pl.read_parquet(path / "summaries.parquet")
        drawn = {
            key: data.draw(st.lists(LOSS, min_size=len(whole), max_size=len(whole)), label=key)
            for key in ("epsilon_worst", "epsilon_worst_open_loop", "epsilon_median")
        }
        whole = whole.with_columns(**{key: column(values) for key, values in drawn.items()})
        whole.write_parquet(path / "summaries.parquet")
        study = read_study(path)
        header, rows = study_rows(study)
        for i, point in enumerate(grid_points(study.summaries)):
            of_point = [
                loss
                for loss, name in zip(drawn["epsilon_worst"], whole["variant"], strict=True)
                if (name or "baseline") == point.series
            ]
            cell = rows[i][header.index("ε certified")]
            assert cell.startswith("∞") == (math.inf in of_point)
            assert (cell == "–") == all(loss is None for loss in of_point)
            assert "nan" not in cell
        out = io.StringIO()
        Console(file=out, width=200).print(study_table(study))
        assert "nan" not in out.getvalue()
        assert all("nan" not in cell for row in (paired_rows(study) or ([], []))[1] for cell in row)
        told = texts(paired_figure(study))
        for one in differences(study.summaries):
            if math.isinf(one.mean):
                assert any("∞" in text and text.startswith(("+", "−")) for text in told)


@pytest.mark.slow
@FOLDERS
@given(data=st.data())
def test_sweeps(data: st.DataObject) -> None:
    """Every point is on a curve, over "∞" or a level line, and curves are in order."""
    with tempfile.TemporaryDirectory() as folder:
        path = make_sweep(Path(folder) / "study", levels=(1, 2), seeds=2)
        whole = pl.read_parquet(path / "summaries.parquet")
        keys = ("epsilon_worst", "epsilon_worst_open_loop")
        drawn = {key: data.draw(st.lists(LOSS, min_size=len(whole), max_size=len(whole))) for key in keys}
        whole = whole.with_columns(**{key: column(values) for key, values in drawn.items()})
        whole.write_parquet(path / "summaries.parquet")
        study = read_study(path)
        table = study.summaries
        on_curves = [p for points in curves(table).values() for p in points]
        beyond = [p for points in infinite_points(table).values() for p in points]
        levels = [(p.series, p.setting) for p in without_epsilon(table)]
        for basis in BASES:
            for point in grid_points(table, basis):
                place = (point.series, point.setting)
                if math.isinf(point.epsilon.mean):
                    at_infinity = any(p.basis == basis and (p.series, p.setting) == place for p in beyond)
                    assert at_infinity or place in levels
                elif point.epsilon.count and basis == "certified":
                    assert any(p.basis == basis and (p.series, p.setting) == place for p in on_curves)
        for points in curves(table).values():
            means = [point.epsilon.mean for point in points]
            assert means == sorted(means)
        told = " ".join(texts(tradeoff_figure(study)))
        assert ("∞" in told) == bool(
            beyond or unbounded(table) or any(math.isinf(p.epsilon.mean) for p in without_epsilon(table))
        )


@given(st.lists(st.tuples(st.one_of(st.just(math.inf), st.floats(0.01, 100)), st.floats(0, 1)), max_size=8))
def test_fronts(points: list[tuple[float, float]]) -> None:
    assert all(math.isfinite(points[i][0]) for i in pareto_front(points))


@given(LOSSES)
def test_tables_of_summaries_keep_them(values: list[float | None]) -> None:
    """What run folders write as "inf" comes back as infinity."""
    rows = [{"epsilon_worst": "inf" if value == math.inf else value} for value in values]
    found = _frame([*rows, {"epsilon_worst": 1.0}])["epsilon_worst"].to_list()
    assert found == [*values, 1.0]


@given(st.lists(st.one_of(st.just(math.inf), st.floats(0, 10)), min_size=1, max_size=6))
def test_findings(values: list[float]) -> None:
    findings = [
        Finding("update reconstruction", victim, "relative error", RELATIVE, value, value, 1e-5, "certified")
        for victim, value in enumerate(values)
    ]
    (row,) = table(findings)
    assert row["worst"] == number(min(values))
    assert row["mean"] == number(estimate(values).mean)
    assert (row["mean"] == "∞") == (math.inf in values)
    assert row["ε"] == upper(max(values))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "inference.json"
        one = {"attack": "update reconstruction", "measure": "likeness to its first update"}
        said = [one | {"value": "inf" if math.isinf(value) else value} for value in values]
        file.write_text(json.dumps({"findings": said}))
        found = leaks_in(file)["leak_updates"]
    assert found == pytest.approx(estimate(values).mean)


def test_victims_at_every_distance(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run", topology={"kind": "ring", "nodes": 16})
    rows = pl.read_parquet(path / "privacy.parquet")
    all_lost = rows.with_columns(
        epsilon=pl.when((pl.col("basis") == "open-loop") & (pl.col("victim") == 3))
        .then(math.inf)
        .otherwise("epsilon")
    )
    all_lost.write_parquet(path / "privacy.parquet")
    marks = [text.get_text() for text in victims_figure(read_run(path)).axes[1].texts]
    assert marks == ["↑ ∞"] * 8, "one victim of sixteen, seen from every distance"
    rows.with_columns(epsilon=pl.lit(math.inf)).write_parquet(path / "privacy.parquet")
    marks = [text.get_text() for text in victims_figure(read_run(path)).axes[1].texts]
    assert marks == ["∞"] * 8
