"""Certified losses of enlarged views, against exact rational arithmetic with training that feeds back."""

from __future__ import annotations

import math
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest

from protocols.privacy.certified import Certificate, certify, views
from protocols.privacy.entries import Entry
from protocols.privacy.exposure import expose
from protocols.privacy.genies.kernel import kernel, vanishes
from protocols.privacy.genies.public import public_states
from protocols.privacy.genies.states import StatesView
from protocols.privacy.lineage import ORIGIN, PUBLIC, Lineage, Share, Visible
from protocols.privacy.record import read_record
from simulator.topology import mixing
from tests.support.closed_loop import ClosedLoop

END = np.array([1e9])


def states_loss(entries: list[Entry], coalition: set[int], nodes: int) -> np.ndarray:
    """Loss by node at the end where all states are public."""
    record = read_record(entries)
    public = public_states(record)
    assert public is not None
    return StatesView(record, public, expose(record, frozenset(coalition), 1.0)).losses(END, nodes)[0]


def certified(entries: list[Entry], coalition: set[int], nodes: int) -> Certificate:
    record = read_record(entries)
    exposure = expose(record, frozenset(coalition), 1.0)
    return certify(record, views(record, 10_000_000), exposure, END, nodes)


def gossip(weights: np.ndarray, rounds: int, *, outsider: bool) -> list[Entry]:
    """Secure sums over neighbourhoods, with the coefficients of the matrix as they are; an outsider reads models."""
    nodes, lineage = len(weights), Lineage()
    models = [ORIGIN] * nodes
    for t in range(rounds):
        models = [
            lineage.contribute(t, v, t, models[v], gain=-0.1, sigma=2.0, sensitivity=2.0)
            for v in range(nodes)
        ]
        mixed = []
        for v in range(nodes):
            around = [w for w in range(nodes) if w != v and weights[v, w]]
            for w in around if not outsider else ():
                tag = Share((v, t), w, frozenset(around), models[w], weights[v, w])
                lineage.delivered(t + 0.5, v, t, tag)
            terms = [(weights[v, v], models[v]), *((weights[v, w], models[w]) for w in around)]
            mixed.append(lineage.combine(t + 0.5, v, t, terms))
        models = mixed
        for state in models if outsider else ():
            lineage.delivered(t + 0.5, PUBLIC, t, Visible(state))
    return lineage.entries


def adjacency(graph: nx.Graph) -> np.ndarray:
    return nx.to_numpy_array(graph, nodelist=sorted(graph))


def equal(graph: nx.Graph, own: int = 1) -> np.ndarray:
    """(own · I + A) / (own + degree) of a regular graph: one float for every link."""
    links = adjacency(graph)
    share = 1.0 / (own + links[0].sum())
    return share * links + own * share * np.eye(len(links))


RELATIVE = {
    # weights, an outsider who reads all models, one member: worst and mean victim; all relative to LDP
    "ring-15": (equal(nx.cycle_graph(15)), 13 / 15, 1.0, 13 / 14),
    "ring-16": (equal(nx.cycle_graph(16)), 1.0, 1.0, 1.0),
    "hypercube-16, (2I+A)/6": (equal(nx.hypercube_graph(4), 2), 0.75, 1.0, 0.80),
    "torus 10x10": (equal(nx.grid_2d_graph(10, 10, periodic=True)), 0.92, 1.0, 92 / 99),
    "complete-16": (equal(nx.complete_graph(16)), 1 / 16, 1 / 15, 1 / 15),
}


@pytest.mark.parametrize("name", RELATIVE)
def test_an_outsider_learns_the_rank_of_the_mixing_matrix(name: str) -> None:
    weights, expected, _, _ = RELATIVE[name]
    nodes = len(weights)
    losses = states_loss(gossip(weights, 2, outsider=True), {PUBLIC}, nodes) / 2
    assert losses == pytest.approx(expected, rel=1e-9)
    assert losses.sum() == pytest.approx(np.linalg.matrix_rank(weights), rel=1e-9)


@pytest.mark.parametrize("name", RELATIVE)
def test_a_member_learns_the_rank_without_its_own_column(name: str) -> None:
    weights, _, worst, mean = RELATIVE[name]
    nodes = len(weights)
    reach = 12 if nodes == 100 else 9
    # In the last rounds not every state reaches the member: what one more round in the middle costs.
    losses = [states_loss(gossip(weights, t, outsider=False), {0}, nodes)[1:] for t in (reach, reach + 1)]
    added = losses[1] - losses[0]
    assert added.max() == pytest.approx(worst, rel=1e-9)
    assert added.mean() == pytest.approx(mean, rel=1e-9)


@pytest.mark.parametrize("name", ["ring-15", "hypercube-16, (2I+A)/6", "torus 10x10"])
def test_weights_that_are_rounded_to_24_bits_have_full_rank_and_gain_nothing(name: str) -> None:
    weights = RELATIVE[name][0]
    rounded = np.round(weights * 2**24) / 2**24
    np.fill_diagonal(rounded, 0.0)
    np.fill_diagonal(rounded, 1.0 - rounded.sum(axis=1))
    found = certified(gossip(rounded, 2, outsider=True), {PUBLIC}, len(weights))
    assert (found.mu2 == 2.0).all()
    assert (found.genie == 0).all()


@pytest.mark.parametrize(
    ("graph", "expected"),
    [
        (nx.cycle_graph(15), 1.0),  # thirds: the own weight, one minus the others, is another float
        (nx.hypercube_graph(4), 1.0),
        (nx.hypercube_graph(3), 5 / 8),  # quarters are exact
        (nx.circular_ladder_graph(8), 13 / 16),
        (nx.complete_graph(16), 1 / 16),
    ],
    ids=["ring-15", "hypercube-16", "hypercube-8", "ladder-16", "complete-16"],
)
def test_metropolis_weights_gain_where_the_degree_plus_one_is_a_power_of_two(
    graph: nx.Graph, expected: float
) -> None:
    links = adjacency(graph)
    weights = mixing.metropolis([np.flatnonzero(row).tolist() for row in links]).toarray()
    losses = states_loss(gossip(weights, 1, outsider=True), {PUBLIC}, len(weights))
    assert losses == pytest.approx(expected, rel=1e-9)


def test_the_genie_that_gives_a_figure_is_named() -> None:
    ladder, whole = equal(nx.circular_ladder_graph(8)), equal(nx.complete_graph(4))
    for entries, who, name in (
        (gossip(ladder, 2, outsider=True), PUBLIC, "view"),
        (gossip(ladder, 8, outsider=False), 0, "states"),
        (gossip(whole, 3, outsider=False), 0, "sums"),
        (gossip(equal(nx.cycle_graph(6)), 8, outsider=True), PUBLIC, "view"),
        (gossip(equal(nx.cycle_graph(4)), 8, outsider=True), PUBLIC, "local"),
    ):
        found = certified(entries, {who}, 16)
        names = {("local", "sums", "view", "states")[g] for g in found.genie[0, 1 : len(ladder)]}
        assert name in names
        assert names <= {name, "local"}


def test_a_path_is_refused_because_the_middle_node_reacts_to_what_the_observer_cannot_compute() -> None:
    lineage, models = Lineage(), [ORIGIN] * 3
    weights = np.array([[0.5, 0.5, 0], [0.25, 0.5, 0.25], [0, 0.5, 0.5]])
    for t in range(2):
        models = [
            lineage.contribute(t, v, t, models[v], gain=-1.0, sigma=1.0, sensitivity=1.0) for v in range(3)
        ]
        for src, dst in ((0, 1), (1, 0), (1, 2), (2, 1)):
            lineage.delivered(t + 0.5, dst, t, Visible(models[src]))
        models = [
            lineage.combine(t + 0.5, v, t, [(weights[v, w], models[w]) for w in range(3) if weights[v, w]])
            for v in range(3)
        ]
    record = read_record(lineage.entries)
    public = public_states(record)
    assert public is not None
    enlarged = StatesView(record, public, expose(record, frozenset({2}), 1.0))
    assert not enlarged.measurable()
    found = certified(lineage.entries, {2}, 3)
    assert found.mu2[0, 0] == found.local[0, 0] == 1.0
    assert found.genie[0, 0] == 0


def random_run(seed: int) -> ClosedLoop:
    """Local updates, models sent, secure sums with drop-outs, kept half-steps and late rounds, gains up to ±300."""
    rng = np.random.default_rng(seed)
    loop, nodes = ClosedLoop(), int(rng.integers(3, 6))
    feedback = rng.integers(-300, 301, nodes)
    models, made = [ORIGIN] * nodes, [0] * nodes
    for t in range(int(rng.integers(8, 20))):
        v = int(rng.integers(nodes))
        kind = rng.random()
        if kind < 0.2 or not sum(made):
            if made[v] < 3:
                models[v] = loop.contribute(t, v, models[v], feedback=int(feedback[v]))
                made[v] += 1
        elif kind < 0.3:
            w = (v + 1) % nodes
            loop.show(t, w, Visible(models[v]), [(1.0, models[v])])
            models[w] = loop.mix(t, w, [(0.5, models[w]), (0.5, models[v])])
        elif (
            kind < 0.85
        ):  # a group trains, its sum is opened at one of them, and those that hear the mean adopt it
            group = sorted(rng.choice(nodes, int(rng.integers(2, nodes + 1)), replace=False).tolist())
            for w in group:
                if made[w] < 3 and rng.random() < 0.9:
                    models[w] = loop.contribute(t, w, models[w], feedback=int(feedback[w]))
                    made[w] += 1
            terms = [(0.25, models[w]) for w in group]
            tag = tuple(Share((group[0], t), w, frozenset(group), models[w], 0.25) for w in group)
            loop.show(t + 0.5, group[0], tag, terms)
            mean = loop.mix(t + 0.5, group[0], terms)
            for w in group:
                if rng.random() < 0.8:
                    if w != group[0]:
                        loop.show(t + 0.6, w, Visible(mean), [(1.0, mean)])
                    models[w] = mean
        else:  # overlapping neighbourhoods
            half, mixed = list(models), list(models)
            for w in range(nodes):
                if rng.random() < 0.7:
                    around = [(w + 1) % nodes, (w - 1) % nodes]
                    terms = [(0.25, half[x]) for x in around]
                    tag = tuple(Share((w, t), x, frozenset(around), half[x], 0.25) for x in around)
                    loop.show(t + 0.5, w, tag, terms)
                    mixed[w] = loop.mix(t + 0.5, w, [(0.5, half[w]), *terms])
            models = mixed
    return loop


def loses_no_more_than_any_genie_says(seeds: range) -> None:
    gained = 0
    for seed in seeds:
        loop = random_run(seed)
        for coalition in (frozenset({0}), frozenset({0, 1})):
            states = states_loss(loop.lineage.entries, set(coalition), 5)
            found = certified(loop.lineage.entries, set(coalition), 5)
            for node, loss in loop.losses(coalition).items():
                assert loss <= states[node] * (1 + 1e-12), (seed, node)
                assert loss <= found.mu2[0, node] * (1 + 1e-12), (seed, node)
                gained += bool(states[node] < 0.99 * found.local[0, node])
    assert gained > len(seeds) / 4  # the runs are not all local


def test_training_that_feeds_back_loses_no_more_than_any_genie_says() -> None:
    loses_no_more_than_any_genie_says(range(60))


@pytest.mark.slow
def test_training_that_feeds_back_loses_no_more_in_many_runs() -> None:
    loses_no_more_than_any_genie_says(range(60, 1000))


def group_of_four(*, keeps: bool = False, private: bool = False, again: bool = False) -> ClosedLoop:
    """Two rounds of one sum of all, with one departure from what is recorded."""
    loop, everyone = ClosedLoop(), range(4)
    models = halves = [ORIGIN] * 4
    for t in range(2):
        half = [
            loop.contribute(
                t,
                v,
                models[v],
                feedback=300 if t and v == 1 else 0,
                gradient_at=halves[v] if t and private else None,
                noise_of=v if t and again else None,
            )
            for v in everyone
        ]
        terms = [(0.25, state) for state in half]
        loop.show(t, 0, tuple(Share((0, t), v, frozenset(everyone), half[v], 0.25) for v in everyone), terms)
        models = [loop.mix(t, v, terms, claimed=half[v] if keeps else None) for v in everyone]
        halves = half
    return loop


@pytest.mark.parametrize(
    "departure",
    [{"keeps": True}, {"private": True}, {"again": True}],
    ids=["half-step kept", "noise", "reuse"],
)
def test_each_broken_condition_loses_more_than_the_certificate(departure: dict[str, bool]) -> None:
    honest, broken = group_of_four(), group_of_four(**departure)
    charged = certified(broken.lineage.entries, {0}, 4).mu2[0]
    assert charged[1:] == pytest.approx(2 / 3)
    assert max(honest.losses(frozenset({0})).values()) == pytest.approx(2 / 3)
    assert max(broken.losses(frozenset({0})).values()) > 1.05 * 2 / 3


def test_noise_of_colluders_is_never_credited() -> None:
    entries = gossip(equal(nx.complete_graph(8)), 1, outsider=False)
    for coalition in ({0}, {0, 3}, {0, 3, 5}):
        losses = states_loss(entries, coalition, 8)
        outside = [v for v in range(8) if v not in coalition]
        assert losses[outside] == pytest.approx(1 / len(outside))


def test_a_kept_half_step_that_is_recorded_is_charged_alone() -> None:
    lineage = Lineage()
    half = [lineage.contribute(0, v, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0) for v in range(4)]
    terms = [(0.25, state) for state in half]
    mean = lineage.combine(0, 0, 0, terms)
    models = [mean, mean, half[2], mean]  # node 2 missed the mean
    again = [lineage.contribute(1, v, 1, models[v], gain=1.0, sigma=1.0, sensitivity=1.0) for v in range(4)]
    for t, states in enumerate((half, again)):
        for v in range(4):
            lineage.delivered(t + 0.5, 0, t, Share((0, t), v, frozenset(range(4)), states[v], 0.25))
    losses = states_loss(lineage.entries, {0}, 4)
    assert losses[1:] == pytest.approx([1 / 2 + 1 / 3, 1 + 1 / 3, 1 / 2 + 1 / 3])


def test_a_state_from_which_somebody_else_went_on_is_made_public_whoever_sent_it() -> None:
    """A state is an ancestor of a sight although the contribution that was made at it is not."""
    lineage = Lineage()
    first = [lineage.contribute(0, v, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0) for v in (1, 2)]
    mean = lineage.combine(1, 1, 0, [(0.5, state) for state in first])
    lineage.contribute(2, 1, 1, mean, gain=1.0, sigma=1.0, sensitivity=1.0)
    lineage.delivered(3, 0, 0, Visible(mean))
    assert states_loss(lineage.entries, {0}, 3)[1:] == pytest.approx(1 / 2)


@pytest.mark.parametrize("seed", range(20))
def test_losses_add_up_to_the_rank_of_what_is_public(seed: int) -> None:
    rng = np.random.default_rng(seed)
    nodes = int(rng.integers(3, 9))
    weights = rng.integers(-1, 2, (int(rng.integers(1, 9)), nodes)).astype(float)
    lineage = Lineage()
    states = [lineage.contribute(0, v, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0) for v in range(nodes)]
    for t, row in enumerate(weights, start=1):
        mixed = lineage.combine(t, 0, 0, [(c, s) for c, s in zip(row, states, strict=True) if c])
        lineage.delivered(t, PUBLIC, 0, Visible(mixed))
    losses = states_loss(lineage.entries, {PUBLIC}, nodes)
    assert losses.sum() == pytest.approx(np.linalg.matrix_rank(weights), rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_a_kernel_is_exact_and_whole_for_small_and_for_long_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, rank = int(rng.integers(2, 12)), int(rng.integers(1, 6))
    bits = 2 if seed % 2 else 30
    factors = [[Fraction(int(x)) for x in row] for row in rng.integers(-(2**bits), 2**bits, (width, rank))]
    bases = [[Fraction(int(x)) for x in row] for row in rng.integers(-9, 10, (rank, width))]
    rows = [
        {c: v for c in range(width) if (v := sum(f * b[c] for f, b in zip(factor, bases, strict=True)))}
        for factor in factors
    ]
    found = kernel(rows, width)
    true_rank = np.linalg.matrix_rank(np.array(bases, dtype=float))
    assert len(found) == width - true_rank
    assert all(vanishes(rows, vector) for vector in found)


def test_noise_of_several_contributions_that_share_a_sum_is_bounded_over_all_directions() -> None:
    """A node that trains twice before a sum is opened may move both contributions by C, in any direction."""
    lineage = Lineage()
    first = lineage.contribute(0, 1, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0)
    hidden = lineage.combine(0, 1, 0, [(0.5, first)])
    other = lineage.contribute(0, 2, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0)
    late = lineage.contribute(0, 1, 1, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0)
    total = lineage.combine(1, 3, 0, [(1.0, hidden), (1.0, other), (-1.0, late)])
    lineage.delivered(1, 0, 0, Visible(total))
    losses = states_loss(lineage.entries, {0}, 3)
    assert losses[1] == pytest.approx(1.5**2 / 2.25)
    assert losses[2] == pytest.approx(1 / 2.25)


def test_bare_or_unbounded_contributions_and_correlated_noise_gain_nothing() -> None:
    def run(**odd: float) -> Lineage:
        lineage = Lineage()
        terms = {1: {"sigma": 1.0, "sensitivity": 1.0} | odd, 2: {"sigma": 1.0, "sensitivity": 1.0}}
        states = [lineage.contribute(0, v, 0, ORIGIN, gain=1.0, **given) for v, given in terms.items()]
        mean = lineage.combine(1, 1, 0, [(0.5, state) for state in states])
        lineage.delivered(1, 0, 0, Visible(mean))
        return lineage

    for odd in ({"sigma": 0.0}, {"sensitivity": math.inf}):
        losses = states_loss(run(**odd).entries, {0}, 3)
        assert losses[1] == math.inf
        assert losses[2] == pytest.approx(1.0)
    lineage = run()
    noise = lineage.contribute(0, 1, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=0.0)
    lineage.contribute(2, 1, 1, ORIGIN, gain=1.0, sigma=0.0, sensitivity=1.0, noise=noise)
    assert public_states(read_record(lineage.entries)) is None
    lineage = run()
    lineage.contribute(
        2, 1, 1, ORIGIN, gain=1.0, sigma=0.5, sensitivity=0.5
    )  # its clipping norm follows something
    assert public_states(read_record(lineage.entries)) is None
