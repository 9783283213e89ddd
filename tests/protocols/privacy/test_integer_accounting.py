"""Rényi accounting of integer noise: published values, exact divergences in one dimension, and the way back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.rdp.rdp_privacy_accountant import compute_epsilon
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ive, logsumexp

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.integer_accounting import (
    ORDERS,
    distributed_discrete_gaussian_rdp,
    rdp_epsilon,
    skellam_rdp,
    sum_gap,
    variance_for,
)
from protocols.sharing.rounding import rounded_norm, vector_sensitivity
from simulator.errors import ConfigurationError

PUBLISHED_ORDERS = np.array([*range(2, 129), 256], float)

# members, dimension, clip, noise multiplier of the sum, steps, delta, scale, then: tau, epsilon with discrete
# Gaussians, with Skellams, with real Gaussians, and both divergences of order 2 of all steps. Computed with
# TensorFlow Federated's distributed_dp.accounting_utils, sensitivity for zeroing out one member.
PUBLISHED = [
    (10, 1024, 1.0, 1.0, 1, 1e-05, 7819.099834420875, 0.0, 4.753059189039041, 4.753059225946121,
     4.752728336819822, 1.0001323408876874, 1.0001323532569912),
    (32, 4096, 1.0, 2.0, 50, 1e-05, 15894.814663168321, 0.0, 22.62746977103789, 22.62746978039007,
     22.626631103850336, 12.500838667187553, 12.50083867653973),
    (100, 1048576, 0.5, 0.8, 100, 1e-06, 325265.5439003868, 0.0, 168.68172859123163, 168.6817285982418,
     168.67921619684435, 156.25251239438725, 156.2525124013974),
    (16, 10000, 1.0, 4.0, 10, 1e-05, 511.5906469199514, 0.0, 3.6534406770877816, 3.6534412118408137,
     3.6278518728252274, 0.6323110869321582, 0.6323112441950349),
    (10, 64, 1.0, 1.0, 1, 1e-05, 19.965824459347115, 1.3578714811926873e-170, 5.003370591291375,
     5.011162232124659, 4.752728336819822, 1.1002569017886212, 1.103908442312311),
    (100, 1024, 1.0, 4.0, 10, 1e-05, 25.197533738220912, 0.0, 4.5145799218822456, 4.51496379305563,
     3.6278518728252274, 0.9175560931759218, 0.917759319091243),
]  # fmt: skip

# sigma of one member, members, shift, the exact divergence of order 2 by convolution, its bound, tau.
GAUSSIAN_SUMS = [
    (0.5, 4, 1, 1.0318848222073238, 2.467600395031024, 1.4676003950310237),
    (0.8, 4, 1, 0.390625376062957, 0.4116539082970354, 0.021028908297035385),
    (1.0, 8, 2, 0.5000000000002532, 0.5005430918485333, 0.0005430918485333929),
    (1.5, 4, 2, 0.44444444444444514, 0.44444444671463956, 2.2701951619108726e-09),
    (2.0, 10, 3, 0.22499999999999934, 0.22500000000000003, 7.157179647609258e-17),
]

# variance of the sum, shift, the exact divergence of order 2, its bound.
SKELLAMS = [
    (1.0, 1, 0.8748818515814755, 2.5),
    (4.0, 1, 0.24572131564589808, 0.390625),
    (9.0, 2, 0.4351080305009108, 0.5185185185185185),
    (25.0, 3, 0.3573409859320733, 0.378),
    (100.0, 5, 0.2496481333639139, 0.252625),
]


def discrete_gaussian_sum(members: int, sigma: float) -> np.ndarray:
    reach = math.ceil(25 * sigma)
    one = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * sigma**2))
    one /= one.sum()
    total = one
    for _ in range(members - 1):
        total = np.convolve(total, one)
    return total


def divergence(law: np.ndarray, shift: int, order: int) -> float:
    """Of the law from the one shifted, where float64 knows both."""
    p, q = law[shift:], law[: law.size - shift]
    known = (p > 1e-280) & (q > 1e-280)
    return float(logsumexp(order * np.log(p[known]) + (1 - order) * np.log(q[known]))) / (order - 1)


@pytest.mark.parametrize(
    ("members", "dimension", "clip", "multiplier", "steps", "delta", "scale", "tau", "eps_gaussian", "eps_skellam",
     "eps_real", "r2_gaussian", "r2_skellam"),
    PUBLISHED,
)  # fmt: skip
def test_published_values(
    members: int, dimension: int, clip: float, multiplier: float, steps: int, delta: float, scale: float,
    tau: float, eps_gaussian: float, eps_skellam: float, eps_real: float, r2_gaussian: float, r2_skellam: float,
) -> None:  # fmt: skip
    sigma = scale * multiplier * clip / math.sqrt(members)
    l2, l1 = vector_sensitivity(rounded_norm(scale * clip, dimension, "conditional"), dimension, 1.0)
    orders = PUBLISHED_ORDERS
    gaussian = steps * distributed_discrete_gaussian_rdp(orders, l2, l1, members, sigma, dimension)
    skellam = steps * skellam_rdp(orders, l2, l1, members * sigma**2)
    assert math.isclose(sum_gap(members, sigma), tau, rel_tol=1e-10)
    assert math.isclose(gaussian[0], r2_gaussian, rel_tol=1e-12)
    assert math.isclose(skellam[0], r2_skellam, rel_tol=1e-12)
    assert math.isclose(rdp_epsilon(gaussian, delta, orders), eps_gaussian, rel_tol=1e-12)
    assert math.isclose(rdp_epsilon(skellam, delta, orders), eps_skellam, rel_tol=1e-12)
    assert math.isclose(
        rdp_epsilon(steps * orders / (2 * multiplier**2), delta, orders), eps_real, rel_tol=1e-12
    )
    # The grid of this project contains those orders.
    ours = steps * skellam_rdp(ORDERS, l2, l1, members * sigma**2)
    assert rdp_epsilon(ours, delta) <= eps_skellam * (1 + 1e-12)


@pytest.mark.parametrize(("sigma", "members", "shift", "exact", "bound", "tau"), GAUSSIAN_SUMS)
def test_sums_of_discrete_gaussians_against_convolution(
    sigma: float, members: int, shift: int, exact: float, bound: float, tau: float
) -> None:
    law = discrete_gaussian_sum(members, sigma)
    assert math.isclose(divergence(law, shift, 2), exact, rel_tol=1e-12)
    assert math.isclose(sum_gap(members, sigma), tau, rel_tol=1e-12)
    ours = distributed_discrete_gaussian_rdp(np.array([2.0]), shift, shift, members, sigma, 1)
    assert math.isclose(ours[0], bound, rel_tol=1e-12)
    for order in (2, 3, 5, 10, 20):
        value = distributed_discrete_gaussian_rdp(np.array([order]), shift, shift, members, sigma, 1)[0]
        assert divergence(law, shift, order) <= value * (1 + 1e-12)


@pytest.mark.parametrize(("variance", "shift", "exact", "bound"), SKELLAMS)
def test_skellams_against_their_exact_law(variance: float, shift: int, exact: float, bound: float) -> None:
    reach = 20 + math.ceil(20 * math.sqrt(variance))
    law = np.asarray(ive(np.abs(np.arange(-reach, reach + 1)), variance))
    assert math.isclose(divergence(law, shift, 2), exact, rel_tol=1e-12)
    assert math.isclose(skellam_rdp(np.array([2.0]), shift, shift, variance)[0], bound, rel_tol=1e-12)


@settings(deadline=None, max_examples=150)
@given(variance=st.floats(0.5, 400.0), shift=st.integers(1, 12), order=st.integers(2, 32))
def test_the_bound_for_skellams_holds(variance: float, shift: int, order: int) -> None:
    reach = shift * order + 40 + math.ceil(12 * math.sqrt(variance))
    law = np.asarray(ive(np.abs(np.arange(-reach, reach + 1)), variance))
    bound = float(skellam_rdp(np.array([order]), shift, shift, variance)[0])
    assert divergence(law, shift, order) <= bound * (1 + 1e-12)
    assert bound >= order * shift**2 / (2 * variance)


@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-9])
@pytest.mark.parametrize("factor", [0.0, 1e-13, 1e-6, 1e-3, 0.03, 0.7, 20.0, math.inf])
def test_the_conversion_is_that_of_dp_accounting(delta: float, factor: float) -> None:
    curve = np.full(ORDERS.shape, factor) if factor in (0.0, math.inf) else factor * ORDERS
    theirs, _ = compute_epsilon(ORDERS.tolist(), curve.tolist(), delta)
    assert math.isclose(rdp_epsilon(curve, delta), theirs, rel_tol=1e-13)


def test_orders_without_a_bound_do_not_count() -> None:
    curve = np.full(ORDERS.shape, math.inf)
    curve[30] = 0.5
    alone = 0.5 + math.log1p(-1 / ORDERS[30]) - math.log(1e-5 * ORDERS[30]) / (ORDERS[30] - 1)
    assert math.isclose(rdp_epsilon(curve, 1e-5), alone)


@settings(deadline=None, max_examples=50)
@given(mu2=st.floats(0.01, 30.0), delta=st.sampled_from([1e-3, 1e-5, 1e-8]))
def test_fine_skellam_noise_costs_as_much_as_gaussian_and_no_less(mu2: float, delta: float) -> None:
    l2 = 1e7
    curve = skellam_rdp(ORDERS, l2, l2, l2 * l2 / mu2)
    assert np.allclose(curve, ORDERS * mu2 / 2, rtol=1e-6)
    assert epsilon_of(mu2, delta) <= rdp_epsilon(curve, delta)


@settings(deadline=None, max_examples=40)
@given(
    epsilon=st.floats(0.05, 50.0),
    delta=st.sampled_from([1e-3, 1e-6]),
    releases=st.sampled_from([1, 7, 1000]),
    l2=st.sampled_from([1.0, 33.3, 1e6]),
)
def test_the_variance_found_is_enough_and_hardly_more(
    epsilon: float, delta: float, releases: int, l2: float
) -> None:
    l1 = 5 * l2
    for cost in (
        lambda variance: skellam_rdp(ORDERS, l2, l1, variance),
        lambda variance: distributed_discrete_gaussian_rdp(ORDERS, l2, l1, 8, math.sqrt(variance), 25),
    ):
        variance = variance_for(epsilon, delta, releases, cost)
        assert rdp_epsilon(releases * cost(variance), delta) <= epsilon
        assert rdp_epsilon(releases * cost(variance * (1 - 1e-9)), delta) > epsilon


def test_calibration_agrees_with_the_gaussian_formula_for_one_order() -> None:
    """With the grid {α} alone: ε = kα l² / 2v + c, solved for v."""
    orders = np.array([8.0])
    rest = math.log1p(-1 / 8) - math.log(8e-5) / 7
    found = variance_for(3.0, 1e-5, 20, lambda v: orders * (9.0 / (2 * v)), orders)
    assert math.isclose(found, 20 * 8 * 9 / (2 * (3.0 - rest)), rel_tol=1e-11)


def test_one_discrete_gaussian_costs_what_a_real_one_does() -> None:
    curve = distributed_discrete_gaussian_rdp(ORDERS, 3.0, 9.0, 1, 0.7, 100)
    assert np.array_equal(curve, ORDERS * ((3.0 / 0.7) ** 2 / 2))
    assert sum_gap(1, 0.1) == 0.0


def test_no_change_costs_nothing() -> None:
    assert not skellam_rdp(ORDERS, 0.0, 0.0, 3.0).any()
    assert rdp_epsilon(np.zeros_like(ORDERS), 1e-9) == 0.0


def test_bad_arguments() -> None:
    with pytest.raises(ConfigurationError, match="integer orders"):
        skellam_rdp(np.array([2.5]), 1.0, 1.0, 1.0)
    with pytest.raises(ConfigurationError, match="integer orders"):
        skellam_rdp(np.array([1.0]), 1.0, 1.0, 1.0)
    with pytest.raises(ConfigurationError, match="above 1"):
        distributed_discrete_gaussian_rdp(np.array([1.0]), 1.0, 1.0, 2, 1.0, 1)
    for l2, l1 in ((-1.0, 1.0), (1.0, math.nan), (math.inf, 1.0)):
        with pytest.raises(ConfigurationError, match="sensitivities"):
            skellam_rdp(ORDERS, l2, l1, 1.0)
    for variance in (0.0, -1.0, math.nan):
        with pytest.raises(ConfigurationError, match="variance"):
            skellam_rdp(ORDERS, 1.0, 1.0, variance)
        with pytest.raises(ConfigurationError, match="sigma"):
            sum_gap(3, variance)
    with pytest.raises(ConfigurationError, match="member"):
        sum_gap(0, 1.0)
    with pytest.raises(ConfigurationError, match="coordinate"):
        distributed_discrete_gaussian_rdp(ORDERS, 1.0, 1.0, 2, 1.0, 0)
    for delta in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigurationError, match="delta"):
            rdp_epsilon(ORDERS, delta)
    for curve in (ORDERS[1:], np.zeros((0,)), ORDERS[:, None]):
        with pytest.raises(ConfigurationError, match="one divergence"):
            rdp_epsilon(curve, 1e-5)
    for bad in (math.nan, -1.0):
        with pytest.raises(ConfigurationError, match="not negative"):
            rdp_epsilon(np.full(ORDERS.shape, bad), 1e-5)
    for epsilon in (0.0, math.inf, math.nan):
        with pytest.raises(ConfigurationError, match="epsilon"):
            variance_for(epsilon, 1e-5, 1, lambda v: ORDERS / v)
    with pytest.raises(ConfigurationError, match="release"):
        variance_for(1.0, 1e-5, 0, lambda v: ORDERS / v)
    with pytest.raises(ConfigurationError, match="no variance"):
        variance_for(1.0, 1e-5, 1, lambda v: 0.0 * ORDERS)
    with pytest.raises(ConfigurationError, match="no variance"):
        variance_for(1.0, 1e-5, 1, lambda v: 100.0 * ORDERS)
