"""Robust rules in whole runs: what they save from attacks, what they cost, and where they are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from protocols.gossip.robust_mix import compared
from protocols.learning.executor import BatchedExecutor
from protocols.privacy.lineage import Visible
from protocols.robust import rules
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from scenarios.runs.recorder import Recorder
from simulator.adversary.coalition import Adversary
from simulator.contract.node import Delivery
from tests.support.matrix import covering

RULES: dict[str, dict[str, Any]] = {
    "median": {"kind": "median"},
    "trimmed mean": {"kind": "trimmed-mean", "f": 2},
    "trimmed mean, mixed": {"kind": "trimmed-mean", "f": 2, "before": "nearest-mixing"},
    "krum of pairs": {"kind": "krum", "f": 2, "before": "bucketing"},
    "median of few steps": {"kind": "geometric-median", "steps": 30},
    "around the median": {"kind": "mean-around-median", "f": 2, "before": "adaptive-clipping"},
    "krum": {"kind": "krum", "f": 2},
    "multi-krum": {"kind": "krum", "f": 2, "chosen": 3, "scores": "others"},
    "geometric median": {"kind": "geometric-median"},
    "minimum diameter": {"kind": "minimum-diameter", "f": 2},
    "nearest": {"kind": "nearest", "f": 2},
    "centred clipping": {"kind": "centred-clipping", "radius": 0.3},
    "clipped gossip": {"kind": "clipped-gossip", "radius": 0.3},
    "clipped gossip, oracle": {"kind": "clipped-gossip", "radius": "oracle"},
    "clipped gossip of He": {"kind": "clipped-gossip-he", "budget": "20 %"},
    "cs+": {"kind": "cs-plus", "budget": "20 %"},
    "gts": {"kind": "gts", "budget": "20 %"},
    "ios": {"kind": "ios", "f": 2},
    "remove furthest": {"kind": "remove-furthest", "f": 2},
    "ubar": {"kind": "ubar", "keep": "50 %"},
}


def gossip(robust: Any = None, attacked: bool = True, exchange: str = "plain", **changes: Any) -> Any:
    protocol: dict[str, Any] = {"kind": "dsgd", "rounds": 25, "exchange": exchange, "timeout": "2 s"}
    if robust is not None:
        protocol["robust"] = robust
    adversary = (
        {"byzantine": {"nodes": [0, 5], "attack": {"kind": "sign-flip", "scale": 10.0}}} if attacked else {}
    )
    return resolve(
        {
            "format": 1,
            "name": "robust",
            "topology": {"kind": "complete", "nodes": 10},
            "network": {"latency": {"kind": "constant", "value": "50 ms"}, "uplink": "10 Mbit/s"},
            "data": {"kind": "blobs", "samples": 1200, "features": 8, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 100, "step_cost": "20 ms"},
            "protocol": protocol,
            "adversary": adversary,
        }
        | changes
    )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, float]:
    folder = tmp_path_factory.mktemp("plain")
    return {
        attacked: run(gossip(attacked=attacked), folder / str(attacked))["accuracy_worst"]
        for attacked in (False, True)
    }


@pytest.mark.parametrize(
    "name",
    covering(RULES, {"median", "krum of pairs"}),
)
def test_a_rule_learns_where_an_average_fails(name: str, plain: dict[bool, float], tmp_path: Path) -> None:
    """Two of ten nodes send ten times the negative of their models."""
    assert plain[False] > 0.85
    assert plain[True] < 0.5
    summary = run(gossip(RULES[name]), tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["accuracy_worst"] > plain[False] - 0.08


@pytest.mark.parametrize(
    ("rule", "trains"),
    [
        ({"kind": "median"}, False),
        ({"kind": "trimmed-mean", "f": 2}, True),
        ({"kind": "krum", "f": 2, "chosen": 3}, False),
        ({"kind": "clipped-gossip", "radius": 0.3}, True),
    ],
)
@pytest.mark.parametrize(
    "attack",
    covering(
        [{"kind": "sign-flip", "scale": 10.0}, {"kind": "not-finite"}], lambda attack: "scale" not in attack
    ),
)
def test_servers_compare_results(rule: Any, trains: bool, attack: Any, tmp_path: Path) -> None:
    served: dict[str, Any] = {"kind": "fedavg", "rounds": 25, "exchange": "plain", "inner_train": trains}
    attacked = {"byzantine": {"nodes": [3, 5], "attack": attack}}
    star = {"kind": "star", "nodes": 10}

    def accuracy(name: str, adversary: Any, robust: Any) -> float:
        protocol = served | ({} if robust is None else {"robust": robust})
        made = gossip(protocol=protocol, topology=star, adversary=adversary)
        return float(run(made, tmp_path / name)["accuracy_worst"])

    peace = accuracy("peace", {}, None)
    assert accuracy("ruined", attacked, None) < 0.5 < peace
    assert accuracy("kept", attacked, rule) > peace - 0.08


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (
            {"robust": {"kind": "gts", "budget": 0.2}, "inner_train": False},
            "a server that does not train has none",
        ),
        ({"robust": {"kind": "ubar"}}, "a server averages for others"),
        ({"robust": {"kind": "krum", "f": 9}}, "needs 12 models, and the server compares 10"),
        ({"robust": {"kind": "median"}, "exchange": "secure"}, "a server opens only their sum"),
    ],
)
def test_what_servers_cannot_compare_is_refused(served: Any, said: str) -> None:
    protocol = {"kind": "fedavg", "rounds": 5, "exchange": "plain"} | served
    changes: dict[str, Any] = {}
    if protocol["exchange"] == "secure":
        changes["privacy"] = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 1.0}
    with pytest.raises(ScenarioErrors, match=said):
        gossip(protocol=protocol, topology={"kind": "star", "nodes": 10}, attacked=False, **changes)


def test_the_second_largest_distance_withstands_one_byzantine_node_and_no_more(tmp_path: Path) -> None:
    """With two Byzantine neighbours of each node the radius is one of theirs, and nothing is cut, as published."""
    rule, found = {"kind": "clipped-gossip", "radius": "adaptive"}, {}
    for count in (1, 2):
        byzantine = {"nodes": [0, 5][:count], "attack": {"kind": "sign-flip", "scale": 10.0}}
        found[count] = run(gossip(rule, adversary={"byzantine": byzantine}), tmp_path / str(count))
    assert found[1]["accuracy_worst"] > 0.85
    assert found[2]["accuracy_worst"] < 0.5


def test_a_model_that_is_no_number_is_not_compared() -> None:
    own, other = np.ones(3, np.float32), np.full(3, 2.0, np.float32)
    for wrong in (np.nan, np.inf, -np.inf):
        broken = np.array([wrong, 0.0, 0.0], np.float32)
        fn = compared(lambda heard: rules.mean(heard.models), lambda *_: np.zeros(3))
        bank = (np.zeros((1, 1)),) * 3
        found = fn(own, other, broken, np.ones(3), np.ones(3), np.ones(3), 0, *bank)
        np.testing.assert_allclose(found, [4 / 3] * 3)


def test_what_is_compared_is_no_linear_function_for_the_ledger(tmp_path: Path) -> None:
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 5.0}
    run(gossip(RULES["median"], exchange="ldp", privacy=privacy), tmp_path / "run")
    table = pl.read_parquet(tmp_path / "run" / "privacy.parquet")
    last = table.filter(pl.col("t_s") == table["t_s"].max())
    assert set(last["basis"]) == {"certified", "ldp-fallback"}


def test_too_few_models_leave_a_node_its_own(tmp_path: Path) -> None:
    """Five of ten nodes are down from the start, and a rule for nine models cannot work with five."""
    fault = [{"kind": "outage", "nodes": [5, 6, 7, 8, 9], "down_at": "10 ms"}]
    protocol: dict[str, Any] = {"kind": "dsgd", "rounds": 5, "exchange": "plain", "timeout": "200 ms"}
    made = gossip(
        None, attacked=False, fault=fault, protocol=protocol | {"robust": {"kind": "trimmed-mean", "f": 4}}
    )
    summary = run(made, tmp_path / "run")
    alone = run(
        gossip(None, attacked=False, protocol={"kind": "local", "rounds": 5, "exchange": "plain"}),
        tmp_path / "x",
    )
    assert summary["status"] == "finished"
    assert summary["consensus_distance"] == pytest.approx(alone["consensus_distance"], rel=0.5)


@pytest.mark.parametrize(
    ("robust", "changes", "said"),
    [
        ({"kind": "median"}, {"exchange": "secure", "privacy": {}}, "secure sums hide"),
        ({"kind": "trimmed-mean", "f": 5}, {}, "needs 11 models"),
        ({"kind": "krum", "f": 8}, {}, "needs 11 models"),
        ({"kind": "ios", "f": 9}, {}, "needs 11 models"),
        ({"kind": "trimmed-mean", "f": 3, "before": "bucketing"}, {}, "needs 13 models"),
        ({"kind": "ubar"}, {"exchange": "ldp", "privacy": {}}, "by the node's own samples"),
    ],
)
def test_where_rules_are_refused(robust: Any, changes: dict[str, Any], said: str) -> None:
    if changes:
        changes = changes | {
            "privacy": {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 1.0}
        }
    with pytest.raises(ScenarioErrors, match=said):
        gossip(robust, **changes)


class Spy(BatchedExecutor):
    """Notes what goes into every mix, and what every node computes itself."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[tuple[int, list[Any]]] = []
        self.made: dict[int, set[int]] = {}
        self.kept: list[Any] = []

    def submit(self, op: Any, inputs: Any, *, node: int, size: int) -> Any:
        if op.name.startswith("robust mix"):
            self.mixed.append((node, [i for i in inputs if not isinstance(i, int | float | tuple)]))
        handle = super().submit(op, inputs, node=node, size=size)
        self.made.setdefault(node, set()).add(id(handle))
        self.kept.append(handle)  # so that no other gets its number
        return handle


@pytest.mark.parametrize("exchange", ["plain", "secure"])
def test_rules_compare_nothing_but_what_their_node_was_shown(
    exchange: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Models in messages to it; behind secure sums, sums that it opened."""
    spy, shown, opened = Spy(), dict[int, set[int]](), dict[int, list[Any]]()
    observed, recorded = Adversary.observe, Recorder.record

    def observe(self: Adversary, dst: int, delivery: Delivery) -> None:
        observed(self, dst, delivery)
        if isinstance(delivery.message.release, Visible):
            shown.setdefault(dst, set()).add(id(delivery.message.body))

    def record(self: Recorder, t_s: float, node: int, kind: str, fields: Any) -> None:
        recorded(self, t_s, node, kind, fields)
        if kind == "opened":
            opened.setdefault(node, []).append(fields["value"])

    monkeypatch.setattr(Adversary, "observe", observe)
    monkeypatch.setattr(Recorder, "record", record)
    changes: dict[str, Any] = {"adversary": {"curious": {"nodes": list(range(9))}}}
    if exchange == "secure":
        changes["secure"] = {"buckets": 3, "tolerated_dropouts": 0, "crypto": "ideal"}
        changes["privacy"] = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 0.1}
        changes["privacy"]["noise"] = "member"
    run(gossip({"kind": "median"}, exchange=exchange, **changes), tmp_path / "run", executor=spy)
    assert len(spy.mixed) == 10 * 25
    for node, (own, *others) in spy.mixed:
        assert id(own) in spy.made[node]
        if node == 9:
            continue  # at least one node must be neither Byzantine nor curious
        if exchange == "plain":
            assert len(others) == 9
            assert {id(other) for other in others} <= shown[node]
        else:
            assert len(others) == 3
            for other in others:
                scales = [float(value @ other) / float(value @ value) for value in opened[node]]
                apart = [np.abs(other - k * v).max() for k, v in zip(scales, opened[node], strict=True)]
                assert min(apart) < 1e-4 * np.abs(other).max() + 1e-7
    if exchange == "secure":
        assert shown == {}
