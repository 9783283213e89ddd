"""Attacks in whole runs: what they do, what they know, and what they never see."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from protocols.attacks.knowledge import models_seen
from protocols.gossip.learner import Model
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.lineage import Visible
from scenarios.build import build
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from simulator.adversary.coalition import Adversary
from simulator.contract.knowledge import Context
from simulator.contract.node import Delivery, Message
from tests.support.matrix import covering

ATTACKS: dict[str, tuple[dict[str, Any], str]] = {
    "sign flip": ({"kind": "sign-flip", "scale": 5.0}, "own"),
    "gaussian": ({"kind": "gaussian", "sigma": 20.0}, "own"),
    "not a number": ({"kind": "not-finite"}, "own"),
    "infinite": ({"kind": "not-finite", "value": "inf"}, "own"),
    "alie": ({"kind": "alie", "z": -30.0}, "received"),
    "alie, searched": ({"kind": "alie", "z": "search"}, "omniscient"),
    "ipm": ({"kind": "ipm", "factor": 5.0}, "rushing"),
    "ipm, searched": ({"kind": "ipm", "factor": "search"}, "omniscient"),
    "dissensus": ({"kind": "dissensus", "factor": 4.0}, "neighbourhood"),
    "spectral": ({"kind": "spectral", "factor": 30.0}, "omniscient"),
    "override": ({"kind": "state-override"}, "neighbourhood"),
    "opposite": ({"kind": "state-override", "aim": "opposite"}, "neighbourhood"),
}
"""Attacks that ruin plain averages, each with what it knows."""


def gossip(
    attack: Any = None, knowledge: str = "own", exchange: str = "plain", byzantine: Any = None, **changes: Any
) -> Any:
    table = {"nodes": [0, 5], "attack": attack} | (byzantine or {})
    adversary = {} if attack is None else {"byzantine": table, "knowledge": knowledge}
    return resolve(
        {
            "format": 1,
            "name": "attacked",
            "topology": {"kind": "regular", "nodes": 10, "degree": 4},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 1200, "features": 8, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 100, "step_cost": "20 ms"},
            "protocol": {"kind": "dsgd", "rounds": 20, "exchange": exchange, "timeout": "2 s"},
            "adversary": adversary,
        }
        | changes
    )


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> float:
    return float(run(gossip(), tmp_path_factory.mktemp("peace") / "run")["accuracy_mean"])


@pytest.mark.parametrize("name", covering(ATTACKS, list(ATTACKS)[:3]))
def test_averages_are_ruined(name: str, peace: float, tmp_path: Path) -> None:
    attack, knowledge = ATTACKS[name]
    summary = run(gossip(attack, knowledge), tmp_path / "run")
    assert peace > 0.85
    assert summary["status"] in ("finished", "diverged")
    assert summary["accuracy_mean"] < peace - 0.1


@pytest.mark.parametrize(
    "attack", [{"kind": "mimic"}, {"kind": "mimic", "victim": 3}, {"kind": "echo"}, {"kind": "free-rider"}]
)
def test_attacks_that_only_bend(attack: Any, peace: float, tmp_path: Path) -> None:
    plain_loss = run(gossip(), tmp_path / "peace")["loss_mean"]
    summary = run(gossip(attack, "received"), tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["accuracy_mean"] == pytest.approx(peace, abs=0.1)
    assert summary["loss_mean"] != plain_loss


def test_an_overridden_state_is_what_the_attacker_wanted(tmp_path: Path) -> None:
    """Honest nodes that all have a Byzantine neighbour end every mix at the initial model."""
    topology = {"kind": "complete", "nodes": 10}
    summary = run(gossip({"kind": "state-override"}, "neighbourhood", topology=topology), tmp_path / "run")
    assert summary["consensus_distance"] < 1e-4
    assert summary["loss_mean"] == pytest.approx(np.log(3), abs=0.02)


@pytest.mark.slow
def test_a_window_is_kept_to(peace: float, tmp_path: Path) -> None:
    attack = {"kind": "not-finite"}
    late = run(gossip(attack, byzantine={"at": "1000 s"}), tmp_path / "late")
    early = run(gossip(attack, byzantine={"until": "1 ms"}), tmp_path / "early")
    assert late["accuracy_mean"] == early["accuracy_mean"]
    assert late["accuracy_mean"] == pytest.approx(peace, abs=0.05)


def test_a_backdoor_opens_and_is_measured(tmp_path: Path) -> None:
    attack = {"kind": "backdoor", "target": 1, "features": 2, "boost": 3.0}
    summary = run(gossip(attack, "received"), tmp_path / "run")
    quiet = run(gossip(attack | {"fraction": 1e-3, "boost": 1.0}, "own"), tmp_path / "quiet")
    assert summary["backdoor_success_mean"] > quiet["backdoor_success_mean"] + 0.2
    assert summary["accuracy_mean"] > 0.7
    names = set(pl.read_parquet(tmp_path / "run" / "metrics.parquet")["metric"])
    assert {"backdoor_success", "backdoor_success_mean"} <= names
    assert run(gossip(), tmp_path / "none")["backdoor_success_mean"] is None


def test_only_labels_of_byzantine_nodes_are_flipped() -> None:
    truth, poisoned = (
        build(gossip(attack), BatchedExecutor(), Path()) for attack in (None, {"kind": "label-flip"})
    )
    for node in range(10):
        real = truth.bank.mask[node]
        y, flipped = truth.bank.y[node, real], poisoned.bank.y[node, real]
        np.testing.assert_array_equal(flipped, 2 - y if node in (0, 5) else y)
    np.testing.assert_array_equal(poisoned.learner.operations.bank.y, poisoned.bank.y)


@pytest.mark.slow
def test_noise_that_is_left_out_is_credited_to_nobody(tmp_path: Path) -> None:
    """The others' loss is that of relying on too little, as for any Byzantine node."""
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 5.0, "noise": "sum"}
    secure = {
        "secure": {"tolerated_dropouts": 0},
        "privacy": privacy,
        "topology": {"kind": "complete", "nodes": 10},
    }
    honest = run(gossip(exchange="secure", **secure), tmp_path / "honest")
    attack = {"kind": "noise-free-rider"}
    parts = build(gossip(attack, exchange="secure", **secure), BatchedExecutor(), Path())
    assert [s == 0.0 for s in parts.learner.sigma] == [node in (0, 5) for node in range(10)]
    free = run(gossip(attack, exchange="secure", **secure), tmp_path / "free")
    assert free["epsilon_worst"] > honest["epsilon_worst"]


@pytest.mark.slow
def test_secure_sums_leave_attacks_in_the_dark(tmp_path: Path) -> None:
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 2.0}
    for attack, knowledge in (({"kind": "alie"}, "omniscient"), ({"kind": "dissensus"}, "omniscient")):
        made = gossip(attack, knowledge, exchange="secure", privacy=privacy)
        summary = run(made, tmp_path / attack["kind"])
        assert summary["status"] == "finished"
        assert summary["attacks_in_the_dark"] >= 2 * 20


PROTOCOLS: dict[str, dict[str, Any]] = {
    "push": {"period": "100 ms"},
    "pull": {"period": "100 ms"},
    "push-pull": {"period": "100 ms"},
    "ad-psgd": {"period": "100 ms"},
    "push-sum": {},
    "gradient-tracking": {},
    "fedavg": {},
}


@pytest.mark.parametrize(
    ("attack", "kind"),
    covering(
        product([{"kind": "ipm", "factor": 8.0}, {"kind": "echo"}, {"kind": "not-finite"}], PROTOCOLS),
        lambda case: (
            (case[0]["kind"], case[1]) in (("ipm", "push-sum"), ("echo", "push"), ("not-finite", "push"))
        ),
    ),
)
def test_attacks_compose_with_every_protocol(kind: str, attack: Any, tmp_path: Path) -> None:
    protocol = {"kind": kind, "rounds": 12, "exchange": "plain"} | PROTOCOLS[kind]
    topology = (
        {"kind": "star", "nodes": 10} if kind == "fedavg" else {"kind": "regular", "nodes": 10, "degree": 4}
    )
    nodes = {"nodes": [3, 5]}
    peaceful = gossip({"kind": "none"}, "received", byzantine=nodes, protocol=protocol, topology=topology)
    attacked = gossip(attack, "received", byzantine=nodes, protocol=protocol, topology=topology)
    peace, war = run(peaceful, tmp_path / "peace"), run(attacked, tmp_path / "war")
    assert war["loss_mean"] != peace["loss_mean"]
    if attack["kind"] != "echo":
        assert war["loss_mean"] > peace["loss_mean"]


class Spy(BatchedExecutor):
    """Notes what Byzantine nodes compute with."""

    def __init__(self) -> None:
        super().__init__()
        self.used: list[tuple[int, str, list[Any]]] = []

    def submit(self, op: Any, inputs: Any, *, node: int, size: int) -> Any:
        self.used.append((node, op.name, [i for i in inputs if not isinstance(i, int | float | tuple)]))
        return super().submit(op, inputs, node=node, size=size)


@pytest.mark.parametrize(
    ("attack", "knowledge", "exchange"),
    [
        ({"kind": "alie"}, "received", "plain"),
        ({"kind": "dissensus"}, "rushing", "plain"),
        ({"kind": "ipm"}, "rushing", "secure"),
        ({"kind": "alie"}, "omniscient", "secure"),
    ],
)
def test_attacks_use_nothing_but_their_transcript(
    attack: Any, knowledge: str, exchange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every vector used in what a Byzantine node sends was in a message to the coalition, or is its own model."""
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 2.0}
    changes = {} if exchange == "plain" else {"privacy": privacy}
    spy, shown_to_members = Spy(), set[int]()
    delivered = Adversary.observe

    def observe(self: Adversary, dst: int, delivery: Delivery) -> None:
        delivered(self, dst, delivery)
        if dst in (0, 5) and isinstance(delivery.message.release, Visible):
            shown_to_members.add(id(delivery.message.body))

    monkeypatch.setattr(Adversary, "observe", observe)
    run(gossip(attack, knowledge, exchange=exchange, **changes), tmp_path / "run", executor=spy)
    name = {"alie": "little", "ipm": "inner_product", "dissensus": "dissensus"}[attack["kind"]]
    used = [vectors for node, op, vectors in spy.used if op.startswith(name)]
    others = [v for vectors in used for v in vectors if id(v) not in shown_to_members]
    if exchange == "secure":
        assert shown_to_members == set()
        assert all(len(vectors) == 1 for vectors in used)  # the own model
    else:
        assert sum(map(len, used)) > 100
        assert len(others) <= 2 * 4  # of the first round, in which nothing has been seen


def test_the_latest_model_of_each_node_counts() -> None:
    def shows(src: int, round: int, state: int) -> Delivery:
        body = np.full(2, float(state))
        return Delivery(src, Message("model", round, body, 8, Visible(state)), 0.0, 0.0)

    masked = Delivery(4, Message("masked", 3, np.zeros(2), 8, None), 0.0, 0.0)
    known = Context(0, 0.0, seen=[shows(1, 1, 11), shows(2, 2, 12), shows(1, 2, 13), shows(9, 2, 14), masked])
    found = models_seen(known, byzantine={9})
    assert {src: model.state for src, model in found.items()} == {1: 13, 2: 12}
    assert all(isinstance(model, Model) for model in found.values())
    assert models_seen(Context(0, 0.0), byzantine=()) == {}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"attack": {"kind": "alie"}}, 'adversary.knowledge = "received" or more'),
        ({"attack": {"kind": "ipm", "factor": "search"}, "knowledge": "rushing"}, '"omniscient" or more'),
        ({"attack": {"kind": "backdoor", "boost": 2.0}}, '"received" or more'),
        ({"attack": {"kind": "label-flip"}, "byzantine": {"at": "1 s"}}, "for the whole run"),
        ({"attack": {"kind": "sign-flip"}, "byzantine": {"at": "2 s", "until": "1 s"}}, "later than at"),
        ({"attack": {"kind": "noise-free-rider"}}, "needs noise to leave out"),
        ({"attack": {"kind": "sign-flp"}}, "sign-flip"),
    ],
)
def test_what_makes_no_attack_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioErrors, match=said):
        gossip(**changes)
