"""Mixing matrices: laws of the rules, weights from files, and the properties that are reported."""

from __future__ import annotations

from math import cos, pi

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from simulator import streams
from simulator.errors import ConfigurationError
from simulator.topology import graphs, mixing

Around = list[tuple[int, ...]]


def rng(seed: int = 1) -> np.random.Generator:
    return streams.generator(seed, "test")


@settings(max_examples=30, deadline=None)
@given(nodes=st.integers(4, 20), p=st.floats(0.3, 0.9), seed=st.integers(0, 50))
def test_mixing_is_symmetric_stochastic_and_local(nodes: int, p: float, seed: int) -> None:
    around = graphs.neighborhoods(graphs.erdos_renyi(nodes, p, rng(seed)))
    for rule in (mixing.metropolis, mixing.max_degree, mixing.lazy):
        weights = rule(around)
        found = mixing.properties(weights)
        assert found["symmetric"]
        assert found["doubly_stochastic"]
        assert found["connected"]
        assert weights.has_canonical_format
        assert (weights.data >= 0).all()
        assert not weights.data.flags.writeable
        assert all(
            (weights[i, j] > 0) == (j in around[i]) for i in range(nodes) for j in range(nodes) if i != j
        )


def test_the_rules_give_the_weights_of_their_formulas() -> None:
    around = graphs.neighborhoods(graphs.path(3))
    third, half = 1 / 3, 1 / 2
    expected = {
        mixing.metropolis: [[1 - third, third, 0], [third, third, third], [0, third, 1 - third]],
        mixing.max_degree: [[1 - third, third, 0], [third, third, third], [0, third, 1 - third]],
        mixing.lazy: [[5 / 6, 1 / 6, 0], [1 / 6, 2 / 3, 1 / 6], [0, 1 / 6, 5 / 6]],
        mixing.uniform_neighbour: [[half, half, 0], [third, third, third], [0, half, half]],
    }
    for rule, rows in expected.items():
        np.testing.assert_allclose(rule(around).toarray(), rows, atol=1e-15)


def test_lazy_mixing_has_no_negative_eigenvalue_and_uniform_mixing_is_row_stochastic() -> None:
    around = graphs.neighborhoods(graphs.named("karate"))
    lazy = mixing.lazy(around)
    assert np.linalg.eigvalsh(lazy.toarray()).min() >= -1e-12
    assert mixing.properties(lazy)["doubly_stochastic"]
    uniform = mixing.uniform_neighbour(around)
    assert np.allclose(uniform.sum(1), 1)
    assert not mixing.properties(uniform)["doubly_stochastic"]
    assert mixing.properties(mixing.uniform_neighbour(graphs.neighborhoods(graphs.ring(9))))["symmetric"]


# ---------------------------------------------------------------- weights that are given


def test_given_weights_are_taken_as_they_are() -> None:
    weights = mixing.from_edges([(1,), (0, 2), (1,)], {(0, 1): 0.25, (1, 0): 0.5, (1, 2): 0.5, (2, 1): 0.125})
    np.testing.assert_allclose(weights.toarray(), [[0.75, 0.25, 0], [0.5, 0, 0.5], [0, 0.125, 0.875]])
    found = mixing.properties(weights)
    assert (found["symmetric"], found["doubly_stochastic"], found["connected"]) == (False, False, True)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        ({(0, 1): 0.5}, "link from 0 to 1 has no mixing weight"),
        ({(0, 1): 0.5, (1, 0): 0.5, (1, 2): 0.1}, "from 2 to 1, but no such link"),
        ({(0, 1): 0.5, (1, 0): -0.5}, "from 0 to 1 is -0.5"),
        ({(0, 1): float("nan"), (1, 0): 0.5}, "from 1 to 0 is nan"),
        ({(0, 1): 0.5, (1, 0): 1.25}, "towards node 1 sum to 1.25"),
    ],
)
def test_given_weights_that_cannot_be_are_refused(weight: dict[tuple[int, int], float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        mixing.from_edges([(1,), (0,), ()], weight)
    assert refused.value.key == "mixing.kind"


# ---------------------------------------------------------------- properties


def gap(around: Around) -> float | None:
    return mixing.properties(mixing.metropolis(around))["spectral_gap"]


def test_the_spectral_gap_of_a_ring_is_known() -> None:
    for n in (12, 600):
        assert gap(graphs.neighborhoods(graphs.ring(n))) == pytest.approx(
            1 - (1 + 2 * cos(2 * pi / n)) / 3, rel=1e-5
        )


def test_spectral_gaps_of_large_graphs_agree_with_theory() -> None:
    torus = graphs.neighborhoods(graphs.grid(40, 40, periodic=True))
    assert gap(torus) == pytest.approx(1 - (3 + 2 * cos(2 * pi / 40)) / 5, rel=1e-6)
    assert gap(graphs.neighborhoods(graphs.hypercube(10))) == pytest.approx(2 / 11, rel=1e-6)
    assert gap(graphs.neighborhoods(graphs.star(1000))) == pytest.approx(1 / 1000, rel=1e-6)


@pytest.mark.parametrize("rule", [mixing.metropolis, mixing.lazy, mixing.uniform_neighbour])
def test_sparse_and_dense_eigenvalues_agree(rule: object, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = rule(graphs.neighborhoods(graphs.barabasi_albert(300, 3, rng())))  # type: ignore[operator]
    dense = mixing.properties(weights)
    monkeypatch.setattr(mixing, "DENSE_NODES", 10)
    sparse = mixing.properties(weights)
    assert sparse == {**dense, "spectral_gap": pytest.approx(dense["spectral_gap"], rel=1e-6)}
    assert mixing.properties(weights) == sparse


def test_a_directed_ring_rotates_its_eigenvalues(monkeypatch: pytest.MonkeyPatch) -> None:
    n = 40
    ring = csr_array((np.eye(n) + np.roll(np.eye(n), 1, axis=1)) / 2)
    found = mixing.properties(ring)
    assert not found["symmetric"]
    assert found["doubly_stochastic"]
    assert found["spectral_gap"] == pytest.approx(1 - cos(pi / n))
    monkeypatch.setattr(mixing, "DENSE_NODES", 10)
    assert mixing.properties(ring)["spectral_gap"] == pytest.approx(1 - cos(pi / n), rel=1e-6)


def test_a_gap_that_does_not_converge_is_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "_RESTARTS", 1)
    assert gap(graphs.neighborhoods(graphs.ring(2000))) is None


def test_bipartite_swapping_never_converges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without own weights a ring of even length swaps its two halves for ever: λ = -1, where no relative error is."""
    around = graphs.neighborhoods(graphs.ring(600))
    swapping = mixing.from_edges(around, {(i, j): 0.5 for i, near in enumerate(around) for j in near})
    assert mixing.properties(swapping)["spectral_gap"] is None
    monkeypatch.setattr(mixing, "DENSE_NODES", 600)
    assert mixing.properties(swapping)["spectral_gap"] == pytest.approx(0, abs=1e-12)


def test_a_disconnected_graph_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: Around = [(1,), (0,), (3,), (2,)]
    for dense in (500, 1):
        monkeypatch.setattr(mixing, "DENSE_NODES", dense)
        found = mixing.properties(mixing.metropolis(parts))
        assert not found["connected"]
        assert found["spectral_gap"] == pytest.approx(0, abs=1e-12)


def test_one_node_alone_has_mixed() -> None:
    assert mixing.properties(mixing.metropolis([()]))["spectral_gap"] == 1.0


def test_ten_thousand_nodes_never_need_a_dense_matrix() -> None:
    """A dense one would hold 800 MB; every array here is at most some MB."""
    import tracemalloc

    around = graphs.neighborhoods(graphs.exponential(10_000))
    tracemalloc.start()
    weights = mixing.metropolis(around)
    found = mixing.properties(weights)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert found["connected"]
    assert found["spectral_gap"] == pytest.approx(0.13793103, rel=1e-6)
