"""Metrics and figures of other packages: recorded, drawn, compared; broken ones are one line."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import matplotlib.figure
import numpy as np
import polars as pl
import pytest

from analysis.figures import catalogue as figures
from analysis.figures import style
from analysis.figures.declared import Figure
from analysis.metrics import catalogue as metrics
from analysis.metrics.declared import EVALUATION, EVENTS, Metric, Snapshot
from analysis.report import report
from analysis.store import read_run
from analysis.tables.paired import metrics_of
from scenarios.load import resolve
from scenarios.run import run
from simulator import plugins
from simulator.errors import ConfigurationError
from tests.analysis.test_formats import WORLD
from tests.support.places import ROOT
from tests.support.synthetic_runs import make_run, make_sweep

SPREAD = Metric("spread", EVALUATION, lambda s: s.accuracy.max() - s.accuracy.min(), "best minus worst")
HALF_LOSS = Metric("half_loss", EVALUATION, lambda s: s.loss / 2, "of each node", "nats")
MIXED = Metric("heard", "mixed", lambda kept, event: (kept or 0) + event.fields["heard"], "messages mixed")


def _drawn(subject: Any) -> matplotlib.figure.Figure:
    made, (ax,) = style.figure()
    ax.plot([1, 2, 3])
    return made


PICTURE = Figure("picture", lambda _: True, _drawn, "What a package of others draws.")
OF_STUDIES = Figure("of_studies", lambda _: True, _drawn, "Drawn{over}.", of="study")


class Point:
    """An entry point of a package that is not installed."""

    def __init__(self, group: str, made: Any, name: str | None = None) -> None:
        self.group, self.made = group, made
        self.name = made.name if name is None else name
        self.value = f"others:{self.name.upper()}"
        self.dist = SimpleNamespace(name="others", version="1.2")

    def load(self) -> Any:
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    points: list[Any] = []

    def installed(*made: Any) -> None:
        points.extend(made)
        for cached in (metrics.metrics, figures.figures):
            cached.cache_clear()

    def found(group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr(plugins, "entry_points", found)
    installed()
    yield installed
    for cached in (metrics.metrics, figures.figures):
        cached.cache_clear()


def of_metrics(made: Any, name: str | None = None) -> Point:
    return Point("sottovoce.metrics", made, name)


def of_figures(made: Any, name: str | None = None) -> Point:
    return Point("sottovoce.figures", made, name)


def test_a_metric_of_a_plugin_is_recorded_drawn_and_compared(tmp_path: Path, install: Any) -> None:
    install(of_metrics(SPREAD), of_metrics(HALF_LOSS), of_metrics(MIXED))
    assert metrics.names()[-3:] == ["half_loss", "heard", "spread"]
    summary = run(resolve(WORLD), tmp_path / "run")
    table = pl.read_parquet(tmp_path / "run" / "metrics.parquet")
    times = table["t_s"].unique()

    def series(name: str) -> pl.DataFrame:
        return table.filter(pl.col("metric") == name)

    assert series("spread").height == len(times)
    assert set(series("spread")["node"]) == {-1}
    halves, whole = series("half_loss"), series("loss")
    assert halves.select("t_s", "node").equals(whole.select("t_s", "node"))
    np.testing.assert_allclose(halves["value"], whole["value"] / 2)
    heard = series("heard")["value"].to_list()
    assert heard == sorted(heard)
    assert heard[-1] == summary["heard"] == 4 * 3 * 2  # four nodes, three neighbours, two rounds
    assert summary["half_loss"] == pytest.approx(summary["loss_mean"] / 2)
    assert summary["spread"] == series("spread")["value"][-1]
    stored = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert list(stored)[-3:] == ["half_loss", "heard", "spread"]
    manifest = read_run(tmp_path / "run").manifest
    assert manifest["metrics"] == {name: "others 1.2" for name in ("half_loss", "heard", "spread")}
    assert "measurements.png" in [picture.name for picture in figures.plot(tmp_path / "run")]
    assert [one.key for one in metrics_of([summary])][-3:] == ["half_loss", "heard", "spread"]


def test_a_run_without_plugins_is_as_before(tmp_path: Path, install: Any) -> None:
    run(resolve(WORLD), tmp_path / "run")
    manifest = read_run(tmp_path / "run").manifest
    assert "metrics" not in manifest
    assert "measurements.png" not in [picture.name for picture in figures.plot(tmp_path / "run")]


def test_a_figure_of_a_plugin_is_drawn_and_in_the_report(tmp_path: Path, install: Any) -> None:
    install(of_figures(PICTURE), of_figures(OF_STUDIES))
    assert figures.names()[-2:] == ["of_studies", "picture"]
    path = make_run(tmp_path / "run")
    assert figures.plot(path)[-1].name == "picture.png"
    assert "What a package of others draws." in report(path).read_text(encoding="utf-8")
    study = make_sweep(tmp_path / "sweep", seeds=2)
    assert figures.plot(study)[-1].name == "of_studies.png"
    assert figures.caption("of_studies", "2 seeds") == "Drawn, means over 2 seeds."


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (of_metrics(ImportError("no module x"), "spread"), "cannot be loaded: ImportError: no module x"),
        (of_metrics(PICTURE), "is no Metric: expected an instance of analysis.metrics.declared.Metric"),
        (of_metrics(SPREAD, "other"), "the entry point is named 'other', but its object 'spread'"),
        (
            of_metrics(replace(SPREAD, name="accuracy")),
            'the metric "accuracy" is already defined by sottovoce itself',
        ),
        (
            of_metrics(replace(SPREAD, name="epsilon_worst")),
            'the metric "epsilon_worst" is already defined by sottovoce itself',
        ),
    ],
)
def test_a_broken_metric_is_one_line_that_names_its_package(install: Any, point: Point, says: str) -> None:
    install(point)
    with pytest.raises(ConfigurationError) as caught:
        metrics.names()
    assert says in str(caught.value)
    assert f"plug-in others 1.2 (sottovoce.metrics: {point.name} = {point.value})" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (replace(MIXED, event="mixd"), 'there is no event "mixd", did you mean "mixed"?'),
        (replace(MIXED, event="evalution"), 'there is no event "evalution", did you mean "evaluation"?'),
        (replace(MIXED, event=3), "event must be text, got int"),  # type: ignore[arg-type]
        (replace(MIXED, reduce=3), "reduce must be a function, got int"),  # type: ignore[arg-type]
    ],
)
def test_a_metric_that_cannot_measure_is_refused(install: Any, made: Metric, says: str) -> None:
    install(of_metrics(made))
    with pytest.raises(ConfigurationError) as caught:
        metrics.names()
    assert str(caught.value) == f"metric heard of package others 1.2: {says}"


def test_the_events_of_protocols_are_known() -> None:
    files = [file for file in (ROOT / "protocols").rglob("*.py") if "conformance" not in file.parts]
    calls = [
        call
        for file in files
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "record"
    ]
    kinds = {
        kind.value if isinstance(kind, ast.Constant) else ast.unparse(kind).lower()  # CONFINED = "confined"
        for call in calls
        for kind in call.args[:1]
    }
    assert kinds == set(EVENTS)


def test_a_metric_of_an_event_that_nobody_recorded_is_a_warning(tmp_path: Path, install: Any) -> None:
    install(of_metrics(replace(MIXED, event="rumour")))
    told = run(resolve(WORLD), tmp_path / "run")["warnings"]
    assert any(
        text.startswith("The metric heard of package others 1.2 measured nothing: no program")
        for text in told
    )


def _named(name: Any) -> Metric:
    return replace(SPREAD, reduce=lambda _: {name: 1.0})


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (
            replace(SPREAD, reduce=lambda _: "wide"),
            "returned a value of type str as spread; a metric may return a num",
        ),
        (replace(SPREAD, reduce=lambda _: [[1], [1, 2]]), "returned a value of type list as spread"),
        (replace(SPREAD, reduce=lambda _: 1j), "returned a value of type complex as spread"),
        (replace(MIXED, name="spread", value=lambda _: "x"), "returned a value of type str as spread"),
        (
            replace(MIXED, name="spread", value=lambda _: np.ones(2)),
            "an array of shape (2,) as spread; expected one",
        ),
        (_named(3), "returned a value named 3; expected text"),
        (_named("accuracy_mean"), 'named "accuracy_mean", which is a name of sottovoce itself; rename it'),
        (_named("trace_hash"), 'named "trace_hash", which is a name of sottovoce itself; rename it'),
        (_named("heard"), 'named "heard", which is a name of metric heard of package others 1.2; rename it'),
    ],
)
def test_a_metric_may_return_numbers_under_names_of_its_own(
    tmp_path: Path, install: Any, made: Metric, says: str
) -> None:
    install(of_metrics(MIXED), of_metrics(made))
    with pytest.raises(ConfigurationError) as caught:
        run(resolve(WORLD), tmp_path / "run")
    assert str(caught.value).startswith("metric spread of package others 1.2 returned")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_figures_of_one_name_are_one_line(install: Any) -> None:
    install(of_figures(replace(PICTURE, name="heat")))
    with pytest.raises(ConfigurationError, match='the figure "heat" is already defined by sottovoce itself'):
        figures.names()


def test_a_figure_that_fails_is_named(tmp_path: Path, install: Any) -> None:
    def failing(subject: Any) -> Any:
        raise ValueError("no ink")

    path = make_run(tmp_path / "run")
    for broken in (replace(PICTURE, draw=failing), replace(PICTURE, name="other", fits=failing)):
        install(of_figures(broken))
        with pytest.raises(ConfigurationError, match=r"figure (picture|other) failed: ValueError: no ink"):
            figures.plot(path)


def test_a_metric_that_fails_is_named() -> None:
    def failing(snapshot: Snapshot) -> float:
        raise ValueError("no number")

    snapshot: Any = SimpleNamespace(nodes=(1, 2))
    with pytest.raises(ConfigurationError, match="metric spread failed: ValueError: no number"):
        list(replace(SPREAD, reduce=failing).values(snapshot))
    with pytest.raises(
        ConfigurationError, match=r"spread returned an array of shape \(3,\) as spread; .* of 2 snapshot"
    ):
        list(replace(SPREAD, reduce=lambda _: np.zeros(3)).values(snapshot))
    assert not list(replace(SPREAD, reduce=lambda _: float("nan")).values(snapshot))
    assert not list(replace(SPREAD, reduce=lambda _: None).values(snapshot))
    nobody: Any = SimpleNamespace(nodes=())
    assert not list(replace(SPREAD, reduce=lambda _: np.zeros(0)).values(nobody))
