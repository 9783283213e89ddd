"""The picture of what protocols for secure sums cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.figures.catalogue import plot
from analysis.figures.cost import cost_figure, costs, has_costs
from analysis.store import Study, read_study
from scenarios.load import load
from scenarios.studies import study

KINDS = '"secure.aggregation" = [{ kind = "trusted" }, { kind = "bonawitz" }]'
AWAY = (
    '{ kind = "sessions", nodes = [1], up = { kind = "exponential", mean = "3 s" }, '
    'down = { kind = "exponential", mean = "1 s" }, stationary = true }'
)
SERIES = (
    f'[{{ name = "clients", grid = {{ "topology.nodes" = [5, 7], {KINDS} }} }}, '
    f'{{ name = "dropouts", grid = {{ "fault" = [[], [{AWAY}]], {KINDS} }} }}]'
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Study:
    changes = [
        "sweep.seeds=1",
        f"sweep.series={SERIES}",
        "topology.nodes=7",
        "data.features=9",
        "secure.tolerated_dropouts=1",
        "protocol.timeout='1 s'",
    ]
    out = study.sweep(
        load(Path("secagg_cost"), changes),
        tmp_path_factory.mktemp("cost") / "study",
        jobs=1,
        on_progress=lambda fraction, text: None,
    )
    return read_study(out)


@pytest.mark.slow
def test_costs_are_those_of_the_runs(made: Study) -> None:
    found = costs(made)
    assert len(found) == 8
    assert {cost.protocol for cost in found} == {"trusted aggregator", "Bonawitz et al."}
    assert {cost.x["dropout"] for cost in found if cost.series == "dropouts"} == {0.0, 25.0}
    for cost in found:
        assert 0 < cost.mib < 1
        assert cost.time_s > 0
        assert 0 < cost.opened <= 1
    mib = {(c.protocol, c.x["members"]): c.mib for c in found if c.series == "clients"}
    assert mib["Bonawitz et al.", 6] > mib["Bonawitz et al.", 4] > mib["trusted aggregator", 6]


def test_the_figure_has_a_panel_for_each_thing_varied(made: Study, tmp_path: Path) -> None:
    assert has_costs(made)
    axes = cost_figure(made).axes
    labels = {ax.get_xlabel() for ax in axes}
    assert labels >= {"clients", "clients that are down (%)"}
    assert "sums opened (%)" in {ax.get_title(loc=side) for ax in axes for side in ("left", "center")}
    drawn = plot(made.path)
    assert [path.name for path in drawn] == ["cost.png"]
