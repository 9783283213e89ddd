"""A secret coin saves no noise: figures, and what a coin that is used twice costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from protocols.privacy.sampling import sampled_epsilon
from protocols.privacy.secret_coin import coin_delta, relative_noise
from simulator.errors import ConfigurationError
from tests.support.matrix import covering


@pytest.mark.parametrize(
    ("epsilon", "rate", "rounds", "expected"),
    covering(
        [
            (1.0, 0.5, 200, 3.741),
            (1.0, 0.1, 1000, 3.757),
            (1.0, 0.02, 1000, 3.976),
            (8.0, 0.5, 200, 0.612),
            (8.0, 0.1, 1000, 0.649),
            (8.0, 0.02, 1000, 1.160),
        ],
        lambda case: case[:2] == (8.0, 0.1),
    ),
)
def test_a_coin_needs_more_noise(epsilon: float, rate: float, rounds: int, expected: float) -> None:
    """The stated noise suffices and is the least, within two parts in a thousand; without a coin less is needed."""

    def spent(relative: float) -> float:
        z = relative * rate * math.sqrt(rounds)
        return sampled_epsilon(rate, {(1.0, z * z): rounds}, 1.0, "zero-out", 1e-5)

    assert spent(expected * 1.002) <= epsilon < spent(expected * 0.998)
    assert relative_noise(1.0, rounds, epsilon, 1e-5) < expected * 0.998


@pytest.mark.parametrize(("epsilon", "expected"), [(1.0, 3.731), (8.0, 0.600)])
def test_without_a_coin(epsilon: float, expected: float) -> None:
    assert relative_noise(1.0, 7, epsilon, 1e-5) == pytest.approx(expected, abs=5e-4)


def test_a_coin_used_twice_costs_more_than_two_coins() -> None:
    """One coin for two releases is one mechanism with their joint energy; two coins would be charged less."""
    rate, z, epsilon = 0.2, 1.0, 0.8
    x = np.linspace(-9.0, 12.0, 40_001)
    weight = ((1 - rate) * norm.pdf(x) + rate * norm.pdf(x - 1 / z)) * (x[1] - x[0])
    loss = np.log1p(rate * np.expm1(x / z - 1 / (2 * z * z)))
    left = epsilon - loss
    ratio = np.expm1(left) / rate
    edge = np.where(ratio > -1, np.log1p(np.maximum(ratio, -1 + 1e-15)) * z + 1 / (2 * z), -np.inf)
    second = (1 - rate) * norm.sf(edge) + rate * norm.sf(edge - 1 / z) - np.exp(left) * norm.sf(edge)
    fresh, shared = float(weight @ second), coin_delta(rate, math.sqrt(2) / z, epsilon)
    assert shared == pytest.approx(0.0238, abs=5e-5)
    assert fresh == pytest.approx(0.0111, abs=5e-5)


@pytest.mark.parametrize("bad", [(0.0, 10, 1.0), (1.5, 10, 1.0), (0.5, 0, 1.0), (0.5, 10, 0.0)])
def test_arguments_outside_their_range_are_named(bad: tuple[float, int, float]) -> None:
    with pytest.raises(ConfigurationError, match="a coin needs"):
        relative_noise(*bad, 1e-5)
    if bad[1]:
        with pytest.raises(ConfigurationError, match="a coin needs"):
            coin_delta(bad[0], 1.0, bad[2])
