"""Attacks on the views of whole runs: what plain gossip gives away, and what sums and noise keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.inference import inversion
from analysis.store import read_run
from analysis.views import Views
from scenarios.commands.cli import app
from scenarios.load import resolve
from scenarios.run import run
from scenarios.studies.infer import (
    FRACTION_OF_OTHERS,
    METADATA,
    NO_MECHANISM,
    NOT_ACCOUNTED,
    RELATIVE,
    Finding,
    infer,
    table,
)
from simulator.errors import ConfigurationError


def gossip(nodes: int, curious: list[int], exchange: str = "plain", rounds: int = 12, **changes: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "curious",
            "seed": 3,
            "topology": {"kind": "path", "nodes": nodes},
            "network": {"latency": {"kind": "constant", "value": "20 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "digits"},
            "partition": {"kind": "iid", "samples": 100},
            "model": {"kind": "softmax"},
            "training": {"step": 1e-3, "divisor": 1, "step_cost": "10 ms"},
            "protocol": {"kind": "dsgd", "rounds": rounds, "exchange": exchange, "timeout": "2 s"},
            "adversary": {"curious": {"nodes": curious}},
        }
        | changes
    )


def attacked(scenario: Any, folder: Path, shadows: int = 0, coalition: Any = None) -> list[Finding]:
    run(scenario, folder)
    return infer(folder, coalition=coalition, shadow_models=shadows, on_progress=lambda *_: None)


def values(findings: list[Finding], attack: str, measure: str) -> dict[int | None, float]:
    return {f.victim: f.value for f in findings if f.attack == attack and measure in f.measure}


def test_a_line_gives_away_every_update_to_its_end(tmp_path: Path) -> None:
    """One sample each and small steps: updates hardly change, so node 0 solves for all of them."""
    data = {"kind": "iid", "samples": 1, "min_samples": 1}
    scenario = gossip(8, [0], partition=data, training={"step": 1e-4, "divisor": 1}, rounds=8)
    findings = attacked(scenario, tmp_path / "run")
    assert values(findings, "linear reconstruction", "determined") == {None: 1.0}
    errors = values(findings, "update reconstruction", "relative error")
    assert errors.keys() == set(range(1, 8))
    assert max(errors.values()) < 0.2
    assert errors[1] < errors[7]
    assert min(values(findings, "update reconstruction", "likeness").values()) > 0.98
    assert values(findings, "gradient inversion", "samples found") == {1: 1.0}
    assert all(f.basis in (NO_MECHANISM, METADATA) and f.epsilon == np.inf for f in findings)


@pytest.mark.slow
def test_secure_sums_and_noise_stand_beside_their_loss(tmp_path: Path) -> None:
    privacy = {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "noise_multiplier": 10.0}
    training = {"step": 0.5, "divisor": 50}
    ring = {"kind": "complete", "nodes": 8}
    noisy = attacked(
        gossip(8, [0, 3], "ldp", privacy=privacy, training=training, topology=ring), tmp_path / "ldp"
    )
    assert {f.basis for f in noisy if f.attack != "traffic analysis"} == {"certified"}
    assert {(f.epsilon, f.basis) for f in noisy if f.attack == "traffic analysis"} == {(np.inf, METADATA)}
    claimed = read_run(tmp_path / "ldp").summary
    assert claimed is not None
    certified = [f.epsilon for f in noisy if f.basis == "certified"]
    assert max(certified) == pytest.approx(claimed["epsilon_worst"])
    secure = attacked(
        gossip(8, [0], "secure", privacy=privacy, training=training, topology=ring), tmp_path / "sums"
    )
    assert values(secure, "linear reconstruction", "determined") == {None: 0.0}
    assert values(secure, "update reconstruction", "likeness") == {}
    assert values(secure, "gradient inversion", "samples") == {}
    assert set(values(secure, "membership by loss from sums", "scored above")) == set(range(1, 8))


@pytest.mark.slow
def test_overfitted_models_tell_their_members(tmp_path: Path) -> None:
    """All around node 1 of a path are curious, so its own part can be taken out of what it sends."""
    training = {"step": 2.0, "divisor": 20}
    findings = attacked(
        gossip(3, [0, 2], rounds=60, training=training, partition={"kind": "iid", "samples": 40}),
        tmp_path / "run",
        shadows=32,
    )
    plain = values(findings, "membership by loss", "scored above")[1]
    alone = values(findings, "membership by loss on the marginalised model", "scored above")[1]
    ratio = values(findings, "membership by likelihood ratio", "scored above")[1]
    assert plain > 0.52
    assert alone > plain - 0.02
    assert ratio > 0.5


def away(curious: list[int], **changes: Any) -> Any:
    """Node 2 of six is down for a second, and nobody waits for it that long."""
    fault = [{"kind": "outage", "nodes": [2], "down_at": "300 ms", "up_at": "1.3 s"}]
    protocol = {"kind": "dsgd", "rounds": 40, "exchange": "plain", "timeout": "60 ms"}
    topology = {"kind": "complete", "nodes": 6}
    return gossip(6, curious, fault=fault, topology=topology, protocol=protocol, **changes)


def test_who_was_away_is_seen_from_silence(tmp_path: Path) -> None:
    findings = attacked(away([0]), tmp_path / "run")
    assert values(findings, "traffic analysis", "guessed") == {None: 1.0}


def test_a_wiretap_sees_absences_through_encryption(tmp_path: Path) -> None:
    adversary: dict[str, Any] = {"wiretap": {"links": "all"}, "encrypted": True}
    findings = attacked(away([0], adversary=adversary), tmp_path / "run")
    assert {f.attack for f in findings} == {"traffic analysis on the wire"}
    assert findings[0].value == 1.0
    assert findings[0].basis == METADATA


def test_views_hold_what_was_sent_and_received_and_nothing_else(tmp_path: Path) -> None:
    run(gossip(5, [1]), tmp_path / "run")
    models = Views(read_run(tmp_path / "run"), [1]).models(("model",), 650)
    assert {src for src, _ in models} == {0, 1, 2}
    assert {round for _, round in models} == set(range(12))


def test_the_command_writes_beside_the_ledger(tmp_path: Path) -> None:
    run(gossip(4, [0, 2]), tmp_path / "run")
    told = CliRunner().invoke(
        app, ["infer", str(tmp_path / "run"), "--coalition", "2", "--shadows", "0", "--quiet"]
    )
    assert told.exit_code == 0, told.output
    written = json.loads((tmp_path / "run" / "inference.json").read_text())
    assert written["coalition"] == [2]
    assert {"attack", "victim", "measure", "unit", "value", "epsilon", "delta", "basis"} == set(
        written["findings"][0]
    )
    with pytest.raises(ConfigurationError, match=r"curious nodes of this run \(0, 2\)"):
        infer(tmp_path / "run", coalition=[1], shadow_models=0, on_progress=lambda *_: None)


def test_fractions_count_the_same_nodes_above_and_below(tmp_path: Path) -> None:
    """All nodes on a path are determined from its end; a Byzantine one is no victim, and is not counted."""
    byzantine = {"nodes": [3], "attack": {"kind": "sign-flip"}}
    scenario = gossip(6, [0], rounds=6, adversary={"curious": {"nodes": [0]}, "byzantine": byzantine})
    findings = attacked(scenario, tmp_path / "run")
    (determined,) = (f for f in findings if f.attack == "linear reconstruction")
    assert determined.unit == FRACTION_OF_OTHERS
    assert determined.value == 1.0
    fractions = [f for f in findings if f.unit.startswith("fraction")]
    assert len({f.unit for f in fractions}) >= 3
    assert all(0.0 <= f.value <= 1.0 for f in fractions)
    assert 3 not in {f.victim for f in findings}


def test_every_row_has_one_unit_and_infinity_is_shown() -> None:
    said = {"epsilon": 0.8712, "delta": 1e-5, "basis": "certified"}
    rows = table(
        [
            Finding("update reconstruction", 1, "relative error", RELATIVE, 0.25, **said),
            Finding("update reconstruction", 2, "relative error", RELATIVE, np.inf, **said),
            Finding(
                "traffic analysis", None, "senders", "fraction of senders seen", 1.0, np.inf, None, METADATA
            ),
        ]
    )
    assert [(row["mean"], row["worst"], row["worst victim"]) for row in rows] == [
        ("∞", "0.250", 1),
        ("1.00", "1.00", "–"),
    ]
    assert [(row["ε"], row["δ"], row["basis"]) for row in rows] == [
        ("0.872", "1e-05", "certified"),
        ("∞", "–", METADATA),
    ]


def test_no_epsilon_stands_for_a_reason(tmp_path: Path) -> None:
    privacy = {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "noise_multiplier": 10.0}
    adversary: dict[str, Any] = {"wiretap": {"links": "all"}}
    scenario = gossip(4, [], "ldp", rounds=4, privacy=privacy, adversary=adversary)
    findings = attacked(scenario, tmp_path / "run")
    assert {f.basis for f in findings} <= {NOT_ACCOUNTED, METADATA}


def test_inversion_is_cut_to_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three digits a node: what the first layer gives away is cut to the range of pixels, and more is recognised."""
    few = {"kind": "iid", "samples": 3, "min_samples": 3}
    scenario = gossip(12, [0], partition=few, rounds=2, topology={"kind": "star", "nodes": 12})
    cut = values(attacked(scenario, tmp_path / "run"), "gradient inversion", "samples")
    whole = inversion.first_layer
    monkeypatch.setattr(inversion, "first_layer", lambda w, b, box: whole(w, b, box=None))
    uncut = values(
        infer(tmp_path / "run", coalition=None, shadow_models=0, on_progress=lambda *_: None),
        "gradient inversion",
        "samples",
    )
    assert cut.keys() == uncut.keys() == set(range(1, 12))
    assert all(cut[node] >= uncut[node] for node in cut)
    assert np.mean(list(cut.values())) > np.mean(list(uncut.values())) + 0.1
