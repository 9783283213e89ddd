"""ε of a sum of losses is the exact one, also where δ is far below the rounding errors of a Fourier transform."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from protocols.privacy.loss_sums import Losses, epsilon_of_sum

DISTANCE = 1 / 64


def two_valued(points: int, count: int, infinite: float = 0.0) -> Losses:
    """Losses of ±points grid distances, with the probabilities of randomised response."""
    ratio = math.exp(points * DISTANCE)
    probabilities = np.zeros(2 * points + 1)
    probabilities[0], probabilities[-1] = np.array([1, ratio]) / (1 + ratio) * (1 - infinite)
    return Losses(-points, probabilities, infinite, count)


def exact(points: int, count: int, epsilon: float) -> mpmath.mpf:
    """δ(ε) of randomised response answered ``count`` times, by the binomial law in sixty digits."""
    loss = mpmath.mpf(points) * DISTANCE
    true = 1 / (1 + mpmath.exp(-loss))
    total, mass = mpmath.mpf(0), true**count
    for times in range(count, -1, -1):
        summed = (2 * times - count) * loss
        if summed <= epsilon:
            break
        total += mass * (1 - mpmath.exp(epsilon - summed))
        mass *= times * (1 - true) / (count - times + 1) / true
    return total


@pytest.mark.parametrize("delta", [1e-2, 1e-6, 1e-10, 1e-18, 1e-40])
@pytest.mark.parametrize(("points", "count"), [(64, 1), (10, 40), (3, 1000)])
def test_repeated_randomised_response_costs_its_exact_loss(points: int, count: int, delta: float) -> None:
    found = epsilon_of_sum([two_valued(points, count)], DISTANCE, delta)
    largest = points * count * DISTANCE
    with mpmath.workdps(60):
        assert exact(points, count, found) <= delta
        below = found * (1 - 1e-4)
        assert found == 0 or exact(points, count, below) >= delta or found == pytest.approx(largest)


def test_steps_may_be_divided_into_parts() -> None:
    whole = epsilon_of_sum([two_valued(3, 3000)], DISTANCE, 1e-10)
    parts = epsilon_of_sum([two_valued(3, 1200), two_valued(3, 1800)], DISTANCE, 1e-10)
    assert parts == pytest.approx(whole, rel=1e-6)


def test_losses_of_other_sizes_add_up_to_the_law_of_their_sum() -> None:
    """A step of loss ±2a is not two steps of ±a: the sum of a part with each is convolved by hand."""
    small, large = two_valued(3, 2), two_valued(6, 1)
    twice = np.convolve(small.probabilities, small.probabilities)
    by_hand = Losses(-12, np.convolve(twice, large.probabilities), 0.0, 1)
    for delta in (0.05, 1e-3):
        found = epsilon_of_sum([small, large], DISTANCE, delta)
        assert found == pytest.approx(epsilon_of_sum([by_hand], DISTANCE, delta), rel=1e-6)


def test_an_infinite_loss_more_likely_than_delta_is_infinite() -> None:
    assert epsilon_of_sum([two_valued(3, 100, 1e-8)], DISTANCE, 9e-7) == math.inf
    assert math.isfinite(epsilon_of_sum([two_valued(3, 100, 1e-8)], DISTANCE, 1.1e-6))


def test_a_large_delta_costs_nothing() -> None:
    assert epsilon_of_sum([two_valued(3, 1)], DISTANCE, 0.5) == 0
