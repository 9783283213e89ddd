"""Protocols, aggregations and correlated noise as kinds: what they say about themselves holds in runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from scenarios.checks.faults import messages
from scenarios.checks.single_tables import own_problems
from scenarios.kinds.aggregations import Aggregation
from scenarios.kinds.privacy import CorrelatedNoise
from scenarios.kinds.protocols import Protocol
from scenarios.load import ScenarioErrors, resolve
from scenarios.run import run
from scenarios.schema import Scenario

STAR = {"kind": "star", "nodes": 7}
DENSE = {"kind": "complete", "nodes": 6}
PROTOCOLS: dict[str, dict[str, Any]] = {
    "dsgd": {},
    "push": {},
    "pull": {},
    "push-pull": {},
    "ad-psgd": {},
    "push-sum": {},
    "gradient-tracking": {},
    "fedavg": {"topology": STAR},
    "hierarchical-fedavg": {"topology": {"kind": "tree", "branching": 2, "height": 2}},
    "local": {},
    "centralised": {"exchange": "plain"},
    "groups": {"exchange": "secure"},
}
AGGREGATIONS: dict[str, list[dict[str, Any]]] = {
    "masks": [{}, {"on_dropout": "recover", "verifiable": True}],
    "sharing": [{}],
    "sparse": [{}],
    "bonawitz": [{}, {"active": True}],
    "secagg+": [{}],
    "lightsecagg": [{}],
    "trusted": [{}],
    "correlated": [{}],
}


def raw(kind: str, exchange: str = "ldp", **tables: Any) -> dict[str, Any]:
    plain = exchange == "plain"
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise_multiplier": 1.0}
    return {
        "format": 1,
        "name": "kinds",
        "topology": DENSE,
        "network": {"latency": {"kind": "constant", "value": "10 ms"}},
        "data": {"kind": "blobs", "samples": 120, "features": 4, "classes": 3},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "divisor": 20},
        "protocol": {"kind": kind, "rounds": 2, "exchange": exchange},
        **({} if plain else {"privacy": privacy}),
    } | tables


def sent(scenario: Scenario, folder: Path) -> set[str]:
    run(scenario, folder)
    return set(pl.read_parquet(folder / "messages.parquet")["kind"])


def test_every_kind_is_tried_here() -> None:
    assert PROTOCOLS.keys() == Protocol.kinds().keys()
    assert AGGREGATIONS.keys() == Aggregation.kinds().keys()


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_a_protocol_sends_the_messages_that_it_names(kind: str, tmp_path: Path) -> None:
    tables = dict(PROTOCOLS[kind])
    if kind == "groups":  # its models are never sent in the clear
        schedule = {"kind": "random", "size": 3}
        tables |= {"protocol": {"kind": kind, "rounds": 2, "exchange": "secure", "schedule": schedule}}
        tables |= {"secure": {"crypto": "ideal", "tolerated_dropouts": 0}}
    scenario = resolve(raw(kind, **tables))
    found = sent(scenario, tmp_path / "run")
    if kind == "groups":
        assert found == {"key", "hello", "list", "masked", "mean", "pace"}
        assert found <= set(messages(scenario))
    else:
        assert found == set(scenario.protocol.messages)


@pytest.mark.parametrize(
    ("protocol", "kind", "keys"),
    [
        (protocol, kind, keys)
        for protocol in ("dsgd", "fedavg")
        for kind, variants in AGGREGATIONS.items()
        for keys in variants
        if (protocol, kind) != ("fedavg", "sparse")  # a server has no sparsified sums
    ],
)
def test_sums_are_made_of_the_messages_that_checks_expect(
    protocol: str, kind: str, keys: dict[str, Any], tmp_path: Path
) -> None:
    secure = {"aggregation": {"kind": kind, **keys}, "crypto": "ideal"}
    topology = STAR if protocol == "fedavg" else DENSE
    scenario = resolve(raw(protocol, "secure", secure=secure, topology=topology))
    assert scenario.secure is not None
    found = sent(scenario, tmp_path / "run")
    assert found <= set(messages(scenario))
    only_when_it_fails = {"refuse", "surplus", "seeds"}
    assert found >= set(scenario.secure.aggregation.messages) - only_when_it_fails


@pytest.mark.parametrize("kind", CorrelatedNoise.kinds())
def test_correlated_noise_sends_the_messages_that_it_names(kind: str, tmp_path: Path) -> None:
    privacy = raw("dsgd")["privacy"] | {"correlated": {"kind": kind, "multiplier": 2.0}}
    scenario = resolve(raw("dsgd", privacy=privacy))
    assert scenario.privacy is not None
    assert scenario.privacy.correlated is not None
    own = set(scenario.privacy.correlated.messages)
    assert sent(scenario, tmp_path / "run") == {"model"} | own


def test_problems_of_nested_tables_have_the_key_of_the_file() -> None:
    secure = {"aggregation": {"kind": "masks", "threshold": 0.5}, "modulus_bits": 26}
    with pytest.raises(ScenarioErrors) as refused:
        resolve(
            raw(
                "dsgd",
                "secure",
                secure=secure,
                protocol={"kind": "dsgd", "rounds": 2, "mix_every": 3, "exchange": "secure"},
            )
        )
    assert [problem.key for problem in refused.value.problems] == [
        "protocol.mix_every",
        "secure.aggregation.threshold",
    ]


def test_tables_in_lists_are_asked_too() -> None:
    class Complaining(Scenario):
        def problems(self) -> Any:
            yield ("name",), "no"

    inner = Complaining.model_validate(raw("push"))
    found = list(own_problems({"one": inner, "many": (inner, 3, inner), "none": None}))
    assert [key for key, _ in found] == [("one", "name"), ("many", 0, "name"), ("many", 2, "name")]


def test_a_kind_without_its_facts_is_no_kind() -> None:
    class Forgetful(Protocol):
        rounds: int = 1

    assert {"messages", "links", "timeout_s", "need", "build"} <= Forgetful.__abstractmethods__


def test_validating_brings_no_library_for_computing() -> None:
    """Even where checks ask an aggregation for its kinds of message."""
    heavy = "('jax', 'optax', 'sklearn', 'matplotlib')"
    tamper = {"kind": "alter", "nodes": [1], "messages": ["masked"], "add": 1}
    scenarios = [
        raw("dsgd", "secure", secure={"aggregation": {"kind": kind}}, adversary={"tamper": [tamper]})
        for kind in ("masks", "sparse", "bonawitz", "lightsecagg")
    ]
    code = (
        "import sys\nfrom scenarios.load import resolve\n"
        f"for raw in {scenarios!r}:\n    resolve(raw)\n"
        f"assert not [name for name in {heavy} if name in sys.modules]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
