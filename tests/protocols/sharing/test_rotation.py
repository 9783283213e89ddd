"""Random rotation: the Hadamard matrix, exactly; norms kept, vectors recovered, coordinates flat."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard as matrix

from protocols.sharing.rotation import draw_signs, hadamard, padded, rotate, rotate_back
from simulator.errors import ConfigurationError

seeds = st.integers(0, 2**32 - 1)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.mark.parametrize("size", [2**k for k in range(10)])
def test_the_transform_is_the_matrix(size: int) -> None:
    assert np.array_equal(hadamard(np.eye(size)), matrix(size))


@settings(deadline=None, max_examples=40)
@given(exponent=st.integers(0, 12), batch=st.integers(0, 3), seed=seeds)
def test_twice_the_transform_is_p_times_the_vector(exponent: int, batch: int, seed: int) -> None:
    size = 2**exponent
    x = generator(seed).integers(-(2**20), 2**20, (batch, size)).astype(np.float64)
    kept = x.copy()
    once = hadamard(x)
    assert np.array_equal(hadamard(once), size * x)
    assert np.array_equal(x, kept)
    for row, transformed in zip(x, once, strict=True):
        assert np.array_equal(hadamard(row), transformed)


def test_the_order_of_an_array_in_memory_does_not_matter() -> None:
    x = generator(3).integers(-100, 100, (32, 64)).astype(np.float64)
    assert np.array_equal(hadamard(np.asfortranarray(x)), hadamard(x))
    assert np.array_equal(hadamard(x.T), hadamard(np.ascontiguousarray(x.T)))
    assert np.array_equal(hadamard(x[:, ::2]), hadamard(x[:, ::2].copy()))


@settings(deadline=None, max_examples=60)
@given(dimension=st.integers(1, 3000), seed=seeds, dtype=st.sampled_from([np.float32, np.float64]))
def test_norms_are_kept_and_vectors_come_back(dimension: int, seed: int, dtype: type) -> None:
    rng = generator(seed)
    x = (rng.normal(size=(2, dimension)) * 10.0 ** rng.uniform(-6, 6)).astype(dtype)
    signs = draw_signs(dimension, rng)
    rotated = rotate(x, signs)
    assert rotated.shape == (2, padded(dimension))
    np.testing.assert_allclose(
        np.linalg.norm(rotated, axis=1), np.linalg.norm(x.astype(float), axis=1), 1e-12
    )
    back = rotate_back(rotated, signs, dimension)
    assert np.max(np.abs(back - x)) <= 1e-13 * math.sqrt(dimension) * np.max(np.abs(x))


def test_whole_numbers_come_back_as_they_were() -> None:
    """P = 4^k: the normalisation is a power of two, so nothing at all is rounded."""
    x = generator(5).integers(-1000, 1000, 1000).astype(np.float64)
    signs = draw_signs(1000, generator(6))
    assert np.array_equal(rotate_back(rotate(x, signs), signs, 1000), x)


@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_rotation_is_linear(seed: int) -> None:
    rng = generator(seed)
    signs = draw_signs(100, rng)
    x, y = rng.normal(size=(2, 100))
    np.testing.assert_allclose(rotate(x, signs) + rotate(y, signs), rotate(x + y, signs), atol=1e-13)


def test_equal_streams_give_equal_signs_and_they_are_fair() -> None:
    assert np.array_equal(draw_signs(1000, generator(1)), draw_signs(1000, generator(1)))
    signs = draw_signs(2**20, generator(2))
    assert set(np.unique(signs)) == {-1, 1}
    # Hoeffding: a mean of 2^20 signs exceeds t with probability at most 2 exp(−2^20 t² / 2) = 1e-8 here.
    assert abs(signs.mean()) < math.sqrt(2 * math.log(2e8) / 2**20)


@pytest.mark.parametrize("shape", ["one coordinate", "equal", "padded"])
def test_rotated_vectors_are_flat(shape: str) -> None:
    # Hoeffding's inequality for each of 4096 coordinates: together beyond it with probability 1e-9 at most.
    dimension = 3000 if shape == "padded" else 4096
    x = {
        "one coordinate": np.eye(1, dimension)[0],
        "equal": np.full(dimension, 1 / math.sqrt(dimension)),
        "padded": np.arange(dimension) / np.linalg.norm(np.arange(dimension)),
    }[shape]
    largest = np.max(np.abs(rotate(x, draw_signs(dimension, generator(8)))))
    assert largest <= math.sqrt(2 * math.log(2 * 4096e9) / 4096) < 1 / 8


def test_bad_arguments() -> None:
    with pytest.raises(ConfigurationError, match="power of two"):
        hadamard(np.zeros(6))
    with pytest.raises(ConfigurationError, match="power of two"):
        hadamard(np.zeros((3, 0)))
    with pytest.raises(ConfigurationError, match="at least one"):
        padded(0)
    with pytest.raises(ConfigurationError, match="8 signs"):
        rotate(np.zeros(9), draw_signs(8, generator(0)))
    with pytest.raises(ConfigurationError, match="8 signs"):
        rotate_back(np.zeros(8), draw_signs(8, generator(0)), 4)
    with pytest.raises(ConfigurationError, match="8 signs"):
        rotate_back(np.zeros(16), draw_signs(8, generator(0)), 8)
