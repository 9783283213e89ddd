"""What a run says is wrong with it: sums that stay closed, silence, pieces, labels nobody trains on, early ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sottovoce as sv
from analysis.metrics.declared import Snapshot
from protocols.learning.evaluate import Evaluation
from scenarios.format.kind import plugin_of
from scenarios.kinds.protocols.base import Protocol
from scenarios.load import resolve
from scenarios.run import run
from scenarios.runs.recent import RECENT, recent

PRIVATE = {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "noise_multiplier": 5.0}


def ran(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "format": 1,
        "name": "warned",
        "topology": {"kind": "regular", "nodes": 8, "degree": 4},
        "network": {"latency": {"kind": "constant", "value": "50 ms"}},
        "data": {"kind": "blobs", "samples": 400, "features": 3, "classes": 4},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "step_cost": "20 ms"},
        "protocol": {"kind": "dsgd", "rounds": 6, "exchange": "plain", "timeout": "300 ms"},
        "evaluation": {"every": "100 ms"},
    }
    for key, value in changes.items():
        merged = raw.get(key, {}) | value if isinstance(value, dict) else value
        raw[key] = {k: v for k, v in merged.items() if v is not None} if isinstance(value, dict) else merged
    return run(resolve(raw), tmp_path / "run")


SECURE = {"protocol": {"exchange": "secure"}, "privacy": PRIVATE, "secure": {"tolerated_dropouts": 1}}


@pytest.mark.parametrize("changes", [{}, SECURE, {"protocol": {"kind": "gradient-tracking"}}])
def test_a_run_that_went_well_has_no_warnings(tmp_path: Path, changes: dict[str, Any]) -> None:
    summary = ran(tmp_path, **changes)
    assert summary["warnings"] == []
    assert summary["mixes_complete_fraction"] == summary["neighbours_heard_fraction"] == 1.0
    assert summary["sums_opened_fraction"] == (1.0 if "secure" in changes else None)
    assert summary["rounds_done_min"] == summary["rounds_done_max"] == summary["rounds"] == 6


def test_faults_after_the_end_of_a_run_are_a_warning(tmp_path: Path) -> None:
    faults = [
        {"kind": "outage", "node": 1, "down_at": "100 ms", "up_at": "1 h"},
        {"kind": "outage", "nodes": [2, 3], "down_at": "2 h"},
    ]
    summary = ran(tmp_path, fault=faults)
    told = next(words for words in summary["warnings"] if "before these faults" in words)
    assert "node 1 returns at 3600 s, node 2 goes down at 7200 s, node 3 goes down at 7200 s." in told
    assert "node 1 goes down" not in told


def test_sums_that_stay_closed_are_a_warning(tmp_path: Path) -> None:
    """A request and its answer take 230 ms at the mean, at least 60: a time-out of 80 ms opens nothing."""
    slow = {"latency": {"kind": "uniform", "low": "30 ms", "high": "200 ms"}}
    protocol = {"exchange": "secure", "timeout": "80 ms"}
    summary = ran(tmp_path, **(SECURE | {"protocol": protocol, "network": slow}))
    assert (
        summary["sums_opened"] == summary["sums_opened_fraction"] == summary["mixes_complete_fraction"] == 0
    )
    (warning,) = summary["warnings"]
    ended = summary["sums_skipped"]
    assert warning.startswith(f"{ended} of {ended} secure sums stayed closed (most often: ")
    assert "protocol.timeout" in warning


def test_attempts_are_not_counted_as_sums(tmp_path: Path) -> None:
    """A sum that is opened by its second attempt was opened."""
    masks = {"tolerated_dropouts": 1, "aggregation": {"kind": "masks", "on_dropout": "rerun"}}
    summary = ran(tmp_path, **(SECURE | {"secure": masks, "network": {"loss": 0.05}}))
    assert summary["sums_skipped"] > 0
    attempts = summary["sums_opened"] + summary["sums_skipped"]
    assert summary["sums_opened_fraction"] > summary["sums_opened"] / attempts


@pytest.mark.parametrize("kind", ["dsgd", "gradient-tracking", "push-sum", "ad-psgd"])
def test_neighbours_that_are_not_heard_in_time_are_a_warning(tmp_path: Path, kind: str) -> None:
    summary = ran(tmp_path, protocol={"kind": kind, "timeout": "40 ms"})
    assert summary["mixes_complete_fraction"] == summary["neighbours_heard_fraction"] == 0
    assert summary["warnings"][0].startswith(
        "100 % of the neighbours that nodes waited for were not heard in time"
    )


def test_a_server_that_waits_too_shortly_is_a_warning(tmp_path: Path) -> None:
    star = {
        "topology": {"kind": "star", "nodes": 8, "degree": None},
        "protocol": {"kind": "fedavg", "timeout": "60 ms"},
        "network": {"latency": {"kind": "uniform", "low": "25 ms", "high": "400 ms"}},
    }
    assert "100 % of the neighbours" in ran(tmp_path, **star)["warnings"][0]


def test_a_few_losses_are_no_warning(tmp_path: Path) -> None:
    summary = ran(tmp_path, network={"loss": 0.1}, protocol={"rounds": 20})
    assert 0.3 < summary["mixes_complete_fraction"] < summary["neighbours_heard_fraction"] < 1
    assert summary["warnings"] == []


def test_silence_is_a_warning(tmp_path: Path) -> None:
    cut = [{"kind": "partition", "groups": [[0], [1], [2], [3], [4], [5], [6], [7]], "at": "0 s"}]
    warnings = ran(tmp_path, fault=cut)["warnings"]
    assert any(text.startswith("None of the ") and "trained alone" in text for text in warnings)


def test_a_graph_in_pieces_is_a_warning(tmp_path: Path) -> None:
    file = tmp_path / "pieces.edgelist"
    file.write_text("0 1\n1 2\n0 2\n3 4\n4 5\n3 5\n")
    warnings = ran(
        tmp_path,
        topology={"kind": "file", "path": str(file), "format": "edgelist", "degree": None, "nodes": None},
    )["warnings"]
    assert warnings == ["The graph is in 2 pieces (of 3, 3 nodes), which never hear of one another."]


def test_labels_that_nobody_trains_on_are_a_warning(tmp_path: Path) -> None:
    """Two classes are held only by the Byzantine node, whose samples train no honest model."""
    summary = ran(
        tmp_path,
        topology={"kind": "complete", "nodes": 4, "degree": None},
        partition={"kind": "label-blocks", "blocks": 2},
        adversary={"byzantine": {"nodes": [0, 1], "attack": {"kind": "free-rider"}}},
    )
    (warning,) = [text for text in summary["warnings"] if "training samples" in text]
    assert warning.startswith("No honest node has training samples of ")
    assert "% of the test samples are" in warning


def test_a_run_that_ends_early_says_how_far_it_came(tmp_path: Path) -> None:
    summary = ran(tmp_path, stop_after="250 ms")
    assert 0 < summary["rounds_done_min"] <= summary["rounds_done_max"] < summary["rounds"] == 6
    least, most = summary["rounds_done_min"], summary["rounds_done_max"]
    finished = str(most) if least == most else f"{least} to {most}"
    assert summary["warnings"] == [
        f"The run ended early, at stop_after = 0.25 s: of 6 rounds, honest nodes finished {finished}."
    ]
    (tmp_path / "again").mkdir()
    nothing = ran(tmp_path / "again", stop_after="10 ms")
    assert nothing["rounds_done_max"] == 0
    assert nothing["warnings"][0].startswith("No honest node finished a round")


def test_the_baselines_send_nothing_and_need_no_warning(tmp_path: Path) -> None:
    for kind in ("local", "centralised"):
        (tmp_path / kind).mkdir()
        plain = {"kind": kind, "rounds": 6, "exchange": "plain"}
        summary = ran(tmp_path / kind, protocol=plain | {"timeout": None})
        assert summary["warnings"] == []
        assert summary["mixes_complete_fraction"] is None


TARGET = {"unit": "record", "adjacency": "add-remove", "clip": 1.0, "target_epsilon": 2.0}


def test_a_target_that_is_met_is_no_warning(tmp_path: Path) -> None:
    summary = ran(tmp_path, protocol={"exchange": "ldp"}, privacy=TARGET)
    assert summary["epsilon_worst"] == pytest.approx(2.0, rel=1e-3)
    assert summary["warnings"] == []


def test_a_loss_above_its_target_is_a_warning_whoever_caused_it(tmp_path: Path) -> None:
    """A program makes more updates than planned; a node repeats its noise after it has lost its disk."""

    async def eager(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        model = learner.start
        for round in range(2 * rounds):
            model = await learner.local_update(node, model, round)
            sv.send_model(node, learner, node.neighbors, min(round, rounds), model)
        await node.sleep(1.0)

    private = {
        "protocol.exchange": "ldp",
        "privacy": TARGET,
        "adversary": {},
        "fault": [],
        "protocol.rounds": 3,
    }
    raw = {
        name: table for name, table in sv.load("quickstart").raw.items() if name not in ("privacy", "secure")
    }
    run = sv.run(raw, changes=private, program=eager)
    assert run.epsilon_worst > 2.0
    assert any(
        "above privacy.target_epsilon = 2: more was released" in text for text in run.summary["warnings"]
    )  # type: ignore[index]
    lost = [{"kind": "outage", "node": 1, "down_at": "100 ms", "up_at": "200 ms", "keeps_disk": False}]
    summary = ran(tmp_path, protocol={"exchange": "ldp"}, privacy=TARGET, fault=lost)
    assert summary["epsilon_worst"] == float("inf")
    assert any("is inf at the end, above privacy.target_epsilon = 2" in text for text in summary["warnings"])


# ---------------------------------------------------------------- the last evaluations


def shot(t_s: float, accuracy: dict[int, float]) -> Snapshot:
    values = np.array(list(accuracy.values()), np.float32)
    zero = np.zeros(len(values), np.float32)
    found = Evaluation(values, zero, zero.astype(bool), zero[:, None], 0.0, {})
    return Snapshot(t_s, tuple(accuracy), found, 0.0, 0, (0,) * len(accuracy))


def test_the_worst_at_each_instant_and_the_worst_throughout() -> None:
    early = [shot(0.0, {0: 0.0, 1: 0.0, 2: 0.0})]
    last = [
        shot(float(t), {0: 0.5 + 0.3 * (t % 2), 1: 0.8 - 0.3 * (t % 2), 2: 0.6})
        for t in range(31, 31 + RECENT)
    ]
    found = recent(early + last)
    assert found is not None
    assert (found.evaluations, found.from_s, found.node) == (RECENT, 31.0, 2)
    assert found.worst == pytest.approx(0.5)
    assert found.node_accuracy == pytest.approx(0.6)


def test_who_is_down_in_between_is_not_the_lowest_throughout() -> None:
    found = recent([shot(8.0, {0: 0.2, 1: 0.5}), shot(9.0, {1: 0.7}), shot(10.0, {})])
    assert found is not None
    assert (found.evaluations, found.node) == (2, 1)
    assert found.worst == pytest.approx(0.45)
    assert recent([]) is None
    early = recent([shot(1.0, {0: 0.1}), shot(2.0, {0: 0.9})])
    assert early is not None
    assert (early.evaluations, early.worst) == (1, pytest.approx(0.9)), "what was learnt since is no noise"
    assert recent([shot(1.0, {0: float("nan")})]) is None


GROUPS = {"schedule": {"kind": "connected", "size": 4}, "exchange": "secure", "timeout": "1 s"}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "dsgd": {},
    "gradient-tracking": {},
    "push-sum": {},
    "push": {"timeout": None},
    "pull": {"timeout": None},
    "push-pull": {"timeout": None},
    "ad-psgd": {},
    "local": {"timeout": None},
    "centralised": {"timeout": None},
    "fedavg": {"timeout": "1 s"},
    "hierarchical-fedavg": {"timeout": "1 s"},
    "groups": GROUPS,
}


@pytest.mark.parametrize("kind", sorted(PROTOCOLS))
def test_weights_without_effect_are_a_warning_and_others_have_one(kind: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"protocol": {"kind": kind} | PROTOCOLS[kind]}
    if kind.endswith("fedavg"):
        changes["topology"] = {"kind": "star", "degree": None}
    if kind == "groups":
        node = {
            "unit": "node",
            "adjacency": "zero-out",
            "clip": 1.0,
            "noise_multiplier": 5.0,
            "noise": "member",
        }
        secure = {"aggregation": {"kind": "masks"}, "tolerated_dropouts": 0, "crypto": "ideal"}
        changes |= {"privacy": node, "secure": secure, "training": {"divisor": 50}}
    usual = ran(tmp_path / "usual", **changes)
    other = ran(tmp_path / "other", **changes, mixing={"kind": "lazy"})
    told = f"[mixing] has no effect: {kind} has weights of its own." in other["warnings"]
    assert told == (usual["loss_mean"] == other["loss_mean"])
    assert not any("[mixing]" in words for words in usual["warnings"])


def test_every_protocol_is_asked_about_its_weights() -> None:
    assert set(PROTOCOLS) == {kind for kind, made in Protocol.kinds().items() if plugin_of(made) is None}
