"""Integer noise: the laws it is drawn from, its tails, whose share is how large, and published scales."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ive
from scipy.stats import chi2

from protocols.privacy import integer_noise
from protocols.privacy.integer_noise import (
    counted_members,
    discrete_gaussian,
    heuristic_scale,
    member_variance,
    skellam,
    skellam_tail,
)
from simulator.errors import ConfigurationError

SAMPLERS = {"skellam": skellam, "discrete gaussian": discrete_gaussian}
every_law = pytest.mark.parametrize("law", SAMPLERS)


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


def probabilities(law: str, variance: float, reach: int) -> np.ndarray:
    """Of −reach … reach, from the definitions."""
    support = np.arange(-reach, reach + 1)
    if law == "skellam":
        return np.asarray(ive(np.abs(support), variance))
    weights = np.exp(-(support.astype(float) ** 2) / (2 * variance))
    return weights / weights.sum()


def check_law(drawn: np.ndarray, chances: np.ndarray) -> None:
    """Pearson's test, with cells of at least 25 expected draws; wrong with probability 1e-8."""
    reach = chances.size // 2
    assert np.abs(drawn).max() <= reach
    counts = np.bincount(drawn + reach, minlength=chances.size)
    expected = chances * drawn.size
    common = expected >= 25
    if expected[~common].sum() >= 25:
        counts = np.append(counts[common], counts[~common].sum())
        expected = np.append(expected[common], expected[~common].sum())
    else:  # too rare to test; a handful may happen
        assert counts[~common].sum() <= 25 + 60
        counts, expected = counts[common], expected[common]
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert chi2.sf(statistic, counts.size - 1) > 1e-8


@every_law
@pytest.mark.parametrize("variance", [0.05, 0.5, 1.0, 3.7, 16.0, 100.0, 900.0])
def test_every_number_has_its_probability(law: str, variance: float) -> None:
    drawn = SAMPLERS[law](variance, 300_000, generator(int(1000 * variance)))
    assert drawn.dtype == np.int64
    check_law(drawn, probabilities(law, variance, 12 + math.ceil(12 * math.sqrt(variance))))


@every_law
@pytest.mark.parametrize("variance", [3999.9, 4000.1, 1e5, 12345678.9, 1e15, 2.0**80])
def test_large_variances_have_the_law_of_their_limit(law: str, variance: float) -> None:
    """Quantiles of 200 cells of equal probability; at these variances both laws are Gaussian to 1e-4."""
    draws = 200_000
    drawn = SAMPLERS[law](variance, draws, generator(7))
    # The jitter makes cells comparable: rounding a Gaussian has, at these variances, the same law as the numbers.
    reals = (drawn + generator(8).random(draws) - 0.5) / math.sqrt(variance)
    cells = np.clip((np.vectorize(math.erfc)(-reals / math.sqrt(2)) * 100).astype(int), 0, 199)
    counts = np.bincount(cells, minlength=200)
    statistic = float(((counts - draws / 200) ** 2).sum() / (draws / 200))
    assert chi2.sf(statistic, 199) > 1e-8
    assert len(np.unique(drawn & 1)) == 2


@pytest.mark.parametrize("variance", [4000.0, 10_000.0, 30_000.0])
def test_the_series_is_the_bessel_function(variance: float) -> None:
    y = np.arange(0.0, 10 * math.sqrt(variance))
    log_weight = integer_noise._log_skellam(y, variance)
    exact = np.log(ive(y, variance)) + 0.5 * math.log(2 * math.pi * variance)
    np.testing.assert_allclose(log_weight, exact, atol=1e-12, rtol=0)


def test_known_values_of_the_series() -> None:
    """ln P(y) + ln(2π v) / 2 at v = 10 000, from I_y(v) summed to 60 digits (mpmath)."""
    for y, value in SERIES:
        assert abs(float(integer_noise._log_skellam(np.array([y]), 10_000.0)[0]) - value) < 2e-13


SERIES = [
    (0.0, 1.2500625065114325e-5),
    (100.0, -0.50000833429175745),
    (450.0, -10.123785735476688),
    (2500.0, -310.91723504118942),
]


@every_law
@pytest.mark.parametrize("variance", [0.001, 0.3, 1.0, 2.5, 99.0, 3999.0, 4001.0, 1e6])
def test_no_proposal_is_kept_with_more_than_certainty(
    law: str, variance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest ratio of the two laws is where rejection looks for it."""
    seen = []

    def look(log_weight, width, top, near, size, rng):  # type: ignore[no-untyped-def]
        y = np.arange(0.0, min(37.0 * width, 50_000))
        ratios = log_weight(y) + y / width
        middle = math.floor(top)
        inside = ratios[max(middle - near, 0) : middle + near + 1]
        seen.append(float(np.max(ratios) - np.max(inside)))
        return np.zeros(size, np.int64)

    monkeypatch.setattr(integer_noise, "_from_laplace", look)
    SAMPLERS[law](variance, 1, generator(0))
    assert seen == [0.0]


@every_law
def test_numbers_are_independent_of_each_other_and_follow_from_the_seed(law: str) -> None:
    sample = SAMPLERS[law]
    drawn = sample(50.0, 200_001, generator(5))
    assert np.array_equal(drawn, sample(50.0, 200_001, generator(5)))
    assert not np.array_equal(drawn, sample(50.0, 200_001, generator(6)))
    # Products of neighbours have mean 0 and variance 50²; six standard deviations: 2e-9.
    assert abs(np.mean(drawn[1:] * drawn[:-1])) < 6 * 50 / math.sqrt(200_000)
    assert sample(0.0, 5, generator(0)).tolist() == [0] * 5
    assert sample(3.0, 0, generator(0)).shape == (0,)


@pytest.mark.parametrize("survivors", [{0}, {0, 2}, {1, 2, 3}, {0, 1, 2, 3}])
def test_survivors_skellams_add_up_to_a_skellam(survivors: set[int]) -> None:
    shares = {member: skellam(2.0, 200_000, generator(30 + member)) for member in range(4)}
    total = np.sum([shares[member] for member in survivors], axis=0)
    check_law(total, probabilities("skellam", 2.0 * len(survivors), 60))


@every_law
@pytest.mark.parametrize("variance", [-1.0, math.nan, math.inf, 2.0**80 * 1.01])
def test_impossible_variances_are_refused(law: str, variance: float) -> None:
    with pytest.raises(ConfigurationError, match="variance"):
        SAMPLERS[law](variance, 3, generator(0))


@pytest.mark.parametrize("variance", [0.1, 1.0, 9.0, 400.0])
@pytest.mark.parametrize("sigmas", [0.0, 0.5, 2.0, 4.0, 8.0])
def test_tails_are_bounded(variance: float, sigmas: float) -> None:
    limit = sigmas * math.sqrt(variance)
    reach = 40 + math.ceil(20 * math.sqrt(variance))
    outside = np.abs(np.arange(-reach, reach + 1)) >= limit
    bound = skellam_tail(limit, variance)
    for law in ("skellam", "discrete gaussian"):
        exact = float(probabilities(law, variance, reach)[outside].sum())
        assert min(exact, 1.0 - 1e-12) <= bound <= 1.0


def test_tails_of_large_variances_are_gaussian_and_of_none_vanish() -> None:
    assert math.isclose(skellam_tail(8e6, 1e12), 2 * math.exp(-32), rel_tol=1e-9)
    assert (skellam_tail(0.0, 0.0), skellam_tail(1.0, 0.0)) == (1.0, 0.0)
    with pytest.raises(ConfigurationError):
        skellam_tail(-1.0, 1.0)
    with pytest.raises(ConfigurationError):
        skellam_tail(1.0, math.inf)


# members, colluders, dropouts, a member's share, honest noise if nobody drops out, all noise: sigma_i² = sigma² / h
# with h = n − c − T, worked out by hand.
SHARES = [
    (10, 0, 0, 0.1, 1.0, 1.0),
    (10, 2, 2, 0.16666666666666666, 1.3333333333333333, 1.6666666666666667),
    (32, 8, 4, 0.05, 1.2, 1.6),
    (100, 33, 10, 0.017543859649122806, 1.1754385964912282, 1.7543859649122806),
]


@pytest.mark.parametrize(("members", "colluders", "dropouts", "share", "honest", "everybody"), SHARES)
def test_shares_of_noise(
    members: int, colluders: int, dropouts: int, share: float, honest: float, everybody: float
) -> None:
    variance = member_variance(1.0, counted_members(members, colluders, dropouts))
    assert math.isclose(variance, share, rel_tol=1e-15)
    assert math.isclose(variance * (members - colluders), honest, rel_tol=1e-15)
    assert math.isclose(variance * members, everybody, rel_tol=1e-15)


@given(st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
def test_honest_survivors_always_carry_the_noise(members: int, colluders: int, dropouts: int) -> None:
    if members - colluders - dropouts < 1:
        with pytest.raises(ConfigurationError, match="no noise"):
            counted_members(members, colluders, dropouts)
        return
    variance = member_variance(3.0, counted_members(members, colluders, dropouts))
    honest = set(range(members - colluders))
    for count in range(dropouts + 1):
        for dropped in combinations(range(members), count):
            assert len(honest - set(dropped)) * variance >= 3.0 * (1 - 1e-15)


@pytest.mark.parametrize("arguments", [(5, -1, 0), (5, 0, -1), (5, 2, 3)])
def test_counts_that_protect_nobody_are_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ConfigurationError):
        counted_members(*arguments)


def test_bad_shares_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="variance"):
        member_variance(-1.0, 3)
    with pytest.raises(ConfigurationError, match="one member"):
        member_variance(1.0, 0)


# bits, members, dimension, clip, noise multiplier of the sum, scale, a member's sigma in words: computed with
# accounting_utils.heuristic_scale_factor of TensorFlow Federated's distributed_dp (k = 4, rho = 1).
SCALES = [
    (16, 10, 1024, 1.0, 1.0, 7819.099834420875, 2472.616472901541),
    (18, 32, 4096, 1.0, 2.0, 15894.814663168321, 5619.665617014844),
    (20, 100, 1048576, 0.5, 0.8, 325265.5439003868, 13010.621756015471),
    (14, 16, 10000, 1.0, 4.0, 511.5906469199514, 511.5906469199514),
    (8, 10, 64, 1.0, 1.0, 19.965824459347115, 6.313748065463679),
    (10, 100, 1024, 1.0, 4.0, 25.197533738220912, 10.079013495288365),
]


@pytest.mark.parametrize(("bits", "members", "dimension", "clip", "multiplier", "scale", "sigma"), SCALES)
def test_scales_agree_with_published_ones(
    bits: int, members: int, dimension: int, clip: float, multiplier: float, scale: float, sigma: float
) -> None:
    member_sigma = math.sqrt(member_variance((multiplier * clip) ** 2, members))
    ours = heuristic_scale(bits, members, dimension, clip, member_sigma)
    assert math.isclose(ours, scale, rel_tol=1e-13)
    assert math.isclose(ours * member_sigma, sigma, rel_tol=1e-13)


def test_scales_are_capped_and_bad_arguments_refused() -> None:
    assert heuristic_scale(64, 2, 10, 1.0, 0.1) == 1e6
    with pytest.raises(ConfigurationError, match="no room"):
        heuristic_scale(4, 100, 10, 1.0, 0.1)
    for name, value in (("clip", 0.0), ("sigmas", math.inf), ("flatness", -1.0), ("member_sigma", math.nan)):
        with pytest.raises(ConfigurationError, match=name):
            heuristic_scale(
                **{"bits": 16, "members": 2, "dimension": 3, "clip": 1.0, "member_sigma": 1.0} | {name: value}
            )  # type: ignore[arg-type]
    for bits, members, dimension in ((0, 1, 1), (65, 1, 1), (8, 0, 1), (8, 1, 0)):
        with pytest.raises(ConfigurationError, match="1 to 64 bits"):
            heuristic_scale(bits, members, dimension, 1.0, 1.0)
