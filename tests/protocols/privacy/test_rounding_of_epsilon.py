"""Conversions round to the safe side: what they return keeps δ, as eighty digits have it."""

from __future__ import annotations

import math
from functools import partial

import mpmath
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.privacy.accounting import epsilon_of, mu2_of, noise_multiplier_for
from protocols.privacy.integer_accounting import ORDERS, rdp_epsilon, skellam_rdp, variance_for

deltas = st.floats(-15, -0.01).map(lambda exponent: 10.0**exponent)
epsilons = st.one_of(st.just(0.0), st.floats(-12, 8).map(lambda exponent: 10.0**exponent))
losses = st.floats(-14, 8).map(lambda exponent: 10.0**exponent)


def reached(epsilon: float, mu2: float | mpmath.mpf) -> mpmath.mpf:
    """δ(ε) of a Gaussian view."""
    mu, e = mpmath.sqrt(mpmath.mpf(mu2)), mpmath.mpf(epsilon)
    first, second = (mpmath.erfc((e / mu + side * mu / 2) / mpmath.sqrt(2)) / 2 for side in (-1, 1))
    return first - mpmath.exp(e) * second


@settings(max_examples=300)
@given(losses, deltas)
def test_epsilon_is_rounded_up(mu2: float, delta: float) -> None:
    with mpmath.workdps(80):
        assert reached(epsilon_of(mu2, delta), mu2) <= delta


@settings(max_examples=300)
@given(epsilons, deltas)
def test_a_loss_for_an_epsilon_is_rounded_down(epsilon: float, delta: float) -> None:
    with mpmath.workdps(80):
        assert reached(epsilon, mu2_of(epsilon, delta)) <= delta


@settings(max_examples=200)
@given(epsilons.filter(bool), deltas, st.integers(1, 10**6))
def test_a_noise_multiplier_is_rounded_up(epsilon: float, delta: float, releases: int) -> None:
    with mpmath.workdps(80):
        z = mpmath.mpf(noise_multiplier_for(epsilon, delta, releases))
        assert reached(epsilon, releases / z**2) <= delta


@settings(max_examples=60)
@given(st.floats(-3, 4).map(lambda e: 10.0**e), st.floats(-12, -1).map(lambda e: 10.0**e))
def test_the_conversion_of_divergences_is_rounded_up(scale: float, delta: float) -> None:
    found = rdp_epsilon(scale * ORDERS, delta)
    with mpmath.workdps(50):
        at = [mpmath.mpf(order) for order in ORDERS]
        exact = min(
            mpmath.mpf(scale) * a + mpmath.log(1 - 1 / a) - mpmath.log(mpmath.mpf(delta) * a) / (a - 1)
            for a in at
        )
        assert found >= exact or 1 - mpmath.exp(-mpmath.mpf(scale) * at[0]) < mpmath.mpf(delta) ** 2


def test_integer_noise_for_a_target_keeps_it_at_extremes() -> None:
    for epsilon, delta, releases, l2 in (
        (1e-9, 1e-12, 10**9, 1e6),
        (1e6, 1e-2, 1, 1e-3),
        (1e-3, 0.5, 1, 1e9),
        (50.0, 1e-300, 10**6, 1.0),
    ):
        variance = variance_for(epsilon, delta, releases, partial(skellam_rdp, ORDERS, l2, 10 * l2))
        assert math.isfinite(variance)
        assert rdp_epsilon(releases * skellam_rdp(ORDERS, l2, 10 * l2, variance), delta) <= epsilon
