"""What kinds of rules, attacks, tampering and faults say of themselves."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import isabstract
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from protocols.gossip.robust_mix import Heard
from scenarios.checks.single_tables import own_problems
from scenarios.format.kind import Kind
from scenarios.kinds.adversaries import Adversary
from scenarios.kinds.attacks import Attack, ContentAttack
from scenarios.kinds.compute import Slowdown
from scenarios.kinds.faults import Fault, Site
from scenarios.kinds.robust_rules import RobustRule
from scenarios.kinds.tampering import Tamper
from simulator.errors import ConfigurationError
from simulator.faults import plan

SITE = Site(6, {"north": (1, 2)}, Path(), 1)
FAULTS: list[tuple[dict[str, Any], int]] = [
    ({"kind": "outage", "node": 3, "down_at": "1 s"}, 1),
    ({"kind": "outage", "region": "north", "down_at": "1 s", "up_at": "2 s"}, 2),
    ({"kind": "arrival", "nodes": [3, 4], "at": "1 s"}, 2),
    (
        {
            "kind": "sessions",
            "up": {"kind": "exponential", "mean": "9 s"},
            "down": {"kind": "weibull", "mean": "1 s", "shape": 0.5},
        },
        1,
    ),
    ({"kind": "partition", "groups": ["north", [4, 5]], "at": "1 s"}, 1),
    ({"kind": "cut", "links": [[0, 1]], "at": "1 s"}, 1),
    ({"kind": "slow", "region": "north", "factor": 2.0}, 2),
]


def a(family: type[Kind], **table: Any) -> Any:
    """A kind of a family from its table."""
    return family.kinds()[table["kind"]].model_validate(table)


def rules() -> Iterator[Any]:
    for word, kind in RobustRule.kinds().items():
        keys = {"f": 1, "budget": 0.2, "radius": 0.5}
        required = {name for name, field in kind.model_fields.items() if field.is_required()}
        yield a(RobustRule, kind=word, **{key: value for key, value in keys.items() if key in required})


@pytest.mark.parametrize("rule", list(rules()), ids=lambda rule: rule.kind)
def test_a_rule_is_built_once_and_mixes_as_few_models_as_it_says(rule: Any) -> None:
    again = type(rule).model_validate(rule.model_dump())
    assert again is not rule
    assert again.build() is rule.build()
    n = rule.least
    x = np.random.default_rng(n).standard_normal((n, 4)).astype(np.float32)
    ones = np.ones(n, np.float32)
    mixed = rule.build()(Heard(x, ones / n, ones, ones, lambda: ones))
    assert mixed.shape == (4,)
    assert np.all(np.isfinite(mixed))


@pytest.mark.parametrize(
    "table",
    [
        {"kind": "clipped-gossip", "radius": "adaptive"},
        {"kind": "clipped-gossip", "radius": "oracle"},
        {"kind": "cs-plus", "budget": 0.2},
        {"kind": "gts", "budget": 0.2},
    ],
)
def test_a_node_that_hears_nobody_keeps_its_model(table: Any) -> None:
    """Several rules need no other model: a run went down when all neighbours of a node were out of reach."""
    x, one = np.arange(4, dtype=np.float32)[None], np.ones(1, np.float32)
    np.testing.assert_array_equal(a(RobustRule, **table).build()(Heard(x, one, one, one, lambda: one)), x[0])


def test_rules_that_differ_are_not_the_same_function() -> None:
    one, two = (a(RobustRule, kind="trimmed-mean", f=f) for f in (1, 2))
    assert one.build() is not two.build()
    assert [rule.least for rule in (one, two)] == [3, 5]


@pytest.mark.parametrize(
    ("table", "least", "centred", "needs"),
    [
        ({"kind": "trimmed-mean", "f": 2, "before": "bucketing"}, 9, False, set()),
        ({"kind": "krum", "f": 2, "scores": "others", "chosen": 7}, 7, False, set()),
        ({"kind": "krum", "f": 2}, 5, False, set()),
        ({"kind": "ios", "f": 2}, 4, True, set()),
        ({"kind": "clipped-gossip", "radius": "oracle"}, 1, True, {"honest nodes"}),
        ({"kind": "clipped-gossip", "radius": "adaptive"}, 1, True, set()),
        ({"kind": "ubar"}, 2, True, {"own samples"}),
    ],
)
def test_facts_of_rules(table: Any, least: int, centred: bool, needs: set[str]) -> None:
    rule = a(RobustRule, **table)
    assert (rule.least, rule.centred, rule.needs) == (least, centred, needs)


@pytest.mark.parametrize(
    ("table", "part", "knowledge"),
    [
        ({"kind": "none"}, "nothing", "own"),
        ({"kind": "sign-flip"}, "messages", "own"),
        ({"kind": "label-flip"}, "training", "own"),
        ({"kind": "noise-free-rider"}, "training", "own"),
        ({"kind": "inconsistent-shares"}, "shares", "own"),
        ({"kind": "backdoor"}, "training", "own"),
        ({"kind": "backdoor", "boost": 2.0}, "messages", "received"),
        ({"kind": "alie"}, "messages", "received"),
        ({"kind": "alie", "z": "search"}, "messages", "omniscient"),
        ({"kind": "ipm", "factor": "search"}, "messages", "omniscient"),
        ({"kind": "spectral"}, "messages", "omniscient"),
    ],
)
def test_facts_of_attacks(table: Any, part: str, knowledge: str) -> None:
    attack = a(Attack, **table)
    assert (attack.part, attack.knowledge) == (part, knowledge)


def test_an_attack_that_does_not_say_what_it_knows_or_sends_is_incomplete() -> None:
    class Silent(ContentAttack):
        kind: Literal["silent"]

    assert isabstract(Silent)
    assert Silent.__abstractmethods__ == {"knowledge", "content"}


@pytest.mark.parametrize(("table", "count"), FAULTS, ids=[table["kind"] for table, _ in FAULTS])
def test_a_fault_builds_events_of_the_nodes_it_names(table: Any, count: int) -> None:
    fault = a(Fault, **table)
    events = fault.build(SITE)
    assert len(events) == count
    plan.check(events, SITE.nodes)
    assert list(fault.problems()) == []
    assert fault.slows == (fault.kind == "slow")
    for key, node in fault.named().nodes:
        found: Any = table
        for part in key:
            found = found[part]
        assert found == node


def test_factors_of_computing() -> None:
    assert a(Slowdown, kind="given", factors=[1.0, 2.0]).build(2, 1).factor == (1.0, 2.0)
    drawn = a(Slowdown, kind="uniform", low=1.0, high=2.0)
    assert drawn.listed is None
    assert drawn.build(3, 7).factor == drawn.build(5, 7).factor[:3]
    assert [key for key, _ in a(Slowdown, kind="uniform", low=2.0, high=1.0).problems()] == [("low",)]


@pytest.mark.parametrize("word", list(Tamper.kinds()))
def test_only_tampering_that_changes_messages_is_refused_on_encrypted_links(word: str) -> None:
    keys = {"delay": {"by": "1 s"}, "replay": {"after": "1 s"}}.get(word, {})
    table = {"kind": word, "links": [[0, 1]], **keys}
    adversary = Adversary.model_validate({"tamper": [table]})
    changes = adversary.tamper[0].changes
    assert changes == (word in ("alter", "equivocate"))
    found = [key for key, _ in own_problems({"adversary": adversary})]
    assert found == ([("adversary", "tamper", 0, "kind")] if changes else [])
    assert (
        list(own_problems({"adversary": Adversary.model_validate({"tamper": [table], "encrypted": False})}))
        == []
    )


def test_counted_nodes_leave_an_honest_one() -> None:
    import networkx as nx

    table = Adversary.model_validate({"curious": {"count": 3}}).curious
    assert table is not None
    assert len(table.place(nx.cycle_graph(6), {0, 1}, "adversary.curious", 1)) == 3
    with pytest.raises(ConfigurationError, match="use fewer, so that one is honest"):
        table.place(nx.cycle_graph(5), {0, 1}, "adversary.curious", 1)
