"""Secure sums in whole runs: on virtual time and on sockets, with real and with ideal cryptography."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from scenarios.load import resolve
from scenarios.run import run
from tests.support.matrix import covering

AGGREGATIONS: dict[str, dict[str, Any]] = {
    "masks": {"kind": "masks"},
    "rerun": {"kind": "masks", "on_dropout": "rerun"},
    "recover": {"kind": "masks", "on_dropout": "recover"},
    "verifiable": {"kind": "masks", "on_dropout": "recover", "verifiable": True},
    "bonawitz": {"kind": "bonawitz"},
    "active": {"kind": "bonawitz", "active": True, "verifiable": True},
    "secagg+": {"kind": "secagg+", "security_bits": 4, "correctness_bits": 4},
    "sharing": {"kind": "sharing"},
    "packed": {"kind": "sharing", "packing": 2, "field": "2^61-1"},
    "light": {"kind": "lightsecagg"},
    "trusted": {"kind": "trusted"},
    "correlated": {"kind": "correlated"},
}
SOMETIMES_AWAY = {
    "kind": "sessions",
    "nodes": [1, 2, 3],
    "up": {"kind": "exponential", "mean": "4 s"},
    "down": {"kind": "exponential", "mean": "1 s"},
    "stationary": True,
}


def scenario(aggregation: dict[str, Any], crypto: str = "real", **changes: Any) -> Any:
    return resolve(
        {
            "format": 1,
            "name": "sums",
            "topology": {"kind": "star", "nodes": 10},
            "network": {
                "latency": {"kind": "lognormal", "median": "50 ms", "sigma": 0.4},
                "uplink": "10 Mbit/s",
            },
            "data": {"kind": "blobs", "samples": 300, "features": 20, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 30, "step_cost": "20 ms"},
            "protocol": {
                "kind": "fedavg",
                "rounds": 4,
                "exchange": "secure",
                "inner_train": False,
                "timeout": "2 s",
            },
            "secure": {"aggregation": aggregation, "crypto": crypto, "tolerated_dropouts": 3},
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "noise_multiplier": 1.0,
                "observers": [[0]],
            },
        }
        | changes
    )


@pytest.mark.parametrize(
    ("name", "faults"),
    covering(
        product(AGGREGATIONS, [[], [SOMETIMES_AWAY]]),
        lambda case: case[0] in ("recover", "packed") if case[1] else case[0] != "active",
    ),
    ids=[f"{faults}-{name}" for name, faults in product(AGGREGATIONS, ["calm", "churn"])],
)
def test_ideal_cryptography_changes_nothing_but_the_work(
    name: str, faults: list[Any], tmp_path: Path
) -> None:
    """Same trace, same accuracy to the last bit, same sums, same claims, whoever is away."""
    found = {
        crypto: run(scenario(AGGREGATIONS[name], crypto, fault=faults), tmp_path / crypto)
        for crypto in ("real", "ideal")
    }
    for summary in found.values():
        assert summary.pop("wall_s") > 0
    assert found["real"] == found["ideal"]
    assert found["real"]["sums_opened"] > 0
    if not faults:
        assert found["real"]["sums_opened"] == 4
    tables = [pl.read_parquet(tmp_path / crypto / "releases.parquet") for crypto in found]
    assert tables[0].equals(tables[1])


@pytest.mark.parametrize(
    "name",
    covering(["recover", "active", "secagg+", "packed", "light", "correlated"], {"secagg+", "light"}),
)
def test_sums_open_on_sockets_as_on_virtual_time(name: str, tmp_path: Path) -> None:
    """Nobody waits for a time-out when all is calm, so a long one keeps what a slow machine does out of the sums."""
    made = scenario(AGGREGATIONS[name], evaluation={"every": "100 ms"})
    made = made.model_copy(update={"protocol": made.protocol.model_copy(update={"timeout": 600.0})})
    live, simulated = (run(made, tmp_path / str(is_live), live=is_live) for is_live in (True, False))
    assert live["status"] == simulated["status"] == "finished"
    assert live["sums_opened"] == simulated["sums_opened"] == 4
    kinds = [
        pl.read_parquet(tmp_path / str(is_live) / "messages.parquet")["kind"].value_counts().sort("kind")
        for is_live in (True, False)
    ]
    assert kinds[0].equals(kinds[1])
    assert live["epsilon_worst"] == pytest.approx(simulated["epsilon_worst"], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "message", "noticed"),
    [("masks", "masked", 0), ("recover", "masked", 0), ("sharing", "summed", 4)],
)
def test_numbers_changed_on_the_way(name: str, message: str, noticed: int, tmp_path: Path) -> None:
    """A wrong vector is a claim like any other; a wrong share among right ones is found and left out.

    What is no element of the field any more is refused for its form.
    """
    tamper = {"kind": "alter", "nodes": [1], "messages": [message], "add": 2**20}
    calm = run(scenario(AGGREGATIONS[name]), tmp_path / "calm")
    told = run(scenario(AGGREGATIONS[name], adversary={"tamper": [tamper]}), tmp_path / "told")
    assert told["sums_opened"] == 4
    assert told["wrong_shares"] + told["malformed"] == noticed
    assert (told["loss_mean"] == calm["loss_mean"]) is bool(noticed)


def test_clients_that_come_and_go_for_ever_do_not_keep_a_run_alive(tmp_path: Path) -> None:
    """Lives are shorter than a client waits for a server that is silent, so waiting must outlast lives."""
    restless = SOMETIMES_AWAY | {"nodes": list(range(1, 10))}
    summary = run(scenario({"kind": "trusted"}, "ideal", fault=[restless]), tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["simulated_s"] < 600
