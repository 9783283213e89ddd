"""Robust rules over secure sums of buckets, and proofs of norms: what they withstand and what they cost."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from analysis.store import read_run
from protocols.aggregation.sums import NormProof, Rules
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from tests.support.matrix import covering

PRIVACY = {"unit": "node", "adjacency": "zero-out", "clip": 5.0, "noise_multiplier": 0.02, "noise": "member"}
BYZANTINE = {"byzantine": {"nodes": [4], "attack": {"kind": "sign-flip", "scale": 3.0}}}


def gossip(secure: Any, robust: Any = None, adversary: Any = None, **changes: Any) -> Any:
    protocol = {"kind": "dsgd", "rounds": 12, "exchange": "secure", "timeout": "1 s"}
    if robust is not None:
        protocol["robust"] = robust
    return resolve(
        {
            "format": 1,
            "name": "buckets",
            "topology": {"kind": "complete", "nodes": 13},
            "network": {"latency": {"kind": "constant", "value": "20 ms"}, "uplink": "100 Mbit/s"},
            "data": {"kind": "blobs", "samples": 1300, "features": 6, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 1},
            "protocol": protocol,
            "secure": {"tolerated_dropouts": 0} | secure,
            "privacy": PRIVACY,
            "adversary": adversary or {},
        }
        | changes
    )


def test_a_neighbourhood_is_split_anew_every_round() -> None:
    rules = Rules(None, True, 0, 0, 1.0, b"run", buckets=3)  # type: ignore[arg-type]
    members = tuple(range(1, 12))
    seen = Counter()  # type: ignore[var-annotated]
    for round in range(300):
        buckets = rules.bucketed(0, round, members)
        assert sorted(v for bucket in buckets for v in bucket) == list(members)
        assert [len(bucket) for bucket in buckets] == [4, 4, 3]
        seen.update(bucket[:2] for bucket in buckets)
    assert len(seen) > 40
    assert rules.bucketed(0, 5, members) == rules.bucketed(0, 5, members) != rules.bucketed(1, 5, members)


@pytest.mark.slow
@pytest.mark.parametrize("crypto", covering(["real", "ideal"], {"ideal"}))
def test_a_rule_over_buckets_withstands_what_ruins_a_sum(crypto: str, tmp_path: Path) -> None:
    ruined = run(gossip({"crypto": crypto}, None, BYZANTINE), tmp_path / "sum")
    made = gossip({"crypto": crypto, "buckets": 3}, {"kind": "trimmed-mean", "f": 1}, BYZANTINE)
    kept = run(made, tmp_path / "kept")
    peace = run(
        gossip({"crypto": crypto, "buckets": 3}, {"kind": "trimmed-mean", "f": 1}), tmp_path / "peace"
    )
    assert kept["accuracy_mean"] > peace["accuracy_mean"] - 0.05
    assert kept["loss_mean"] < 0.7 * ruined["loss_mean"]
    assert kept["sums_opened"] == 3 * 13 * 12
    assert kept["simulated_s"] > 1.5 * ruined["simulated_s"]  # one sum after another


def test_buckets_are_charged_as_what_they_show(tmp_path: Path) -> None:
    """Sums of four tell more than sums of twelve, and never more than single models."""
    one = run(gossip({"crypto": "ideal"}, None), tmp_path / "one")
    three = run(gossip({"crypto": "ideal", "buckets": 3}, {"kind": "median"}), tmp_path / "three")
    assert three["epsilon_worst"] >= one["epsilon_worst"]
    found = pl.read_parquet(tmp_path / "three" / "releases.parquet")
    assert len(found) > 0
    kinds = set(read_run(tmp_path / "three").messages["kind"].unique())
    assert "model" not in kinds


@pytest.mark.slow
def test_a_vector_without_a_proof_is_in_no_sum(tmp_path: Path) -> None:
    proof = {"radius": 20.0, "size": 5000, "prove": "10 ms", "verify": "1 ms"}
    loud: Any = {"byzantine": {"nodes": [4], "attack": {"kind": "sign-flip", "scale": 6.0}}}
    tolerant = {"tolerated_dropouts": 2, "crypto": "ideal"}
    ruined = run(gossip(tolerant, None, loud), tmp_path / "open")
    refused = run(gossip(tolerant | {"norm_proof": proof}, None, loud), tmp_path / "proven")
    quiet = run(gossip(tolerant | {"norm_proof": proof}), tmp_path / "quiet")
    plain = run(gossip(tolerant), tmp_path / "plain")
    assert ruined["sums_opened"] == plain["sums_opened"]
    assert refused["lists_refused"] > 100  # by the Byzantine node, once its model has grown
    assert refused["accuracy_mean"] > ruined["accuracy_mean"] + 0.3
    assert quiet["sums_opened"] == plain["sums_opened"]
    assert quiet["accuracy_mean"] == pytest.approx(plain["accuracy_mean"], abs=0.02)
    assert quiet["bytes_sent"] - plain["bytes_sent"] == 5000 * 12 * 13 * 12
    assert quiet["simulated_s"] > plain["simulated_s"] + 12 * 0.1


def test_a_proof_is_about_a_ball() -> None:
    import numpy as np

    proof = NormProof(np.ones(4, np.float32), 2.0, 1, 0.0, 0.0)
    assert proof.holds(np.full(4, 2.0, np.float32))
    assert not proof.holds(np.full(4, 2.1, np.float32))
    assert not proof.holds(np.full(4, np.nan, np.float32))


@pytest.mark.parametrize(
    ("secure", "robust", "changes", "said"),
    [
        ({}, {"kind": "median"}, {}, "secure.buckets"),
        ({"buckets": 3}, None, {}, "only protocol.robust uses"),
        ({"buckets": 5}, {"kind": "median"}, {}, "each needs 3 members"),
        ({"buckets": 3}, {"kind": "trimmed-mean", "f": 2}, {}, "needs 5 vectors, got 3 buckets"),
        ({"buckets": 3}, {"kind": "ubar"}, {}, "more of a bucket than its sum"),
        ({"buckets": 3}, {"kind": "clipped-gossip", "radius": "oracle"}, {}, "more of a bucket than its sum"),
        (
            {"buckets": 3, "aggregation": {"kind": "sharing"}},
            {"kind": "median"},
            {},
            "can split neighbourhoods",
        ),
        ({"buckets": 3}, {"kind": "median"}, {"privacy": PRIVACY | {"noise": "sum"}}, 'use "member"'),
    ],
)
def test_what_cannot_be_combined_is_refused(secure: Any, robust: Any, changes: Any, said: str) -> None:
    with pytest.raises(ScenarioErrors, match=said):
        gossip(secure, robust, **changes)
