"""Twin runs of learning in groups: nothing differs where the ledger charges nothing, and planted holes are found.

Every schedule under every fault, with single nodes, coalitions, the wire and whoever sees every mean.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from protocols.aggregation.session import NodeSums
from protocols.gossip import group_trees, groups
from protocols.gossip.learner import Model
from protocols.privacy.lineage import PUBLIC, WIRE, Lineage
from scenarios.audits.twins import Comparison, compare
from scenarios.load import resolve
from scenarios.schema import Scenario
from tests.support.matrix import covering

VICTIM = 1
NODES = 9
POOLS = ((0, 2), (0, 3, 4), (2, 3, 4, 5, 6), (0, 2, 3, 4, 5, 6, 7, 8))

SCHEDULES: dict[str, dict[str, Any]] = {
    "stars": {"kind": "stars"},
    "connected": {"kind": "connected", "size": 5},
    "random": {"kind": "random", "size": 4},
    "grid": {"kind": "grid", "dimensions": 2},
}
AGGREGATIONS: dict[str, dict[str, Any]] = {
    "masks": {"kind": "masks"},
    "recover": {"kind": "masks", "on_dropout": "recover"},
    "verified": {"kind": "masks", "on_dropout": "recover", "verifiable": True},
    "bonawitz": {"kind": "bonawitz"},
    "active": {"kind": "bonawitz", "active": True},
    "sharing": {"kind": "sharing"},
    "lightsecagg": {"kind": "lightsecagg"},
    "trusted": {"kind": "trusted"},
}
FAULTS: dict[str, dict[str, Any]] = {
    "calm": {},
    "loss": {"network": {"loss": 0.04}},
    "copies": {"network": {"duplication": 0.3}},
    "outage": {"fault": [{"kind": "outage", "node": 3, "down_at": "130 ms", "up_at": "350 ms"}]},
    "victim away": {"fault": [{"kind": "outage", "node": VICTIM, "down_at": "330 ms", "up_at": "900 ms"}]},
    "gone": {"fault": [{"kind": "outage", "node": 2, "down_at": "460 ms"}]},
    "lost disk": {
        "fault": [
            {"kind": "outage", "node": VICTIM, "down_at": "240 ms", "up_at": "300 ms", "keeps_disk": False}
        ]
    },
    "late": {"fault": [{"kind": "arrival", "node": 4, "at": "150 ms"}]},
    "stopped": {"stop_after": "700 ms"},
    "partition": {
        "fault": [
            {"kind": "partition", "groups": [[0, 1, 2, 7], [3, 4, 5, 6, 8]], "at": "60 ms", "until": "600 ms"}
        ]
    },
    "byzantine": {"adversary": {"byzantine": {"nodes": [5], "attack": {"kind": "sign-flip"}}}},
    "tapped": {"adversary": {"wiretap": {"links": "all"}, "encrypted": False}, "network": {"loss": 0.04}},
    "tapped, encrypted": {"adversary": {"wiretap": {"links": "all"}, "encrypted": True}},
}


def scenario(
    schedule: str, trouble: str = "calm", aggregation: str = "masks", crypto: str = "ideal", **changes: Any
) -> Scenario:
    """Nine nodes and four rounds."""
    sparse = schedule in ("stars", "connected")
    spares = 0 if aggregation in ("masks", "trusted") else 1
    tables: dict[str, Any] = {
        "format": 1,
        "name": "twins",
        "seed": 3,
        "topology": {"kind": "regular", "degree": 4} if sparse else {"kind": "complete"},
        "network": {"latency": {"kind": "uniform", "low": "20 ms", "high": "40 ms"}},
        "data": {"kind": "blobs", "samples": 180, "features": 6, "classes": 2},
        "partition": {"kind": "iid", "min_samples": 2},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "divisor": 20, "step_cost": "50 ms"},
        "protocol": {
            "kind": "groups",
            "rounds": 4,
            "exchange": "secure",
            "timeout": "400 ms",
            "schedule": SCHEDULES[schedule],
        },
        "secure": {"aggregation": AGGREGATIONS[aggregation], "crypto": crypto, "tolerated_dropouts": spares},
        "privacy": {
            "unit": "node",
            "adjacency": "zero-out",
            "clip": 1.0,
            "noise": "member",
            "noise_multiplier": 1.0,
        },
        "evaluation": {"every": "1000 s"},
    }
    tables["topology"]["nodes"] = NODES
    for name, table in (FAULTS[trouble] | changes).items():
        known = tables.get(name)
        tables[name] = known | table if isinstance(known, dict) else table
    return resolve(tables)


def compared(made: Scenario) -> Comparison:
    """The law on a scenario: single nodes, pools, whoever sees every mean, and the wire alone and with each node."""
    tapped = made.adversary.wiretap is not None
    wires = [(WIRE,), *((WIRE, node) for node in range(NODES)), (WIRE, PUBLIC)] if tapped else []
    return compare(made, VICTIM, Path(), [*POOLS, (PUBLIC,), (PUBLIC, 0), *wires])


def broken(made: Scenario) -> list[str]:
    """What breaks the law, in runs that do differ."""
    found = compared(made)
    assert found.messages > 0
    assert found.differing > 0
    return found.broken


QUICK = {
    *((schedule, "loss") for schedule in SCHEDULES),
    ("connected", "tapped"),
    ("stars", "victim away"),
    ("random", "lost disk"),
}
"""Schedules and faults of the short tests."""


@pytest.mark.parametrize(("schedule", "fault"), covering(product(SCHEDULES, FAULTS), QUICK))
def test_what_is_not_charged_is_the_same(schedule: str, fault: str) -> None:
    assert broken(scenario(schedule, fault)) == []


@pytest.mark.parametrize(
    ("aggregation", "fault"),
    covering(
        product([name for name in AGGREGATIONS if name != "masks"], FAULTS),
        {("recover", "loss"), ("lightsecagg", "tapped")},
    ),
)
def test_no_suite_says_anything_before_it_is_charged(aggregation: str, fault: str) -> None:
    assert broken(scenario("random", fault, aggregation)) == []


@pytest.mark.slow
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_real_masks_say_no_more_than_ideal_ones(schedule: str) -> None:
    assert broken(scenario(schedule, "loss", crypto="real")) == []


# ---------------------------------------------------------------- broken on purpose


def test_a_mean_that_claims_to_show_nothing_new_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tag is that of the state that the opener had before, so that no update of this round is charged."""
    mean = groups.GroupMember._mean
    monkeypatch.setattr(
        groups.GroupMember,
        "_mean",
        lambda self, *told: mean(self, *told)._replace(state=self._base.state),
    )
    assert any("'mean'" in line and "carry no release" in line for line in broken(scenario("random")))


def test_a_tree_node_that_names_only_itself_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is below it is in the sum that opens, and in nobody's record."""
    tree = scenario("connected", crypto="real", protocol={"schedule": {"kind": "connected", "size": 9}})
    assert broken(tree) == []
    send = group_trees.TreeMember._send_up

    def alone(self: Any, parent: int, round: int, messages: Any) -> None:
        mine, *below = messages
        send(self, parent, round, [mine, *(message._replace(release=()) for message in below)])

    monkeypatch.setattr(group_trees.TreeMember, "_send_up", alone)
    assert any("'mean'" in line and "carry no release" in line for line in broken(tree))


def test_a_half_step_that_goes_to_who_asks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that kept its update answers a node that is behind with it, and calls it the public start."""
    made = scenario("random", "outage")
    assert broken(made) == []
    put = groups.Offers.put

    def keep(self: Any, round: int, model: Model) -> None:
        kept[id(self)] = model
        put(self, round, model)

    def say(self: Any, peer: int, since: int) -> None:
        half = kept.get(id(self._offers))
        said = self._base if half is None else half._replace(state=self._learner.start.state)
        groups.tell(
            self._node,
            (peer,),
            self._round,
            [said],
            lambda models: groups.show(self._learner, groups.MEAN, self._round, models),
        )

    kept: dict[int, Model] = {}
    monkeypatch.setattr(groups.Offers, "put", keep)
    monkeypatch.setattr(groups.GroupMember, "_say_where", say)
    assert any("'mean'" in line and "carry no release" in line for line in broken(made))


@pytest.mark.parametrize("schedule", ["random", "connected"])
def test_noise_that_is_used_twice_unsaid_is_found(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = scenario(schedule, "lost disk")
    assert broken(made) == []
    monkeypatch.setattr(Lineage, "begin", lambda self, t_s, node, round: None)
    assert any("the record does not say so" in line for line in broken(made))


@pytest.mark.parametrize("schedule", ["random", "connected"])
def test_a_refusal_that_depends_on_a_vector_is_found(schedule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges that leave no room for noise: whether a member is in range is a function of its data."""
    from scenarios.assembly import secure

    codec_for = secure.codec_for
    monkeypatch.setattr(secure, "codec_for", lambda bound, *rest: codec_for(0.05, *rest))
    found = broken(scenario(schedule))
    kind = "'partial'" if schedule == "connected" else "'refuse'"
    assert any(kind in line and "carry no release" in line for line in found)


def test_a_member_that_comes_only_with_large_updates_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes part depends on data: the list says so before anything is opened."""
    offered = NodeSums.offered
    made = scenario("random")

    async def picky(self: NodeSums, round: int) -> None:
        values = self._node.read(self._offers.offer(self._node.id, round).values)
        if float(abs(values).sum()) > 0.41:
            await self._node.sleep(0.011)
        await offered(self, round)

    monkeypatch.setattr(NodeSums, "offered", picky)
    found = broken(made)
    assert any("size, time or existence" in line for line in found)
