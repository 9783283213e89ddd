"""Rounding of vectors to integers: unbiased where it says so, never beyond its norm, and neighbours stay near."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from protocols.sharing.codec import OutOfRange
from protocols.sharing.rounding import (
    Rounding,
    conditional,
    nearest,
    record_sensitivity,
    rounded_norm,
    stochastic,
    truncated,
    vector_sensitivity,
)
from simulator.errors import ConfigurationError

seeds = st.integers(0, 2**32 - 1)
vectors = st.lists(st.floats(-50, 50), min_size=1, max_size=30).map(np.array)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def clipped(vector: np.ndarray, norm: float) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    return vector if length <= norm else vector * (norm / length) * (1 - 1e-15)


class Fixed(np.random.Generator):
    """A generator that gives the same uniform numbers every time."""

    def __init__(self, uniforms: np.ndarray) -> None:
        super().__init__(np.random.PCG64(0))
        self.uniforms = uniforms

    def random(self, shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
        return np.broadcast_to(self.uniforms, shape)


def test_nearest_and_truncated_are_what_they_say() -> None:
    x = np.array([-2.5, -1.5, -0.5, -0.2, 0.5, 1.5, 2.5, 2.6], np.float32)
    assert nearest(x).tolist() == [-2, -2, 0, 0, 0, 2, 2, 3]
    assert truncated(x).tolist() == [-2, -1, 0, 0, 0, 1, 2, 2]
    assert nearest(x).dtype == np.int64


@settings(deadline=None)
@given(x=vectors, seed=seeds)
def test_stochastic_gives_a_neighbouring_integer(x: np.ndarray, seed: int) -> None:
    rounded = stochastic(x, generator(seed))
    assert np.all((rounded == np.floor(x)) | (rounded == np.ceil(x)))


def test_stochastic_is_unbiased() -> None:
    # Hoeffding with 400 000 draws in an interval of length 1, 5 cases: wrong with probability below 1e-7. Seed 3.
    draws = 400_000
    values = np.array([0.25, -0.25, 1e-4, -3.9, 1000.5])
    means = stochastic(np.tile(values, (draws, 1)), generator(3)).mean(axis=0)
    assert np.max(np.abs(means - values)) < math.sqrt(math.log(1e8) / (2 * draws))


@pytest.mark.parametrize("bad", [math.nan, math.inf, 2.0**62 * 1.01])
def test_what_no_int64_holds_is_refused(bad: float) -> None:
    x = np.array([0.0, bad])
    for rounding in (nearest, truncated, lambda v: stochastic(v, generator(0))):
        with pytest.raises(OutOfRange):
            rounding(x)
    assert nearest(np.array([2.0**62])).tolist() == [2**62]


@settings(deadline=None)
@given(x=vectors, norm=st.floats(0.1, 60.0), beta=st.floats(0.01, 0.99), seed=seeds)
def test_conditional_rounding_stays_within_its_norm(
    x: np.ndarray, norm: float, beta: float, seed: int
) -> None:
    x = clipped(x, norm)
    integers, tries, cut = conditional(x, norm, generator(seed), beta)
    assert np.linalg.norm(integers) <= rounded_norm(norm, x.size, "conditional", beta)
    assert np.all(np.abs(integers - x) < 1.0)
    assert 1 <= tries <= 100
    assert not cut or np.array_equal(integers, truncated(x))


def test_the_chance_of_refusal_is_at_most_beta() -> None:
    # Of 4000 tries a fraction of at most β fails. Hoeffding: 0.065 above it with probability exp(−2 · 4000 ·
    # 0.065²) < 1e-14, 4 cases. The vector is the worst one: as long as allowed, every fraction 1/2.
    for d, beta in product((16, 256), (0.1, math.exp(-0.5))):
        x = np.full(d, 0.5)
        norm = float(np.linalg.norm(x))
        first = [conditional(x, norm, generator(1000 + k), beta).tries for k in range(4000)]
        assert np.mean(np.array(first) > 1) <= beta + 0.065


def test_when_all_tries_fail_the_vector_is_truncated_and_says_so() -> None:
    x = np.full(100, 0.9)
    norm = float(np.linalg.norm(x))
    beta = 0.9
    assert rounded_norm(norm, 100, "conditional", beta) < 11
    up = Fixed(np.zeros(1))  # every coordinate up: norm 10
    assert conditional(x, norm, up, beta).integers.tolist() == [1] * 100
    x = np.full(10_000, 0.3)  # every coordinate up triples the norm
    norm = float(np.linalg.norm(x))
    integers, tries, cut = conditional(x, norm, Fixed(np.zeros(1)), beta, tries=3)
    assert (tries, cut) == (3, True)
    assert not integers.any()


def test_the_number_of_tries_is_what_was_needed() -> None:
    class Improving(Fixed):
        def random(self, shape: tuple[int, ...]) -> np.ndarray:  # type: ignore[override]
            self.uniforms = self.uniforms + 0.25
            return np.broadcast_to(self.uniforms, shape)

    x = np.full(10_000, 0.3)
    integers, tries, cut = conditional(x, 30.0, Improving(np.array(-0.25)), 0.9)
    assert (tries, cut, int(integers.sum())) == (3, False, 0)


def test_conditioning_moves_the_mean_by_less_than_it_says() -> None:
    # All 2^10 roundings of a vector, with their probabilities: no sampling.
    d, beta = 10, 0.3
    x = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.05])
    norm = float(np.linalg.norm(x))
    limit = 2.0  # a stricter limit than the bound, which these few coordinates never reach
    outcomes = np.array(list(product((0, 1), repeat=d)))
    chances = np.prod(np.where(outcomes == 1, x, 1 - x), axis=1)
    kept = np.linalg.norm(outcomes, axis=1) <= limit
    refused = float(chances[~kept].sum())
    assert 0.1 < refused < beta + 0.6
    mean = (chances[kept] @ outcomes[kept]) / chances[kept].sum()
    assert np.linalg.norm(mean - x) <= math.sqrt(refused) / (2 * (1 - refused))
    assert norm < limit


def test_vectors_that_were_not_clipped_are_refused() -> None:
    with pytest.raises(OutOfRange) as refused:
        conditional(np.array([3.0, 4.0]), 4.99, generator(0))
    assert (refused.value.largest, refused.value.bound) == (5.0, 4.99)


# scale, dimension, clip, and the L2 bound in words that the accounting of distributed differential privacy in
# TensorFlow Federated computes (accounting_utils.rounded_l2_norm_bound with beta = exp(-1/2)).
PUBLISHED = [
    (7819.099834420875, 1024, 1.0, 7819.617210610438, 250227.750739534),
    (15894.814663168321, 4096, 1.0, 15895.347872605174, 1017302.2638467312),
    (325265.5439003868, 1048576, 0.5, 162634.07945746044, 166537297.3644395),
    (511.5906469199514, 10000, 1.0, 514.5741741118518, 51457.417411185175),
    (19.965824459347115, 64, 1.0, 20.942778488080577, 167.54222790464462),
    (25.197533738220912, 1024, 1.0, 30.53052964209763, 932.113240227002),
]


@pytest.mark.parametrize(("scale", "dimension", "clip", "l2", "l1"), PUBLISHED)
def test_bounds_agree_with_published_ones(
    scale: float, dimension: int, clip: float, l2: float, l1: float
) -> None:
    norm = rounded_norm(scale * clip, dimension, "conditional")
    sensitivity = vector_sensitivity(norm, dimension, 1.0)
    assert math.isclose(sensitivity.l2, l2, rel_tol=1e-12)
    assert math.isclose(sensitivity.l1, l1, rel_tol=1e-12)
    replaced = vector_sensitivity(norm, dimension, 2.0)
    assert replaced == (2 * sensitivity.l2, 2 * sensitivity.l1)


def test_what_rounding_a_million_coordinates_costs() -> None:
    scaled = 2.0**10
    assert round(rounded_norm(scaled, 10**6, "stochastic") / scaled, 2) == 1.98
    assert round(rounded_norm(scaled, 10**6, "conditional") / scaled, 3) == 1.113
    assert round(rounded_norm(2.0**16, 10**6, "stochastic") / 2.0**16, 3) == 1.015


@settings(deadline=None)
@given(x=vectors, y=vectors, norm=st.floats(0.1, 60.0), seed=seeds)
def test_whole_vectors_are_never_further_apart_than_their_sensitivity(
    x: np.ndarray, y: np.ndarray, norm: float, seed: int
) -> None:
    d = min(x.size, y.size)
    x, y = clipped(x[:d], norm), clipped(y[:d], norm)
    rng = generator(seed)
    ways: list[tuple[Rounding, np.ndarray, np.ndarray]] = [
        ("nearest", nearest(x), nearest(y)),
        ("stochastic", stochastic(x, rng), stochastic(y, rng)),
        ("conditional", conditional(x, norm, rng).integers, conditional(y, norm, rng).integers),
    ]
    for rounding, a, b in ways:
        bound = rounded_norm(norm, d, rounding) * (1 + 1e-12)
        for shift, factor in ((a, 1.0), (b, 1.0), (a - b, 2.0)):
            sensitivity = vector_sensitivity(bound, d, factor)
            assert np.linalg.norm(shift) <= sensitivity.l2
            assert np.abs(shift).sum() <= sensitivity.l1


@settings(deadline=None)
@given(x=vectors, direction=vectors, shift=st.floats(0.0, 5.0), seed=seeds)
def test_neighbours_rounded_by_the_same_numbers_differ_by_their_record_sensitivity(
    x: np.ndarray, direction: np.ndarray, shift: float, seed: int
) -> None:
    d = min(x.size, direction.size)
    x = x[:d]
    y = x + clipped(direction[:d], shift)
    uniforms = generator(seed).random(d)
    coupled = stochastic(x, Fixed(uniforms)) - stochastic(y, Fixed(uniforms))
    apart = stochastic(x, generator(seed)) - stochastic(y, generator(seed + 1))
    ways: list[tuple[Rounding, np.ndarray]] = [
        ("nearest", nearest(x) - nearest(y)),
        ("stochastic", coupled),
        ("conditional", apart),
    ]
    for rounding, difference in ways:
        l2, l1 = record_sensitivity(shift * (1 + 1e-12) + 1e-12, d, rounding)
        assert np.linalg.norm(difference) <= l2
        assert np.abs(difference).sum() <= l1


def test_neighbours_rounded_independently_can_differ_by_more_and_the_account_still_holds() -> None:
    """x = 0.9 → 0 and y = 1.1 → 2: two words apart, though the bound is 1.2. The mixtures are what counts."""
    l2, _ = record_sensitivity(0.2, 1, "stochastic")
    assert l2 == pytest.approx(1.2)
    support = np.arange(-350, 351)
    noise = np.exp(-(support**2) / (2 * 4.0**2))
    noise /= noise.sum()

    def rounded(x: float) -> np.ndarray:
        up = x - math.floor(x)
        return (1 - up) * np.roll(noise, math.floor(x)) + up * np.roll(noise, math.floor(x) + 1)

    p, q = rounded(0.9), rounded(1.1)
    for order in (2, 8, 32):
        exponent = order * np.log(p[200:-200]) + (1 - order) * np.log(q[200:-200])
        renyi = float(logsumexp(exponent)) / (order - 1)
        assert 0 < renyi <= order * l2**2 / (2 * 4.0**2)


def test_bad_arguments() -> None:
    with pytest.raises(ConfigurationError, match="one axis"):
        conditional(np.zeros((2, 2)), 1.0, generator(0))
    with pytest.raises(ConfigurationError, match="one try"):
        conditional(np.zeros(2), 1.0, generator(0), tries=0)
    for beta in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigurationError, match="beta"):
            rounded_norm(1.0, 3, "conditional", beta)
    for norm in (-1.0, math.inf, math.nan):
        with pytest.raises(ConfigurationError, match="norm"):
            rounded_norm(norm, 3, "nearest")
        with pytest.raises(ConfigurationError, match="norm"):
            record_sensitivity(norm, 3, "nearest")
    with pytest.raises(ConfigurationError, match="coordinate"):
        vector_sensitivity(1.0, 0, 2.0)
    with pytest.raises(ConfigurationError, match="shift factor"):
        vector_sensitivity(1.0, 3, 0.5)
    with pytest.raises(ConfigurationError, match="unknown rounding"):
        rounded_norm(1.0, 3, "up")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="unknown rounding"):
        record_sensitivity(1.0, 3, "up")  # type: ignore[arg-type]
