"""Exact conversions between Gaussian loss and (ε, δ).

Throughout, the loss of a Gaussian view is ``mu2`` = μ² = (shift / standard deviation)²; it adds up over
releases, also adaptive ones, and converts to (ε, δ) without slack (Balle & Wang 2018, arXiv 1805.06530,
theorem 8; Dong, Roth & Su 2022 for composition)::

    δ(ε) = Φ(μ/2 − ε/μ) − exp(ε) · Φ(−μ/2 − ε/μ)

Conversions are rounded to the safe side: for what they return, δ(ε) is at most the δ that was asked for, as real
numbers have it, and short of it by what double precision cannot tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq
from scipy.special import erfcx, erfinv, log_ndtr, ndtri

from simulator.errors import ConfigurationError

SHIFT_FACTORS = {"add-remove": 1.0, "zero-out": 1.0, "replace": 2.0}
UNITS = ("record", "node")

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_ULP = 2.0**-52
_SAFE = 4e-14
"""Relative: more than a root's tolerance and the rounding of a few operations on it together."""


def shift_factor(adjacency: str) -> float:
    """How far neighbouring inputs move a sum of clipped vectors, in clipping norms.

    Args:
        adjacency: ``"add-remove"`` (a record or node more or less), ``"zero-out"`` (its contribution becomes
            zero) or ``"replace"`` (it becomes any other: two clipping norms apart).

    Raises:
        ConfigurationError: an unknown adjacency.
    """
    try:
        return SHIFT_FACTORS[adjacency]
    except KeyError:
        names = ", ".join(map(repr, SHIFT_FACTORS))
        raise ConfigurationError(f"adjacency {adjacency!r} is unknown; expected one of {names}") from None


def epsilon_of(mu2: float, delta: float) -> float:
    """The smallest ε for which a view of loss ``mu2`` is (ε, δ)-differentially private.

    Args:
        mu2: μ² ≥ 0, may be infinite.
        delta: 0 < δ < 1.

    Returns:
        ε ≥ 0, rounded up: zero when δ alone covers the loss, infinite when ``mu2`` is.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    _check_delta(delta)
    if not mu2 >= 0:
        raise ConfigurationError(f"the loss μ² must be at least 0, got {mu2}")
    if math.isinf(mu2):
        return math.inf
    mu, target = math.sqrt(mu2), math.log(delta)
    if mu == 0 or _log_delta(-mu / 2, mu) <= target:
        return 0.0
    # δ(ε) < Φ(μ/2 − ε/μ), so this is past the root of near = ε/μ − μ/2, but for what rounding may be.
    quantile = -float(ndtri(delta))
    past = quantile + _SAFE * (1 + abs(quantile))
    while _log_delta(past, mu) > target:
        past += max(past - quantile, 1e-9)
    if mu > 100:
        found = mu * (_root(lambda near: _log_delta(near, mu) - target, -mu / 2, past) + mu / 2)
    else:
        found = mu * _root(lambda ratio: _log_delta(ratio - mu / 2, mu) - target, 0.0, past + mu / 2)
    return found * (1 + _SAFE)


def mu2_of(epsilon: float, delta: float) -> float:
    """The largest loss μ² that is still (ε, δ)-differentially private; the inverse of :func:`epsilon_of`.

    Args:
        epsilon: ε ≥ 0, may be infinite.
        delta: 0 < δ < 1.

    Returns:
        μ², rounded down.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    _check_delta(delta)
    if not epsilon >= 0:
        raise ConfigurationError(f"epsilon must be at least 0, got {epsilon}")
    if math.isinf(epsilon):
        return math.inf
    low = 2 * math.sqrt(2) * float(erfinv(delta)) * (1 - _SAFE)  # μ at ε = 0
    if epsilon == 0:
        return low * low
    # At ε = μ²/2 + μ·q the second term of δ(ε) is positive and the first is Φ(−q): below the target there.
    quantile = max(-float(ndtri(delta)), 0.0)
    low = max(low, math.sqrt(quantile * quantile + 2 * epsilon) - quantile) / 2
    high, target = 2 * low, math.log(delta)
    while _log_delta(epsilon / high - high / 2, high) < target:
        high *= 2
    mu = _root(lambda mu: _log_delta(epsilon / mu - mu / 2, mu) - target, low, high) * (1 - _SAFE)
    return mu * mu


def noise_multiplier_for(epsilon: float, delta: float, releases: int) -> float:
    """The noise multiplier z (standard deviation / shift) at which ``releases`` releases cost (ε, δ).

    The shift already contains the adjacency: for ``"replace"`` it is two clipping norms, so the standard
    deviation is z · :func:`shift_factor` · clip.

    Args:
        epsilon: ε > 0.
        delta: 0 < δ < 1.
        releases: how many Gaussian releases, each with full shift, are composed; at least 1.

    Returns:
        z, rounded up.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    if releases < 1:
        raise ConfigurationError(f"calibration needs at least one release, got {releases}")
    if not epsilon > 0:
        raise ConfigurationError(f"calibration needs epsilon > 0, got {epsilon}")
    return math.sqrt(releases / mu2_of(epsilon, delta)) * (1 + 4 * _ULP)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigurationError(f"delta must lie strictly between 0 and 1, got {delta}")


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where ``function`` changes sign, to 14 digits however small the root is."""
    return float(brentq(function, low, high, xtol=1e-300, rtol=1e-14, maxiter=2000))


def _log_delta(near: float, mu: float) -> float:
    """ln δ at the ε for which ε/μ − μ/2 = ``near``, and on top of it what double precision may have lost.

    exp(ε) φ(near + μ) = φ(near): with the scaled complementary error function a large ε cancels on paper
    instead of in floating point. What is left of two nearly equal terms (small μ) is known to fewer digits.
    """
    first = float(log_ndtr(-near))
    log_mills = math.log(math.sqrt(math.pi / 2) * float(erfcx((near + mu) / math.sqrt(2))))
    second = -near * near / 2 - _LOG_SQRT_2PI + log_mills
    lost = 8 * _ULP * (4 + near * near + abs(first) + abs(log_mills))
    gap = second - first
    if gap >= 0:
        return first + lost  # nothing is left that is known; the first term alone is an upper bound
    left = -math.expm1(gap)
    return first + math.log(left) + lost / left
