import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.learning import partition
from protocols.learning.dataset import Dataset
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


# ---------------------------------------------------------------- other laws


@given(total=st.integers(1, 150), nodes=st.integers(1, 20), seed=st.integers(0, 99), data=st.data())
def test_draws_give_each_node_its_number_and_nobody_shares(total, nodes, seed, data):
    nodes = min(nodes, total)
    samples = data.draw(st.integers(1, total // nodes))
    parts = partition.draws(total, nodes, samples, False, np.random.default_rng(seed))
    assert [len(part) for part in parts] == [samples] * nodes
    assert_disjoint(parts, total)
    assert_same(parts, partition.draws(total, nodes, samples, False, np.random.default_rng(seed)))


@given(total=st.integers(1, 60), nodes=st.integers(1, 40), seed=st.integers(0, 99), data=st.data())
def test_draws_with_replacement_repeat_nothing_within_a_node(total, nodes, seed, data):
    samples = data.draw(st.integers(1, total))
    parts = partition.draws(total, nodes, samples, True, np.random.default_rng(seed))
    assert len(parts) == nodes
    for part in parts:
        assert len(part) == samples
        assert np.all(np.diff(part) > 0)
        assert 0 <= part.min() <= part.max() < total
    assert_same(parts, partition.draws(total, nodes, samples, True, np.random.default_rng(seed)))


def test_a_thousand_nodes_can_draw_from_a_small_set():
    parts = partition.draws(1437, 1000, 16, True, np.random.default_rng(3))
    held = np.bincount(np.concatenate(parts), minlength=1437)
    assert held.sum() == 16_000
    # holders of one sample: binomial(1000, 16/1437), mean 11; any of the 1437 is above 42 with probability
    # below 1e-9
    assert held.max() <= 42


@given(
    labels=st.lists(st.floats(-5, 5), min_size=1, max_size=150),
    nodes=st.integers(1, 12),
    each=st.integers(1, 4),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_shards_are_exact_and_few_labels_wide(labels, nodes, each, seed, data):
    smallest = len(labels) // (nodes * each)
    if not smallest:
        return
    least = data.draw(st.integers(0, smallest * each))
    parts = partition.shards(labels, nodes, each, least, np.random.default_rng(seed))
    assert_exact(parts, len(labels))
    assert min(map(len, parts)) >= max(least, each * smallest)
    assert_same(parts, partition.shards(labels, nodes, each, least, np.random.default_rng(seed)))
    ranks = np.argsort(np.argsort(labels, kind="stable"))
    if len(set(labels)) == len(labels):
        for part in parts:  # a run of consecutive ranks for each shard
            assert np.sum(np.diff(np.sort(ranks[part])) > 1) < each


def test_two_shards_of_the_digits_are_few_labels():
    labels = np.repeat(np.arange(10), 60)
    parts = partition.shards(labels, 10, 2, 10, np.random.default_rng(1))
    assert all(len(np.unique(labels[part])) <= 2 for part in parts)
    whole = partition.shards(labels, 10, 20, 10, np.random.default_rng(1))
    assert min(len(np.unique(labels[part])) for part in whole) >= 6


@given(
    total=st.integers(1, 200),
    nodes=st.integers(1, 20),
    spread=st.sampled_from([1e-3, 0.1, 1.0, 30.0]),
    law=st.sampled_from([partition.dirichlet_sizes, partition.lognormal_sizes]),
    seed=st.integers(0, 99),
    data=st.data(),
)
def test_sizes_are_exact_and_nobody_gets_too_few(total, nodes, spread, law, seed, data):
    least = data.draw(st.integers(0, total // nodes))
    parts = law(total, nodes, spread, least, np.random.default_rng(seed))
    assert len(parts) == nodes
    assert_exact([part for part in parts if len(part)], total)
    assert min(map(len, parts)) >= least
    assert_same(parts, law(total, nodes, spread, least, np.random.default_rng(seed)))


def test_sizes_follow_their_laws():
    def spread_of(parts):
        sizes = np.array([len(part) for part in parts])
        return sizes.std() / sizes.mean()

    rng = np.random.default_rng(4)
    # 20,000 sizes: the standard error of a coefficient of variation is below 2 %, so 10 % is five of them
    # coefficient of variation of a Dirichlet(alpha) share over n nodes: sqrt((n - 1) / (n alpha + 1))
    assert spread_of(partition.dirichlet_sizes(10**6, 20_000, 0.5, 0, rng)) == pytest.approx(2**0.5, rel=0.1)
    assert spread_of(partition.dirichlet_sizes(10**6, 20_000, 50.0, 0, rng)) == pytest.approx(
        50**-0.5, rel=0.1
    )
    # of a log-normal: sqrt(exp(sigma^2) - 1)
    expected = np.sqrt(np.exp(0.5**2) - 1)
    assert spread_of(partition.lognormal_sizes(10**6, 20_000, 0.5, 0, rng)) == pytest.approx(
        expected, rel=0.1
    )
    assert spread_of(partition.lognormal_sizes(10**6, 20_000, 0.0, 0, rng)) == 0


@given(
    users=st.lists(st.integers(0, 12), min_size=1, max_size=120),
    nodes=st.integers(1, 13),
    seed=st.integers(0, 99),
)
def test_users_are_never_split_and_evenly_dealt(users, nodes, seed):
    users = np.array(users)
    sizes = np.bincount(users)[np.bincount(users) > 0]
    nodes = min(nodes, len(sizes))
    parts = partition.users(users, nodes, 1, np.random.default_rng(seed))
    assert len(parts) == nodes
    assert_exact(parts, len(users))
    holders = [set(users[part]) for part in parts]
    assert sum(map(len, holders)) == len(set(users))
    assert_same(parts, partition.users(users, nodes, 1, np.random.default_rng(seed)))
    # each onto the least loaded: at most the mean and (1 - 1/nodes) of the largest (Graham 1966, list scheduling)
    assert max(map(len, parts)) <= len(users) / nodes + sizes.max() * (1 - 1 / nodes) + 1e-9


def test_as_many_users_as_nodes_are_one_each():
    users = np.arange(100) % 10
    parts = partition.users(users, 10, 10, np.random.default_rng(0))
    assert sorted(users[part[0]] for part in parts) == list(range(10))
    assert all(len(set(users[part])) == 1 for part in parts)


def test_what_cannot_be_dealt_is_refused_with_the_numbers():
    rng = np.random.default_rng(0)
    for call, key, said in (
        (lambda: partition.draws(99, 10, 10, False, rng), "partition.samples", "need 100 .* there are 99"),
        (lambda: partition.draws(9, 2, 10, True, rng), "partition.samples", "only 9 training samples"),
        (lambda: partition.draws(9, 2, 0, True, rng), "partition.samples", "expected at least 1"),
        (lambda: partition.dirichlet([0.5, 1.0], 1, 1.0, 1, rng), "partition.kind", "numbers to predict"),
        (lambda: partition.shards(np.zeros(19), 10, 2, 0, rng), "partition.shards", "cut 19 training"),
        (lambda: partition.shards(np.zeros(39), 10, 2, 3, rng), "partition.shards", "as few as 2 samples"),
        (lambda: partition.shards(np.zeros(39), 10, 0, 3, rng), "partition.shards", "expected at least 1"),
        (lambda: partition.dirichlet_sizes(9, 2, 0.0, 1, rng), "partition.alpha", "> 0"),
        (lambda: partition.lognormal_sizes(9, 2, -1.0, 1, rng), "partition.sigma", "≥ 0"),
        (lambda: partition.users([0, 0, 1], 3, 1, rng), "partition.kind", "only 2 users"),
        (lambda: partition.users([0] * 8 + [1], 2, 2, rng), "partition.min_samples", "with only 1 training"),
    ):
        with pytest.raises(ConfigurationError, match=said) as caught:
            call()
        assert caught.value.key == key


def assert_disjoint(parts, samples):
    everything = np.concatenate(parts)
    assert len(np.unique(everything)) == len(everything)
    assert 0 <= everything.min() <= everything.max() < samples


def assert_same(parts, again):
    for part, same in zip(parts, again, strict=True):
        np.testing.assert_array_equal(part, same)


def test_blocks_of_nodes_hold_blocks_of_labels() -> None:
    drawn = np.random.Generator(np.random.PCG64(3))
    labels = np.repeat(np.arange(10), 40)
    parts = partition.label_blocks(labels, 20, 2, 5, drawn)
    assert sorted(np.concatenate(parts).tolist()) == list(range(400))
    assert {len(part) for part in parts} == {20}
    for node, part in enumerate(parts):
        assert set(labels[part]) <= (set(range(5)) if node < 10 else set(range(5, 10)))
    assert len(set(labels[parts[0]])) > 2
    with pytest.raises(ConfigurationError, match="expected 1 to 20"):
        partition.label_blocks(labels, 20, 21, 1, drawn)
    with pytest.raises(ConfigurationError, match="fewer than"):
        partition.label_blocks(labels[:10], 5, 2, 2, drawn)


def test_noise_of_labels_is_everywhere() -> None:
    drawn = np.random.Generator(np.random.PCG64(3))
    x, y = np.zeros((4000, 1), np.float32), np.repeat(np.arange(10), 400).astype(np.int32)
    noisy = partition.with_label_noise(Dataset(x, y, x, y, 10), 0.3, drawn)
    for labels in (noisy.train_y, noisy.test_y):
        assert np.mean(labels != y) == pytest.approx(0.27, abs=0.03)  # one in ten is drawn as it was
        assert set(labels) == set(range(10))
    assert not np.array_equal(noisy.train_y, noisy.test_y)
    numbers = Dataset(x, y.astype(np.float32), x, y.astype(np.float32), None)
    with pytest.raises(ConfigurationError, match="no labels to draw anew"):
        partition.with_label_noise(numbers, 0.3, drawn)
