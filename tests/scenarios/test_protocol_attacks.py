"""Attacks on protocols, each from a scenario file, and what becomes of the run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios.load import resolve
from scenarios.run import run

PRIVACY = {"unit": "node", "adjacency": "zero-out", "clip": 2.0, "noise_multiplier": 1.0}


def gossip(secure: Any = None, **changes: Any) -> Any:
    exchange = "plain" if secure is None else "secure"
    scenario: dict[str, Any] = {
        "format": 1,
        "name": "attacked",
        "topology": {"kind": "complete", "nodes": 7},
        "network": {"latency": {"kind": "constant", "value": "20 ms"}, "uplink": "100 Mbit/s"},
        "data": {"kind": "blobs", "samples": 700, "features": 6, "classes": 3},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "divisor": 1},
        "protocol": {"kind": "dsgd", "rounds": 8, "exchange": exchange, "timeout": "400 ms"},
    }
    if secure is not None:
        scenario |= {"secure": {"tolerated_dropouts": 2} | secure, "privacy": PRIVACY}
    return resolve(scenario | changes)


def meddling(**table: Any) -> dict[str, Any]:
    return {"tamper": [{"nodes": [4]} | table]}


SHARING = {"aggregation": {"kind": "sharing"}}
MASKS = {"aggregation": {"kind": "masks"}}
RECOVER = {"aggregation": {"kind": "masks", "on_dropout": "recover"}}
SUMS = 7 * 8


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("peace")
    secures = {"sharing": SHARING, "masks": MASKS, "recover": RECOVER, "plain": None}
    return {name: run(gossip(secure), folder / name) for name, secure in secures.items()}


def test_wrong_shares_are_corrected_while_there_are_enough(peace: dict[str, Any], tmp_path: Path) -> None:
    found = run(gossip(SHARING, adversary=meddling(kind="alter", messages=["summed"])), tmp_path / "run")
    assert found["sums_opened"] == peace["sharing"]["sums_opened"] == SUMS
    assert found["wrong_shares"] > 0
    assert found["accuracy_mean"] == pytest.approx(peace["sharing"]["accuracy_mean"], abs=0.05)


@pytest.mark.parametrize("kind", ["sharing", "lightsecagg"])
def test_inconsistent_shares_open_nothing_in_which_they_are(kind: str, tmp_path: Path) -> None:
    """Every holder's sum is off by another amount: shares contradict each other, and nobody opens noise."""
    attack = {"byzantine": {"nodes": [4], "attack": {"kind": "inconsistent-shares"}}}
    found = run(gossip({"aggregation": {"kind": kind}}, adversary=attack), tmp_path / "run")
    assert found["sums_opened"] == 8  # of the Byzantine node's own neighbourhood, of which it is not a member
    assert found["sums_skipped"] == 6 * 8


def test_withheld_masks_stop_sums_that_are_not_recovered(peace: dict[str, Any], tmp_path: Path) -> None:
    attack = meddling(kind="drop", messages=["masked"])
    stopped = run(gossip(MASKS, adversary=attack), tmp_path / "stopped")
    recovered = run(gossip(RECOVER, adversary=attack), tmp_path / "recovered")
    assert stopped["sums_opened"] <= 8  # the withholder's own
    assert recovered["sums_opened"] == SUMS
    assert recovered["simulated_s"] > peace["recover"]["simulated_s"]


def test_selective_dropout_starves_whom_it_chooses(tmp_path: Path) -> None:
    """Node 4 answers everybody but node 0, whose links to it are attacked."""
    attack = {"tamper": [{"links": [[4, 0]], "kind": "drop"}]}
    found = run(gossip(MASKS, adversary=attack), tmp_path / "run")
    assert 0 < found["sums_opened"] < SUMS


def test_differencing_is_charged(tmp_path: Path) -> None:
    """A list that is re-run without a member whose masked vector comes late shows that vector."""
    rerun = {"aggregation": {"kind": "masks", "on_dropout": "rerun"}}
    attack = meddling(kind="delay", by="500 ms", messages=["masked"])
    noisy = PRIVACY | {"noise_multiplier": 20.0, "noise": "member"}
    honest = run(gossip(rerun, privacy=noisy), tmp_path / "honest")
    late = run(gossip(rerun, privacy=noisy, adversary=attack), tmp_path / "late")
    assert late["epsilon_worst_open_loop"] > honest["epsilon_worst_open_loop"]


def test_a_replayed_message_counts_once(peace: dict[str, Any], tmp_path: Path) -> None:
    found = run(gossip(adversary=meddling(kind="replay", after="90 ms")), tmp_path / "run")
    assert found["accuracy_mean"] == pytest.approx(peace["plain"]["accuracy_mean"], rel=1e-9)
    assert found["loss_mean"] == pytest.approx(peace["plain"]["loss_mean"], rel=1e-6)


def test_equivocation_breaks_the_average(peace: dict[str, Any], tmp_path: Path) -> None:
    attack = {"byzantine": {"nodes": [4], "attack": {"kind": "two-faced", "scale": 2.0}}}
    found = run(gossip(adversary=attack), tmp_path / "run")
    assert found["consensus_distance"] > 10 * max(peace["plain"]["consensus_distance"], 1e-6)


def test_model_inconsistency_leaves_one_gradient(tmp_path: Path) -> None:
    """All but node 2 train a model that never fires: their hidden layers stop, its does not."""
    attack = {
        "byzantine": {"nodes": [4], "attack": {"kind": "state-override", "aim": "dead", "spare": 2}},
        "knowledge": "neighbourhood",
        "curious": {"nodes": [0, 2]},
    }
    changes = {"model": {"kind": "mlp", "hidden": 8}, "training": {"step": 0.05, "divisor": 100}}
    run(gossip(adversary=attack, **changes), tmp_path / "run")
    from analysis.store import read_run
    from analysis.views import Views

    size = 6 * 8 + 8 + 8 * 3 + 3
    sent = Views(read_run(tmp_path / "run"), [0, 2]).models(("model",), size)
    moved = {v: np.abs(sent[v, 7] - sent[v, 6])[: 7 * 8].max() for v in (0, 1, 2, 3)}
    biases = {v: sent[v, 7][48:56].max() for v in (0, 1, 3)}
    assert all(bias < -900 for bias in biases.values())
    assert all(moved[v] < 1e-2 for v in (0, 1, 3))
    with pytest.raises(Exception, match="no hidden layer of rectified units"):
        run(gossip(adversary=attack), tmp_path / "softmax")


def test_sybils_and_eclipses_weigh_what_theory_says(tmp_path: Path) -> None:
    """With k identities of low degree on a node of degree d, Metropolis gives them k / (1 + d + k) of its mix."""
    from protocols.learning.executor import BatchedExecutor
    from scenarios.build import build

    ring = {"kind": "ring", "nodes": 8}
    sybil = {"sybil": {"identities": 5, "links_each": 1, "targets": [0]}}
    parts = build(gossip(topology=ring, adversary=sybil), BatchedExecutor(), Path())
    row = parts.weights.toarray()[0]
    assert row[8:].sum() == pytest.approx(5 / (1 + 2 + 5))
    eclipse = {"eclipse": {"victim": 3, "attackers": [5, 6]}}
    around = build(gossip(topology=ring, adversary=eclipse), BatchedExecutor(), Path()).neighbors[3]
    assert set(around) == {5, 6}


def test_one_straggler_sets_the_pace(peace: dict[str, Any], tmp_path: Path) -> None:
    slow = run(gossip(adversary=meddling(kind="delay", by="200 ms")), tmp_path / "slow")
    assert slow["simulated_s"] > peace["plain"]["simulated_s"] + 0.7


def test_components_keep_their_own_averages(tmp_path: Path) -> None:
    groups = [{"kind": "partition", "groups": [[0, 1, 2], [3, 4, 5, 6]], "at": "0 s", "until": "1000 s"}]
    parted = run(gossip(fault=groups), tmp_path / "parted")
    whole = run(gossip(), tmp_path / "whole")
    assert parted["consensus_distance"] > 100 * max(whole["consensus_distance"], 1e-6)
