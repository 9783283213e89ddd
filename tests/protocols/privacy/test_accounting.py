"""Conversions between Gaussian loss and (ε, δ), and the noise they ask for."""

from __future__ import annotations

import math

import dp_accounting
import numpy as np
import pytest
from dp_accounting import pld, rdp
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from protocols.privacy.accounting import epsilon_of, mu2_of, noise_multiplier_for, shift_factor
from protocols.privacy.mechanism import member_sigma
from simulator.errors import ConfigurationError

# mu, delta, epsilon: Balle & Wang 2018, the exact formula evaluated independently.
EXACT = [
    (0.1, 1e-3, 0.19753397323971003),
    (0.1, 1e-6, 0.39685737764408385),
    (0.25, 1e-5, 0.9263415039983884),
    (0.5, 1e-5, 1.99309140441512),
    (0.5, 1e-3, 1.3522762448025534),
    (0.5, 1e-6, 2.2540846502197436),
    (1, 1e-5, 4.377178095681234),
    (2, 1e-3, 7.581279924570115),
    (2, 1e-5, 9.997256146434303),
    (2, 1e-6, 10.997151214220654),
    (3, 1e-5, 16.67549440282817),
    (4, 1e-3, 19.624120567422775),
    (4, 1e-6, 26.356963925325807),
    (5, 1e-5, 33.103732335922494),
]

# noise multiplier, full-batch steps, delta, epsilon: differentially private gradient descent without sampling.
GRADIENT_DESCENT = [
    (5.0, 1, 1e-5, 0.725521750857797),
    (20.0, 400, 1e-6, 4.886554117462215),
]

deltas = st.floats(-12, -0.5).map(lambda exponent: 10**exponent)


@pytest.mark.parametrize(("mu", "delta", "epsilon"), EXACT)
def test_reference_values(mu, delta, epsilon):
    assert epsilon_of(mu**2, delta) == pytest.approx(epsilon, rel=1e-11)
    assert mu2_of(epsilon, delta) == pytest.approx(mu**2, rel=1e-11)


@pytest.mark.parametrize(("z", "steps", "delta", "epsilon"), GRADIENT_DESCENT)
def test_composition_reference_values(z, steps, delta, epsilon):
    assert epsilon_of(steps / z**2, delta) == pytest.approx(epsilon, rel=1e-11)
    assert noise_multiplier_for(epsilon, delta, steps) == pytest.approx(z, rel=1e-11)


def test_no_loss_and_unbounded_loss():
    assert epsilon_of(0.0, 1e-5) == 0
    assert epsilon_of(math.inf, 1e-5) == math.inf
    assert mu2_of(math.inf, 1e-5) == math.inf
    # All of the loss fits into δ: 2 Φ(μ/2) − 1 < δ.
    assert epsilon_of(1e-6, 1e-3) == 0
    assert mu2_of(0.0, 1e-3) == pytest.approx((2 * norm.ppf(0.5 + 0.5e-3)) ** 2, rel=1e-9)
    assert mu2_of(0.0, 1e-12) == pytest.approx(2 * math.pi * 1e-24, rel=1e-9)


@given(st.floats(-4, 3).map(lambda exponent: 10**exponent), deltas)
def test_conversions_invert_each_other_from_tiny_to_huge(epsilon, delta):
    # Where δ(ε) is flat in μ, μ² is worth fewer digits; ε must still come back.
    assert epsilon_of(mu2_of(epsilon, delta), delta) == pytest.approx(epsilon, rel=1e-9)


@given(st.floats(0.05, 6), deltas)
def test_the_result_solves_the_defining_equation(mu, delta):
    epsilon = epsilon_of(mu**2, delta)
    reached = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    if epsilon == 0:
        assert reached <= delta * (1 + 1e-9)
    elif delta > 1e-8:  # below, the textbook form of the equation itself runs out of digits
        assert reached == pytest.approx(delta, rel=1e-6)


@given(st.floats(1e-6, 1e6), st.floats(1.001, 10), deltas)
def test_more_loss_means_more_epsilon(mu2, more, delta):
    smaller, larger = epsilon_of(mu2, delta), epsilon_of(mu2 * more, delta)
    assert smaller < larger or smaller == larger == 0
    assert epsilon_of(mu2, delta / 2) >= smaller


def test_extreme_losses_follow_the_asymptote():
    # ε = μ²/2 + μ Φ⁻¹(1 − δ) − o(1) for large μ.
    for mu2 in (1e6, 1e10, 1e20, 1e300):
        expected = mu2 / 2 + math.sqrt(mu2) * norm.ppf(1 - 1e-5)
        assert epsilon_of(mu2, 1e-5) == pytest.approx(expected, rel=2e-6)


@pytest.mark.parametrize(("z", "steps"), [(1.0, 1), (4.0, 16), (8.0, 100)])
def test_dp_accounting_agrees_on_add_remove_and_on_replace_by_privacy_loss_distributions(z, steps):
    relations = dp_accounting.NeighboringRelation
    for relation, adjacency in (
        (relations.ADD_OR_REMOVE_ONE, "add-remove"),
        (relations.REPLACE_ONE, "replace"),
    ):
        accountant = pld.PLDAccountant(relation)
        accountant.compose(dp_accounting.GaussianDpEvent(z), steps)
        mu2 = steps * (shift_factor(adjacency) / z) ** 2
        assert accountant.get_epsilon(1e-5) == pytest.approx(epsilon_of(mu2, 1e-5), rel=1e-3)


def test_replace_is_twice_the_shift_which_one_library_accountant_forgets():
    """dp_accounting 0.6.0 with Rényi orders ignores that replacing moves the sum by two clipping norms."""
    accountant = rdp.RdpAccountant(neighboring_relation=dp_accounting.NeighboringRelation.REPLACE_ONE)
    accountant.compose(dp_accounting.GaussianDpEvent(1.0))
    exact = epsilon_of(shift_factor("replace") ** 2, 1e-5)
    assert exact == pytest.approx(9.997256146434303)
    assert accountant.get_epsilon(1e-5) < 0.5 * exact


def test_calibration_meets_its_target():
    for epsilon, delta, releases in ((0.5, 1e-6, 1), (8.0, 1e-5, 50), (100.0, 1e-5, 3)):
        z = noise_multiplier_for(epsilon, delta, releases)
        assert epsilon_of(releases / z**2, delta) == pytest.approx(epsilon, rel=1e-12)
    # ε = 8, δ = 1e-5, 50 rounds, replacing a node: σ = 8.49 clipping norms.
    assert noise_multiplier_for(8.0, 1e-5, 50) * shift_factor("replace") == pytest.approx(8.49, abs=0.005)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_delta_outside_its_range_is_refused(delta):
    for call in (lambda: epsilon_of(1.0, delta), lambda: mu2_of(1.0, delta)):
        with pytest.raises(ConfigurationError, match="delta"):
            call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: epsilon_of(-1.0, 1e-5),
        lambda: epsilon_of(math.nan, 1e-5),
        lambda: mu2_of(-0.1, 1e-5),
        lambda: noise_multiplier_for(0.0, 1e-5, 1),
        lambda: noise_multiplier_for(1.0, 1e-5, 0),
        lambda: shift_factor("substitute"),
        lambda: member_sigma(1.0, 1.0, [[0.2] * 5], 3, 3),
        lambda: member_sigma(1.0, 1.0, [[0.2] * 5], -1, 3),
        lambda: member_sigma(1.0, 1.0, [[0.2, 0.0, 0.1]], 0, 3),
        lambda: member_sigma(1.0, 1.0, [[0.2, 0.2]], 0, 3),
        lambda: member_sigma(-1.0, 1.0, [[0.2] * 5], 0, 3),
        lambda: member_sigma(1.0, math.inf, [[0.2] * 5], 0, 3),
    ],
)
def test_impossible_values_are_refused(call):
    with pytest.raises(ConfigurationError):
        call()


def test_adjacency_table():
    assert [shift_factor(name) for name in ("add-remove", "zero-out", "replace")] == [1, 1, 2]


def test_equal_weights_need_the_square_root_of_the_members_counted_on():
    assert member_sigma(3.0, 0.5, [[0.1] * 9], 0, 9) == pytest.approx(1.5 / 3)
    # Ten members, two collude, two may drop: six noises, not ten, and the root of their number.
    assert member_sigma(1.0, 1.0, [[0.1] * 10], 2, 8) == pytest.approx(1 / math.sqrt(6))


def test_the_neediest_neighbourhood_decides_and_those_never_opened_do_not():
    wide, narrow, tiny = [0.1] * 8, [0.2] * 4, [0.3]
    assert member_sigma(1.0, 1.0, [wide, narrow, tiny], 1, 4) == member_sigma(1.0, 1.0, [narrow], 1, 4)


@given(
    st.lists(st.floats(0.01, 0.5), min_size=4, max_size=9),
    st.integers(0, 2),
    st.integers(0, 2),
    st.randoms(use_true_random=False),
)
def test_every_sum_that_opens_carries_enough_noise(weights, colluders, dropouts, random):
    """Whoever drops and whoever colludes: the noise left covers the largest weighted contribution."""
    minimum = max(colluders + 1, len(weights) - dropouts)
    sigma = member_sigma(2.0, 1.5, [weights], colluders, minimum)
    listed = random.sample(range(len(weights)), minimum)
    honest = listed[colluders:]
    noise = math.sqrt(sum((weights[w] * sigma) ** 2 for w in honest))
    assert noise >= 2.0 * 1.5 * max(weights[w] for w in listed) * (1 - 1e-12)


def test_member_noise_adds_up_to_what_the_sum_needs():
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.05, 0.2, 6)
    sigma = member_sigma(5.0, 1.0, [weights.tolist()], 0, 6)
    draws = rng.normal(0, sigma, (200_000, 6)) @ weights
    # Five standard deviations of a sample variance over 200 000 draws: error probability below 1e-6.
    assert draws.var() == pytest.approx((5.0 * weights.max()) ** 2, rel=5 * math.sqrt(2 / 200_000))
