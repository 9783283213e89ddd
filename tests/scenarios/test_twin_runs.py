"""Twin runs of everything there is: where the ledger charges nothing, nothing differs; broken ledgers are found."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.aggregation.gathering import Gathering
from protocols.privacy.lineage import PUBLIC, WIRE, Lineage, Share
from protocols.privacy.sessions import Session
from scenarios import run as runs
from scenarios.audits import twins
from scenarios.audits.twins import Comparison, compare
from scenarios.load import resolve
from scenarios.schema import Scenario
from tests.support.matrix import covering

VICTIM = 1
NODES = 7
POOLS = ((0, 2), (0, 3, 4), (2, 3, 4, 5, 6))

PROTOCOLS: dict[str, dict[str, Any]] = {
    "dsgd": {"kind": "dsgd", "timeout": "400 ms"},
    "dsgd, rare mixes": {"kind": "dsgd", "timeout": "400 ms", "mix_every": 2},
    "push": {"kind": "push", "period": "200 ms"},
    "pull": {"kind": "pull", "period": "200 ms"},
    "push-pull": {"kind": "push-pull", "period": "200 ms"},
    "ad-psgd": {"kind": "ad-psgd", "period": "100 ms", "timeout": "400 ms"},
    "push-sum": {"kind": "push-sum", "timeout": "400 ms"},
    "gradient-tracking": {"kind": "gradient-tracking", "timeout": "400 ms"},
    "fedavg": {"kind": "fedavg", "timeout": "400 ms"},
    "hierarchical-fedavg": {"kind": "hierarchical-fedavg", "timeout": "400 ms"},
}
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "masks": {"kind": "masks"},
    "rerun": {"kind": "masks", "on_dropout": "rerun"},
    "recover": {"kind": "masks", "on_dropout": "recover"},
    "verified": {"kind": "masks", "on_dropout": "recover", "verifiable": True},
    "sharing": {"kind": "sharing"},
    "sparse, random": {"kind": "sparse", "fraction": 0.6},
    "sparse, largest": {"kind": "sparse", "fraction": 0.6, "choice": "largest"},
    "bonawitz": {"kind": "bonawitz"},
    "active": {"kind": "bonawitz", "active": True},
    "secagg+": {"kind": "secagg+", "security_bits": 2, "correctness_bits": 2},
    "lightsecagg": {"kind": "lightsecagg"},
    "trusted": {"kind": "trusted"},
    "correlated": {"kind": "correlated"},
}
FAULTS: dict[str, dict[str, Any]] = {
    "calm": {},
    "loss": {"network": {"loss": 0.04}},
    "copies": {"network": {"duplication": 0.3}},
    "outage": {"fault": [{"kind": "outage", "node": 3, "down_at": "130 ms", "up_at": "350 ms"}]},
    "victim away": {"fault": [{"kind": "outage", "node": VICTIM, "down_at": "230 ms", "up_at": "500 ms"}]},
    "gone": {"fault": [{"kind": "outage", "node": 2, "down_at": "160 ms"}]},
    "lost disk": {
        "fault": [
            {"kind": "outage", "node": VICTIM, "down_at": "140 ms", "up_at": "200 ms", "keeps_disk": False}
        ]
    },
    "late": {"fault": [{"kind": "arrival", "node": 4, "at": "150 ms"}]},
    "stopped": {"stop_after": "330 ms"},
    "partition": {
        "fault": [
            {"kind": "partition", "groups": [[0, 1, 2], [3, 4, 5, 6]], "at": "60 ms", "until": "300 ms"}
        ]
    },
    "byzantine": {"adversary": {"byzantine": {"nodes": [5], "attack": {"kind": "sign-flip"}}}},
    "tapped": {"adversary": {"wiretap": {"links": "all"}, "encrypted": False}, "network": {"loss": 0.04}},
    "tapped, encrypted": {"adversary": {"wiretap": {"links": "all"}, "encrypted": True}},
}
MECHANISMS: dict[str, dict[str, Any]] = {
    "pairs": {"privacy": {"correlated": {"kind": "pairs", "multiplier": 3.0}}},
    "zero-sum": {"privacy": {"correlated": {"kind": "zero-sum", "multiplier": 3.0}}},
    "bands": {"privacy": {"bands": 3}},
    "record": {"privacy": {"unit": "record"}},
    "budget": {"privacy": {"budget": 7.0}},
    "budget of the run": {"privacy": {"budget": 7.0, "when_spent": "run"}},
    "batches": {"privacy": {"unit": "record"}, "training": {"batch": 4, "local_steps": 2}},
    "momentum": {"training": {"optimizer": {"kind": "momentum"}, "local_steps": 2}},
    "robust": {"protocol": {"robust": {"kind": "trimmed-mean", "f": 1}}},
}


def scenario(protocol: dict[str, Any], **changes: Any) -> Scenario:
    """Seven nodes and four rounds."""
    kind = protocol["kind"]
    star, tree = kind == "fedavg", kind == "hierarchical-fedavg"
    topology: dict[str, Any] = {"kind": "regular", "nodes": NODES, "degree": 4}
    if star:
        topology = {"kind": "star", "nodes": NODES}
    if tree:
        topology = {"kind": "tree", "branching": 2, "height": 2}
    tables: dict[str, Any] = {
        "format": 1,
        "name": "twins",
        "seed": 3,
        "topology": topology,
        "network": {"latency": {"kind": "uniform", "low": "20 ms", "high": "40 ms"}},
        "data": {"kind": "blobs", "samples": 140, "features": 6, "classes": 2},
        "partition": {"kind": "iid", "min_samples": 2},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "divisor": 20, "step_cost": "50 ms"},
        "protocol": {"rounds": 4, "exchange": "ldp"} | protocol,
        "privacy": {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 1.0},
        "evaluation": {"every": "1000 s"},
    }
    for name, table in changes.items():
        known = tables.get(name)
        merges = isinstance(known, dict) and table.get("kind", known.get("kind")) == known.get("kind")
        tables[name] = known | table if merges else table
    return resolve(tables)


def secure(aggregation: dict[str, Any], federated: bool = False, crypto: str = "ideal") -> dict[str, Any]:
    """Changes that make sums secure."""
    kind = "fedavg" if federated else "dsgd"
    dropouts = 2 if federated else 1
    return {
        "protocol": {"kind": kind, "exchange": "secure", "timeout": "400 ms"}
        | ({"inner_train": False} if federated else {}),
        "secure": {"aggregation": aggregation, "crypto": crypto, "tolerated_dropouts": dropouts},
    }


def compared(made: Scenario) -> Comparison:
    """The law on a scenario, with single nodes, pools, and the wire alone and pooled with each node."""
    tapped = made.adversary.wiretap is not None
    wires = [(WIRE,), *((WIRE, node) for node in range(NODES))] if tapped else []
    pools = [*POOLS, (PUBLIC,)] if made.protocol.exchange == "secure" else POOLS
    return compare(made, VICTIM, Path(), [*pools, *wires])


def broken(made: Scenario) -> list[str]:
    """What breaks the law, in runs that do differ."""
    found = compared(made)
    assert found.messages > 0
    assert found.differing > 0
    return found.broken


@pytest.mark.parametrize(
    ("fault", "protocol"),
    covering(product(FAULTS, PROTOCOLS), lambda case: case[0] == "calm" or case[1] == "dsgd"),
)
def test_what_is_not_charged_is_the_same(protocol: str, fault: str) -> None:
    assert broken(scenario(PROTOCOLS[protocol], **FAULTS[fault])) == []


def with_sums(name: str, federated: bool, fault: str, crypto: str = "ideal") -> Scenario:
    changes = secure(AGGREGATIONS[name], federated, crypto)
    protocol = changes.pop("protocol")
    for key, table in FAULTS[fault].items():
        changes[key] = table
    return scenario(protocol, **changes)


SECURE = [(name, False) for name in AGGREGATIONS] + [
    (name, True) for name in AGGREGATIONS if not name.startswith("sparse")
]


QUICK = [
    *(("loss", name, False) for name in AGGREGATIONS),
    *(("tapped", name, False) for name in ("masks", "recover", "lightsecagg")),
    *(("loss", name, True) for name in ("masks", "secagg+", "correlated")),
]
"""Sums of the short tests."""


@pytest.mark.parametrize(
    ("fault", "name", "federated"),
    covering([(fault, *sums) for fault in FAULTS for sums in SECURE], QUICK),
)
def test_sums_say_nothing_before_they_are_charged(name: str, federated: bool, fault: str) -> None:
    found = compared(with_sums(name, federated, fault))
    assert found.messages > 0
    assert found.broken == []
    assert found.differing > 0 or fault in ("stopped", "gone", "victim away")  # too early, or no sum opened


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in AGGREGATIONS if name not in ("sharing", "verified")])
def test_real_masks_say_no_more_than_ideal_ones(name: str) -> None:
    """Real bodies are ciphertext, and hidden by what they carry; whatever carries nothing is the same."""
    assert broken(with_sums(name, False, "calm", "real")) == []


@pytest.mark.parametrize(
    "mechanism", covering(MECHANISMS, {"pairs", "zero-sum", "bands", "record", "budget", "robust"})
)
def test_other_mechanisms_say_nothing_before_they_are_charged(mechanism: str) -> None:
    protocol = PROTOCOLS["dsgd"] | MECHANISMS[mechanism].get("protocol", {})
    changes = {key: table for key, table in MECHANISMS[mechanism].items() if key != "protocol"}
    assert broken(scenario(protocol, **changes, **FAULTS["loss"])) == []


@pytest.mark.parametrize(
    ("law", "surplus"),
    [("gaussian", "keep"), ("skellam", "keep"), ("discrete-gaussian", "keep"), ("skellam", "remove")],
)
def test_noise_in_sums_says_nothing_before_it_is_charged(law: str, surplus: str) -> None:
    changes = secure(AGGREGATIONS["bonawitz"], federated=True)
    protocol = changes.pop("protocol")
    changes["privacy"] = {"law": law, "noise": "sum", "surplus": surplus}
    assert broken(scenario(protocol, **changes, **FAULTS["loss"])) == []


# ---------------------------------------------------------------- broken on purpose


def test_a_checkpoint_before_the_end_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = scenario(PROTOCOLS["dsgd"] | {"rounds": 1})
    monkeypatch.setattr(runs, "record_end_s", lambda entries, end_s: float(np.nextafter(end_s, 0.0)))
    assert any("later than the last claim" in line for line in broken(made))


def test_an_end_before_others_have_finished_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fault = [{"kind": "arrival", "node": 4, "at": "3 s"}]
    made = scenario(PROTOCOLS["push"], fault=fault, stop_after="3500 ms")
    assert broken(made) == []
    monkeypatch.setattr(runs, "record_end_s", lambda entries, end_s: end_s)
    monkeypatch.setattr(twins, "end_of", lambda ending, finished_s: max(finished_s.values()))
    assert any("later than the last claim" in line for line in broken(made))


def test_a_relay_that_is_not_charged_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    same = Gathering.same
    monkeypatch.setattr(
        Gathering,
        "same",
        lambda self, payload, size, members, release=None: same(self, payload, size, members),
    )
    found = broken(with_sums("sparse, largest", False, "calm"))
    assert any("'agreed'" in line and "carry no release" in line for line in found)


def test_noise_that_is_used_twice_unsaid_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = scenario(PROTOCOLS["dsgd"], **FAULTS["lost disk"])
    assert broken(made) == []
    monkeypatch.setattr(Lineage, "begin", lambda self, t_s, node, round: None)
    assert any("the record does not say so" in line for line in broken(made))


def test_a_refusal_that_depends_on_a_vector_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges that leave no room for noise: whether a member is in range is a function of its data."""
    from scenarios.assembly import secure as build_secure

    made = with_sums("masks", False, "calm")
    monkeypatch.setattr(build_secure, "codec_for", narrowed(build_secure.codec_for))
    found = broken(made)
    assert any("'refuse'" in line and "carry no release" in line for line in found)


def narrowed(codec_for: Any) -> Any:
    return lambda bound, *rest: codec_for(0.05, *rest)


def test_pools_that_are_not_joined_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wire that counts for itself: what it read of a sum is not put together with what its accomplice got."""
    links = [[src, dst] for src in (1, 2, 3) for dst in range(NODES) if src != dst]
    changes = secure(AGGREGATIONS["masks"])
    made = scenario(
        changes.pop("protocol"),
        **changes,
        seed=3,
        topology={"kind": "complete", "nodes": NODES},
        network={"loss": 0.06},
        adversary={"wiretap": {"links": links}, "encrypted": False},
    )
    assert broken(made) == []
    share = Lineage._share

    def apart(self: Lineage, t_s: float, observer: int, round: int, tag: Share) -> None:
        if observer != WIRE:
            share(self, t_s, observer, round, tag)

    monkeypatch.setattr(Lineage, "_share", apart)
    assert any("wire," in line and "never" in line for line in broken(made))


def test_answers_of_a_threshold_that_are_not_joined_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    made = with_sums("recover", False, "tapped")
    seen_by = Session.seen_by
    monkeypatch.setattr(Session, "seen_by", lambda self, coalition, wire=False: seen_by(self, coalition))
    overheard = Lineage.overheard
    monkeypatch.setattr(Lineage, "overheard", lambda self, t_s, round, tag: overheard(self, t_s, round, None))
    assert any("wire" in line for line in broken(made))
