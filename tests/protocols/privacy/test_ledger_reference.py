"""The ledger's filter against tables of reference values: tests/data/network_privacy.json says what they are."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import networkx as nx
import numpy as np
import pytest

from protocols.privacy.entries import Entry
from protocols.privacy.exposure import expose
from protocols.privacy.innovations import follow
from protocols.privacy.lineage import ORIGIN, Lineage, Visible
from protocols.privacy.record import read_record
from tests.support.gossip_records import GRAPHS, figures, gossip, metropolis
from tests.support.matrix import covering
from tests.support.places import DATA
from tests.support.published import per_message_losses
from tests.support.rational import exact_losses

REFERENCE = json.loads((DATA / "network_privacy.json").read_text())


def grams(entries: list[Entry], group: tuple[int, ...]) -> dict[int, np.ndarray]:
    """By victim, its block of AᵀΣ⁺A in units of its shifts, from the filter alone."""
    record = read_record(entries)
    exposure = expose(record, frozenset(group), 1.0)
    known = np.isin(record.owner, group)
    filtered = follow(record, exposure.sights, known)
    found = {}
    for victim in np.unique(record.owner[~known]).tolist():
        whitened = filtered.shifts(np.flatnonzero((record.owner == victim) & (record.sensitivity > 0)))
        assert (whitened.exposed_from == len(exposure.sights)).all()
        found[victim] = whitened.shifts.T @ whitened.shifts
    return found


def upper(gram: np.ndarray) -> float:
    return min(float(np.abs(gram).sum()), len(gram) * float(np.linalg.eigvalsh(gram)[-1]))


FRESH = [
    (graph, int(rounds), view)
    for graph, table in REFERENCE["fresh"].items()
    for rounds in table
    for view in ("plain", "secure")
]


@pytest.mark.parametrize(("graph", "rounds", "view"), FRESH)
def test_fresh_noise(graph: str, rounds: int, view: str) -> None:
    expected = REFERENCE["fresh"][graph][str(rounds)]
    found = grams(gossip(GRAPHS[graph], rounds, secure=view == "secure"), (0,))
    for name, of in (
        ("user_same_dir", np.sum),
        ("user_certified_upper", upper),
        ("single_round0", lambda gram: gram[0, 0]),
    ):
        np.testing.assert_allclose(
            [of(found[victim]) for victim in sorted(found)], expected[f"{view}_{name}"], atol=2e-9, rtol=1e-8
        )


ONE_SHOT = [
    (graph, int(steps), view)
    for graph, table in REFERENCE["one_shot"].items()
    for steps, row in table.items()
    if isinstance(row, dict)
    for view in ("plain", "secure")
]


@pytest.mark.parametrize(("graph", "steps", "view"), ONE_SHOT)
def test_one_noise_draw(graph: str, steps: int, view: str) -> None:
    """And the conservation law: losses add up to the rank of the view less the observer's own value."""
    row = REFERENCE["one_shot"][graph][str(steps)]
    weights = GRAPHS[graph]
    entries = gossip(weights, steps, secure=view == "secure", contributes=lambda v, t: t == 0)
    losses = figures(entries, (0,), "open-loop", nodes=len(weights))
    expected = row["exact_plain" if view == "plain" else "exact_secure_sum"]
    np.testing.assert_allclose([losses[v] for v in sorted(losses)], expected, atol=1e-8)
    assert sum(losses.values()) == pytest.approx(row[f"rank_{view}"] - 1, abs=1e-8)


@pytest.mark.parametrize("graph", ["ring8", "complete8"])
@pytest.mark.parametrize("secure", [False, True])
def test_rational_arithmetic_agrees(graph: str, secure: bool) -> None:
    """Exactly: 1, 1/2 and 1/7, not numbers near them."""
    weights = GRAPHS[graph]
    entries = gossip(weights, 4, secure=secure, contributes=lambda v, t: t == 0)
    exact = exact_losses(read_record(entries), frozenset({0}), 64)
    expected = {
        ("ring8", False): [Fraction(1)] * 7,
        ("ring8", True): [Fraction(1, 2)] * 3 + [Fraction(1)] + [Fraction(1, 2)] * 3,
        ("complete8", False): [Fraction(1)] * 7,
        ("complete8", True): [Fraction(1, 7)] * 7,
    }[graph, secure]
    assert [exact[v] for v in range(1, 8)] == expected


def test_rational_arithmetic_finds_what_is_not_covered_by_noise() -> None:
    lineage = Lineage()
    bare = lineage.contribute(0, 1, 0, ORIGIN, gain=1.0, sigma=0.0, sensitivity=1.0)
    noised = lineage.contribute(0, 2, 0, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0)
    both = lineage.combine(1, 1, 0, [(0.1, bare), (0.3, noised)])
    for state in (both, noised):
        lineage.delivered(2, 0, 0, Visible(state))
    exact = exact_losses(read_record(lineage.entries), frozenset({0}), 64)
    assert exact[1] is None
    assert exact[2] == 1
    losses = figures(lineage.entries, (0,), "open-loop", nodes=3)
    assert losses[1] == np.inf
    assert losses[2] == pytest.approx(1)


@pytest.mark.parametrize(("graph", "steps", "view"), [row for row in ONE_SHOT if row[2] == "plain"])
def test_the_published_formula_per_message_is_no_bound(graph: str, steps: int, view: str) -> None:
    row = REFERENCE["one_shot"][graph][str(steps)]
    found = per_message_losses(GRAPHS[graph], 0, steps)
    np.testing.assert_allclose(found[1:], row["per_message_formula_t0"], rtol=1e-8, atol=1e-9)
    if (graph, steps) == ("ring8", 4):
        assert found[4] < 0.015
        assert row["exact_plain"][3] == 1.0


@pytest.mark.parametrize(
    "row",
    REFERENCE["curious"],
    ids=lambda r: f"{r['graph']}-{r['attackers']}-{r['rounds']}-{r['one_shot']}-{r['secure']}",
)
def test_coalitions(row: dict[str, Any]) -> None:
    weights, group = GRAPHS[row["graph"]], tuple(row["attackers"])
    first = row["one_shot"]
    entries = gossip(
        weights, row["rounds"], secure=row["secure"], contributes=lambda v, t: not first or t == 0
    )
    if first:
        losses = figures(entries, group, "open-loop", nodes=len(weights))
        for victim, mu in row["aligned"].items():
            assert losses[int(victim)] == pytest.approx(mu**2, abs=2e-8)
        return
    found = grams(entries, group)
    for victim, mu in row["aligned"].items():
        gram = found[int(victim)]
        assert gram.sum() == pytest.approx(mu**2, rel=1e-8, abs=1e-9)
        if row["upper"]:
            assert np.abs(gram).sum() == pytest.approx(row["upper"][victim] ** 2, rel=1e-8, abs=1e-9)


@pytest.mark.parametrize(
    "row",
    covering(REFERENCE["large"], lambda row: len(row["observers"]) == 1),
    ids=lambda row: f"{len(row['observers'])} observers",
)
@pytest.mark.parametrize("view", ["plain", "secure"])
def test_a_hundred_nodes(row: dict[str, Any], view: str) -> None:
    """A random graph of degree 6, 50 rounds, losses by round."""
    graph = nx.random_regular_graph(6, 100, seed=0)
    weights = metropolis([tuple(edge) for edge in graph.edges], 100)
    # The reference's coalition reads what it opens or receives; its own members' parts of sums it knows.
    found = grams(gossip(weights, 50, secure=view == "secure"), tuple(row["observers"]))
    same = max(gram.sum() for gram in found.values()) / 50
    worst = np.array([upper(gram) for gram in found.values()]) / 50
    expected = row[view]
    assert same == pytest.approx(expected["same_dir_max"], rel=1e-7)
    assert worst.max() == pytest.approx(expected["certified_max"], rel=1e-7)
    assert np.median(worst) == pytest.approx(expected["certified_median"], rel=1e-7)
    assert upper(found[1]) / 50 == pytest.approx(expected["victim1_certified"], rel=1e-7)
    singles = max(gram.diagonal().max() for gram in found.values())
    assert singles == pytest.approx(expected["single_release_max"], rel=1e-7)


@pytest.mark.parametrize("row", REFERENCE["decor"], ids=lambda r: f"{r['graph']}-{r['own']}-{r['pair']}")
@pytest.mark.parametrize("rounds", [1, 3])
def test_noise_that_pairs_share(row: dict[str, Any], rounds: int) -> None:
    """DECOR: everybody's messages are public, colluders know the noise they share."""
    weights = GRAPHS[row["graph"]]
    nodes = len(weights)
    lineage, models = Lineage(), [ORIGIN] * nodes
    for t in range(rounds):
        terms: list[list[tuple[float, int]]] = [[] for _ in range(nodes)]
        for i in range(nodes):
            models[i] = lineage.contribute(t, i, t, models[i], gain=1.0, sigma=row["own"], sensitivity=1.0)
            terms[i].append((1.0, models[i]))
        for i in range(nodes):
            for j in range(i + 1, nodes):
                if weights[i, j] > 0:
                    noise = lineage.contribute(t, i, t, ORIGIN, gain=1.0, sigma=row["pair"], sensitivity=0.0)
                    lineage.delivered(t, j, t, Visible(noise))
                    terms[i].append((1.0, noise))
                    terms[j].append((-1.0, noise))
        said = [lineage.combine(t, i, t, terms[i]) for i in range(nodes)]
        for state in said:
            lineage.delivered(t + 0.5, nodes, t, Visible(state))
        models = [
            lineage.combine(t + 0.6, i, t, [(weights[i, j], said[j]) for j in range(nodes) if weights[i, j]])
            for i in range(nodes)
        ]
    losses = figures(lineage.entries, (nodes, *row["colluders"]), "open-loop", nodes=nodes)
    # Differences of very loud pair noises cost digits: the reference itself is given to seven.
    assert max(losses.values()) == pytest.approx(rounds * row["loss"], rel=1e-6)


@pytest.mark.parametrize(("nodes", "out", "colluding"), [(100, 10, 0), (60, 10, 30), (50, 49, 25)])
def test_correlated_noise_on_random_graphs(nodes: int, out: int, colluding: int) -> None:
    """GOPA: one vector of each, all of them public; (own^2 I + pair^2 L)^-1 over the honest nodes."""
    own, pair = 1.0, 10.0
    drawn = np.random.Generator(np.random.PCG64(5))
    partners = {i: {int(v) for v in drawn.choice(nodes - 1, out, replace=False)} for i in range(nodes)}
    edges = {
        (min(i, w), max(i, w)) for i, those in partners.items() for v in those if (w := v + (v >= i)) != i
    }
    lineage = Lineage()
    terms = [
        [(1.0, lineage.contribute(0, i, 0, ORIGIN, gain=1.0, sigma=own, sensitivity=1.0))]
        for i in range(nodes)
    ]
    honest = range(colluding, nodes)
    matrix = own**2 * np.eye(len(honest))
    for i, j in sorted(edges):
        noise = lineage.contribute(0, i, 0, ORIGIN, gain=1.0, sigma=pair, sensitivity=0.0)
        lineage.delivered(0, j, 0, Visible(noise))
        terms[i].append((1.0, noise))
        terms[j].append((-1.0, noise))
        if i >= colluding:
            a, b = i - colluding, j - colluding
            matrix[[a, b], [a, b]] += pair**2
            matrix[[a, b], [b, a]] -= pair**2
    for i in range(nodes):
        lineage.delivered(1, nodes, 0, Visible(lineage.combine(0.5, i, 0, terms[i])))
    losses = figures(lineage.entries, (nodes, *range(colluding)), "open-loop", nodes=nodes)
    expected = np.linalg.inv(matrix).diagonal()
    np.testing.assert_allclose([losses[i] for i in honest], expected, rtol=1e-7)
    assert 1 / len(honest) <= expected.max() < 1.2 / len(honest)
