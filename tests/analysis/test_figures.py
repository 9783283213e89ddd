"""Figures and report: they exist, say what they show, and show what the tables say."""

from __future__ import annotations

import json
import math
import re
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import networkx as nx
import numpy as np
import polars as pl
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures import style
from analysis.figures.catalogue import caption, plot
from analysis.figures.certified import certified_figure, has_certified
from analysis.figures.network import clearance, network_figure, positions, roles
from analysis.figures.paired import paired_figure
from analysis.figures.progress import courses, looks, progress_figure
from analysis.figures.run import accuracy_figure, epsilon_figure, observer_in_words
from analysis.figures.tradeoff import tradeoff_figure
from analysis.report import explain_epsilon, report
from analysis.store import Run, read_run, read_study
from analysis.tables.estimate import ONE_SEED
from analysis.tables.tradeoff import curves, grid_points
from simulator.errors import ConfigurationError, StorageError
from tests.support.synthetic_runs import make_run, make_sweep, make_whatif


def xs(line: Line2D) -> list[float]:
    return [float(x) for x in np.asarray(line.get_xdata())]


def ys(line: Line2D) -> list[float]:
    return [float(y) for y in np.asarray(line.get_ydata())]


def labels(figure: Figure) -> list[str]:
    return [text for ax in figure.axes for text in (ax.get_xlabel(), ax.get_ylabel()) if text]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in figure.legends for text in one.get_texts()]


def worst_lines(figure: Figure) -> dict[str, Line2D]:
    """The worst curve of each basis."""
    found = {str(line.get_label()): line for line in figure.axes[0].lines}
    return {words.split(" (")[0]: line for words, line in found.items() if "worst observer" in words}


def up_throughout(run: Run) -> list[bool]:
    """For each evaluated node, whether it was evaluated every time."""
    rows = run.metrics.filter(pl.col("metric") == "accuracy", pl.col("node") >= 0)
    times = run.metrics.filter(pl.col("metric") == "accuracy_mean")["t_s"].n_unique()
    return [count == times for count in rows.group_by("node").len()["len"]]


def is_png(path: Path) -> bool:
    return path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 5000


def test_every_picture_of_a_run(tmp_path: Path) -> None:
    made = plot(make_run(tmp_path / "run"))
    assert {path.name for path in made} >= {"accuracy.png", "epsilon.png", "victims.png", "network.png"}
    assert all(is_png(path) for path in made)


@pytest.mark.slow
def test_every_picture_of_the_studies(tmp_path: Path) -> None:
    made = plot(make_sweep(tmp_path / "sweep", seeds=2)) + plot(make_whatif(tmp_path / "study", seeds=2))
    assert [path.name for path in made] == ["certified.png", "tradeoff.png", "paired.png"]
    assert all(is_png(path) for path in made)


def test_accuracy_against_time_and_traffic(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    figure = accuracy_figure(run)
    assert labels(figure) == ["virtual time (s)", "test accuracy (%)", "traffic, all nodes (MiB)"]
    mean = next(line for line in figure.axes[0].lines if line.get_label() == "mean")
    expected = run.metrics.filter(pl.col("metric") == "accuracy_mean").sort("t_s")["value"].to_list()
    assert ys(mean) == expected
    assert [text.get_text() for text in figure.axes[0].texts] == ["▼3", "▲3", "▼4"]
    assert legend(figure) == ["each honest node", "mean", "worst honest node", "target 80 %"]


def test_epsilon_per_basis_and_no_guarantee_in_words(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run", infinite_from_s=20))
    figure = epsilon_figure(run)
    (ax,) = figure.axes
    assert labels(figure) == ["virtual time (s)", "privacy loss ε at δ = $10^{-5}$"]
    assert "certified: worst ε = ∞ (no guarantee) from 20 s" in ax.get_title(loc="left")
    worst = worst_lines(figure)
    assert list(worst) == ["certified", "open-loop"]
    assert max(xs(worst["certified"])) == 15
    loop = run.privacy.filter(pl.col("basis") == "open-loop")["epsilon"].max()
    assert ys(worst["open-loop"])[-1] == loop
    assert all(math.isfinite(v) for line in ax.lines for v in ys(line))


def test_a_fallback_is_no_second_curve(tmp_path: Path) -> None:
    """The local bound under another name; open-loop curves end where some observer's view has none."""
    path = make_run(tmp_path / "run")
    table = pl.read_parquet(path / "privacy.parquet")
    loop = table.filter(pl.col("basis") == "open-loop")
    late = pl.col("t_s") > 20
    fallback = loop.filter(late, pl.col("observers") == "1").with_columns(basis=pl.lit("ldp-fallback"))
    kept = loop.filter(~(late & (pl.col("observers") == "1")))
    pl.concat([table.filter(pl.col("basis") == "certified"), kept, fallback]).write_parquet(
        path / "privacy.parquet"
    )
    summary = json.loads((path / "summary.json").read_text())
    summary |= {"epsilon_worst_open_loop": None, "open_loop_missing": "non-linear view"}
    (path / "summary.json").write_text(json.dumps(summary))
    figure = epsilon_figure(read_run(path))
    worst = worst_lines(figure)
    assert list(worst) == ["certified", "open-loop"]
    assert max(xs(worst["open-loop"])) == 20
    assert "open-loop ε: not available (non-linear view)" in figure.axes[0].get_title(loc="left")


def test_the_worst_observer_of_each_basis_is_named(tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    last = run.privacy.filter(pl.col("t_s") == pl.col("t_s").max(), pl.col("basis") == "open-loop")
    worst = last.sort("epsilon")["observers"][-1]
    told = next(words for words in legend(epsilon_figure(run)) if words.startswith("open-loop (not a bound)"))
    assert told == f"open-loop (not a bound), worst observer (at the end: {observer_in_words(worst)})"


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("3", "node 3"),
        ("1,4", "nodes 1+4"),
        ("1,2,3,4,5", "5 colluding nodes"),
        ("wire", "the wire"),
        ("any", "any observer"),
    ],
)
def test_observers_have_names(label: str, words: str) -> None:
    assert observer_in_words(label) == words


def test_the_line_of_a_node_is_broken_while_it_is_down(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    table = pl.read_parquet(path / "metrics.parquet")
    away = (pl.col("node") == 3) & pl.col("t_s").is_between(8, 14.5)
    table.filter(~away).write_parquet(path / "metrics.parquet")
    lines = accuracy_figure(read_run(path)).axes[0].lines
    assert sum(any(math.isnan(y) for y in ys(line)) for line in lines) == sum(
        not here for here in up_throughout(read_run(path))
    )


@pytest.mark.parametrize("kind", style.FORMATS)
def test_a_figure_is_the_same_file_twice_in_every_format(tmp_path: Path, kind: style.Format) -> None:
    run = read_run(make_run(tmp_path / "run", nodes=8))
    first, again = (style.save(network_figure(run), tmp_path / f"{name}.{kind}") for name in ("one", "two"))
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes()[:4] == {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xm"}[kind]


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="must be one of png, pdf, svg, got jpg"):
        style.save(style.figure()[0], tmp_path / "picture.jpg")


def test_epsilon_infinite_throughout(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    table = pl.read_parquet(path / "privacy.parquet").with_columns(epsilon=pl.lit(math.inf))
    table.write_parquet(path / "privacy.parquet")
    figure = epsilon_figure(read_run(path))
    assert figure.axes[0].get_title(loc="left").count("no guarantee") == 2
    assert is_png(style.save(figure, tmp_path / "none.png"))


@pytest.mark.parametrize(
    "topology",
    [
        {"kind": "ring", "nodes": 12},
        {"kind": "path", "nodes": 12},
        {"kind": "star", "nodes": 12},
        {"kind": "grid", "rows": 3, "columns": 4},
        {"kind": "regular", "nodes": 12, "degree": 3},
    ],
)
def test_networks(tmp_path: Path, topology: dict[str, object]) -> None:
    run = read_run(make_run(tmp_path / "run", nodes=12, topology=topology))
    assert roles(run)[5] == "Byzantine"
    assert roles(run)[7] == "curious"
    first, again = network_figure(run), network_figure(run)
    assert legend(first) == ["honest", "curious", "Byzantine", "down at the end"]
    places = [[tuple(xs(line)) for line in f.axes[0].lines] for f in (first, again)]
    assert places[0] == places[1]
    assert "ring: final test accuracy (%)" in labels(first)
    assert is_png(style.save(first, tmp_path / "network.png"))


def test_nodes_of_known_coordinates_are_at_their_places() -> None:
    """Apart from those of one place, which are beside one another."""
    graph = nx.cycle_graph(4)
    network = {"coordinates_deg": [(60.0, 10.0), (40.0, -4.0), (60.0, 10.0), (42.0, 12.0)]}
    where = positions(graph, {"network": network, "scenario": {}})
    assert where[1][0] < where[0][0] < where[3][0]
    assert where[1][1] < where[3][1] < min(where[0][1], where[2][1])
    assert 0 < math.dist(where[0], where[2]) < math.dist(where[1], where[3]) / 2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_link_of_a_small_graph_runs_through_a_third_node(seed: int) -> None:
    graph = nx.random_regular_graph(4, 16, seed=seed)
    where = positions(graph, {"scenario": {"topology": {"kind": "regular"}}})
    assert clearance(graph, where) > 0.02


def test_the_tradeoff_figure(tmp_path: Path) -> None:
    study = read_study(make_sweep(tmp_path / "sweep", seeds=3))
    figure = tradeoff_figure(study)
    left, right = figure.axes[:2]
    assert left.get_xscale() == right.get_xscale() == "log"
    assert left.get_xlabel() == "privacy loss ε, worst observer\n(δ = $10^{-5}$, record, add-remove)"
    assert left.get_ylabel() == "test accuracy (%)"
    assert figure.axes[2].get_ylabel() == "time to 80 % accuracy (virtual s)"
    drawn = {tuple(xs(line)) for line in left.lines}
    for points in curves(study.summaries).values():
        assert tuple(point.epsilon.mean for point in points) in drawn
    assert "plain gossip (ε = ∞)" in [text.get_text() for text in left.texts]
    assert {"certified ε (a bound)", "open-loop ε (not a bound)", "Pareto front"} <= set(legend(figure))


def test_infinite_losses_are_drawn_and_said(tmp_path: Path) -> None:
    path = make_sweep(tmp_path / "sweep", seeds=2)
    sparse = pl.col("series") == "secure, sparse"
    table = pl.read_parquet(path / "summaries.parquet").with_columns(
        epsilon_worst=pl.when(sparse).then(math.inf).otherwise("epsilon_worst")
    )
    table.write_parquet(path / "summaries.parquet")
    figure = tradeoff_figure(read_study(path))
    assert figure.get_suptitle() == "2 seeds; certified ε = ∞ (no guarantee): secure, sparse"
    left = figure.axes[0]
    assert left.get_xticklabels()[-1].get_text() == "∞"
    place = left.get_xticks()[-1]
    wanted = {
        point.accuracy_mean.mean
        for point in grid_points(read_study(path).summaries)
        if point.series == "secure, sparse"
    }
    assert {ys(line)[0] for line in left.lines if xs(line) == [place]} == wanted
    finite = max(p.epsilon.mean for points in curves(read_study(path).summaries).values() for p in points)
    assert place > finite


def test_the_tradeoff_of_plain_runs_only(tmp_path: Path) -> None:
    path = make_sweep(tmp_path / "sweep", seeds=2)
    table = pl.read_parquet(path / "summaries.parquet")
    table.filter(pl.col("series") == "plain gossip").write_parquet(path / "summaries.parquet")
    (made,) = plot(path)
    assert is_png(made)


def with_folders(study: Path) -> Path:
    """Give every run of a study a run folder with metrics."""
    for row in read_study(study).summaries.to_dicts():
        run = study / "runs" / row["id"]
        make_run(run, seed=row["seed"])
        if row["series"] == "plain gossip":
            table = pl.read_parquet(run / "metrics.parquet")
            sent = pl.col("metric") == "bytes_sent"
            value = pl.when(sent).then(0.0).otherwise("value")
            table.with_columns(value=value).write_parquet(run / "metrics.parquet")
    return study


@pytest.mark.slow
def test_how_every_series_gets_there(tmp_path: Path) -> None:
    path = with_folders(make_sweep(tmp_path / "sweep", levels=(1, 4), seeds=2))
    assert [made.name for made in plot(path)] == ["certified.png", "tradeoff.png", "progress.png"]
    found = {", ".join(filter(None, name)): runs for name, runs in courses(read_study(path)).items()}
    series = ("secure, sparse", "secure, complete", "LDP gossip")
    names = [f"{one}, noise_multiplier = {z}" for one in series for z in (1, 4)]
    assert list(found) == [*names, "plain gossip"]
    assert {len(runs) for runs in found.values()} == {2}
    run = read_run(path / "runs" / "run000")
    mean = run.metrics.filter(pl.col("metric") == "accuracy_mean").sort("t_s")["value"].to_list()
    first = found[names[0]][0]
    assert first.accuracy.tolist() == pytest.approx(mean)
    assert (first.t_s[-1], first.rounds[-1], first.mib[-1]) == (40.0, 20.0, 20 * 0.5 / 16)
    figure = progress_figure(read_study(path))
    assert [ax.get_xlabel() for ax in figure.axes] == [
        "local updates of a node, mean",
        "virtual time (s)",
        "traffic of a node, mean (MiB)",
    ]
    assert legend(figure) == list(found)
    by_rounds = figure.axes[0].lines[0]
    runs = found[names[0]]
    assert ys(by_rounds)[-1] == pytest.approx(sum(run.accuracy[-1] for run in runs) / 2)
    level = figure.axes[2].lines[-1]
    assert len(set(ys(level))) == 1, "what sends nothing is a level"
    assert is_png(style.save(figure, tmp_path / "progress.png"))


def test_plain_runs_that_can_be_watched_need_no_tradeoff(tmp_path: Path) -> None:
    path = make_sweep(tmp_path / "sweep", seeds=2)
    table = pl.read_parquet(path / "summaries.parquet")
    table.filter(pl.col("series") == "plain gossip").write_parquet(path / "summaries.parquet")
    assert [made.name for made in plot(with_folders(path))] == ["progress.png"]


@pytest.mark.parametrize(("series", "swept"), [(1, 9), (9, 1), (3, 5), (4, 10)])
def test_no_two_curves_look_alike(series: int, swept: int) -> None:
    names = [(f"series {i}", f"noise = {j}") for i in range(series) for j in range(swept)]
    drawn = [tuple(map(str, look.values())) for look in looks(names).values()]
    assert len(set(drawn)) == len(names)


def test_wide_intervals_do_not_extend_the_axes(tmp_path: Path) -> None:
    """Two seeds: their intervals would reach from below 0 to above 100 %."""
    figure = tradeoff_figure(read_study(make_sweep(tmp_path / "sweep", seeds=2)))
    for ax in figure.axes[:2]:
        low, high = ax.get_ylim()
        assert -0.03 < low < high < 1.03


def test_progress_of_runs_that_are_gone(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no run of this study has metrics"):
        progress_figure(read_study(make_whatif(tmp_path / "study", seeds=2)))


def test_the_paired_figure(tmp_path: Path) -> None:
    figure = paired_figure(read_study(make_whatif(tmp_path / "study", seeds=3)))
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_visible()] == [
        "Δ (percentage points)",
        "Δ (percentage points)",
        "Δε",
        "Δε",
        "Δ (s)",
        "Δ (MiB)",
        "Δε",
    ]
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["one sign flipper", "two crashes", "no noise"]
    assert [text.get_text() for text in figure.axes[2].texts] == ["+∞ (finite → ∞)"]
    assert legend(figure) == ["Δ: variant − baseline, one seed", "mean over 3 seeds, 95 % t interval"]


@pytest.mark.parametrize(
    ("low", "high"), [(1.1, 1.9), (3.0, 4.0), (4.0, 60.0), (0.2, 0.7), (1e-3, 2e-3), (1, 1e9)]
)
@pytest.mark.parametrize("scale", ["log", "linear"])
def test_every_axis_has_three_ticks(low: float, high: float, scale: str) -> None:
    made, (ax,) = style.figure(width=2.0)
    ax.set_xscale(scale)
    ax.plot([low, high], [1, 2])
    ax.set_xlim(low, high)
    style.enough_ticks(ax.xaxis)
    assert len(style.shown_ticks(ax.xaxis)) >= style.FEWEST_TICKS
    made.draw_without_rendering()
    labels = [
        text.get_text()
        for text, at in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True)
        if low <= at <= high
    ]
    assert len(set(labels)) == len(labels) >= style.FEWEST_TICKS


def test_ticks_that_were_set_stay() -> None:
    _, (ax,) = style.figure()
    ax.set_xticks([1.0], ["one"])
    ax.yaxis.set_major_locator(style.WholeLocator())
    ax.set_ylim(0.5, 2.5)
    style.enough_ticks(ax.xaxis)
    style.enough_ticks(ax.yaxis)
    assert style.shown_ticks(ax.xaxis) == [1.0]
    assert style.shown_ticks(ax.yaxis) == [1.0, 2.0]


@pytest.mark.parametrize("name", ["tradeoff", "paired", "progress", "breaking", "heat", "cost", "collusion"])
def test_captions_of_one_seed_claim_no_interval(name: str) -> None:
    one, several = caption(name, ONE_SEED), caption(name, "8 seeds")
    assert not any(words in one for words in ("95 %", "over seeds", "means over", "{", "  "))
    assert "95 %" in several or "8 seeds" in several
    assert "{" not in several


def test_one_pair_has_no_interval_in_figure_and_caption(tmp_path: Path) -> None:
    path = make_whatif(tmp_path / "study", seeds=1, folders=True)
    figure = paired_figure(read_study(path))
    assert legend(figure) == ["Δ: variant − baseline; one pair, no interval"]
    html = report(path).read_text(encoding="utf-8")
    assert "there is one pair, and no interval" in html
    assert "95 %" not in html
    swept = make_sweep(tmp_path / "sweep", seeds=1, folders=True)
    html = report(swept).read_text(encoding="utf-8")
    assert html.count("one seed, no interval") >= 2  # above the table and under the figure
    assert "95 %" not in html


class _Balance(HTMLParser):
    """Counts what is opened and never closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def balanced(html: str) -> list[str]:
    parser = _Balance()
    parser.feed(html)
    assert parser.open == []
    return parser.tags


def test_a_report_is_whole_and_escaped(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    html, pictures = report(run).read_text(encoding="utf-8"), len(plot(run))
    assert html.startswith("<!DOCTYPE html>")
    assert balanced(html).count("img") == pictures >= 4
    assert html.count("data:image/png;base64,") == pictures
    assert "a &lt;made-up&gt; run &amp; nothing more" in html
    assert "http" not in html
    expected = "ε ≤ 4.38 (certified)|one training record|add-remove|No single node|spectral gap|sottovoce"
    for words in (*expected.split("|"), "not a bound for adaptive training", "scenario sha256"):
        assert words in html, words


def test_no_number_of_a_report_has_more_than_twelve_digits(tmp_path: Path) -> None:
    path = make_run(tmp_path / "run")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["mixing"]["spectral_gap"] = 0.1 + 0.2
    manifest["scenario"]["training"]["step"] = 1 / 3
    whole = json.dumps(manifest["scenario"], sort_keys=True)
    manifest["scenario_sha256"] = sha256(whole.encode()).hexdigest()
    manifest["wall_s"] = 2 / 3
    (path / "manifest.json").write_text(json.dumps(manifest))
    text = re.sub(r'src="[^"]*"', "", report(path).read_text(encoding="utf-8"))
    assert re.findall(r"\d\.\d{13,}", text) == []


def test_a_report_of_a_study(tmp_path: Path) -> None:
    html = report(make_whatif(tmp_path / "study", seeds=2, folders=True)).read_text(encoding="utf-8")
    assert balanced(html).count("img") == 1
    for words in (
        "one sign flipper",
        "8 of 8 runs",
        "0.1.0",
        "what-if",
        "add-remove",
        "Differences to the baseline",
        "95 % t interval over pairs of runs (2 seeds)",
        "+∞ (finite → ∞)",
    ):
        assert words in html, words


def test_what_epsilon_means(tmp_path: Path) -> None:
    summary = read_run(make_run(tmp_path / "run")).summary
    assert summary is not None
    words = " ".join(
        explain_epsilon(summary | {"unit": "node", "adjacency": "replace", "basis": "ldp-fallback"})
    )
    assert "the whole data set of one node is as it is or is replaced by any other" in words
    assert "basis ldp-fallback" in words
    assert "must not be quoted" in words
    assert "no differential-privacy guarantee" in explain_epsilon(summary | {"epsilon_worst": math.inf})[0]
    assert "No privacy loss was accounted" in explain_epsilon(summary | {"epsilon_worst": None})[0]


def test_certified_curves_of_a_sweep_show_what_its_table_has(tmp_path: Path) -> None:
    study = read_study(make_sweep(tmp_path / "study"))
    assert has_certified(study)
    made = certified_figure(study)
    mean, worst, time, traffic = made.axes
    points = [p for p in grid_points(study.summaries) if math.isfinite(p.epsilon.mean)]
    for ax, metric in ((mean, "accuracy_mean"), (worst, "accuracy_worst")):
        for line in (line for line in ax.get_lines() if not str(line.get_label()).startswith("_")):
            own = sorted(
                (p.epsilon.mean, getattr(p, metric).mean) for p in points if p.series == line.get_label()
            )
            np.testing.assert_allclose(np.transpose(line.get_data()), own)
    assert [round(bar.get_width()) for bar in time.patches] == [40, 60, 36]
    assert [round(bar.get_width()) for bar in traffic.patches] == [10, 15, 9]
    assert [words.get_text() for words in time.get_yticklabels()] == [
        "secure, sparse",
        "secure, complete",
        "LDP gossip",
    ]


def test_certified_curves_need_several_series(tmp_path: Path) -> None:
    study = read_study(make_sweep(tmp_path / "study", levels=(1,)))
    assert not has_certified(study)
    with pytest.raises(StorageError, match="fewer than 3 series"):
        certified_figure(study)
