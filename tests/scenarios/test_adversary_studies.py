"""Studies of adversaries: heat maps of attacks and rules, breaking points, and what leaks beside what is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.figures.catalogue import plot
from analysis.report import report
from analysis.store import read_study
from analysis.tables.heat import WORST, has_heat, heat, heat_rows, name_of
from analysis.tables.paired import IF_THERE, differences
from scenarios.commands.cli import app
from scenarios.load import load
from scenarios.studies import study
from scenarios.studies.breaking import breaking_point
from scenarios.studies.study import leaks_in
from simulator.errors import ConfigurationError
from tests.support.progress import quiet

TINY = ["protocol.rounds=12", "evaluation.every='9 s'", "topology.nodes=12", "topology.degree=6"]
ATTACKS = (
    '"adversary.byzantine.attack" = [{kind="none"}, {kind="sign-flip", scale=9.0}, {kind="alie", z="search"}]'
)
RULES = '[{name="mean"}, {name="median", set={"protocol.robust"={kind="median"}}}]'


@pytest.fixture(scope="module")
def heated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    loaded = load(
        Path("heatmap"), [*TINY, "sweep.seeds=2", f"sweep.grid={{{ATTACKS}}}", f"sweep.series={RULES}"]
    )
    return study.sweep(loaded, tmp_path_factory.mktemp("heat") / "study", jobs=2, on_progress=quiet)


@pytest.mark.slow
def test_heat(heated: Path) -> None:
    found = read_study(heated)
    assert has_heat(found)
    grid = heat(found, "accuracy_mean")
    assert grid.defences == ("mean", "median")
    assert grid.attacks == ("none", "sign-flip", "alie (searched)", WORST)
    peace, flipped = grid.cells["mean", "none"], grid.cells["mean", "sign-flip"]
    assert peace.seeds == flipped.seeds == 2
    assert flipped.mean < peace.mean - 0.2
    assert grid.cells["median", "sign-flip"].mean > flipped.mean + 0.2
    for defence in grid.defences:
        cells = [grid.cells[defence, attack] for attack in grid.attacks[1:3]]
        assert grid.cells[defence, WORST].mean == min(cell.mean for cell in cells)
    header, rows = heat_rows(found)
    assert header[0] == "defence"
    assert [row[0] for row in rows] == ["mean", "median"]


@pytest.mark.slow
def test_heat_is_drawn_and_reported(heated: Path) -> None:
    (picture,) = plot(heated)
    assert picture.name == "heat.png"
    assert picture.stat().st_size > 10_000
    text = report(heated).read_text()
    assert "alie (searched)" in text
    assert "data:image/png" in text


def test_names_of_attacks() -> None:
    assert name_of({"kind": "ipm", "factor": 0.5}) == "ipm"
    assert name_of('{"kind": "ipm", "factor": "search"}') == "ipm (searched)"


@pytest.mark.slow
def test_the_breaking_point_is_where_the_cost_passes_the_mark(tmp_path: Path) -> None:
    changes = [
        *TINY,
        "adversary.byzantine.count=1",
        'adversary.byzantine.attack={kind="sign-flip", scale=3.0}',
    ]
    loaded = load(Path("heatmap"), [*changes, "study.seeds=2"])
    point = breaking_point(loaded, tmp_path / "study", drop=0.1, most=5, jobs=2, on_progress=quiet)
    assert point.byzantine is not None
    costs = {cost.byzantine: cost.mean for cost in point.costs}
    assert costs[point.byzantine] >= 0.1
    assert point.byzantine == 1 or costs[point.byzantine - 1] < 0.1
    written = json.loads((tmp_path / "study" / "breaking.json").read_text())
    assert written["byzantine"] == point.byzantine
    never = breaking_point(loaded, tmp_path / "study", drop=1.0, most=5, jobs=1, on_progress=quiet)
    assert never.byzantine is None
    (picture,) = plot(tmp_path / "study")
    assert picture.name == "breaking.png"
    assert "data:image/png" in report(tmp_path / "study").read_text()
    file = tmp_path / "study" / "breaking.json"
    file.write_text(file.read_text().replace('"byzantine":', '"liars":'))  # as earlier versions wrote it
    assert plot(tmp_path / "study") == [picture]
    runs = list((tmp_path / "study" / "runs").iterdir())
    assert len(runs) == 2 * 2 * len(point.costs)  # the second search repeated nothing


def test_what_has_no_breaking_point_is_refused(tmp_path: Path) -> None:
    loaded = load(Path("heatmap"), TINY)
    with pytest.raises(ConfigurationError, match=r"count \(in place of nodes\) and an attack"):
        breaking_point(loaded, tmp_path / "study", drop=0.1, most=2, jobs=1, on_progress=quiet)
    told = CliRunner().invoke(app, ["breaking", "quickstart", "--out", str(tmp_path / "x"), "--quiet"])
    assert isinstance(told.exception, ConfigurationError)


@pytest.mark.slow
def test_leaks_are_compared_where_there_are_any(tmp_path: Path) -> None:
    variants: Any = '[{name="sums", set={"protocol.exchange"="secure"}}]'
    loaded = load(
        Path("whatif_byzantine"),
        [
            "protocol.rounds=4",
            "protocol.exchange=ldp",
            "privacy.noise=member",
            "adversary.curious={nodes=[2]}",
            "study={seeds=2, infer=true}",
            f"whatif={variants}",
        ],
    )
    out = study.whatif(loaded, tmp_path / "study", jobs=1, on_progress=quiet)
    table = read_study(out).summaries
    assert {"leak_determined", "leak_members", "leak_samples"} <= set(table.columns)
    compared = {one.metric.key for one in differences(table)}
    assert compared & {metric.key for metric in IF_THERE} >= {"leak_determined", "leak_members"}
    assert next(picture.name for picture in plot(out)) == "paired.png"
    assert leaks_in(tmp_path / "none.json") == {}
