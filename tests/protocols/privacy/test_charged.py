"""Whatever an observer gets is charged: releases that once slipped past the ledger, each with its right value."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.ledger import account
from protocols.privacy.lineage import WIRE, Held, Lineage, Masked, Revealed, Share
from protocols.privacy.question import Question
from scenarios.load import resolve
from scenarios.run import run
from scenarios.studies.reaccount import claims_about, reaccount

DELTA = 1e-5


def world(**changes: Any) -> Any:
    """Node-level noise of multiplier 1 on a complete graph of four."""
    tables: dict[str, Any] = {
        "format": 1,
        "name": "charged",
        "seed": 1,
        "topology": {"kind": "complete", "nodes": 4},
        "network": {"latency": {"kind": "constant", "value": "10 ms"}},
        "data": {"kind": "blobs", "samples": 200, "features": 8, "classes": 2},
        "partition": {"kind": "iid", "min_samples": 2},
        "model": {"kind": "softmax"},
        "training": {"step": 0.5, "divisor": 50, "step_cost": "100 ms"},
        "protocol": {"kind": "dsgd", "rounds": 1, "exchange": "ldp", "timeout": "200 ms"},
        "privacy": {
            "unit": "node",
            "adjacency": "zero-out",
            "clip": 1.0,
            "noise_multiplier": 1.0,
            "delta": DELTA,
        },
        "evaluation": {"every": "1000 s"},
    }
    for name, table in changes.items():
        known = tables.get(name)
        tables[name] = known | table if isinstance(known, dict) and "kind" not in table else table
    return resolve(tables)


def final(folder: Path, basis: str = "certified") -> pl.DataFrame:
    table = pl.read_parquet(folder / "privacy.parquet")
    return table.filter((pl.col("t_s") == table["t_s"].max()) & (pl.col("basis") == basis))


def again(folder: Path, *observers: str) -> dict[tuple[str, str], float]:
    """ε of the worst victim by observers and basis, accounted from the folder."""
    rows = reaccount(folder, observers=list(observers) or None, unit=None, adjacency=None, delta=None)
    return {(row["observers"], row["basis"]): row["epsilon (worst victim)"] for row in rows}


def losses_of(lineage: Lineage, *observers: tuple[int, ...], victims: tuple[int, ...]) -> dict[str, float]:
    """The worst certified loss by observers at the end of a record."""
    claims = account(
        lineage.record(),
        Question(
            victims=victims,
            observers=observers,
            unit="node",
            adjacency="zero-out",
            delta=DELTA,
            times_s=[float("inf")],
        ),
    )
    found: dict[str, float] = {}
    for claim in claims:
        if claim.basis == "certified":
            found[claim.observers] = max(found.get(claim.observers, 0.0), claim.mu2 or 0.0)
    return found


@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_what_comes_at_the_last_instant_counts(rounds: int, tmp_path: Path) -> None:
    """A checkpoint at twelve twelfths of the end would lie before it: by one unit in the last place."""
    ends = ((ms, rounds * (100 + ms) / 1000) for ms in range(5, 80))
    latency = next(ms for ms, end in ends if end * 12 / 12 < end)
    made = world(
        topology={"kind": "complete", "nodes": 6},
        network={"latency": {"kind": "constant", "value": f"{latency} ms"}},
        protocol={"rounds": rounds},
    )
    summary = run(made, tmp_path / "run")
    assert summary["epsilon_worst"] == pytest.approx(epsilon_of(rounds, DELTA), rel=1e-9)
    told = again(tmp_path / "run")
    assert max(v for (_, basis), v in told.items() if basis == "certified") == summary["epsilon_worst"]


def test_a_run_that_is_stopped_counts_what_was_sent_until_then(tmp_path: Path) -> None:
    """A node that arrives late goes on while the others have finished."""
    made = world(
        stop_after="18 s",
        fault=[{"kind": "arrival", "node": 3, "at": "9 s"}],
        training={"step_cost": "10 ms"},
        protocol={"kind": "push", "rounds": 10, "exchange": "ldp", "period": "1 s"},
    )
    summary = run(made, tmp_path / "run")
    releases = pl.read_parquet(tmp_path / "run" / "releases.parquet").filter(pl.col("kind") == "release")
    latest = final(tmp_path / "run")
    assert summary["simulated_s"] == 18.0
    assert latest["t_s"].max() >= releases["t_s"].max()  # type: ignore[operator]
    late = releases.filter(pl.col("t_s") > 12.3)
    assert late.height > 0
    assert latest.filter(pl.col("victim") == 3)["epsilon"].max() == pytest.approx(14.830, abs=1e-3)


@pytest.mark.slow
def test_weights_that_are_exact_as_applied_gain_on_a_sparse_graph_and_others_do_not(tmp_path: Path) -> None:
    """Metropolis weights are quarters on a cube; on a torus the own weight is another float than a fifth."""

    def lost(topology: dict[str, Any], nodes: int, rounds: int) -> pl.DataFrame:
        folder = tmp_path / f"{topology['kind']}{rounds}"
        protocol = {"exchange": "secure", "rounds": rounds, "timeout": "1 s"}
        secure, privacy = {"tolerated_dropouts": 0}, {"noise": "member"}
        made = world(topology=topology, protocol=protocol, secure=secure, privacy=privacy)
        run(made, folder)
        table = final(folder).filter(pl.col("observers") == "0")
        assert table.height == nodes - 1
        return table.sort("victim")

    cube = {"kind": "hypercube", "dimension": 3}
    shorter, longer = lost(cube, 8, 6), lost(cube, 8, 7)
    added = longer["mu2"] - shorter["mu2"]
    # The kernel of I + A without what touches node 0 has dimension two: two of seven contributions stay hidden.
    assert added.sum() == pytest.approx(5)
    assert "states" in set(longer["certified_by"])
    torus = {"kind": "torus", "rows": 3, "columns": 4}  # with exact fifths its matrix has rank eight
    shorter, longer = lost(torus, 12, 5), lost(torus, 12, 6)
    assert (longer["mu2"] - shorter["mu2"]).to_list() == pytest.approx([1.0] * 11)


def test_positions_chosen_by_value_are_shown_to_all_who_are_told(tmp_path: Path) -> None:
    """CESAR: co-members that are no neighbours see each other's largest changes through their aggregator."""
    made = world(
        topology={"kind": "regular", "nodes": 10, "degree": 4},
        protocol={"exchange": "secure", "timeout": "1 s"},
        secure={
            "aggregation": {"kind": "sparse", "choice": "largest", "fraction": 0.5},
            "tolerated_dropouts": 0,
        },
        privacy={"noise": "sum"},
        adversary={"curious": {"nodes": [1]}},
    )
    run(made, tmp_path / "run")
    claims = final(tmp_path / "run")
    told = _told_of_choices(tmp_path / "run")
    assert len(told) > 40
    charged = {(v, int(o)): e for v, o, e in claims.select("victim", "observers", "epsilon").rows()}
    assert all(charged[pair] > 8 for pair in told)  # a member's own share of the noise, and no more
    view = pl.read_parquet(tmp_path / "run" / "views" / "1.parquet")
    assert view.filter(pl.col("kind") == "agreed").height > 0


def _told_of_choices(folder: Path) -> set[tuple[int, int]]:
    """(whose, who) of all positions relayed, co-members that are no neighbours."""
    messages = pl.read_parquet(folder / "messages.parquet").filter(pl.col("status") == "delivered")
    listed: dict[int, set[int]] = {}
    for src, dst in messages.filter(pl.col("kind") == "indices").select("src", "dst").rows():
        listed.setdefault(dst, set()).add(src)
    linked = set(messages.select("src", "dst").rows())
    return {
        (whose, who) for members in listed.values() for whose in members for who in members if whose != who
    } - linked


def test_the_other_end_of_a_pair_knows_its_noise_whether_it_runs_or_not(tmp_path: Path) -> None:
    """DECOR on a complete graph of four with node 3 down: exact and certified losses."""
    made = world(
        fault=[{"kind": "outage", "node": 3, "down_at": "60 ms"}],
        privacy={
            "correlated": {"kind": "pairs", "multiplier": 20.0},
            "observers": [[2], [2, 3]],
        },
    )
    run(made, tmp_path / "run")
    exact = final(tmp_path / "run", "open-loop").filter(pl.col("victim") == 0)
    by_observers = dict(exact.select("observers", "mu2").rows())
    # Node 2 knows what it shares; nodes 0 and 1 share noise, and each has some with node 3 that nobody takes off.
    laplacian = np.array([[1.0, -1.0], [-1.0, 1.0]])
    for observers, extra in (("2", np.eye(2)), ("2,3", np.zeros((2, 2)))):
        covariance = np.eye(2) + 20.0**2 * (laplacian + extra)
        assert by_observers[observers] == pytest.approx(np.linalg.inv(covariance)[0, 0], rel=1e-6)
    certified = final(tmp_path / "run").filter(pl.col("victim") == 0)
    assert certified["mu2"].to_list() == pytest.approx([1.0, 1.0])


def test_a_coalition_that_cuts_the_mask_graph_opens_its_parts(tmp_path: Path) -> None:
    made = world(
        topology={"kind": "star", "nodes": 41},
        training={"divisor": 5, "step_cost": "10 ms"},
        protocol={
            "kind": "fedavg",
            "rounds": 1,
            "exchange": "secure",
            "timeout": "1 s",
            "inner_train": False,
        },
        secure={
            "aggregation": {
                "kind": "secagg+",
                "security_bits": 3,
                "correctness_bits": 3,
                "dropouts": 0.01,
                "corrupted": 0.01,
            },
            "tolerated_dropouts": 0,
            "crypto": "ideal",
        },
        privacy={"law": "gaussian", "noise": "sum", "noise_multiplier": 30.0, "observers": [[0]]},
    )
    run(made, tmp_path / "run")
    releases = pl.read_parquet(tmp_path / "run" / "releases.parquet")
    partners = {row["node"]: row["parents"] for row in releases.to_dicts() if row["kind"] == "partners"}
    assert len(partners) == 40
    around = partners[1]
    assert 1 < len(around) < 10
    others = [node for node in range(2, 41) if node not in around][: len(around)]
    cut, intact = ("0," + ",".join(map(str, sorted(nodes))) for nodes in (around, others))
    alone = 40 / 30**2  # what one member's own noise leaves: (C / own sigma)^2
    expected = {"0": alone / 40, cut: alone, intact: alone / (40 - len(around))}
    for observers, mu2 in expected.items():
        found = [claim for claim in claims_about(tmp_path / "run", observers) if claim.victim == 1]
        assert [claim.basis for claim in found] == ["certified", "open-loop"]
        # Two others may cut the graph too; node 1 then hides among fewer, but not alone.
        few = 1.0 if observers != intact else 15.0
        assert all(mu2 * (1 - 1e-6) <= (claim.mu2 or 0.0) <= few * mu2 * (1 + 1e-6) for claim in found)


def test_dropouts_that_cut_the_mask_graph_open_its_parts_to_the_aggregator_alone() -> None:
    """Members 1-2 and 3-4 share masks, and 5 held them together: it has dropped out, and its masks are recovered."""
    lineage = Lineage()
    key = (0, 0, 0)
    states = {m: _contributed(lineage, m) for m in (1, 2, 3, 4)}
    partners = {1: (2, 5), 2: (1,), 3: (4, 5), 4: (3,)}
    for member, state in states.items():
        lineage.delivered(1.0, 0, 0, Masked(key, member, state, 1.0, partners[member]))
    for holder in states:
        lineage.delivered(2.0, 0, 0, Revealed(key, holder, frozenset(states), 2))
    assert losses_of(lineage, (0,), victims=(1, 2, 3, 4)) == {"0": pytest.approx(1 / 2)}


def _contributed(lineage: Lineage, node: int) -> int:
    return lineage.contribute(0.0, node, 0, 0, gain=1.0, sigma=1.0, sensitivity=1.0)


def test_a_mask_key_that_shares_recover_holds_nothing_together() -> None:
    """A path 1 - 2 - 3 of masks; nodes 8 and 9 hold enough shares of the keys of 2, and 1 and 3 stand alone."""
    lineage = Lineage()
    key = (0, 0, 0)
    states = {m: _contributed(lineage, m) for m in (1, 2, 3)}
    partners = {1: (2,), 2: (1, 3), 3: (2,)}
    for holder in (8, 9):
        lineage.delivered(0.5, holder, 0, Held(key, (2,), 2, None))
    for member, state in states.items():
        lineage.delivered(1.0, 0, 0, Masked(key, member, state, 1.0, partners[member]))
    for holder in states:
        lineage.delivered(2.0, 0, 0, Revealed(key, holder, frozenset(states), 2))
    told = losses_of(lineage, (0,), (0, 8), (0, 8, 9), victims=(1, 2, 3))
    assert told == {"0": pytest.approx(1 / 3), "0,8": pytest.approx(1 / 3), "0,8,9": pytest.approx(1.0)}


def test_positions_that_opened_before_a_member_failed_are_charged(tmp_path: Path) -> None:
    """CESAR: a position is open as soon as all who chose it have sent it, though the sum of all stays closed."""
    made = world(
        topology={"kind": "regular", "nodes": 10, "degree": 4},
        protocol={"exchange": "secure", "timeout": "1 s"},
        fault=[{"kind": "outage", "node": 3, "down_at": "125 ms"}],
        secure={"aggregation": {"kind": "sparse", "fraction": 0.5}, "tolerated_dropouts": 0},
        privacy={"noise": "sum"},
    )
    run(made, tmp_path / "run")
    messages = pl.read_parquet(tmp_path / "run" / "messages.parquet").filter(pl.col("status") == "delivered")
    told = set(messages.filter(pl.col("kind") == "masked").select("src", "dst").rows())
    assert told
    charged = {
        (victim, int(observers)): epsilon
        for victim, observers, epsilon in final(tmp_path / "run")
        .select("victim", "observers", "epsilon")
        .rows()
    }
    assert all(charged[pair] > 0 for pair in told)


def test_a_wire_in_the_clear_reads_what_is_entrusted_to_an_aggregator(tmp_path: Path) -> None:
    made = world(
        topology={"kind": "regular", "nodes": 6, "degree": 4},
        protocol={"rounds": 2, "exchange": "secure", "timeout": "1 s"},
        secure={"aggregation": {"kind": "trusted"}, "tolerated_dropouts": 0},
        privacy={"noise": "sum", "observers": ["wire", [0]]},
        adversary={"wiretap": {"links": "all"}, "encrypted": False},
    )
    run(made, tmp_path / "run")
    worst = dict(final(tmp_path / "run").group_by("observers").agg(pl.col("mu2").max()).rows())
    sigma = pl.read_parquet(tmp_path / "run" / "releases.parquet").filter(pl.col("kind") == "contribute")[
        "sigma"
    ]
    assert worst["wire"] == pytest.approx(2 / sigma[0] ** 2)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_a_share_that_was_tapped_and_then_lost_completes_the_sum_for_its_accomplice(lost: int) -> None:
    lineage = Lineage()
    members = frozenset({1, 2, 3})
    for member in sorted(members):
        tag = Share((0, 0, 0), member, members, _contributed(lineage, member), 1.0)
        if member == lost:
            lineage.overheard(1.0, 0, tag)
        else:
            lineage.delivered(1.0, 0, 0, tag)
    victims = (1, 2, 3)
    told = losses_of(lineage, (0,), (WIRE,), (WIRE, 0), victims=victims)
    assert told == {"0": 0.0, "wire": 0.0, "wire,0": pytest.approx(1 / 3)}
    with_member = losses_of(lineage, (WIRE, 0, lost), victims=victims)
    assert with_member == {f"wire,0,{lost}": pytest.approx(1 / 2)}


def test_answers_that_were_tapped_and_then_lost_open_sums_by_threshold() -> None:
    lineage = Lineage()
    key, members = (0, 0, 0), frozenset({1, 2, 3})
    for holder in (1, 2, 3):
        lineage.delivered(0.5, holder, 0, Held(key, (1, 2, 3), 2, None))
    for member in sorted(members):
        lineage.delivered(1.0, 0, 0, Masked(key, member, _contributed(lineage, member), 1.0))
    lineage.delivered(2.0, 0, 0, Revealed(key, 1, members, 2))
    lineage.overheard(2.0, 0, Revealed(key, 2, members, 2))
    told = losses_of(lineage, (0,), (WIRE, 0), victims=(1, 2, 3))
    assert told == {"0": 0.0, "wire,0": pytest.approx(1 / 3)}


def test_a_vector_that_was_tapped_and_then_lost_is_in_the_sum_of_the_pool() -> None:
    """Two sums for one list, with and without member 3, whose vector only the wire has."""
    lineage = Lineage()
    key, members = (0, 0, 0), frozenset({1, 2, 3})
    for member in sorted(members):
        tag = Masked(key, member, _contributed(lineage, member), 1.0)
        (lineage.overheard if member == 3 else lambda *a: lineage.delivered(a[0], 0, *a[1:]))(1.0, 0, tag)
    for holder in (1, 2):
        lineage.delivered(2.0, 0, 0, Revealed(key, holder, members, 2))
    told = losses_of(lineage, (0,), (WIRE, 0), victims=(1, 2, 3))
    assert told == {"0": 0.0, "wire,0": pytest.approx(1 / 3)}


@pytest.mark.parametrize("keeps_disk", [True, False])
def test_noise_that_is_used_twice_protects_nobody(keeps_disk: bool, tmp_path: Path) -> None:
    made = world(
        fault=[
            {
                "kind": "outage",
                "node": 1,
                "down_at": "650 ms",
                "up_at": "900 ms",
                "keeps_disk": keeps_disk,
            }
        ],
        protocol={"rounds": 8},
        privacy={"noise_multiplier": 5.0, "unit": "record"},
    )
    summary = run(made, tmp_path / "run")
    by_victim = {
        v: e for v, e in final(tmp_path / "run").group_by("victim").agg(pl.col("epsilon").max()).rows()
    }
    others = [by_victim[v] for v in (0, 2, 3)]
    assert all(e <= epsilon_of(8 / 25, DELTA) + 1e-9 for e in others)
    if keeps_disk:
        assert np.isfinite(by_victim[1])
        assert summary["epsilon_reason"] is None
    else:
        assert by_victim[1] == summary["epsilon_worst"] == float("inf")
        assert "node 1 made the update of round 0 again" in summary["epsilon_reason"]


def test_clients_learn_no_more_than_their_server_with_them(tmp_path: Path) -> None:
    """A client that misses the server's model holds sums in another way; its ε was infinite for that."""
    made = world(
        topology={"kind": "star", "nodes": 13},
        network={"latency": {"kind": "constant", "value": "100 ms"}, "loss": 0.03},
        training={"divisor": 20, "step_cost": "10 ms"},
        protocol={
            "kind": "fedavg",
            "rounds": 6,
            "exchange": "secure",
            "timeout": "1 s",
            "inner_train": False,
        },
        secure={"aggregation": {"kind": "bonawitz"}, "tolerated_dropouts": 4, "crypto": "ideal"},
        privacy={"noise_multiplier": 2.0},
    )
    summary = run(made, tmp_path / "run")
    told = again(tmp_path / "run", "0", "3", "0,3")
    assert np.isfinite(summary["epsilon_worst"])
    assert told["0", "certified"] <= told["0,3", "certified"]
    assert told["3", "certified"] <= told["0,3", "certified"] < 1.3 * told["0", "certified"]


@pytest.mark.parametrize("exchange", ["ldp", "secure"])
@pytest.mark.parametrize("loss", [0.0, 0.1])
def test_who_sees_more_learns_more(exchange: str, loss: float, tmp_path: Path) -> None:
    """Every figure of a set of observers is at most that of any larger set, on every basis."""
    made = world(
        topology={"kind": "regular", "nodes": 8, "degree": 4},
        network={"latency": {"kind": "constant", "value": "10 ms"}, "loss": loss},
        protocol={"rounds": 4, "exchange": exchange, "timeout": "300 ms"},
        **({"secure": {"crypto": "ideal"}} if exchange == "secure" else {}),
    )
    sets = [(0,), (1,), (0, 1), (0, 3), (0, 1, 3), (0, 1, 3, 6), (1, 2, 5), (0, 1, 2, 3, 5, 6)]
    made = made.model_copy(
        update={
            "privacy": made.privacy.model_copy(update={"observers": tuple(sets), "noise_multiplier": 2.0})
        }
    )
    run(made, tmp_path / "run")
    table = {
        (tuple(map(int, observers.split(","))), victim, basis): epsilon
        for basis in ("certified", "open-loop")
        for observers, victim, epsilon in final(tmp_path / "run", basis)
        .select("observers", "victim", "epsilon")
        .rows()
    }
    compared = 0
    for one, other in combinations(sets, 2):
        small, large = sorted((set(one), set(other)), key=len)
        if small < large:
            for victim in set(range(8)) - large:
                for basis in ("certified", "open-loop"):
                    compared += 1
                    less, more = (table[tuple(sorted(s)), victim, basis] for s in (small, large))
                    assert less <= more
    assert compared > 100


TOLD_TWICE: dict[str, dict[str, Any]] = {
    "ldp": {"protocol": {"rounds": 3}},
    "long": {"topology": {"kind": "ring", "nodes": 8}, "protocol": {"rounds": 9}},
    "secure": {
        "topology": {"kind": "regular", "nodes": 8, "degree": 4},
        "protocol": {"rounds": 3, "exchange": "secure", "timeout": "1 s"},
        "secure": {"crypto": "ideal"},
    },
    "narrow range": {
        "topology": {"kind": "regular", "nodes": 8, "degree": 4},
        "protocol": {"rounds": 3, "exchange": "secure", "timeout": "1 s"},
        "secure": {"crypto": "ideal", "range_sigmas": 8.0},
    },
    "integers": {
        "topology": {"kind": "star", "nodes": 9},
        "network": {"latency": {"kind": "constant", "value": "100 ms"}, "loss": 0.02},
        "protocol": {
            "kind": "fedavg",
            "rounds": 3,
            "exchange": "secure",
            "timeout": "1 s",
            "inner_train": False,
        },
        "secure": {"aggregation": {"kind": "bonawitz"}, "tolerated_dropouts": 2, "crypto": "ideal"},
        "privacy": {"noise_multiplier": 2.0},
    },
    "sampled": {"protocol": {"rounds": 3}, "training": {"rate": 0.3}, "privacy": {"unit": "record"}},
    "momentum": {
        "protocol": {"rounds": 3},
        "training": {"optimizer": {"kind": "momentum"}, "local_steps": 2},
    },
    "byzantine": {
        "protocol": {"rounds": 3},
        "adversary": {"byzantine": {"nodes": [2], "attack": {"kind": "sign-flip"}}},
    },
    "lost disk": {
        "protocol": {"rounds": 4},
        "fault": [{"kind": "outage", "node": 1, "down_at": "350 ms", "up_at": "500 ms", "keeps_disk": False}],
    },
    "stopped": {"protocol": {"rounds": 9}, "stop_after": "473 ms"},
}


@pytest.mark.parametrize("kind", TOLD_TWICE)
def test_a_finished_run_is_accounted_again_exactly_as_it_was(kind: str, tmp_path: Path) -> None:
    run(world(**TOLD_TWICE[kind]), tmp_path / "run")
    told = again(tmp_path / "run")
    compared = 0
    for basis in ("certified", "open-loop", "ldp-fallback"):
        worst = final(tmp_path / "run", basis).group_by("observers").agg(pl.col("epsilon").max())
        for observers, epsilon in worst.rows():
            compared += 1
            assert told[observers, basis] == epsilon
    assert compared == len(told) > 0
