"""ε of sampled steps is never below the truth, over a wide box of noises, rates, numbers of steps and δ."""

from __future__ import annotations

import math

import mpmath
import pytest
from dp_accounting.pld import privacy_loss_distribution as library
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.composition import composed_epsilon
from protocols.privacy.loss_steps import Pair, step_losses
from protocols.privacy.sampling import MOST_NOISES, sampled_epsilon

PAIRS: list[Pair] = ["remove", "add", "replace"]


def powers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(math.log10(low), math.log10(high)).map(lambda exponent: 10.0**exponent)


def normal(x: mpmath.mpf) -> mpmath.mpf:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def one_step_delta(rate: float, z: float, pair: Pair, epsilon: float) -> mpmath.mpf:
    """δ(ε) of one step in sixty digits, from where the loss exceeds ε."""
    q, z, e = mpmath.mpf(rate), mpmath.mpf(z), mpmath.mpf(epsilon)
    half = mpmath.mpf(1) / 2
    if pair == "add":
        left = mpmath.exp(-e) - 1 + q
        if left <= 0:
            return mpmath.mpf(0)
        at = z * z * mpmath.log(left / q) + half
        lower = (1 - q) * normal(at / z) + q * normal((at - 1) / z)
        return normal(at / z) - mpmath.exp(e) * lower
    if pair == "remove":
        at = z * z * mpmath.log((mpmath.exp(e) - 1 + q) / q) + half
        lower = normal(-at / z)
    else:
        scaled = mpmath.exp(1 / (2 * z * z)) * (1 - q) / q * mpmath.sinh(e / 2)
        at = z * z * (e / 2 + mpmath.asinh(scaled))
        lower = (1 - q) * normal(-at / z) + q * normal(-(at + 1) / z)
    return (1 - q) * normal(-at / z) + q * normal((1 - at) / z) - mpmath.exp(e) * lower


@settings(max_examples=60)
@given(
    powers(1e-4, 1),
    powers(0.02, 20),
    powers(1e-12, 0.1),
    st.sampled_from(PAIRS),
    st.sampled_from([13, 15, 17]),
)
def test_one_step_is_never_below_its_exact_loss(
    rate: float, z: float, delta: float, pair: Pair, log2: int
) -> None:
    with mpmath.workdps(60):
        found = composed_epsilon(rate, [(z, 1)], pair, delta, points=2**log2)
        assert one_step_delta(rate, z, pair, found) <= delta
        # Adding is bounded tightly only where it may be the larger loss.
        if pair != "add" and log2 == 17 and found > 1e-6:
            assert one_step_delta(rate, z, pair, found * (1 - 1e-3)) > 0.99 * delta


@settings(max_examples=30)
@given(powers(0.02, 20), st.integers(0, 5).map(lambda e: 10**e), powers(1e-10, 1e-2), st.sampled_from(PAIRS))
def test_without_sampling_it_is_the_exact_gaussian_loss(
    z: float, steps: int, delta: float, pair: Pair
) -> None:
    exact = epsilon_of(steps * ((2 if pair == "replace" else 1) / z) ** 2, delta)
    found = composed_epsilon(1.0, [(z, steps)], pair, delta)
    assert exact * (1 - 1e-12) <= found <= exact * (1 + 1e-3)


@settings(max_examples=30)
@given(
    powers(1e-4, 1),
    powers(0.02, 20),
    st.integers(1, 10**5),
    powers(1e-10, 1e-2),
    st.sampled_from(["remove", "replace"]),
)
def test_a_finer_grid_hardly_charges_less(
    rate: float, z: float, steps: int, delta: float, pair: Pair
) -> None:
    """Were the bound below the truth on some grid, finer ones would charge more."""
    coarse, usual, fine = (
        composed_epsilon(rate, [(z, steps)], pair, delta, points=points) for points in (2**15, None, 2**20)
    )
    assert fine * (1 - 1e-5) <= usual <= coarse * (1 + 1e-5)
    assert usual <= fine * 1.01 + 1e-9
    shift = 2 if pair == "replace" else 1
    assert fine <= epsilon_of(steps * (shift / z) ** 2, delta) * (1 + 1e-3)


@pytest.mark.parametrize(("rate", "z", "steps"), [(0.01, 1.1, 300), (0.1, 2.0, 50), (0.02, 0.8, 10)])
def test_losses_rounded_down_by_the_library_cost_less(rate: float, z: float, steps: int) -> None:
    """dp-accounting's optimistic estimate is a lower bound of the truth, its pessimistic one an upper bound."""
    low, high = (
        library.from_gaussian_mechanism(
            z,
            sampling_prob=rate,
            value_discretization_interval=1e-4,
            pessimistic_estimate=pessimistic,
            use_connect_dots=False,
        )
        .self_compose(steps)
        .get_epsilon_for_delta(1e-5)
        for pessimistic in (False, True)
    )
    assert low < sampled_epsilon(rate, {(1.0, z * z): steps}, 1.0, "add-remove", 1e-5) < high


@pytest.mark.parametrize("pair", PAIRS)
def test_the_mass_of_a_step_is_one_and_a_finer_grid_refines_it(pair: Pair) -> None:
    coarse, fine = (step_losses(0.1, 0.7, pair, 8.0, width) for width in (2.0**-6, 2.0**-10))
    for step in (coarse, fine):
        assert step.mass.min() >= 0
        assert step.mass.sum() + step.beyond == pytest.approx(1, abs=1e-13)
    for order in (0.5, 2.0, 5.0):
        grown = [float((step.mass * math.e ** (order * step.losses)).sum()) for step in (coarse, fine)]
        assert grown[1] < grown[0] < 1.01 * grown[1]


@pytest.mark.parametrize(
    ("rate", "z", "steps"),
    [(0.1, 0.05, 5), (1e-4, 0.02, 10**5), (0.5, 1e-3, 10**6), (1e-9, 1e3, 10**9), (0.3, 1e-200, 3)],
)
@pytest.mark.parametrize("adjacency", ["add-remove", "replace"])
def test_extreme_numbers_end_between_nothing_and_the_loss_without_sampling(
    rate: float, z: float, steps: int, adjacency: str
) -> None:
    factor = 2.0 if adjacency == "replace" else 1.0
    charged = {(factor, (factor * z) ** 2): steps}
    found = sampled_epsilon(rate, charged, factor, adjacency, 1e-5)
    whole = sampled_epsilon(1.0, charged, factor, adjacency, 1e-5)
    assert 0 <= found <= whole


def test_many_noises_are_charged_as_few_that_are_no_larger() -> None:
    noises = [0.8 + 0.01 * i for i in range(3 * MOST_NOISES)]
    mixed, least, most = (
        sampled_epsilon(0.05, {(1.0, z * z): 60 // len(zs) for z in zs}, 1.0, "add-remove", 1e-5)
        for zs in (noises, noises[:1], noises[-1:])
    )
    assert most < mixed < least
