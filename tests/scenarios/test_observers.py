"""Who looks: words for observers, the public, a wiretap on links in the clear, and what they are charged with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import networkx as nx
import polars as pl
import pytest

from scenarios.format.observers import check_observers, observers_from
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from scenarios.studies.reaccount import reaccount
from simulator.errors import ConfigurationError

STAR_AND_TAIL = nx.Graph([(0, 1), (0, 2), (0, 3), (3, 4), (4, 5)])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ([3, 1], (1, 3)),
        ("4, 2", (2, 4)),
        ("public", (-1,)),
        ("wire,3", (-2, 3)),
        ("degree:1", (0,)),
        ("betweenness:2", (0, 3)),
        ("neighbours:3", (0, 4)),
        ("neighbours:5,1", (1, 4)),
    ],
)
def test_observers_from_words(asked: Any, found: tuple[int, ...]) -> None:
    assert observers_from(asked, STAR_AND_TAIL, seed=1) == found


def test_random_coalitions_grow_and_repeat() -> None:
    few, more = (set(observers_from(f"random:{k}", STAR_AND_TAIL, seed=7)) for k in (2, 4))
    assert few < more
    assert len(more) == 4
    assert set(observers_from("random:4", STAR_AND_TAIL, seed=7)) == more


@pytest.mark.parametrize("text", ["everybody", "random", "random:x", "3;4", "", "degree:"])
def test_what_is_no_observer(text: str) -> None:
    wrong = check_observers(text)
    assert wrong is not None
    assert "expected" in wrong
    with pytest.raises(ConfigurationError, match="no observer"):
        observers_from(text, STAR_AND_TAIL, seed=1)
    with pytest.raises(ConfigurationError, match="not a node"):
        observers_from("9", STAR_AND_TAIL, seed=1)


def ring(exchange: str, observers: Any, **changes: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "looking",
            "topology": {"kind": "regular", "nodes": 8, "degree": 4},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 200, "features": 5, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 25, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": 4, "exchange": exchange, "timeout": "2 s"},
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "noise_multiplier": 2.0,
                "observers": observers,
            },
        }
        | changes
    )


def losses(folder: Path, basis: str = "open-loop") -> dict[str, float]:
    """The worst loss of an observer at the end."""
    table = pl.read_parquet(folder / "privacy.parquet").filter(pl.col("basis") == basis)
    last = table.filter(pl.col("t_s") == table["t_s"].max())
    return dict(last.group_by("observers").agg(pl.col("mu2").max()).iter_rows())


@pytest.mark.parametrize("kind", ["skip", "recover"])
def test_the_public_sees_more_than_any_node_and_less_than_all_messages(kind: str, tmp_path: Path) -> None:
    aggregation = {"kind": "masks", "on_dropout": kind}
    secure = {"secure": {"aggregation": aggregation, "tolerated_dropouts": 0}}
    watched = {"adversary": {"wiretap": {"links": "all"}, "encrypted": False}}
    run(ring("secure", [[0], "public", "wire", "neighbours:5"], **secure, **watched), tmp_path / "run")
    seen = losses(tmp_path / "run")
    assert seen["0"] < seen["public"]  # eight sums of eight vectors: all of them
    assert seen["wire"] == pytest.approx(
        seen["public"], rel=1e-6
    )  # whoever has all masked vectors has the sums
    bound = pl.read_parquet(tmp_path / "run" / "privacy.parquet").filter(pl.col("basis") == "open-loop")
    assert (bound["mu2_lower"] <= bound["mu2"] + 1e-12).all()
    assert bound["mu2_lower"].max() > 0
    told = reaccount(tmp_path / "run", observers=["public"], unit=None, adjacency=None, delta=None)
    assert {row["observers"] for row in told} == {"public"}


def test_a_wire_in_the_clear_reads_what_is_not_masked_and_an_encrypted_one_nothing(tmp_path: Path) -> None:
    for encrypted in (False, True):
        adversary = {"wiretap": {"links": "all"}, "encrypted": encrypted}
        made = ring("ldp", ["wire"], adversary=adversary)
        run(made, tmp_path / str(encrypted))
    clear, sealed = losses(tmp_path / "False", "certified"), losses(tmp_path / "True", "certified")
    assert clear["wire"] == pytest.approx(4 / 4)  # four updates, each with noise of its own
    assert sealed["wire"] == 0


def test_a_wire_on_one_link_reads_what_its_receiver_reads(tmp_path: Path) -> None:
    adversary = {"wiretap": {"links": [[1, 0]]}, "encrypted": False}
    made = ring("ldp", ["wire", [0]], adversary=adversary, topology={"kind": "complete", "nodes": 4})
    run(made, tmp_path / "run")
    seen = losses(tmp_path / "run", "certified")
    assert 0 < seen["wire"] <= seen["0"]


def test_the_noise_for_a_target_is_found_without_another_run(tmp_path: Path) -> None:
    """And a run with that noise loses just the target, on either basis."""
    secure = {"secure": {"tolerated_dropouts": 0}}
    run(ring("secure", [[0, 3]], **secure), tmp_path / "first")
    asked = {"observers": ["0,3"], "unit": None, "adjacency": None, "delta": None}
    rows = {row["basis"]: row for row in reaccount(tmp_path / "first", **asked, target=1.5)}
    for basis in ("certified", "open-loop"):
        needed = rows[basis]["noise_multiplier for epsilon 1.5"]
        made = ring("secure", [[0, 3]], **secure)
        louder = made.model_copy(
            update={"privacy": made.privacy.model_copy(update={"noise_multiplier": needed})}
        )
        run(louder, tmp_path / basis)
        again = {row["basis"]: row for row in reaccount(tmp_path / basis, **asked)}
        assert again[basis]["epsilon (worst victim)"] == pytest.approx(1.5, rel=1e-6)


def test_a_wire_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match="needs a wiretap"):
        ring("ldp", ["wire"])
    with pytest.raises(ScenarioErrors, match="needs a wiretap"):
        ring("ldp", ["wire"], adversary={"wiretap": {"links": "all", "enabled": False}})
    run(ring("ldp", [[0]]), tmp_path / "run")
    with pytest.raises(ConfigurationError, match="needs a wiretap"):
        reaccount(tmp_path / "run", observers=["wire"], unit=None, adjacency=None, delta=None)


def test_nothing_is_claimed_about_a_public_that_is_told_no_sums(tmp_path: Path) -> None:
    with pytest.raises(ScenarioErrors, match="travel in the clear"):
        ring("ldp", ["public"])
    run(ring("ldp", [[0]]), tmp_path / "run")
    with pytest.raises(ConfigurationError, match="travel in the clear"):
        reaccount(tmp_path / "run", observers=["public"], unit=None, adjacency=None, delta=None, target=4.0)


def test_no_noise_is_needed_for_what_was_never_seen(tmp_path: Path) -> None:
    """A ring of which node 4 hears nothing of node 0 in one round: no multiplier follows from a loss of zero."""
    made = ring("ldp", [[4]], topology={"kind": "ring", "nodes": 8})
    protocol = made.protocol.model_copy(update={"rounds": 1})
    run(made.model_copy(update={"protocol": protocol}), tmp_path / "run")
    rows = reaccount(tmp_path / "run", observers=["4"], unit=None, adjacency=None, delta=None, target=4.0)
    assert all(row["noise_multiplier for epsilon 4"] != 0 for row in rows)
