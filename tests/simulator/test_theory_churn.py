"""Churn against renewal theory. Every test has a fixed seed and fails by chance with probability below 1e-6.

Five standard deviations of a normal, both sides, are 5.7e-7; the sums have thousands of terms.
"""

from __future__ import annotations

from itertools import islice
from math import exp, gamma, sqrt

import numpy as np
import pytest
from scipy import integrate, special, stats

from simulator.faults.churn import availability, session_times, weibull
from simulator.faults.plan import Churn

SIGMAS = 5.0
MEAN_UP_S, MEAN_DOWN_S = 30.0, 10.0
SHARE = MEAN_UP_S / (MEAN_UP_S + MEAN_DOWN_S)


def variance(mean_s: float, shape: float) -> float:
    """Of a Weibull law."""
    return mean_s**2 * (gamma(1 + 2 / shape) / gamma(1 + 1 / shape) ** 2 - 1)


def churning(nodes: int, shape: float, *, stationary: bool) -> Churn:
    up, down = weibull(MEAN_UP_S, shape), weibull(MEAN_DOWN_S, shape)
    return Churn(range(nodes), up, down, stationary=stationary)


def up_at(sessions: Churn, node: int, t_s: float) -> bool:
    for down_s, up_s in session_times(sessions, node, seed=11):
        if t_s < down_s:
            return True
        if t_s < up_s:
            return False
    raise AssertionError("sessions have no end")


@pytest.mark.parametrize("shape", [1.0, 0.5, 2.0])
def test_availability_is_that_of_alternating_renewal(shape: float) -> None:
    """Share of up time over 50,000 cycles; the tolerance is the renewal central limit theorem's.

    With a = E[U]/(E[U]+E[D]), the share's variance is ((1-a)^2 Var U + a^2 Var D) / (n (E[U]+E[D])^2).
    """
    cycles = 50_000
    pairs = np.array(list(islice(session_times(churning(1, shape, stationary=False), 0, 3), cycles)))
    down_s = (pairs[:, 1] - pairs[:, 0]).sum()
    measured = 1 - down_s / pairs[-1, 1]
    spread = (1 - SHARE) ** 2 * variance(MEAN_UP_S, shape) + SHARE**2 * variance(MEAN_DOWN_S, shape)
    tolerance = SIGMAS * sqrt(spread / cycles) / (MEAN_UP_S + MEAN_DOWN_S)
    assert tolerance < 0.02
    assert abs(measured - SHARE) < tolerance


@pytest.mark.parametrize("shape", [1.0, 0.5])
@pytest.mark.parametrize("t_s", [0.0, 4.0, 40.0])
def test_in_equilibrium_the_share_that_is_up_is_the_same_at_any_time(shape: float, t_s: float) -> None:
    """10,000 independent nodes: a binomial share, five standard deviations."""
    nodes = 10_000
    sessions = churning(nodes, shape, stationary=True)
    measured = sum(up_at(sessions, node, t_s) for node in range(nodes)) / nodes
    assert abs(measured - SHARE) < SIGMAS * sqrt(SHARE * (1 - SHARE) / nodes)


@pytest.mark.parametrize("t_s", [1.0, 5.0, 20.0])
def test_a_fresh_start_decays_to_equilibrium_as_two_state_markov(t_s: float) -> None:
    """With exponential times P(up at t) = a + (1-a) exp(-(1/E[U] + 1/E[D]) t); 10,000 nodes."""
    nodes = 10_000
    sessions = churning(nodes, 1.0, stationary=False)
    expected = SHARE + (1 - SHARE) * exp(-(1 / MEAN_UP_S + 1 / MEAN_DOWN_S) * t_s)
    measured = sum(up_at(sessions, node, t_s) for node in range(nodes)) / nodes
    assert abs(measured - expected) < SIGMAS * sqrt(expected * (1 - expected) / nodes)


@pytest.mark.parametrize("shape", [1.0, 0.5, 2.0])
def test_the_first_rest_of_an_up_time_follows_the_equilibrium_law(shape: float) -> None:
    """P(rest <= x) = 1/E[U] * integral of P(U > y) up to x = P(1/k, (x/scale)^k); Kolmogorov-Smirnov at 1e-6."""
    nodes = 10_000
    sessions = churning(nodes, shape, stationary=True)
    firsts = [next(session_times(sessions, node, seed=5)) for node in range(nodes)]
    rests = np.array([down_s for down_s, _ in firsts if down_s > 0])
    scale_s = MEAN_UP_S / gamma(1 + 1 / shape)
    assert stats.kstest(rests, lambda x: special.gammainc(1 / shape, (x / scale_s) ** shape)).pvalue > 1e-6


@pytest.mark.parametrize("shape", [1.0, 0.5, 2.0])
def test_lengths_follow_their_law(shape: float) -> None:
    """Kolmogorov-Smirnov on 10,000 up and 10,000 down times, each at 1e-6 / 2; their correlation within 5/sqrt(n)."""
    pairs = np.array(list(islice(session_times(churning(1, shape, stationary=False), 0, 9), 10_000)))
    ups = np.diff(np.concatenate([[0.0], pairs[:, :].ravel()]))[::2]
    downs = pairs[:, 1] - pairs[:, 0]
    for lengths, mean_s in ((ups, MEAN_UP_S), (downs, MEAN_DOWN_S)):
        law = stats.weibull_min(shape, scale=mean_s / gamma(1 + 1 / shape))
        assert stats.kstest(lengths, law.cdf).pvalue > 5e-7
    ranks = [stats.rankdata(lengths) for lengths in (ups, downs)]
    assert abs(np.corrcoef(ranks)[0, 1]) < SIGMAS / sqrt(len(ups))


@pytest.mark.parametrize(("up_shape", "down_shape"), [(1.0, 0.4), (0.6, 3.0)])
def test_availability_by_quadrature_is_that_of_the_means(up_shape: float, down_shape: float) -> None:
    sessions = Churn([0], weibull(70.0, up_shape), weibull(30.0, down_shape))
    mean_s, _ = integrate.quad(lambda u: float(sessions.up(np.array([u]))[0]), 0, 1, limit=200)
    assert mean_s == pytest.approx(70.0, rel=1e-5)
    assert availability(sessions) == pytest.approx(0.7, rel=1e-4)
