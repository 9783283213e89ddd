"""Learning in groups, whole runs: every suite and schedule, in calm and in trouble, charged as the groups opened."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from protocols.learning.executor import BatchedExecutor
from scenarios.build import build
from scenarios.load import resolve
from scenarios.run import run
from scenarios.studies.reaccount import claims_about
from simulator.errors import ConfigurationError
from tests.support.matrix import covering

Z = 4.0
RESTLESS: list[dict[str, Any]] = [
    {"node": 3, "down_at": "1 s"},
    {"node": 5, "down_at": "800 ms", "up_at": "2500 ms"},
    {
        "kind": "sessions",
        "nodes": [7, 8, 9],
        "up": {"kind": "exponential", "mean": "3 s"},
        "down": {"kind": "exponential", "mean": "500 ms"},
        "stationary": True,
    },
]
FAULTS: dict[str, list[dict[str, Any]]] = {"calm": [], "restless": RESTLESS}
SCHEDULES: dict[str, dict[str, Any]] = {
    "stars": {"kind": "stars"},
    "connected": {"kind": "connected", "size": 6},
    "random": {"kind": "random", "size": 4},
    "grid": {"kind": "grid", "dimensions": 2},
}


def scenario(schedule: str, aggregation: dict[str, Any] | None = None, **changes: Any) -> Any:
    sparse = schedule in ("stars", "connected")
    topology = {"kind": "regular", "degree": 4} if sparse else {"kind": "complete"}
    table = {
        "format": 1,
        "name": "groups",
        "topology": {**topology, "nodes": 16},
        "network": {"latency": {"kind": "lognormal", "median": "50 ms", "sigma": 0.4}},
        "data": {"kind": "blobs", "samples": 480, "features": 20, "classes": 3},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "divisor": 30, "step_cost": "20 ms"},
        "protocol": {
            "kind": "groups",
            "rounds": 5,
            "exchange": "secure",
            "timeout": "1 s",
            "schedule": SCHEDULES[schedule],
        },
        "secure": {
            "aggregation": aggregation or {"kind": "masks"},
            "crypto": "ideal",
            "tolerated_dropouts": 0,
        },
        "privacy": {
            "unit": "node",
            "adjacency": "zero-out",
            "clip": 1.0,
            "noise": "member",
            "noise_multiplier": Z,
        },
    }
    return resolve(table | changes)


def charged(folder: Path, observers: str) -> dict[int, float]:
    """Return the certified loss of every victim, in units of a release on its own."""
    end = [claim for claim in claims_about(folder, observers) if claim.basis == "certified"]
    last = max(claim.t_s for claim in end)
    return {claim.victim: claim.mu2 * Z**2 for claim in end if claim.t_s == last and claim.mu2 is not None}


def hidden(made: Any, seen_by: int | None) -> dict[int, float]:
    """Return what each node should lose if every sum of the schedule opens: 1/m, or 1/(m − 1) beside an observer."""
    overlay = build(made, BatchedExecutor(), Path()).network.overlay
    schedule = made.protocol.scheduled(overlay, made.seed, 3)
    lost = dict.fromkeys(range(overlay.nodes), 0.0)
    for round in range(made.protocol.rounds):
        for group in schedule.groups(round):
            honest = [v for v in group.members if v != seen_by]
            for v in honest:
                lost[v] += 1 / len(honest)
    return lost


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_calm_run_costs_exactly_what_its_groups_hide(schedule: str, tmp_path: Path) -> None:
    """1/m of a local release against the public; 1/(m − 1) beside an observer who is a member."""
    made = scenario(schedule)
    assert run(made, tmp_path / "run")["status"] == "finished"
    for observers, seen_by in (("public", None), ("public,1", 1)):
        found, expected = charged(tmp_path / "run", observers), hidden(made, seen_by)
        for victim, loss in found.items():
            assert loss == pytest.approx(expected[victim], rel=1e-6), (observers, victim)


@pytest.mark.parametrize(
    ("schedule", "faults"),
    covering(
        product(SCHEDULES, ["calm", "restless"]),
        {("stars", "restless"), ("connected", "restless"), ("random", "calm")},
    ),
)
def test_trouble_costs_participation_and_never_more_than_the_schedule(
    schedule: str, faults: str, tmp_path: Path
) -> None:
    changes = {
        "network": {
            "latency": {"kind": "lognormal", "median": "50 ms", "sigma": 0.8},
            "loss": "5 %",
        },
        "fault": FAULTS[faults],
    }
    made = scenario(schedule, **changes)
    summary = run(made, tmp_path / "run")
    assert summary["status"] == "finished"
    assert summary["sums_opened"] > 0
    for observers, seen_by in (("public", None), ("public,1", 1)):
        expected = hidden(made, seen_by)
        for victim, loss in charged(tmp_path / "run", observers).items():
            assert loss <= expected[victim] * (1 + 1e-6), (observers, victim)


AGGREGATIONS: dict[str, dict[str, Any]] = {
    "masks": {"kind": "masks"},
    "recover": {"kind": "masks", "on_dropout": "recover"},
    "verifiable": {"kind": "masks", "on_dropout": "recover", "verifiable": True},
    "bonawitz": {"kind": "bonawitz"},
    "active": {"kind": "bonawitz", "active": True, "verifiable": True},
    "sharing": {"kind": "sharing"},
    "packed": {"kind": "sharing", "packing": 2, "field": "2^61-1"},
    "light": {"kind": "lightsecagg"},
    "trusted": {"kind": "trusted"},
}


@pytest.mark.parametrize(
    ("aggregation", "faults"),
    covering(
        product(AGGREGATIONS, ["calm", "restless"]),
        {("masks", "calm"), ("recover", "restless"), ("light", "calm")},
    ),
)
def test_every_suite_that_fits_opens_the_sums_of_groups(
    aggregation: str, faults: str, tmp_path: Path
) -> None:
    """The aggregator's own vector is inside; real and ideal cryptography are the same to the last bit."""
    schedule = {"kind": "random", "size": 5}
    found = {}
    for crypto in ("real", "ideal"):
        made = scenario(
            "random",
            topology={"kind": "complete", "nodes": 10},
            protocol=scenario("random").protocol.model_dump(mode="json")
            | {"schedule": schedule, "timeout": "1 s"},
            secure={
                "aggregation": AGGREGATIONS[aggregation],
                "crypto": crypto,
                "tolerated_dropouts": 0 if aggregation in ("masks", "packed") else 1,
            },
            fault=FAULTS[faults],
        )
        found[crypto] = run(made, tmp_path / crypto)
        assert found[crypto].pop("wall_s") > 0
        if faults == "calm":
            assert found[crypto]["sums_opened"] == 10
    assert found["real"] == found["ideal"]
    assert found["real"]["sums_opened"] > 0
    tables = [pl.read_parquet(tmp_path / crypto / "releases.parquet") for crypto in found]
    assert tables[0].equals(tables[1])
    if aggregation != "trusted" and faults == "calm":
        for observers, seen_by in (("public", None), ("public,1", 1)):
            expected = hidden(made, seen_by)
            for victim, loss in charged(tmp_path / "real", observers).items():
                assert loss == pytest.approx(expected[victim], rel=1e-6)


def of_five(**protocol: Any) -> Any:
    """Return two groups of five, whose sums bear one missing member; node 3 is down from the start."""
    keys = scenario("random").protocol.model_dump(mode="json")
    return scenario(
        "random",
        topology={"kind": "complete", "nodes": 10},
        protocol=keys | {"timeout": "1 s", "schedule": {"kind": "random", "size": 5}} | protocol,
        secure={
            "aggregation": {"kind": "masks", "on_dropout": "recover"},
            "crypto": "ideal",
            "tolerated_dropouts": 1,
        },
        fault=[{"node": 3, "down_at": "1 ms"}],
    )


@pytest.mark.parametrize("takeovers", [0, 1])
def test_the_next_member_takes_over_from_an_opener_that_is_down(takeovers: int, tmp_path: Path) -> None:
    made = of_five(takeovers=takeovers)
    schedule = made.protocol.scheduled(build(made, BatchedExecutor(), Path()).network.overlay, made.seed, 3)
    groups = [group for round in range(5) for group in schedule.groups(round)]
    led_by_it = sum(group.order[0] == 3 for group in groups)
    assert led_by_it
    summary = run(made, tmp_path / "run")
    assert summary["sums_opened"] == len(groups) - (0 if takeovers else led_by_it)


def test_a_member_answers_one_list_in_a_round_whoever_asks(tmp_path: Path) -> None:
    """The first opener crashes after its list is answered: the second gets nothing, and no vector is in two sums."""
    found = []
    for at in range(300, 1500, 100):
        made = of_five(rounds=2).model_dump(mode="json", exclude_none=True)
        made["fault"] = [{"node": 3, "down_at": f"{at} ms"}]
        folder = tmp_path / str(at)
        found.append(run(resolve(made), folder))
        shares = pl.read_parquet(folder / "releases.parquet").filter(pl.col("kind") == "term")
        assert not shares.is_empty()
        assert not shares.select("node", "round").is_duplicated().any()
    assert any(summary["sums_opened"] < 4 for summary in found)


@pytest.mark.parametrize(
    ("schedule", "tables", "message"),
    [
        ("random", {"schedule": {"kind": "random", "size": 2}}, "at least 3"),
        ("random", {"topology": {"kind": "regular", "nodes": 16, "degree": 4}}, "links between all nodes"),
        ("connected", {"tolerated_dropouts": 1}, "tolerated_dropouts = 0"),
        ("connected", {"aggregation": {"kind": "sharing"}}, "up a tree"),
        ("connected", {"aggregation": {"kind": "masks", "on_dropout": "recover"}}, "up a tree"),
        ("stars", {"aggregation": {"kind": "masks", "on_dropout": "rerun"}}, "one list in a round"),
        ("stars", {"aggregation": {"kind": "sparse"}}, "different members"),
        ("stars", {"colluders": 3}, "members"),
        ("random", {"schedule": {"kind": "random", "size": 3}, "colluders": 1}, "members"),
        ("stars", {"buckets": 2}, "one sum"),
        ("stars", {"training": {"optimizer": {"kind": "momentum"}, "optimizer_state": "node"}}, "forgets"),
    ],
)
def test_what_could_not_be_certified_is_refused(schedule: str, tables: dict[str, Any], message: str) -> None:
    base = scenario(schedule).model_dump(mode="json", exclude_none=True)
    for key, value in tables.items():
        if key == "schedule":
            base["protocol"]["schedule"] = value
        elif key == "topology":
            base["topology"] = value
        elif key == "training":
            base["training"] |= value
        else:
            base["secure"][key] = value
    with pytest.raises(ConfigurationError, match=message):
        resolve(base)


@pytest.mark.parametrize("schedule", covering(SCHEDULES, ["connected", "random"]))
def test_groups_open_on_sockets_as_on_virtual_time(schedule: str, tmp_path: Path) -> None:
    secure = {"aggregation": {"kind": "masks"}, "crypto": "real", "tolerated_dropouts": 0}
    made = scenario(schedule, evaluation={"every": "100 ms"}, secure=secure)
    made = made.model_copy(
        update={"protocol": made.protocol.model_copy(update={"timeout": 600.0, "rounds": 2})}
    )
    live, simulated = (run(made, tmp_path / str(is_live), live=is_live) for is_live in (True, False))
    assert live["status"] == simulated["status"] == "finished"
    assert live["sums_opened"] == simulated["sums_opened"] > 0
    assert live["epsilon_worst"] == pytest.approx(simulated["epsilon_worst"], rel=1e-6)


TARGET = {"unit": "node", "adjacency": "zero-out", "clip": 1.0, "noise": "sum", "target_epsilon": 2.0}


@pytest.mark.parametrize("schedule", covering(SCHEDULES, {"random"}))
def test_the_worst_pair_of_a_calm_run_has_the_target(schedule: str, tmp_path: Path) -> None:
    """How often an observer is in a group with its victim is known beforehand, by the public schedule."""
    summary = run(scenario(schedule, privacy=TARGET), tmp_path / "run")
    assert summary["certified_by"] in ("states", "sums")
    assert 1.98 < summary["epsilon_worst"] <= 2.0 * (1 + 1e-6)


def test_the_target_holds_for_colluders_and_lists_that_lose_members(tmp_path: Path) -> None:
    secure = {"aggregation": {"kind": "bonawitz"}, "crypto": "ideal", "tolerated_dropouts": 1, "colluders": 1}
    pairs = [[a, b] for a in range(16) for b in range(a)]
    protocol = scenario("random").protocol.model_dump(mode="json") | {
        "schedule": {"kind": "random", "size": 8}
    }
    made = scenario("random", privacy=TARGET | {"observers": pairs}, secure=secure, protocol=protocol)
    assert 1.0 < run(made, tmp_path / "run")["epsilon_worst"] <= 2.0 * (1 + 1e-6)


def test_an_update_made_twice_under_masks_is_claimed_by_nobody(tmp_path: Path) -> None:
    """A node without its disk goes up the tree again: its parent subtracts two vectors under one mask."""
    fault = [{"node": 8, "down_at": "880 ms", "up_at": "885 ms", "keeps_disk": False}]
    made = scenario("connected", fault=fault)
    summary = run(made, tmp_path / "run")
    assert summary["epsilon_worst"] is None or summary["epsilon_worst"] == float("inf")
    assert "again" in summary["epsilon_reason"]
    for observers in ("10", "0", "public"):
        claims = [claim for claim in claims_about(tmp_path / "run", observers) if claim.victim == 8]
        last = max(claim.t_s for claim in claims)
        assert [c.epsilon for c in claims if c.basis == "certified" and c.t_s == last] == [float("inf")]


def test_the_target_holds_with_several_noised_steps(tmp_path: Path) -> None:
    """Models between the steps of a round are no opened sums, so that each step is charged alone."""
    made = scenario(
        "random",
        privacy=TARGET | {"unit": "record"},
        training=scenario("random").training.model_dump(mode="json", exclude_none=True) | {"local_steps": 3},
    )
    assert run(made, tmp_path / "run")["epsilon_worst"] <= 2.0 + 1e-3


def test_a_wrong_mean_costs_utility_and_no_privacy(tmp_path: Path) -> None:
    """Byzantine openers and members are credited with no noise; the rest is charged as the groups that opened."""
    byzantine = {"byzantine": {"nodes": [2, 6], "attack": {"kind": "sign-flip"}}}
    made = scenario("random", adversary=byzantine)
    assert run(made, tmp_path / "run")["status"] == "finished"
    overlay = build(made, BatchedExecutor(), Path()).network.overlay
    schedule = made.protocol.scheduled(overlay, made.seed, 3)
    found = charged(tmp_path / "run", "public")
    for victim, loss in found.items():
        groups = [schedule.group_of(victim, round) for round in range(made.protocol.rounds)]
        honest = [len(set(group.members) - {2, 6}) for group in groups if group is not None]
        assert loss == pytest.approx(sum(1 / count for count in honest), rel=1e-6)
