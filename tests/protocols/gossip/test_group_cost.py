"""Messages and bytes of groups: what a calm run sends is what the formulas say, for schedules and suites."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from protocols.aggregation import cost
from protocols.aggregation.cost import Traffic, direct_setup, flooded_setup
from protocols.aggregation.members import split_proof_threshold
from protocols.aggregation.vector_shares import SharingPlan
from protocols.gossip.group_cost import calm_run, star_sums, tree_sums
from protocols.learning.executor import BatchedExecutor
from protocols.sharing.modulus import P31, P61, Z32, Modulus
from scenarios.build import build
from scenarios.load import resolve
from scenarios.run import assemble, listener
from scenarios.schema import Scenario
from simulator.errors import ConfigurationError
from simulator.runtime.virtual import Kernel
from tests.support.matrix import covering

ROUNDS = 3
SCHEDULES: dict[str, dict[str, Any]] = {
    "stars": {"kind": "stars"},
    "connected": {"kind": "connected", "size": 6},
    "random": {"kind": "random", "size": 5},
    "grid": {"kind": "grid", "dimensions": 2},
}
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "masks": {"kind": "masks"},
    "recover": {"kind": "masks", "on_dropout": "recover"},
    "verifiable": {"kind": "masks", "on_dropout": "recover", "verifiable": True},
    "bonawitz": {"kind": "bonawitz"},
    "active": {"kind": "bonawitz", "active": True},
    "secagg+": {"kind": "secagg+"},
    "sharing": {"kind": "sharing"},
    "packed": {"kind": "sharing", "packing": 2, "field": "2^61-1"},
    "light": {"kind": "lightsecagg"},
    "correlated": {"kind": "correlated", "pair_multiplier": 1.0},
    "trusted": {"kind": "trusted"},
}
"""All suites that fit; up a tree go only plain masks."""
PAIRS = ("masks", "sharing", "packed", "light", "correlated")
"""Suites with keys agreed on beforehand."""


def scenario(schedule: str, aggregation: str, crypto: str, latency: dict[str, Any] | None = None) -> Scenario:
    """Fifteen nodes: groups of several sizes."""
    sparse = schedule in ("stars", "connected")
    topology = {"kind": "regular", "degree": 4} if sparse else {"kind": "complete"}
    return resolve(
        {
            "format": 1,
            "name": "groups",
            "topology": {**topology, "nodes": 15},
            "network": {"latency": latency or {"kind": "constant", "value": "20 ms"}},
            "data": {"kind": "blobs", "samples": 300, "features": 6, "classes": 3},
            "model": {"kind": "softmax"},
            "training": {"step": 0.5, "divisor": 10, "step_cost": "20 ms"},
            "protocol": {
                "kind": "groups",
                "rounds": ROUNDS,
                "exchange": "secure",
                "timeout": "5 s",
                "schedule": SCHEDULES[schedule],
            },
            "secure": {
                "aggregation": AGGREGATIONS[aggregation],
                "crypto": crypto,
                "tolerated_dropouts": 0,
            },
            "privacy": {
                "unit": "node",
                "adjacency": "zero-out",
                "clip": 1.0,
                "noise": "member",
                "noise_multiplier": 4.0,
            },
        }
    )


def formula(aggregation: str, size: int, modulus: Modulus) -> Callable[[int], Traffic]:
    """The traffic of a sum by its number of members."""
    table: Any = scenario("random", aggregation, "ideal").secure.aggregation  # type: ignore[union-attr]
    share = SharingPlan(
        P61 if aggregation == "packed" else P31,
        lambda holders: table.recovering(holders, 0),
        lambda holders: table.packed(holders, 0),
    )
    found: dict[str, Callable[[int], Traffic]] = {
        "masks": lambda m: cost.single_masks(cost.full(m), size, modulus),
        "trusted": lambda m: cost.trusted(cost.full(m), size, modulus),
        "correlated": lambda m: cost.gopa(cost.full(m), size),
        "recover": lambda m: cost.double_masks(cost.full(m), size, modulus, signed=True),
        "verifiable": lambda m: cost.double_masks(
            cost.full(m), size, modulus, signed=True, committed=split_proof_threshold(m, 0)
        ),
        "bonawitz": lambda m: cost.double_masks(cost.full(m), size, modulus),
        "active": lambda m: cost.double_masks(cost.full(m), size, modulus, signed=True, active=True),
        "secagg+": lambda m: _on_a_graph(table._parameters(m), m, size, modulus),
        "sharing": lambda m: cost.vector_sharing(cost.full(m), size, share),
        "packed": lambda m: cost.vector_sharing(cost.full(m), size, share),
        "light": lambda m: cost.lightsecagg(cost.full(m), size, share),
    }
    return found[aggregation]


def _on_a_graph(chosen: Any, members: int, size: int, modulus: Modulus) -> Traffic:
    """SecAgg+: among few members all are partners."""
    if chosen is None:
        return cost.double_masks(cost.full(members), size, modulus)
    return cost.secagg_plus(members, chosen.degree, size, modulus)


def measured(made: Scenario) -> tuple[dict[str, Traffic], Any]:
    """What a run sent, by kind of message without transport headers, and its parts."""
    executor = BatchedExecutor()
    parts = build(made, executor, Path())
    kernel = Kernel(
        assemble(made, parts, executor, listener(made, parts, executor)), parts.link, parts.program
    )
    kernel.run(None)
    columns = kernel.log.columns()
    found: dict[str, Traffic] = {}
    for kind, size in zip(columns["kind"].tolist(), columns["size_bytes"].tolist(), strict=True):
        sent = Traffic(1, size - round(made.network.header))
        found[kind] = found.get(kind, Traffic(0, 0)) + sent
    return found, parts


def part(found: dict[str, Traffic], *kinds: str) -> Traffic:
    return sum((found.pop(kind, Traffic(0, 0)) for kind in kinds), Traffic(0, 0))


CASES = [
    (schedule, aggregation, crypto)
    for schedule, aggregation, crypto in product(SCHEDULES, AGGREGATIONS, ("ideal", "real"))
    if schedule != "connected" or aggregation == "masks"
    if schedule == "random" or aggregation != "packed"  # elsewhere groups of three, too few for two elements
]


@pytest.mark.parametrize(
    ("schedule", "aggregation", "crypto"),
    covering(CASES, lambda case: case[1] == "masks" or case[::2] == ("random", "ideal")),
)
def test_a_calm_run_costs_what_the_formulas_say(schedule: str, aggregation: str, crypto: str) -> None:
    made = scenario(schedule, aggregation, crypto)
    found, parts = measured(made)
    size = parts.learner.size
    modulus = P61 if aggregation == "packed" else P31 if aggregation in ("sharing", "light") else Z32
    plan = made.protocol.scheduled(parts.network.overlay, made.seed, 3)  # type: ignore[attr-defined]
    of_stars = formula(aggregation, size, modulus)
    sums = tree_sums(size, modulus) if schedule == "connected" else star_sums(of_stars)
    keys = Traffic(0, 0)
    if aggregation in PAIRS:
        degrees = [len(around) for around in parts.neighbors]
        sparse = schedule in ("stars", "connected")
        keys = flooded_setup(degrees) if sparse else direct_setup(len(degrees))
    expected = calm_run(plan, ROUNDS, parts.neighbors, size, sums, keys)
    assert part(found, "key", "keys") == expected.keys
    assert part(found, "mean") == expected.means
    assert part(found, "pace") == expected.ends
    assert part(found, *found) == expected.sums
    assert expected.all.messages == sum(part_.messages for part_ in expected)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_overtakes_a_mean_costs_nothing(schedule: str) -> None:
    """Greetings of the next round arrive before means of this one: nobody gives up a round, asks, or takes over."""
    made = scenario(schedule, "masks", "ideal", {"kind": "lognormal", "median": "50 ms", "sigma": 0.8})
    found, parts = measured(made)
    plan = made.protocol.scheduled(parts.network.overlay, made.seed, 3)  # type: ignore[attr-defined]
    size = parts.learner.size
    sums = tree_sums(size, Z32) if schedule == "connected" else star_sums(formula("masks", size, Z32))
    expected = calm_run(plan, ROUNDS, parts.neighbors, size, sums)
    assert part(found, "key", "keys").messages > 0
    assert part(found, "mean") == expected.means
    assert part(found, "pace") == expected.ends
    assert part(found, *found) == expected.sums


@pytest.mark.parametrize("noise", [{"noise_multiplier": 4.0}, {"noise": "sum", "target_epsilon": 1.0}])
def test_a_graph_without_any_group_is_refused(noise: dict[str, Any], tmp_path: Path) -> None:
    """Pieces of two nodes hold no sum, although a connected part of more would be allowed."""
    (tmp_path / "pairs.edges").write_text("0 1\n2 3\n4 5\n")
    table = scenario("connected", "masks", "ideal").model_dump(mode="json", exclude_none=True)
    privacy = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise": "member"} | noise
    topology = {"kind": "file", "path": "pairs.edges", "format": "edgelist"}
    made = resolve(table | {"topology": topology, "privacy": privacy}, tmp_path)
    with pytest.raises(ConfigurationError, match="no group of the whole run has the 3 members"):
        build(made, BatchedExecutor(), tmp_path)


@pytest.mark.parametrize("schedule", ["stars", "grid"])
def test_groups_too_small_for_packed_shares_are_refused(schedule: str) -> None:
    made = scenario(schedule, "packed", "real")
    with pytest.raises(ConfigurationError, match="the smallest group of this run has 3 members"):
        build(made, BatchedExecutor(), Path())
