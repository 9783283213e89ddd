import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.learning import partition
from simulator.errors import ConfigurationError


def assert_exact(parts, samples):
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(samples))
    for part in parts:
        assert part.dtype == np.int64
        assert np.all(np.diff(part) > 0)


@given(samples=st.integers(1, 200), nodes=st.integers(1, 200), seed=st.integers(0, 99))
def test_iid_partitions_are_exact_and_even(samples, nodes, seed):
    nodes = min(nodes, samples)
    parts = partition.iid(np.zeros(samples), nodes, np.random.default_rng(seed))
    assert len(parts) == nodes
    assert_exact(parts, samples)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=150),
    nodes=st.integers(1, 20),
    alpha=st.sampled_from([1e-3, 0.05, 0.5, 5.0, 1e4]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_dirichlet_partitions_are_exact_and_nobody_gets_too_few(labels, nodes, alpha, seed, data):
    least = data.draw(st.integers(0, len(labels) // nodes))
    parts = partition.dirichlet(labels, nodes, alpha, least, np.random.default_rng(seed))
    again = partition.dirichlet(labels, nodes, alpha, least, np.random.default_rng(seed))
    assert len(parts) == nodes
    assert_exact(parts, len(labels))
    assert min(map(len, parts)) >= least
    for part, same in zip(parts, again, strict=True):
        np.testing.assert_array_equal(part, same)


def test_a_small_alpha_skews_the_labels():
    labels = np.repeat(np.arange(10), 200)

    def distance_from_uniform(alpha):
        parts = partition.dirichlet(labels, 8, alpha, 20, np.random.default_rng(5))
        shares = np.array([np.bincount(labels[part], minlength=10) / len(part) for part in parts])
        return np.abs(shares - 0.1).sum(axis=1).mean()

    assert distance_from_uniform(0.1) > 0.8
    assert distance_from_uniform(1000.0) < 0.15


def test_too_many_nodes_for_the_samples_are_refused_with_the_numbers():
    with pytest.raises(ConfigurationError, match="need 40 training samples, but there are 39") as caught:
        partition.dirichlet(np.zeros(39), 4, 0.5, 10, np.random.default_rng(0))
    assert caught.value.key == "partition.min_samples"
    with pytest.raises(ConfigurationError, match="but there are 3"):
        partition.iid(np.zeros(3), 4, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("nodes", "alpha", "least", "key"),
    [
        (0, 0.5, 1, "topology.nodes"),
        (2, 0.0, 1, "partition.alpha"),
        (2, float("inf"), 1, "partition.alpha"),
        (2, 0.5, -1, "partition.min_samples"),
    ],
)
def test_parameters_out_of_range_are_refused(nodes, alpha, least, key):
    with pytest.raises(ConfigurationError) as caught:
        partition.dirichlet(np.zeros(10), nodes, alpha, least, np.random.default_rng(0))
    assert caught.value.key == key
