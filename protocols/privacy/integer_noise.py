"""Integer noise, added to words before they are masked or shared.

Two laws, both symmetric about zero. **Skellam** noise is the difference of two Poisson numbers. A sum of independent
Skellams is a Skellam whose variance is the sum of theirs, so the noise in an opened sum has a known law for every set
of survivors. The **discrete Gaussian**, P(x) ∝ exp(−x²/2σ²), is only approximately closed under sums; the difference
is part of its accounting.

Both are drawn by rejection from the discrete Laplace law, which is drawn from uniform integers. The spacing of floats
at large numbers has no effect: floats only decide, with 53 random bits, whether a proposal is kept.

Sources: Canonne, Kamath and Steinke 2020 (arXiv 2004.00010: discrete Gaussian from discrete Laplace, its tails);
Agarwal, Kairouz and Liu 2021 (arXiv 2110.04995: Skellam); Kairouz, Liu and Steinke 2021 (arXiv 2102.06387: scale).
Debye's expansion of Bessel functions: NIST Handbook of Mathematical Functions, section 10.41.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ive

from protocols.sharing.modulus import Integers
from simulator.errors import ConfigurationError

Reals: TypeAlias = NDArray[np.float64]
LogWeight: TypeAlias = Callable[[Reals], Reals]

LARGEST_VARIANCE = 2.0**80
"""Largest variance: beyond it, proposals of 37 standard deviations would not be exact in float64."""
LARGEST_SCALE = 1e6
"""Finest scale of :func:`heuristic_scale`: finer ones have no benefit."""

_SERIES_FROM = 4000.0
"""Variance from which Debye's expansion to the third term is as exact as float64."""
_MOST_WIDTHS = 38
"""Bound on a proposal, in widths of its law: 53 random bits cannot represent probabilities below e^-37."""
_BATCH = 2**15
"""Numbers drawn at a time, so that intermediate results fit the processor's cache."""


def skellam(variance: float, size: int, rng: np.random.Generator) -> Integers:
    """Draw independent Skellam numbers.

    Args:
        variance: in squared words, 0 … 2^80. Each of the two Poisson numbers has half of it as its mean.
        size: number of draws.
        rng: the generator; how many of its numbers are used depends on the draws.

    Returns:
        int64, shape (size,).

    Raises:
        ConfigurationError: a variance outside its range.

    Guarantees:
        The law differs from Skellam's by less than 2^-45 per number in total variation, if the generator's
        numbers are uniform and independent: decisions are made in float64 with 53 random bits, and the
        logarithms of probabilities are exact to 10^-13. That adds up over coordinates and releases, and counts
        into δ with a factor of 1 + e^ε. The generator is statistical, not cryptographic, and time depends on what
        is drawn: for simulations.
    """
    _check_variance(variance)
    if variance == 0.0:
        return np.zeros(size, np.int64)
    width = math.floor(math.sqrt(variance)) + 1
    if variance < _SERIES_FROM:
        table = _skellam_table(variance, _MOST_WIDTHS * width)
        return _from_laplace(lambda y: table[y.astype(np.int64)], width, 0.0, 2 * width, size, rng)
    return _from_laplace(
        lambda y: _log_skellam(y, variance), width, variance * math.sinh(1.0 / width), 2, size, rng
    )


def discrete_gaussian(variance: float, size: int, rng: np.random.Generator) -> Integers:
    """Draw independent discrete Gaussian numbers.

    Args:
        variance: the parameter σ² in squared words, 0 … 2^80; the variance of the numbers is slightly less
            where σ is below 1.
        size: number of draws.
        rng: the generator; how many of its numbers are used depends on the draws.

    Returns:
        int64, shape (size,).

    Raises:
        ConfigurationError: a variance outside its range.

    Guarantees:
        As for :func:`skellam`.
    """
    _check_variance(variance)
    if variance == 0.0:
        return np.zeros(size, np.int64)
    width = math.floor(math.sqrt(variance)) + 1
    return _from_laplace(lambda y: -np.square(y) / (2.0 * variance), width, variance / width, 2, size, rng)


def counted_members(members: int, colluders: int, tolerated_dropouts: int) -> int:
    """Return the number of members whose noise can be relied on for every tolerated set of dropouts.

    The survivors are unknown when noise is added, so the number is fixed before anything is sent.

    Args:
        members: size of the smallest sum that is opened when nobody drops out.
        colluders: members that know their own noise and collude with the aggregator.
        tolerated_dropouts: number of members that may be missing from a sum that is still opened.

    Returns:
        members − colluders − tolerated_dropouts, at least 1.

    Raises:
        ConfigurationError: a negative number, or no member left.
    """
    counted = members - colluders - tolerated_dropouts
    if colluders < 0 or tolerated_dropouts < 0 or counted < 1:
        raise ConfigurationError(
            f"{members} members of whom {colluders} collude and {tolerated_dropouts} may drop out leave no noise "
            "that protects; use more members, fewer colluders or fewer tolerated dropouts"
        )
    return counted


def member_variance(total: float, counted: int) -> float:
    """Return the variance of the noise each member adds as its part of the noise of a sum.

    Args:
        total: variance the noise of a sum must have, per coordinate. Not negative.
        counted: number of members it must come from, :func:`counted_members`.

    Returns:
        total / counted: variances add up, not standard deviations.

    Raises:
        ConfigurationError: an argument outside its range.

    Guarantees:
        Honest survivors contribute noise of variance ``total`` at least, for every set of dropouts and colluders
        within the numbers counted with, and more the fewer there are (:mod:`protocols.privacy.removable_noise`
        removes that). For equal weights; every sum needs noise drawn anew.
    """
    if not 0.0 <= total < math.inf:
        raise ConfigurationError(f"a variance must be finite and not negative, not {total!r}")
    if counted < 1:
        raise ConfigurationError(f"noise must come from at least one member, not {counted!r}")
    return total / counted


def skellam_tail(limit: float, variance: float) -> float:
    """Bound the probability that Skellam noise exceeds a limit in absolute value (Chernoff's bound).

    Args:
        limit: in words, not negative.
        variance: of one number, or of the sum of several.

    Returns:
        2 exp(√(v² + x²) − v − x · asinh(x / v)), at most 1. Close to 2 exp(−x²/2v) for limits well below the
        variance; heavier beyond.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    _check_tail(limit, variance)
    if variance == 0.0:
        return 1.0 if limit == 0.0 else 0.0
    return min(1.0, 2.0 * math.exp(_legendre(limit, variance)))


def heuristic_scale(
    bits: int,
    members: int,
    dimension: int,
    clip: float,
    member_sigma: float,
    sigmas: float = 4.0,
    flatness: float = 1.0,
) -> float:
    """Return a scale at which rotated vectors and noise fit a ring with high probability.

    The bound of :func:`protocols.sharing.codec.codec_for` holds for every vector. This one models a coordinate of a
    sum of rotated vectors as Gaussian, of variance flatness · clip² members² / d, and leaves room for a number of
    standard deviations of it, the noise and the rounding together. The scale is finer, and a sum can wrap.

    Args:
        bits: of a word, in a ring; 1 … 64.
        members: n.
        dimension: d, after padding.
        clip: bound on the norm of a vector. Positive.
        member_sigma: standard deviation of one member's noise, in the units of the vectors. Not negative.
        sigmas: k, standard deviations there is room for. Positive.
        flatness: ρ, how much larger the variance of a coordinate is than clip² / d; 1 for vectors rotated by
            :mod:`protocols.sharing.rotation`.

    Returns:
        √(4^bits − n k²) / (2 k √(ρ clip² n² / d + n σ²)), at most 10^6. A codec takes the power of two
        below it.

    Raises:
        ConfigurationError: an argument outside its range, or words too short for so many members.

    Guarantees:
        None: that sums seldom wrap is a heuristic for typical vectors. Privacy does not depend on it, as reducing
        modulo M is post-processing of the integer sum.
    """
    numbers = {"clip": clip, "sigmas": sigmas, "flatness": flatness}
    for name, value in numbers.items():
        if not 0.0 < value < math.inf:
            raise ConfigurationError(f"{name} must be positive and finite, not {value!r}")
    if not 0.0 <= member_sigma < math.inf:
        raise ConfigurationError(f"member_sigma must be finite and not negative, not {member_sigma!r}")
    if not 1 <= bits <= 64 or members < 1 or dimension < 1:
        raise ConfigurationError(
            f"expected 1 to 64 bits, and at least one member and coordinate, got {bits}, {members} and {dimension}"
        )
    left = 4.0**bits - members * sigmas**2
    if left <= 0.0:
        raise ConfigurationError(f"words of {bits} bits have no room for the rounding of {members} members")
    spread = math.sqrt(flatness * (clip * members) ** 2 / dimension + members * member_sigma**2)
    return min(math.sqrt(left) / (2.0 * sigmas * spread), LARGEST_SCALE)


def _from_laplace(
    log_weight: LogWeight, width: int, top: float, near: int, size: int, rng: np.random.Generator
) -> Integers:
    """Draw independent integers y with probabilities proportional to exp(log_weight(|y|)).

    Rejection from P(y) ∝ exp(−|y| / width). The weight must be log-concave, so that the ratio of the two rises up
    to ``top`` and falls from there on; its largest value is at most ``near`` integers from ``top``.
    """
    middle = math.floor(top)
    candidates = np.arange(max(middle - near, 0), middle + near + 1, dtype=np.float64)
    peak = float(np.max(log_weight(candidates) + candidates / width))
    drawn = np.empty(size, np.int64)
    filled = 0
    while filled < size:
        # About one proposal in two of discrete Laplace is kept, itself about two in three of those begun.
        proposals = _laplace(width, min(3 * (size - filled) + 64, _BATCH), rng)
        real = np.abs(proposals).astype(np.float64)
        chance = np.exp(log_weight(real) + real / width - peak)
        kept = proposals[rng.random(real.size) < chance][: size - filled]
        drawn[filled : filled + kept.size] = kept
        filled += kept.size
    return drawn


def _laplace(width: int, tries: int, rng: np.random.Generator) -> Integers:
    """Draw up to ``tries`` independent integers with P(y) ∝ exp(−|y| / width).

    |y| = u + width · v, with u uniform below ``width`` and kept with probability exp(−u / width), and v geometric;
    zero can have either sign and must not count twice.
    """
    signed = rng.integers(0, 2 * width, tries)
    below = signed >> 1
    kept = rng.random(tries) < np.exp(below / -float(width))
    signed, below = signed[kept], below[kept]
    size = below + width * np.floor(-np.log1p(-rng.random(below.size))).astype(np.int64)
    negative = (signed & 1).astype(bool)
    np.negative(size, out=size, where=negative)
    proposals: Integers = size[~negative | (size != 0)]
    return proposals


@lru_cache(maxsize=32)
def _skellam_table(variance: float, size: int) -> Reals:
    """Return ln of the probabilities of 0, 1, …; −∞ where they are below the range of float64."""
    with np.errstate(divide="ignore"):
        table: Reals = np.log(ive(np.arange(size, dtype=np.float64), variance))
    table.setflags(write=False)
    return table


def _log_skellam(y: Reals, variance: float) -> Reals:
    """Return ln of the probability of y, up to a constant: Debye's expansion of the Bessel function I_y(variance).

    With w = √(y² + v²): w − v − y · asinh(y / v) − ln(w / v) / 2 + ln(1 + u₁ + u₂ + u₃).
    """
    w = np.hypot(y, variance)
    inverse = 1.0 / w
    slope = np.square(y * inverse)
    first = (3.0 - 5.0 * slope) / 24.0
    second = (81.0 + slope * (-462.0 + 385.0 * slope)) / 1152.0
    third = (30375.0 + slope * (-369603.0 + slope * (765765.0 - 425425.0 * slope))) / 414720.0
    correction = inverse * (first + inverse * (second + inverse * third))
    exponent = np.square(y) / (w + variance) - y * np.arcsinh(y / variance)
    result: Reals = exponent - 0.25 * np.log1p(np.square(y / variance)) + np.log1p(correction)
    return result


def _legendre(limit: float, variance: float) -> float:
    """Return min over t of variance · (cosh t − 1) − t · limit; (w − v) is written so that no digits cancel."""
    w = math.hypot(limit, variance)
    return limit * limit / (w + variance) - limit * math.asinh(limit / variance)


def _check_variance(variance: float) -> None:
    if not 0.0 <= variance <= LARGEST_VARIANCE:
        raise ConfigurationError(
            f"the variance of integer noise must lie between 0 and 2^80, not {variance!r}; use a coarser scale"
        )


def _check_tail(limit: float, variance: float) -> None:
    if not (limit >= 0.0 and 0.0 <= variance < math.inf):
        raise ConfigurationError(
            f"a tail needs a limit and a finite variance that are not negative, got {limit!r} and {variance!r}"
        )
