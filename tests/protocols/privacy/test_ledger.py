"""The ledger against closed forms, published reference values and dense linear algebra."""

from __future__ import annotations

import math

import numpy as np
import pytest

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.entries import Entry
from protocols.privacy.exposure import expose
from protocols.privacy.genies.sums import sum_losses
from protocols.privacy.ledger import Claim, account
from protocols.privacy.lineage import ORIGIN, Lineage, Share, Visible
from protocols.privacy.linear_view import ViewTooLarge, sight_rows, sights_of, state_rows, whiten
from protocols.privacy.open_loop import open_loop_losses
from protocols.privacy.question import Limits, Question
from protocols.privacy.record import read_record
from simulator.errors import ConfigurationError
from tests.support.gossip_records import END_S, GRAPHS, complete, figures, gossip, metropolis, ring, torus


def dense(entries: list[Entry], coalition: frozenset[int], until_s: float = END_S) -> dict[int, np.ndarray]:
    """Oracle: by victim, its block of AᵀΣ⁺A, by plain recursion over the entries and a pseudo-inverse."""
    columns = [entry for entry in entries if entry.kind == "contribute"]
    position = {entry.state: index for index, entry in enumerate(columns)}
    rows, seen = {ORIGIN: np.zeros(len(columns))}, []
    for entry in entries:
        if entry.kind == "contribute":
            rows[entry.state] = rows[entry.parents[0]].copy()
            rows[entry.state][position[entry.state]] = entry.coefs[0]
            continue
        if entry.kind not in ("combine", "release"):
            continue
        total = np.zeros(len(columns))
        for coef, parent in zip(entry.coefs, entry.parents, strict=True):
            total += coef * rows[parent]
        if entry.kind == "combine":
            rows[entry.state] = total
        elif entry.node in coalition and entry.t_s <= until_s:
            seen.append(total)
    hidden = [i for i, entry in enumerate(columns) if entry.node not in coalition]
    view = np.array(seen).reshape(len(seen), len(columns))[:, hidden]
    noise = np.diag([columns[i].sigma ** 2 for i in hidden])
    shift = np.array([columns[i].sensitivity for i in hidden])
    covariance = view @ noise @ view.T
    gram = shift[:, None] * (view.T @ np.linalg.pinv(covariance, rcond=1e-13, hermitian=True) @ view) * shift
    owner = np.array([columns[i].node for i in hidden])
    return {int(u): gram[np.ix_(owner == u, owner == u)] for u in np.unique(owner)}


def adaptive_bound(gram: np.ndarray) -> float:
    used = int((gram.diagonal() > 1e-12).sum())
    return min(float(np.abs(gram).sum()), used * float(np.linalg.eigvalsh(gram)[-1]))


def best_signs(gram: np.ndarray, rng: np.random.Generator) -> float:
    """A loss that some choice of shifts really causes: signs improved one at a time."""
    best = 0.0
    for _ in range(4):
        signs = rng.choice([-1.0, 1.0], len(gram))
        for _ in range(5):
            for i in range(len(gram)):
                rest = gram[i] @ signs - gram[i, i] * signs[i]
                signs[i] = 1.0 if rest >= 0 else -1.0
        best = max(best, float(signs @ gram @ signs))
    return best


def asynchronous(
    seed: int, nodes: int = 6, events: int = 60, feedback: np.ndarray | None = None, secure: float = 0.4
) -> list[Entry]:
    """A random trace with losses: local updates, models pushed, and sums opened (all or not at all).

    With ``feedback``, the gradient of node v at x is feedback[v] · x: quadratic losses, written into the map.
    """
    rng = np.random.default_rng(seed)
    lineage = Lineage()
    models = [ORIGIN] * nodes
    rounds = [0] * nodes
    for event in range(events):
        v = int(rng.integers(nodes))
        kind = rng.random()
        if kind < 0.4:
            at = models[v]
            if feedback is not None:
                at = lineage.combine(event, v, rounds[v], [(1 - 0.5 * feedback[v], at)])
            models[v] = lineage.contribute(
                event, v, rounds[v], at, gain=-0.5, sigma=0.5 + v / nodes, sensitivity=1 + 0.2 * v
            )
            rounds[v] += 1
        elif kind < 1 - secure:
            w = (v + int(rng.integers(1, 3))) % nodes
            if rng.random() < 0.8:
                lineage.delivered(event, w, 0, Visible(models[v]))
                models[w] = lineage.combine(event, w, 0, [(0.5, models[w]), (0.5, models[v])])
        else:
            members = sorted({(v + k) % nodes for k in (1, 2, nodes - 1)})
            complete = True
            for w in members:
                if rng.random() < 0.1:
                    complete = False
                else:
                    lineage.delivered(event, v, 0, Share((v, event), w, frozenset(members), models[w], 0.25))
            if complete:
                terms = [(0.25, models[v])] + [(0.25, models[w]) for w in members]
                models[v] = lineage.combine(event, v, 0, terms)
    return lineage.entries


def path_with_quadratic_loss(step_times_curvature: float) -> list[Entry]:
    """u=0, w=1, a=2 on a path, two rounds; w's gradient is curvature · x_w, written into the map."""
    weights = metropolis([(0, 1), (1, 2)], 3)
    lineage = Lineage()
    models = [ORIGIN] * 3
    for round in range(2):
        at = list(models)
        at[1] = lineage.combine(round, 1, round, [(1 - step_times_curvature, models[1])])
        models = [
            lineage.contribute(round, v, round, at[v], gain=-1.0, sigma=1.0, sensitivity=1.0)
            for v in range(3)
        ]
        for src, dst in ((0, 1), (1, 0), (1, 2), (2, 1)):
            lineage.delivered(round + 0.5, dst, round, Visible(models[src]))
        models = [
            lineage.combine(round + 0.5, v, round, [(weights[v, w], models[w]) for w in range(3)])
            for v in range(3)
        ]
    return lineage.entries


# Fresh noise every round, observer 0, units of (shift / sigma)^2, exact linear algebra (two independent methods).
FRESH_NOISE = [
    # graph, rounds, secure, victim, same direction every round, worst case bound
    ("ring8", 1, True, 1, 0.5, 0.5),
    ("torus4x4", 2, False, 1, 1.896057347670249, 1.8960573476702511),
    ("torus4x4", 2, True, 2, 0.03225806451612904, 0.03225806451612904),
    ("torus4x4", 5, False, 1, 4.305927113916211, 4.747988611565368),
    ("torus4x4", 5, False, 10, 0.022701324717483803, 0.022701324717483803),
    ("torus4x4", 5, True, 1, 0.9015278931625984, 1.136506425934505),
    ("torus4x4", 5, True, 6, 0.062462602333861014, 0.062462602333861014),
    ("torus4x4", 10, False, 1, 7.936534485197822, 9.85912676640632),
    ("torus4x4", 10, True, 1, 1.3574030696268935, 2.5),
    ("torus4x4", 10, True, 10, 0.23601158744229445, 0.23601158744229445),
    ("complete8", 10, True, 3, 10 / 7, 10 / 7),
    ("complete8", 10, False, 3, 10.0, 10.0),
]


@pytest.mark.parametrize(("graph", "rounds", "secure", "victim", "aligned", "worst"), FRESH_NOISE)
def test_fresh_noise_reference(graph, rounds, secure, victim, aligned, worst):
    weights = GRAPHS[graph]
    entries = gossip(weights, rounds, secure=secure)
    record = read_record(entries)
    hidden = record.owner != 0
    seen = sight_rows(state_rows(record)[:, hidden], sights_of(record, frozenset({0})))
    shifts = whiten(seen, record.sigma[hidden]).shifts
    together = shifts[:, record.owner[hidden] == victim].sum(axis=1)
    assert together @ together == pytest.approx(aligned, abs=1e-10)
    assert figures(entries, (0,), "open-loop", nodes=len(weights))[victim] == pytest.approx(worst, abs=1e-10)


# mu = sqrt(loss) for one or two curious nodes, worst sign pattern bounded by sqrt(sum |G|).
CURIOUS = [
    ("ring8", (0,), 5, False, {1: 2.2058, 2: 0.8447, 3: 0.2945, 4: 0.1067}),
    ("ring8", (0,), 5, True, {1: 1.5598, 2: 0.5963, 3: 0.2137, 4: 0.1067}),
    ("ring8", (0, 1), 5, True, {2: 2.2058, 3: 0.8447, 4: 0.3028, 7: 2.2058}),
    ("ring8", (0, 4), 20, True, {1: 3.1157, 2: 1.7496, 6: 1.7496}),
    ("complete8", (0, 4), 20, True, {1: math.sqrt(20 / 6), 7: math.sqrt(20 / 6)}),
    ("torus4x4", (0, 8), 5, True, {1: 1.2743, 2: 0.5448, 4: 1.2944, 6: 0.2852}),
]


@pytest.mark.parametrize(("graph", "group", "rounds", "secure", "expected"), CURIOUS)
def test_curious_nodes_reference(graph, group, rounds, secure, expected):
    weights = GRAPHS[graph]
    entries = gossip(weights, rounds, secure=secure)
    losses = figures(entries, group, "open-loop", nodes=len(weights))
    for victim, mu in expected.items():
        assert math.sqrt(losses[victim]) == pytest.approx(mu, abs=6e-5)


# One noise draw, then gossip: what a formula per message misses (ring-8, 4 steps, antipode: 0.0142 against 1).
ONE_SHOT = [
    ("ring8", 2, False, 5, [1, 1, 0, 0, 0, 1, 1]),
    ("ring8", 4, False, 8, [1, 1, 1, 1, 1, 1, 1]),
    ("ring8", 4, True, 5, [0.5, 0.5, 0.5, 1, 0.5, 0.5, 0.5]),
    ("torus4x4", 2, False, 9, [1, 2 / 3, 1, 1, 2 / 3, 0, 2 / 3, 2 / 3, 0, 0, 0, 1, 2 / 3, 0, 2 / 3]),
    ("torus4x4", 3, True, 4, [1 / 4, 1 / 6, 1 / 4, 1 / 4, 1 / 6, 1 / 4, 1 / 6, 1 / 6, 1 / 4, 0]),
    ("complete8", 8, True, 2, [1 / 7] * 7),
]


@pytest.mark.parametrize(("graph", "steps", "secure", "rank", "expected"), ONE_SHOT)
def test_one_noise_draw_and_the_conservation_law(graph, steps, secure, rank, expected):
    weights = GRAPHS[graph]
    entries = gossip(weights, steps, secure=secure, contributes=lambda node, round: round == 0)
    losses = figures(entries, (0,), "open-loop", nodes=len(weights))
    for victim, loss in enumerate(expected, start=1):
        assert losses[victim] == pytest.approx(loss, abs=1e-9)
    assert sum(losses.values()) == pytest.approx(rank - 1, abs=1e-9)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("group", [(0,), (0, 3)])
def test_open_loop_equals_dense_algebra_on_asynchronous_traces(seed, group):
    # No sum misses exactly a colluder's share here, so that the oracle may read the releases alone.
    entries = [e for e in asynchronous(seed) if e.kind not in ("opening", "share")]
    for until_s in (15.0, 37.0, END_S):
        local = figures(entries, group, "certified", nodes=6, t_s=until_s)
        losses = figures(entries, group, "open-loop", nodes=6, t_s=until_s)
        for victim, gram in dense(entries, frozenset(group), until_s).items():
            expected = min(adaptive_bound(gram), local[victim])
            assert losses[victim] == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("secure", [0.0, 0.4])
def test_certified_bounds_training_that_feeds_back(seed, secure):
    rng = np.random.default_rng(1000 + seed)
    feedback = rng.normal(0, 3, 6)
    entries = asynchronous(seed, feedback=feedback, secure=secure)
    certified = figures(asynchronous(seed, secure=secure), (0,), "certified", nodes=6)
    for victim, gram in dense(entries, frozenset({0})).items():
        assert best_signs(gram, rng) <= certified[victim] * (1 + 1e-7) + 1e-9


@pytest.mark.parametrize("loss", [0.0, 0.03, 0.2])
def test_certified_bounds_feedback_where_sums_are_public(loss):
    """Complete graph, secure sums, some of them missed: partly charged as sums, and still a bound."""
    nodes, rounds = 6, 12
    rng = np.random.default_rng(7)
    missed = rng.random((rounds, nodes, nodes)) < loss
    weights, feedback = complete(nodes), rng.normal(0, 3, nodes)

    def run(feedback):
        lineage, models = Lineage(), [ORIGIN] * nodes
        for t in range(rounds):
            at = [lineage.combine(t, v, t, [(1 - feedback[v], models[v])]) for v in range(nodes)]
            models = [
                lineage.contribute(t, v, t, at[v], gain=-1.0, sigma=1.0, sensitivity=1.0)
                for v in range(nodes)
            ]
            mixed = list(models)
            for v in range(nodes):
                others = [w for w in range(nodes) if w != v]
                for w in others:
                    if not missed[t, v, w]:
                        tag = Share((v, t), w, frozenset(others), models[w], weights[v, w])
                        lineage.delivered(t + 0.5, v, t, tag)
                if not missed[t, v, others].any():
                    mixed[v] = lineage.combine(t + 0.5, v, t, [(1 / nodes, model) for model in models])
            models = mixed
        return lineage.entries

    certified = figures(run(np.zeros(nodes)), (0,), "certified", nodes=nodes)
    assert all(loss_of <= rounds + 1e-9 for loss_of in certified.values())
    for victim, gram in dense(run(feedback), frozenset({0})).items():
        assert best_signs(gram, rng) <= certified[victim] * (1 + 1e-7)
    if loss == 0:
        assert certified[1] == pytest.approx(rounds / (nodes - 1), rel=1e-12)
    if loss == 0.03:
        assert max(certified.values()) < 0.75 * rounds


def test_path_shows_why_open_loop_is_no_bound():
    open_loop = figures(path_with_quadratic_loss(0.0), (2,), "open-loop", nodes=3)[0]
    assert open_loop == pytest.approx(1 / 10, rel=1e-12)
    convex = figures(path_with_quadratic_loss(3.0), (2,), "open-loop", nodes=3)[0]
    assert convex == pytest.approx(4 / 13, rel=1e-12)
    concave = figures(path_with_quadratic_loss(-3.0), (2,), "open-loop", nodes=3)[0]
    assert concave == pytest.approx(16 / 25, rel=1e-12)
    gentle = figures(path_with_quadratic_loss(1.0), (2,), "open-loop", nodes=3)[0]
    assert gentle < open_loop
    certified = figures(path_with_quadratic_loss(0.0), (2,), "certified", nodes=3)[0]
    assert certified == pytest.approx(1.0)


@pytest.mark.parametrize("nodes", [3, 7, 16])
def test_secure_sums_on_a_complete_graph_cost_rounds_over_z_squared(nodes):
    rounds, z, clip = 9, 4.0, 1.0
    entries = gossip(complete(nodes), rounds, secure=True, sigma=z * clip / math.sqrt(nodes - 1), gain=-0.3)
    for observer in (0, nodes - 1):
        for basis in ("certified", "open-loop"):
            losses = figures(entries, (observer,), basis, nodes=nodes)
            assert len(losses) == nodes - 1
            for loss in losses.values():
                assert loss == pytest.approx(rounds / z**2, rel=1e-11)
    assert figures(entries, (0,), "certified", nodes=nodes, adjacency="replace")[1] == pytest.approx(
        4 * rounds / z**2, rel=1e-11
    )


def test_direct_exchange_on_a_complete_graph_costs_every_round_in_full():
    entries = gossip(complete(5), 6, secure=False, sigma=2.5)
    for loss in figures(entries, (2,), "certified", nodes=5).values():
        assert loss == pytest.approx(6 / 2.5**2, rel=1e-12)


def test_a_node_that_missed_a_sum_pays_for_it_and_the_others_lose_its_noise():
    nodes, rounds = 8, 3
    entries = gossip(
        complete(nodes), rounds, secure=True, delivered=lambda src, dst, round: (src, dst, round) != (2, 5, 1)
    )
    losses = figures(entries, (0,), "certified", nodes=nodes)
    # Node 5 went on with its own model of round 1, which is in no sum that others share.
    assert losses[5] == pytest.approx(1 + 2 / 7)
    assert losses[1] == losses[2] == pytest.approx(1 / 6 + 2 / 7)
    last = gossip(
        complete(nodes), rounds, secure=True, delivered=lambda src, dst, round: (src, dst, round) != (2, 5, 2)
    )
    assert figures(last, (0,), "certified", nodes=nodes)[5] == pytest.approx(3 / 7)


def test_gossip_without_noise_loses_everything_that_is_reached():
    entries = gossip(ring(8), 2, secure=False, sigma=0.0)
    for basis in ("certified", "open-loop"):
        losses = figures(entries, (0,), basis, nodes=8)
        assert {v for v, loss in losses.items() if math.isinf(loss)} == {1, 2, 6, 7}
        assert losses[4] == 0
    claims = account(
        entries,
        Question(
            victims=[1],
            observers=[(0,)],
            unit="node",
            adjacency="zero-out",
            delta=1e-5,
            times_s=[0.49, 0.5],
        ),
    )
    for basis in ("certified", "open-loop"):
        assert [claim.epsilon for claim in claims if claim.basis == basis] == [0.0, math.inf]


def test_contributions_without_bound_lose_everything():
    lineage = Lineage()
    state = lineage.contribute(0, 0, 0, ORIGIN, gain=1.0, sigma=2.0, sensitivity=math.inf)
    lineage.delivered(1, 1, 0, Visible(state))
    for basis in ("certified", "open-loop"):
        assert figures(lineage.entries, (1,), basis, nodes=2)[0] == math.inf


def test_a_noiseless_node_hides_behind_the_noise_of_others_in_a_sum():
    lineage = Lineage()
    bare = lineage.contribute(0, 0, 0, ORIGIN, gain=1.0, sigma=0.0, sensitivity=1.0)
    noisy = lineage.contribute(0, 1, 0, ORIGIN, gain=1.0, sigma=2.0, sensitivity=1.0)
    for t_s, coef in ((1.0, 0.5), (2.0, 0.25)):
        for member, state in ((0, bare), (1, noisy)):
            tag = Share((3, int(t_s)), member, frozenset({0, 1}), state, coef if member else 0.5)
            lineage.delivered(t_s, 3, 0, tag)
    for basis in ("certified", "open-loop"):
        first = figures(lineage.entries, (3,), basis, nodes=4, t_s=1.0)
        last = figures(lineage.entries, (3,), basis, nodes=4)
        assert last[0] == math.inf  # two sums with different weights: the noise cancels
        if basis == "open-loop":
            assert first[0] == first[1] == pytest.approx(0.25)


def test_a_sum_with_a_noiseless_member_seen_twice_stays_finite():
    lineage = Lineage()
    bare = lineage.contribute(0, 0, 0, ORIGIN, gain=1.0, sigma=0.0, sensitivity=1.0)
    both = lineage.contribute(0, 1, 0, bare, gain=1.0, sigma=2.0, sensitivity=1.0)
    third = lineage.contribute(0, 2, 0, both, gain=1.0, sigma=1.0, sensitivity=1.0)
    lineage.delivered(1, 3, 0, Share((3, 0), 1, frozenset({1}), both, 0.5))
    lineage.delivered(1, 3, 0, Visible(third))
    lineage.delivered(2, 3, 0, Visible(both))
    losses = figures(lineage.entries, (3,), "open-loop", nodes=4)
    assert losses == pytest.approx({0: 1 / 4, 1: 1 / 4, 2: 1.0})


def test_innovations_stay_independent_when_sights_nearly_repeat():
    rng = np.random.default_rng(5)
    # Every sight repeats an earlier one up to one part in ten million: in the same block, or in another one.
    first, pairs = rng.normal(size=(30, 140)), np.repeat(rng.normal(size=(30, 140)), 2, axis=0)
    seen = np.concatenate((first, pairs + 1e-7 * rng.normal(size=pairs.shape), first))
    seen[90:] += 1e-7 * rng.normal(size=(30, 140))
    sigma = rng.uniform(0.5, 2.0, 140)
    shifts = whiten(seen, sigma).shifts * sigma
    assert len(shifts) == 120
    assert np.abs(shifts @ shifts.T - np.eye(120)).max() < 1e-13


def test_figures_at_many_times_are_those_at_each_time():
    entries = asynchronous(5)
    times = [30.0, 4.0, 17.5, 44.0, 60.0, 60.0]
    claims = account(
        entries,
        Question(
            victims=range(6),
            observers=[(1,)],
            unit="node",
            adjacency="zero-out",
            delta=1e-5,
            times_s=times,
        ),
    )
    for t_s in times:
        for basis in ("certified", "open-loop"):
            alone = figures(entries, (1,), basis, nodes=6, t_s=t_s)
            among = {c.victim: c.mu2 for c in claims if (c.t_s, c.basis) == (t_s, basis)}
            assert among == pytest.approx(alone, rel=1e-12)


def test_noise_below_the_tolerance_of_the_view_is_never_taken_for_none_lost():
    lineage = Lineage()
    loud = lineage.contribute(0, 0, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0)
    quiet = lineage.contribute(0, 1, 0, loud, gain=1.0, sigma=1e-13, sensitivity=1.0)
    lineage.delivered(1, 2, 0, Visible(loud))
    lineage.delivered(1, 2, 0, Visible(quiet))
    assert figures(lineage.entries, (2,), "open-loop", nodes=3)[1] >= 1e25


def small_sum(arrivals: list[tuple[float, int]]) -> list[Entry]:
    """Nodes 1, 2, 3 contribute with unit noise; aggregator 0 needs all their shares."""
    lineage = Lineage()
    states = {v: lineage.contribute(0, v, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0) for v in (1, 2, 3)}
    for t_s, v in arrivals:
        lineage.delivered(t_s, 0, 0, Share((0, 0, 0), v, frozenset(states), states[v], 1 / 4))
    return lineage.entries


def test_a_sum_that_misses_a_member_releases_nothing():
    entries = small_sum([(1, 1), (2, 2)])
    for basis in ("certified", "open-loop"):
        assert figures(entries, (0,), basis, nodes=4) == {1: 0.0, 2: 0.0, 3: 0.0}


def test_a_late_share_charges_when_it_is_delivered():
    entries = small_sum([(1, 1), (2, 2), (60, 3)])
    for basis in ("certified", "open-loop"):
        assert figures(entries, (0,), basis, nodes=4, t_s=59.9)[1] == 0
        assert figures(entries, (0,), basis, nodes=4, t_s=60.0)[1] == pytest.approx(1 / 3)


def test_a_share_delivered_again_costs_nothing():
    once = small_sum([(1, 1), (2, 2), (3, 3)])
    again = small_sum([(1, 1), (1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 3), (7, 1)])
    for basis in ("certified", "open-loop"):
        assert figures(again, (0,), basis, nodes=4) == pytest.approx(figures(once, (0,), basis, nodes=4))


def test_a_model_delivered_again_costs_nothing():
    lineage = Lineage()
    state = lineage.contribute(0, 0, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0)
    for t_s in (1, 2, 3):
        lineage.delivered(t_s, 1, 0, Visible(state))
    for basis in ("certified", "open-loop"):
        assert figures(lineage.entries, (1,), basis, nodes=2)[0] == pytest.approx(1.0)


def test_colluders_open_a_sum_without_their_own_share():
    entries = small_sum([(1, 1), (2, 2)])
    for basis in ("certified", "open-loop"):
        assert figures(entries, (0, 3), basis, nodes=4) == pytest.approx({1: 0.5, 2: 0.5})
        assert figures(entries, (0, 2, 3), basis, nodes=4) == pytest.approx({1: 1.0})
        assert figures(entries, (0,), basis, nodes=4, uncredited=frozenset({3})) == pytest.approx(
            {1: 0.5, 2: 0.5}
        )
    assert figures(small_sum([(1, 1)]), (0, 3), "certified", nodes=4) == {1: 0.0, 2: 0.0}


def test_noise_of_byzantine_nodes_is_not_credited():
    entries = gossip(complete(8), 4, secure=True)
    for basis in ("certified", "open-loop"):
        losses = figures(entries, (0,), basis, nodes=8, uncredited=frozenset({5}))
        assert set(losses) == {1, 2, 3, 4, 6, 7}
        assert losses[1] == pytest.approx(4 / 6, rel=1e-11)


def test_what_a_byzantine_node_sends_changes_no_figure():
    def run(scale: float) -> list[Entry]:
        weights, lineage, models = ring(6), Lineage(), [ORIGIN] * 6
        for t in range(6):
            models = [
                lineage.contribute(t, v, t, models[v], gain=1.0, sigma=1.0, sensitivity=1.0) for v in range(6)
            ]
            said = list(models)
            said[2] = lineage.combine(t, 2, t, [(scale, models[2])])
            mixed = []
            for v in range(6):
                others = [(v - 1) % 6, (v + 1) % 6]
                for w in others:
                    tag = Share((v, t), w, frozenset(others), said[w], weights[v, w])
                    lineage.delivered(t + 0.5, v, t, tag)
                terms = [(weights[v, v], models[v])] + [(weights[v, w], said[w]) for w in others]
                mixed.append(lineage.combine(t + 0.5, v, t, terms))
            models = mixed
        return lineage.entries

    for group in ((0,), (4,), (2,)):
        honest, hostile = (
            figures(run(scale), group, "open-loop", nodes=6, uncredited=frozenset({2}))
            for scale in (1.0, -3.0)
        )
        assert hostile == pytest.approx(honest, rel=1e-9)


def test_something_non_linear_makes_the_figures_fall_back():
    lineage = Lineage()
    states = [lineage.contribute(0, v, 0, ORIGIN, gain=1.0, sigma=2.0, sensitivity=1.0) for v in range(3)]
    for v in (0, 1):
        lineage.delivered(1, 3, 0, Share((3, 0), v, frozenset({0, 1}), states[v], 0.5))
    median = lineage.opaque(2, 1, 0, [states[1], states[2]])
    after = lineage.contribute(2, 1, 1, median, gain=1.0, sigma=2.0, sensitivity=1.0)
    lineage.delivered(3, 3, 1, Visible(after))
    claims = account(
        lineage.entries,
        Question(
            victims=[0, 1, 2],
            observers=[(3,)],
            unit="record",
            adjacency="add-remove",
            delta=1e-6,
            times_s=[1.0, 3.0],
        ),
    )
    found = {(c.victim, c.t_s, c.basis): c.mu2 for c in claims}
    assert len(found) == len(claims) == 12
    assert found[0, 1.0, "open-loop"] == pytest.approx(1 / 8)
    # Node 1's noise became known on its own: the sum protects node 0 with its own noise only.
    assert found[0, 3.0, "ldp-fallback"] == found[0, 3.0, "certified"] == pytest.approx(1 / 4)
    assert found[1, 3.0, "ldp-fallback"] == pytest.approx(2 / 4)
    assert found[2, 3.0, "certified"] == pytest.approx(1 / 4)
    assert (0, 3.0, "open-loop") not in found


def test_claims_say_what_they_are_about():
    entries = gossip(ring(4), 3, secure=True, sigma=3.0)
    claims = account(
        entries,
        Question(
            victims=[0, 1, 2],
            observers=[(1,), (3, 1)],
            unit="record",
            adjacency="replace",
            delta=1e-6,
            times_s=[0.0, 1.0, 2.0, 3.0],
        ),
    )
    assert {(c.victim, c.observers) for c in claims} == {(0, "1"), (2, "1"), (0, "3,1"), (2, "3,1")}
    assert {(c.unit, c.adjacency, c.delta) for c in claims} == {("record", "replace", 1e-6)}
    assert all(isinstance(c, Claim) and c.epsilon == epsilon_of(c.mu2, 1e-6) for c in claims)
    for basis in ("certified", "open-loop"):
        line = [c.mu2 for c in claims if (c.victim, c.observers, c.basis) == (0, "1", basis)]
        assert len(line) == 4
        assert line[0] == 0
        assert line == sorted(line)


def test_more_observers_never_learn_less():
    entries = asynchronous(3)
    for basis in ("certified", "open-loop"):
        one, two = (figures(entries, group, basis, nodes=6) for group in ((0,), (0, 2)))
        assert all(two[v] >= one[v] - 1e-9 for v in two)
    for victim, loss in figures(entries, (0,), "open-loop", nodes=6).items():
        assert loss <= figures(entries, (0,), "certified", nodes=6)[victim]


def test_a_view_too_large_for_sums_is_certified_with_all_states_public_and_filtered_along_the_record():
    entries = gossip(complete(4), 3, secure=True, sigma=2.0)
    claims = account(
        entries,
        Question(
            victims=[1],
            observers=[(0,)],
            unit="node",
            adjacency="zero-out",
            delta=1e-5,
            times_s=[END_S],
        ),
        limits=Limits(max_cells=100),
    )
    found = [(c.basis, c.mu2) for c in claims]
    assert found == [("certified", pytest.approx(1 / 4)), ("open-loop", pytest.approx(1 / 4))]
    with pytest.raises(ViewTooLarge, match="max_cells"):
        state_rows(read_record(entries), max_cells=100)
    assert figures(entries, (0,), "open-loop", nodes=4, max_work=10) == {}
    assert figures(entries, (0,), "certified", nodes=4, max_work=10)[1] == pytest.approx(1 / 4)


def test_a_run_of_ordinary_size_fits():
    entries = gossip(torus(4), 100, secure=True)
    record = read_record(entries)
    rows = state_rows(record)
    assert rows.shape == (3201, 1600)
    exposure = expose(record, frozenset({0}), 1.0)
    linear = open_loop_losses(record, exposure, np.array([50.0, 100.0]), 16, 10**8).upper
    certified = sum_losses(record, rows, exposure, np.array([50.0, 100.0]), 16)
    assert linear is not None
    assert (linear[1, 1:] <= certified[1, 1:]).all()
    assert (linear[0] <= linear[1] + 1e-9).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"unit": "person"},
        {"adjacency": "substitute"},
        {"delta": 0.0},
        {"observers": [()]},
    ],
)
def test_wrong_questions_are_refused(wrong):
    question = {
        "victims": [0],
        "observers": [(1,)],
        "unit": "node",
        "adjacency": "zero-out",
        "delta": 1e-5,
        "times_s": [1.0],
    }
    with pytest.raises(ConfigurationError):
        Question(**(question | wrong))
    assert [c.mu2 for c in account([], Question(**question))] == [0.0, 0.0]


def test_observers_divided_among_processes_see_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.privacy.coalitions.WORTH_PROCESSES", 0)
    entries = gossip(torus(4), 3, secure=True)
    found = [
        account(
            entries,
            Question(
                victims=range(16),
                observers=[(node,) for node in range(5)] + [(1, 2)],
                unit="node",
                adjacency="zero-out",
                delta=1e-5,
                times_s=[1.0, END_S],
            ),
            limits=Limits(jobs=jobs),
        )
        for jobs in (1, 2)
    ]
    assert found[0] == found[1]
