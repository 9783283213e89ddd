"""Noise that cancels: shared by neighbours, between copies of a model; and averaging after a single draw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.exposure import expose
from protocols.privacy.published import as_if_fresh
from protocols.privacy.record import read_record
from scenarios.load import resolve
from scenarios.run import run
from scenarios.studies.reaccount import reaccount
from tests.support.gossip_records import gossip as gossip_records
from tests.support.gossip_records import ring, torus
from tests.support.published import per_message_losses


def gossip(correlated: Any = None, *, nodes: int = 8, degree: int = 4, **changes: Any) -> Any:
    privacy = {
        "unit": "node",
        "adjacency": "zero-out",
        "clip": 1.0,
        "noise_multiplier": 2.0,
        "observers": [[0], [0, 1], "wire"],
    }
    if correlated is not None:
        privacy["correlated"] = correlated
    return resolve(
        {
            "format": 1,
            "name": "cancelling",
            "topology": {"kind": "regular", "nodes": nodes, "degree": degree},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 400, "features": 10, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 50, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": 3, "exchange": "ldp", "timeout": "2 s"},
            "adversary": {"wiretap": {"links": "all"}, "encrypted": False},
            "privacy": privacy,
        }
        | changes
    )


def loss(folder: Path, observers: str, basis: str = "open-loop") -> float:
    """The worst loss at the end."""
    table = pl.read_parquet(folder / "privacy.parquet")
    last = table.filter(
        pl.col("t_s") == table["t_s"].max(), pl.col("basis") == basis, pl.col("observers") == observers
    )
    return float(last["mu2"].max())  # type: ignore[arg-type]


def test_pair_noise_hides_models_from_the_wire_and_leaves_their_average(tmp_path: Path) -> None:
    plain = run(gossip(), tmp_path / "plain")
    for multiplier in (3.0, 30.0):
        noised = run(gossip({"kind": "pairs", "multiplier": multiplier}), tmp_path / f"{multiplier:g}")
        assert noised["messages_sent"] > plain["messages_sent"]  # keys
        assert noised["consensus_distance"] > plain["consensus_distance"]
    # Three rounds, eight nodes: 3/4 each alone, a little above 3/32 together, and DECOR's closed form in between.
    weights = np.linalg.inv(4 * np.eye(8) + 9 * laplacian(tmp_path / "3"))
    assert loss(tmp_path / "plain", "wire") == pytest.approx(3 / 4)
    assert loss(tmp_path / "3", "wire") == pytest.approx(3 * weights.diagonal().max(), rel=1e-6)
    assert 3 / 32 < loss(tmp_path / "30", "wire") < 1.02 * 3 / 32
    # What cancels is credited with nothing where all that is claimed must hold against adaptive training.
    assert loss(tmp_path / "30", "wire", "certified") == pytest.approx(3 / 4)


def laplacian(folder: Path) -> Any:
    import json

    manifest = json.loads((folder / "manifest.json").read_text())
    matrix = np.zeros((8, 8))
    for i, j in manifest["topology"]["edges"]:
        matrix[i, j] = matrix[j, i] = -1
    return matrix - np.diag(matrix.sum(axis=1))


def test_pair_noise_cancels_in_the_average_of_all(tmp_path: Path) -> None:
    """On a complete graph a mix is the average: models end where they end without it, but for rounding."""
    worlds = [gossip(noise, nodes=6, degree=5) for noise in (None, {"kind": "pairs", "multiplier": 50.0})]
    ends = [run(world, tmp_path / str(i)) for i, world in enumerate(worlds)]
    assert ends[1]["loss_mean"] == pytest.approx(ends[0]["loss_mean"], rel=1e-4)
    assert ends[1]["consensus_distance"] < 1e-4


def test_a_neighbour_that_is_down_leaves_its_noise(tmp_path: Path) -> None:
    fault = [{"kind": "outage", "node": 3, "down_at": "200 ms"}]
    away = {"protocol": {"kind": "dsgd", "rounds": 3, "exchange": "ldp", "timeout": "500 ms"}, "fault": fault}
    calm, loud = (
        run(gossip({"kind": "pairs", "multiplier": m}, nodes=6, degree=5, **away), tmp_path / f"{m:g}")
        for m in (0.01, 50.0)
    )
    assert loud["status"] == "finished"
    assert loud["consensus_distance"] > 10 * calm["consensus_distance"]


@pytest.mark.parametrize("curious", [1, 2])
def test_zero_sum_noise_protects_from_few_copies_only(curious: int, tmp_path: Path) -> None:
    """c (k + 1) / (k + 1 - c) (shift / sigma)^2 for one round, all the copies of a node at c of its k neighbours."""
    own, copy = 0.001, 2.0
    made = gossip({"kind": "zero-sum", "multiplier": copy}, nodes=5, degree=4)
    made = made.model_copy(
        update={
            "protocol": made.protocol.model_copy(update={"rounds": 1}),
            "privacy": made.privacy.model_copy(
                update={"noise_multiplier": own, "observers": (tuple(range(curious)), "wire")}
            ),
        }
    )
    summary = run(made, tmp_path / "run")
    expected = curious * 5 / (5 - curious) / copy**2
    assert loss(tmp_path / "run", ",".join(map(str, range(curious)))) == pytest.approx(expected, rel=1e-3)
    assert summary["sums_opened"] in (None, 0)
    # The wire has four copies of five, which are made at a state that everybody knows.
    whole = loss(tmp_path / "run", "wire")
    assert whole == pytest.approx(4 * 5 / copy**2, rel=1e-3)
    assert whole <= loss(tmp_path / "run", "wire", "certified") < 1 / own**2


def test_averaging_after_one_draw_is_not_what_its_formula_says(tmp_path: Path) -> None:
    """Muffliato on a ring of eight, four messages: the antipode is known exactly, where the formula sees 0.0142."""
    made = gossip(
        topology={"kind": "ring", "nodes": 8},
        protocol={"kind": "dsgd", "rounds": 1, "mixes": 4, "exchange": "ldp", "timeout": "2 s"},
    )
    summary = run(made, tmp_path / "run")
    assert summary["messages_sent"] == 4 * 16
    table = pl.read_parquet(tmp_path / "run" / "privacy.parquet")
    last = table.filter(
        pl.col("t_s") == table["t_s"].max(), pl.col("observers") == "0", pl.col("basis") == "open-loop"
    )
    found = dict(zip(last["victim"], last["mu2"], strict=True))
    assert all(found[v] == pytest.approx(1 / 4, rel=1e-6) for v in range(1, 8))
    formula = per_message_losses(ring(8), 0, 4) / 4
    assert formula[4] < 0.004
    rows = reaccount(
        tmp_path / "run", observers=["0"], unit=None, adjacency=None, delta=None, per_message=True
    )
    for row in rows:
        expected = epsilon_of(float(formula[1:].max()), 1e-5)
        assert row["per message (no bound)"] == pytest.approx(expected, rel=1e-6)


def test_the_formula_of_a_record_is_the_published_one() -> None:
    """For every victim of a ring and of a torus, gossip after one draw."""
    for weights, steps in ((ring(8), 4), (torus(4), 3)):
        entries = gossip_records(weights, steps, secure=False, contributes=lambda v, t: t == 0)
        record = read_record(entries)
        found = as_if_fresh(record, expose(record, frozenset({0}), 1.0), len(weights), 10**7)
        own = per_message_losses(weights, 0, steps)
        np.testing.assert_allclose(found[1:], own[1:], rtol=1e-9, atol=1e-12)
