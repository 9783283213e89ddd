import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.learning import data
from protocols.learning.dataset import standardised
from simulator.errors import ConfigurationError


def test_reading_data_and_partitions_does_not_load_jax():
    code = (
        "import sys, protocols.learning.data, protocols.learning.partition, protocols.learning.task\n"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_digits_are_scaled_stratified_and_reproducible():
    first = data.digits(0.2, np.random.default_rng(3))
    again = data.digits(0.2, np.random.default_rng(3))
    other = data.digits(0.2, np.random.default_rng(4))
    assert len(first.train_y) == data.train_samples(1797, 0.2) == 1438
    assert len(first.train_y) + len(first.test_y) == 1797
    assert (first.shape, first.features, first.classes) == ((8, 8), 64, 10)
    assert (first.train_x.min(), first.train_x.max()) == (0.0, 1.0)
    whole = np.bincount(np.concatenate([first.train_y, first.test_y]))
    assert np.all(np.abs(np.bincount(first.test_y) - 359 * whole / 1797) < 1)
    np.testing.assert_array_equal(first.test_x, again.test_x)
    assert not np.array_equal(first.test_x, other.test_x)


def test_no_sample_is_lost_or_duplicated_by_the_split():
    from sklearn.datasets import load_digits

    split = data.digits(0.3, np.random.default_rng(0))
    rows = np.concatenate([split.train_x, split.test_x]).reshape(-1, 64)
    rows = np.column_stack([rows, np.concatenate([split.train_y, split.test_y])])
    x, y = load_digits(return_X_y=True)
    expected = np.column_stack([(x / 16).astype(np.float32), y])
    np.testing.assert_array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])


def test_datasets_are_read_only_copies():
    x, y = np.ones((2, 3)), np.array([0, 1])
    built = data.Dataset(x, y, x, y, 2)
    x[:] = 7
    assert built.train_x.max() == 1
    assert (built.train_x.dtype, built.train_y.dtype) == (np.float32, np.int32)
    with pytest.raises(ValueError, match="read-only"):
        built.test_x[0, 0] = 1


@given(
    samples=st.integers(4, 60),
    features=st.integers(1, 5),
    classes=st.integers(2, 4),
    fraction=st.floats(0.26, 0.74),
    seed=st.integers(0, 99),
)
def test_blobs_have_the_shapes_they_were_asked_for(samples, features, classes, fraction, seed):
    built = data.blobs(samples, features, classes, 0.5, fraction, np.random.default_rng(seed))
    assert built.train_x.shape == (data.train_samples(samples, fraction), features)
    assert len(built.train_y) + len(built.test_y) == samples
    counts = np.bincount(np.concatenate([built.train_y, built.test_y]), minlength=classes)
    assert counts.max() - counts.min() <= 1


def test_blobs_without_spread_are_their_centres():
    built = data.blobs(40, 50, 4, 0.0, 0.25, np.random.default_rng(1))
    for label in range(4):
        assert np.ptp(built.train_x[built.train_y == label], axis=0).max() == 0
    assert len(np.unique(built.train_x, axis=0)) == 4
    assert np.linalg.norm(built.train_x[0]) == pytest.approx(1.0, abs=0.5)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1e-9, 1 - 1e-9, float("nan")])
def test_a_split_that_leaves_a_part_empty_is_refused(fraction):
    with pytest.raises(ConfigurationError, match="test_fraction") as caught:
        data.digits(fraction, np.random.default_rng(0))
    assert caught.value.key == "data.test_fraction"


@pytest.mark.parametrize(
    ("samples", "features", "classes", "spread", "key"),
    [
        (10, 0, 2, 1.0, "data.features"),
        (10, 2, 1, 1.0, "data.classes"),
        (2, 2, 3, 1.0, "data.samples"),
        (10, 2, 2, -1.0, "data.spread"),
        (10, 2, 2, float("nan"), "data.spread"),
    ],
)
def test_blobs_refuse_parameters_out_of_range(samples, features, classes, spread, key):
    with pytest.raises(ConfigurationError) as caught:
        data.blobs(samples, features, classes, spread, 0.5, np.random.default_rng(0))
    assert caught.value.key == key


def test_datasets_that_do_not_fit_together_are_refused():
    x, y = np.ones((2, 3)), np.array([0, 1])
    with pytest.raises(ConfigurationError, match="shape"):
        data.Dataset(x, y[:1], x, y, 2)
    with pytest.raises(ConfigurationError, match="span 0 to 1"):
        data.Dataset(x, y, x, y, 1)
    with pytest.raises(ConfigurationError, match="3 training features but 2"):
        data.Dataset(x, y, x[:, :2], y, 2)
    with pytest.raises(ConfigurationError, match="2 x 3 training features but 3 x 2"):
        data.Dataset(np.ones((2, 2, 3)), y, np.ones((2, 3, 2)), y, 2)
    with pytest.raises(ConfigurationError, match="not all whole numbers"):
        data.Dataset(x, np.array([0.0, 0.5]), x, y, 2)
    with pytest.raises(ConfigurationError, match="1 of the test features are NaN"):
        data.Dataset(x, y, np.where(np.eye(2, 3) * [[1], [0]], np.nan, x), y, 2)
    with pytest.raises(ConfigurationError, match="2 of the train labels are NaN"):
        data.Dataset(x, np.array([np.nan, np.inf]), x, y, 2)
    with pytest.raises(ConfigurationError, match="users of shape"):
        data.Dataset(x, y, x, y, 2, groups=np.zeros(3))
    with pytest.raises(ConfigurationError, match="users span 0 to 4; expected 0 to 1"):
        data.Dataset(x, y, x, y, 2, groups=np.array([0, 4]), group_names=("a", "b"))
    with pytest.raises(ConfigurationError, match="3 names for 2 classes"):
        data.Dataset(x, y, x, y, 2, class_names=("a", "b", "c"))


def test_samples_may_have_a_shape_and_labels_may_be_numbers():
    x, y = np.ones((2, 4, 3, 2)), np.array([0.5, -1.25])
    built = data.Dataset(x, y, x, y, None, groups=np.array([1, 0]))
    assert (built.shape, built.features, built.classes) == ((4, 3, 2), 24, None)
    assert built.train_y.dtype == np.float32
    np.testing.assert_array_equal(built.train_y, y)
    assert (built.class_names, built.group_names) == ((), ("0", "1"))
    assert data.Dataset(x, [0, 1], x, [0, 1], 2).class_names == ("0", "1")


@pytest.mark.parametrize(
    ("load", "samples", "features", "classes"),
    [
        (data.breast_cancer, 569, 30, ("malignant", "benign")),
        (data.wine, 178, 13, ("class_0", "class_1", "class_2")),
        (data.diabetes, 442, 10, ()),
    ],
)
def test_published_tables_are_standardised_by_their_training_samples(load, samples, features, classes):
    built = load(0.25, np.random.default_rng(1))
    raw = load(0.25, np.random.default_rng(1), scale=False)
    assert (built.shape, built.class_names) == ((features,), classes)
    assert len(built.train_y) == data.train_samples(samples, 0.25)
    np.testing.assert_allclose(built.train_x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(built.train_x.std(axis=0), 1, rtol=1e-5)
    centre, width = raw.train_x.mean(axis=0, dtype=float), raw.train_x.std(axis=0, dtype=float)
    np.testing.assert_allclose(built.test_x, (raw.test_x - centre) / width, atol=1e-4)
    if classes:
        np.testing.assert_array_equal(built.train_y, raw.train_y)
    else:
        assert (raw.train_y.min(), raw.train_y.max()) == (25, 346)
        assert built.train_y.std() == pytest.approx(1, rel=1e-5)


def test_a_feature_that_never_changes_is_not_blown_up():
    x = np.column_stack([np.full(50, 0.1), np.arange(50)])
    built = standardised(data.Dataset(x, np.arange(50) % 2, x, np.arange(50) % 2, 2))
    np.testing.assert_allclose(built.train_x[:, 0], 0, atol=1e-6)
    assert built.train_x[:, 1].std() == pytest.approx(1)


def test_linear_data_have_the_optimum_they_say():
    exact, weights = data.linear(500, 7, 0.0, 0.2, np.random.default_rng(2))
    assert (exact.classes, exact.shape, len(exact.test_y)) == (None, (7,), 100)
    np.testing.assert_allclose(data.least_squares(exact.train_x, exact.train_y), [*weights, 0], atol=1e-5)
    noisy, weights = data.linear(500, 7, 0.5, 0.2, np.random.default_rng(2))
    best = data.least_squares(noisy.train_x, noisy.train_y)
    design = np.column_stack([noisy.train_x.astype(float), np.ones(400)])
    gradient = design.T @ (design @ best - noisy.train_y) / 400
    np.testing.assert_allclose(gradient, 0, atol=1e-10)
    assert 1e-3 < np.abs(best[:-1] - weights).max() < 0.5
    assert np.mean(np.sum(exact.train_x**2, axis=1)) == pytest.approx(1, abs=0.15)


def test_linear_data_refuse_parameters_out_of_range():
    for arguments, key in (((1, 3, 0.1), "samples"), ((9, 0, 0.1), "features"), ((9, 3, -1.0), "noise")):
        with pytest.raises(ConfigurationError) as caught:
            data.linear(*arguments, 0.5, np.random.default_rng(0))
        assert caught.value.key == f"data.{key}"


def test_bounds_are_those_of_the_format() -> None:
    digits = data.digits(0.2, np.random.default_rng(1))
    assert digits.bounds == (0.0, 1.0)
    assert standardised(digits).bounds is None
    assert data.wine(0.2, np.random.default_rng(1)).bounds is None
    x = np.array([[0.0, 2.0]])
    with pytest.raises(ConfigurationError, match="span 0 to 2, expected 0 to 1 by their format"):
        data.Dataset(x, [0], x, [0], 2, bounds=(0.0, 1.0))
