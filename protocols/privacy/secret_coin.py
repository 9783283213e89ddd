"""Noise under a secret coin: none was saved in any case measured, so no protocol here has one.

A member that always sends a masked, noised vector can let a secret coin decide whether its update is inside. To who
sees the sum this is a Poisson-subsampled Gaussian mechanism (unit node, a fresh coin for each round). Only a share q
of the updates arrives, so what counts is noise relative to what arrives, z / (q √T) after T rounds, against z / √T
without a coin.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from scipy.stats import norm

from protocols.privacy.accounting import mu2_of
from protocols.privacy.sampling import sampled_epsilon
from simulator.errors import ConfigurationError

PRECISION = 2e-4
"""Relative width at which the search for a noise multiplier ends."""


def relative_noise(rate: float, rounds: int, epsilon: float, delta: float) -> float:
    """Return noise relative to signal, z / (q √T), at which T rounds with a secret coin cost ε at δ.

    Args:
        rate: q, the probability that an update is inside, above 0 and at most 1; 1 is no coin.
        rounds: T, from 1.
        epsilon: ε of all rounds together, positive.
        delta: δ, between 0 and 1.

    Returns:
        z / (q √T), the shift being one clipping norm, within :data:`PRECISION`.

    Raises:
        ConfigurationError: an argument outside its range, or a coin that saves more than a tenth of the noise.
    """
    if not 0 < rate <= 1 or rounds < 1 or not epsilon > 0:
        raise ConfigurationError(
            f"a coin needs 0 < rate <= 1, rounds from 1 and a positive epsilon, got {rate}, {rounds}, {epsilon}"
        )
    without = 1 / math.sqrt(mu2_of(epsilon, delta))
    if rate == 1:
        return without

    def excess(log_noise: float) -> float:
        z = math.exp(log_noise) * rate * math.sqrt(rounds)
        return sampled_epsilon(rate, {(1.0, z * z): rounds}, 1.0, "zero-out", delta) - epsilon

    # The least is near the value without a coin, the most is no amplification at all.
    low, high = math.log(0.9 * without), math.log(1.001 * without / rate)
    if not math.inf > excess(low) >= 0 >= excess(high):
        raise ConfigurationError(
            f"noise of 0.9 to {1 / rate:g} times that without a coin never costs epsilon {epsilon} at rate {rate} "
            f"and {rounds} rounds; use more rounds"
        )
    return math.exp(float(brentq(excess, low, high, xtol=PRECISION)))


def coin_delta(rate: float, mu: float, epsilon: float) -> float:
    """Return δ at ε of all releases under one throw of a coin: a mixture of N(0, 1) and N(μ, 1) against N(0, 1).

    Two releases with multiplier z under *one* coin have μ = √2/z, which is more than two with fresh coins cost.

    Args:
        rate: q, above 0 and at most 1.
        mu: joint shift in standard deviations, positive.
        epsilon: ε, positive.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    if not 0 < rate <= 1 or not mu > 0 or not epsilon > 0:
        raise ConfigurationError(
            f"a coin needs 0 < rate <= 1, a positive mu and epsilon, got {rate}, {mu}, {epsilon}"
        )
    edge = (math.log1p(math.expm1(epsilon) / rate) + mu * mu / 2) / mu
    clear = float(norm.sf(edge))
    return (1 - rate) * clear + rate * float(norm.sf(edge - mu)) - math.exp(epsilon) * clear
