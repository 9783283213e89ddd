import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.learning import data
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
    assert len(first.train_y) == data.train_samples(data.DIGITS_SAMPLES, 0.2) == 1438
    assert len(first.train_y) + len(first.test_y) == data.DIGITS_SAMPLES
    assert (first.features, first.classes) == (64, 10)
    assert (first.train_x.min(), first.train_x.max()) == (0.0, 1.0)
    whole = np.bincount(np.concatenate([first.train_y, first.test_y]))
    assert np.all(np.abs(np.bincount(first.test_y) - 359 * whole / 1797) < 1)
    np.testing.assert_array_equal(first.test_x, again.test_x)
    assert not np.array_equal(first.test_x, other.test_x)


def test_no_sample_is_lost_or_duplicated_by_the_split():
    from sklearn.datasets import load_digits

    split = data.digits(0.3, np.random.default_rng(0))
    rows = np.concatenate([split.train_x, split.test_x])
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
