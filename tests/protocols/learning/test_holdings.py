"""A node's own test samples, and features that differ from node to node."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.learning import data, models
from protocols.learning.bank import Bank
from protocols.learning.evaluate import Evaluator
from protocols.learning.holdings import held_out, hold_out, required, shifted
from protocols.learning.local_test import LocalEvaluator
from simulator.errors import ConfigurationError


def rng(seed=0):
    return np.random.default_rng(seed)


@given(least=st.integers(1, 300), share=st.floats(0, 0.95))
def test_the_fewest_samples_that_leave_enough_for_training(least, share):
    samples = required(least, share)
    assert samples - held_out(samples, share) >= least
    if samples > 2:
        assert samples - 1 - held_out(samples - 1, share) < least
    if share:
        assert 1 <= held_out(samples, share) < samples


@given(
    sizes=st.lists(st.integers(2, 30), min_size=1, max_size=8),
    share=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_own_test_samples_are_never_trained_on(sizes, share, seed):
    ends = np.cumsum(sizes)
    parts = [np.arange(end - size, end) for size, end in zip(sizes, ends, strict=True)]
    held, again = hold_out(parts, share, rng(seed)), hold_out(parts, share, rng(seed))
    for i, part in enumerate(parts):
        assert len(held.test[i]) == held_out(len(part), share)
        np.testing.assert_array_equal(np.sort(np.concatenate([held.train[i], held.test[i]])), part)
        assert np.all(np.diff(held.train[i]) > 0)
        np.testing.assert_array_equal(held.test[i], again.test[i])


def test_no_share_keeps_everything_for_training():
    parts = [np.arange(3), np.arange(3, 4)]
    held = hold_out(parts, 0.0, rng())
    assert [len(part) for part in held.test] == [0, 0]
    np.testing.assert_array_equal(held.train[1], [3])
    with pytest.raises(ConfigurationError, match="node 1 holds 1 samples"):
        hold_out(parts, 0.5, rng())
    with pytest.raises(ConfigurationError, match=r"local_test is 1\.0"):
        hold_out(parts, 1.0, rng())


# ---------------------------------------------------------------- shifted features


def test_noise_grows_evenly_from_none_to_the_worst_node():
    x = np.zeros((4000, 5), np.float32)
    parts = np.split(np.arange(4000), 4)
    seen = shifted(x, parts, 0.6, 1, rng(3))
    strengths = sorted(float(seen[part].std()) for part in parts)
    assert strengths[0] == 0
    # 5000 normal numbers each: relative error of a deviation 1 %, six of them
    np.testing.assert_allclose(strengths[1:], [0.2, 0.4, 0.6], rtol=0.06)
    assert not seen.flags.writeable
    assert not x.any()


def test_the_noise_of_a_sample_does_not_depend_on_who_holds_it():
    x = np.zeros((5000, 2), np.float32)
    halves = [np.arange(0, 5000, 2), np.arange(1, 5000, 2)]
    first, second = shifted(x, halves, 1.0, 1, rng(5)), shifted(x, halves[::-1], 1.0, 1, rng(5))
    noise = first + second
    noisy = np.any(first != 0, axis=1)
    assert noisy.sum() == 2500
    np.testing.assert_array_equal(noise[noisy], first[noisy])
    assert np.all(np.any(noise != 0, axis=1))


@pytest.mark.parametrize(("rotations", "shape"), [(4, (3, 3)), (4, (3, 3, 2)), (2, (3, 2))])
def test_nodes_turn_their_images_in_equal_numbers(rotations, shape):
    x = rng(1).random((40, *shape)).astype(np.float32)
    parts = np.split(np.arange(40), 8)
    seen = shifted(x, parts, 0.0, rotations, rng(2))
    turned = []
    for part in parts:
        fits = [
            turns
            for turns in range(0, 4, 4 // rotations)
            if np.array_equal(seen[part], np.rot90(x[part], turns, axes=(1, 2)))
        ]
        turned += fits
    assert sorted(turned) == sorted(list(range(0, 4, 4 // rotations)) * (8 // rotations))


def test_samples_of_nobody_stay_as_they_are():
    x = rng().random((10, 2, 2)).astype(np.float32)
    seen = shifted(x, [np.arange(3), np.arange(3, 6)], 5.0, 4, rng())
    np.testing.assert_array_equal(seen[6:], x[6:])


def test_shifts_that_cannot_be_are_refused():
    flat, wide = np.zeros((4, 9), np.float32), np.zeros((4, 2, 3), np.float32)
    for x, noise, rotations, key, said in (
        (flat, 0.0, 2, "rotations", "only images can be turned"),
        (wide, 0.0, 4, "rotations", "quarter turns need square images, these are 2 x 3"),
        (wide, 0.0, 3, "rotations", "expected 1, 2 or 4"),
        (flat, -1.0, 1, "noise", "≥ 0"),
    ):
        with pytest.raises(ConfigurationError, match=said) as caught:
            shifted(x, [np.arange(4)], noise, rotations, rng())
        assert caught.value.key == f"partition.shift.{key}"


# ---------------------------------------------------------------- measuring on them


def test_local_tests_are_those_of_each_node_alone():
    dataset = data.digits(0.2, rng(1))
    task = models.softmax(dataset.features, dataset.classes)
    parts = [np.arange(start, start + size) for start, size in ((0, 5), (5, 70), (75, 1))]
    local = LocalEvaluator(task, Bank.of(dataset.train_x, dataset.train_y, parts))
    params = rng(2).normal(size=(3, task.size)).astype(np.float32)
    params[2, 0] = np.nan
    found = local.evaluate([2, 0, 1], params[[2, 0, 1]])
    for node, row in ((0, 1), (1, 2)):
        own = data.Dataset(
            dataset.train_x, dataset.train_y, dataset.train_x[parts[node]], dataset.train_y[parts[node]], 10
        )
        alone = Evaluator(task, own).evaluate(params[[node]])
        assert found.accuracy[row] == pytest.approx(alone.accuracy[0])
        assert found.loss[row] == pytest.approx(alone.loss[0], rel=1e-5)
    assert (found.accuracy[0], found.loss[0]) == (0.1, np.inf)
    assert len(local.evaluate([], params[:0]).accuracy) == 0


def test_local_tests_refuse_what_does_not_fit():
    dataset = data.blobs(40, 2, 2, 1.0, 0.5, rng())
    task = models.softmax(2, 2)
    local = LocalEvaluator(task, Bank.of(dataset.train_x, dataset.train_y, [np.arange(3), np.arange(0)]))
    with pytest.raises(ConfigurationError, match=r"expected \(2, 6\)"):
        local.evaluate([0, 1], np.zeros((1, 6)))
    with pytest.raises(ConfigurationError, match=r"nodes \[1\] have no test samples"):
        local.evaluate([0, 1], np.zeros((2, 6)))


def test_a_bank_carries_any_shape_and_numbers_to_predict():
    x, y = rng().random((9, 2, 3)).astype(np.float32), np.linspace(-1, 1, 9, dtype=np.float32)
    bank = Bank.of(x, y, [np.array([1, 4]), np.array([0])])
    assert bank.x.shape[2:] == (2, 3)
    assert bank.y.dtype == np.float32
    np.testing.assert_array_equal(bank.x[0, :2], x[[1, 4]])
    np.testing.assert_array_equal(bank.y[0, :2], y[[1, 4]])
