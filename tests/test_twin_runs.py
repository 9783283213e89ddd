"""Twin runs of everything there is: where the ledger charges nothing, nothing differs; broken ledgers are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from protocols.privacy.lineage import WIRE
from scenarios.load import resolve
from scenarios.schema import Scenario
from scenarios.twins import differences

VICTIM = 1
NODES = 7
SETS = ((0, 2), (0, 3, 4), (2, 3, 4, 5, 6))

PROTOCOLS: dict[str, dict[str, Any]] = {
    "dsgd": {"kind": "dsgd", "timeout": "400 ms"},
    "dsgd, rare mixes": {"kind": "dsgd", "timeout": "400 ms", "mix_every": 2},
    "push": {"kind": "push", "period": "200 ms"},
    "pull": {"kind": "pull", "period": "200 ms"},
    "push-pull": {"kind": "push-pull", "period": "200 ms"},
    "ad-psgd": {"kind": "ad-psgd", "period": "200 ms", "timeout": "400 ms"},
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
    "loss": {"network": {"loss": 0.15}},
    "copies": {"network": {"duplication": 0.3}},
    "outage": {"fault": [{"kind": "outage", "node": 3, "down_at": "130 ms", "up_at": "700 ms"}]},
    "victim away": {"fault": [{"kind": "outage", "node": VICTIM, "down_at": "230 ms", "up_at": "900 ms"}]},
    "gone": {"fault": [{"kind": "outage", "node": 2, "down_at": "160 ms"}]},
    "lost disk": {
        "fault": [
            {"kind": "outage", "node": VICTIM, "down_at": "330 ms", "up_at": "600 ms", "keeps_disk": False}
        ]
    },
    "late": {"fault": [{"kind": "arrival", "node": 4, "at": "300 ms"}]},
    "stopped": {"stop_after": "350 ms"},
    "partition": {
        "fault": [
            {"kind": "partition", "groups": [[0, 1, 2], [3, 4, 5, 6]], "at": "150 ms", "until": "600 ms"}
        ]
    },
    "byzantine": {"adversary": {"byzantine": {"nodes": [5], "attack": {"kind": "sign-flip"}}}},
    "tapped": {"adversary": {"wiretap": {"links": "all"}, "encrypted": False}, "network": {"loss": 0.15}},
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
    """Seven nodes and three rounds."""
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
        "protocol": {"rounds": 3, "exchange": "ldp"} | protocol,
        "privacy": {"unit": "node", "adjacency": "replace", "clip": 1.0, "noise_multiplier": 1.0},
        "evaluation": {"every": "1000 s"},
    }
    for name, table in changes.items():
        known = tables.get(name)
        tables[name] = known | table if isinstance(known, dict) else table
    return resolve(tables)


def secure(aggregation: dict[str, Any], federated: bool = False, crypto: str = "ideal") -> dict[str, Any]:
    """Changes that make sums secure."""
    kind = "fedavg" if federated else "dsgd"
    dropouts = 2 if federated else 1
    return {
        "protocol": {"kind": kind, "exchange": "secure", "timeout": "400 ms", "rounds": 3}
        | ({"inner_train": False} if federated else {}),
        "secure": {"aggregation": aggregation, "crypto": crypto, "tolerated_dropouts": dropouts},
    }


def broken(made: Scenario, *sets: tuple[int, ...]) -> list[str]:
    """What the law finds."""
    tapped = made.adversary.wiretap is not None
    wires = [(WIRE,), *((WIRE, node) for node in range(NODES))] if tapped else []
    table = made.adversary.byzantine
    byzantine = frozenset(table.nodes or ()) if table is not None else frozenset()
    return differences(made, VICTIM, Path(), [*SETS, *wires, *sets], byzantine)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", ["calm", "loss", "outage"])
def test_what_is_not_charged_is_the_same(protocol: str, fault: str) -> None:
    assert broken(scenario(PROTOCOLS[protocol], **FAULTS[fault])) == []


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("calm", "loss", "outage")])
def test_what_is_not_charged_is_the_same_under_all_faults(protocol: str, fault: str) -> None:
    assert broken(scenario(PROTOCOLS[protocol], **FAULTS[fault])) == []
