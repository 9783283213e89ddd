"""Exact conversions between Gaussian loss and (ε, δ).

Throughout, the loss of a Gaussian view is ``mu2`` = μ² = (shift / standard deviation)²; it adds up over
releases, also adaptive ones, and converts to (ε, δ) without slack (Balle & Wang 2018, arXiv 1805.06530,
theorem 8; Dong, Roth & Su 2022 for composition)::

    δ(ε) = Φ(μ/2 − ε/μ) − exp(ε) · Φ(−μ/2 − ε/μ)

Conversions are rounded to the safe side: at the returned value, δ(ε) in exact arithmetic is at most the requested δ.
The distance from it is about the precision of float64.
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
"""Relative safety margin: above the tolerance of a root and the rounding of a few operations on it."""


def shift_factor(adjacency: str) -> float:
    """Return the factor from sensitivity to shift: the distance of neighbouring sums, in clipping norms.

    Args:
        adjacency: ``"add-remove"`` (one record or node more or fewer), ``"zero-out"`` (its contribution becomes
            zero) or ``"replace"`` (it becomes any other contribution: two clipping norms apart).

    Raises:
        ConfigurationError: an unknown adjacency.
    """
    try:
        return SHIFT_FACTORS[adjacency]
    except KeyError:
        names = ", ".join(map(repr, SHIFT_FACTORS))
        raise ConfigurationError(f"adjacency {adjacency!r} is unknown; expected one of {names}") from None


def epsilon_of(mu2: float, delta: float) -> float:
    """Return the smallest ε for which a view of loss ``mu2`` is (ε, δ)-differentially private.

    Args:
        mu2: μ² ≥ 0, may be infinite.
        delta: 0 < δ < 1.

    Returns:
        ε ≥ 0, rounded up: zero where δ alone covers the loss, infinite where ``mu2`` is infinite.

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
    # δ(ε) < Φ(μ/2 − ε/μ), so this lies above the root of near = ε/μ − μ/2, up to rounding.
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
    """Return the largest loss μ² that is still (ε, δ)-differentially private; the inverse of :func:`epsilon_of`.

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
    # At ε = μ²/2 + μ·q the second term of δ(ε) is positive and the first is Φ(−q), so δ(ε) is below the target.
    quantile = max(-float(ndtri(delta)), 0.0)
    low = max(low, math.sqrt(quantile * quantile + 2 * epsilon) - quantile) / 2
    high, target = 2 * low, math.log(delta)
    while _log_delta(epsilon / high - high / 2, high) < target:
        high *= 2
    mu = _root(lambda mu: _log_delta(epsilon / mu - mu / 2, mu) - target, low, high) * (1 - _SAFE)
    return mu * mu


def noise_multiplier_for(epsilon: float, delta: float, releases: float) -> float:
    """Return the noise multiplier z (standard deviation / shift) at which ``releases`` releases cost (ε, δ).

    The shift already contains the adjacency: for ``"replace"`` it is two clipping norms, so the standard
    deviation is z · :func:`shift_factor` · clip.

    Args:
        epsilon: ε > 0.
        delta: 0 < δ < 1.
        releases: number of composed Gaussian releases, each with full shift, or their loss at z = 1; above 0.

    Returns:
        z, rounded up.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    if not 0 < releases < math.inf:
        raise ConfigurationError(f"calibration needs releases with a finite loss, got {releases}")
    if not epsilon > 0:
        raise ConfigurationError(f"calibration needs epsilon > 0, got {epsilon}")
    return math.sqrt(releases / mu2_of(epsilon, delta)) * (1 + 4 * _ULP)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise ConfigurationError(f"delta must lie strictly between 0 and 1, got {delta}")


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where ``function`` changes sign, to 14 significant digits."""
    return float(brentq(function, low, high, xtol=1e-300, rtol=1e-14, maxiter=2000))


def _log_delta(near: float, mu: float) -> float:
    """Return ln δ at the ε with ε/μ − μ/2 = ``near``, plus a bound on the rounding error of double precision.

    exp(ε) φ(near + μ) = φ(near): with the scaled complementary error function a large ε cancels analytically
    instead of in floating point. The difference of two nearly equal terms (small μ) has fewer correct digits.
    """
    first = float(log_ndtr(-near))
    log_mills = math.log(math.sqrt(math.pi / 2) * float(erfcx((near + mu) / math.sqrt(2))))
    second = -near * near / 2 - _LOG_SQRT_2PI + log_mills
    lost = 8 * _ULP * (4 + near * near + abs(first) + abs(log_mills))
    gap = second - first
    if gap >= 0:
        return first + lost  # no correct digit remains; the first term alone is an upper bound
    left = -math.expm1(gap)
    return first + math.log(left) + lost / left
