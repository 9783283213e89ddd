"""Rounding of a scaled vector to integers, and the sensitivity of the rounded vector.

Integer noise is accounted for sums of integers, so its sensitivity is that of *rounded* vectors, in words. Rounding
enlarges it, by up to one word per coordinate: with d = 10^6 and a scaled norm of 2^10 it nearly doubles. Conditional
rounding, repeated until the norm is small, avoids most of that.

Sources: Kairouz, Liu and Steinke 2021 (arXiv 2102.06387, section 4.1: stochastic and conditional rounding, the bound
on the norm, and ‖x‖₁ ≤ ‖x‖₂² for integers); van Erven and Harremoës 2014 (arXiv 1206.2459, theorem 13: joint
quasi-convexity of Rényi divergences, on which :func:`record_sensitivity` rests).
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from protocols.sharing.codec import OutOfRange
from protocols.sharing.modulus import Integers
from simulator.errors import ConfigurationError

Rounding: TypeAlias = Literal["nearest", "stochastic", "conditional"]
Scaled: TypeAlias = NDArray[np.floating[Any]]

USUAL_BETA = math.exp(-0.5)
"""Rejection probability used by Kairouz, Liu and Steinke; smaller ones have little benefit."""
TRIES = 100
"""Default number of roundings tried. With the usual β all fail with probability below e^-50."""
LARGEST = 2.0**62
"""Largest |coordinate| of a vector that can be rounded."""


class Conditional(NamedTuple):
    """Result of rounding with a bounded norm.

    Args:
        integers: the rounded vector, int64.
        tries: number of times the vector was rounded, the last included.
        truncated: whether all tries failed; ``integers`` are then the vector rounded towards zero. To be counted by
            the caller: such a vector is biased.
    """

    integers: Integers
    tries: int
    truncated: bool


class Sensitivity(NamedTuple):
    """Bounds on the difference of two neighbouring integer vectors, in words.

    Args:
        l2: bound on its Euclidean norm.
        l1: bound on the sum of its absolute coordinates.
    """

    l2: float
    l1: float


def nearest(scaled: Scaled) -> Integers:
    """Round every coordinate to the nearest integer, halves to the even one.

    Raises:
        OutOfRange: a coordinate beyond 2^62, or not finite.
    """
    return np.rint(_checked(scaled)).astype(np.int64)


def truncated(scaled: Scaled) -> Integers:
    """Round every coordinate towards zero: no norm becomes larger, but the vector is biased.

    Raises:
        OutOfRange: a coordinate beyond 2^62, or not finite.
    """
    return np.trunc(_checked(scaled)).astype(np.int64)


def stochastic(scaled: Scaled, rng: np.random.Generator) -> Integers:
    """Round every coordinate up with probability its fractional part, otherwise down: unbiased.

    Args:
        scaled: any shape; beyond 2^53 all float64 are integers and nothing is rounded.
        rng: one uniform number per coordinate.

    Raises:
        OutOfRange: a coordinate beyond 2^62, or not finite.

    Guarantees:
        Probabilities are exact to 2^-53. Rounding adds no privacy.
    """
    real = _checked(scaled)
    below = np.floor(real)
    # Comparing fractions: floor(x + u) would carry on near-integers, where x + u itself rounds up.
    up = rng.random(real.shape) < real - below
    return below.astype(np.int64) + up


def conditional(
    scaled: Scaled,
    scaled_norm: float,
    rng: np.random.Generator,
    beta: float = USUAL_BETA,
    tries: int = TRIES,
) -> Conditional:
    """Round stochastically, repeatedly until the norm is within :func:`rounded_norm`.

    Args:
        scaled: one axis: a vector clipped to ``scaled_norm``, rotated or not.
        scaled_norm: scale times clipping norm. Public, and the same for all inputs.
        rng: one uniform number per coordinate and try.
        beta: largest probability that one try fails, 0 < β < 1. A smaller β gives a larger bound.
        tries: number of tries after which the vector is truncated towards zero, which never increases the norm.

    Returns:
        The integers, the number of tries, and whether they are truncated.

    Raises:
        OutOfRange: the norm of ``scaled`` is above ``scaled_norm`` (by more than float rounding), or not finite.
        ConfigurationError: an argument outside its range.

    Guarantees:
        The norm of the result is at most ``rounded_norm(scaled_norm, d, "conditional", beta)`` for every vector;
        norms are compared in float64, with a relative error below 2^-44. A single try fails with probability at most
        β for every vector within ``scaled_norm``. The cost is a bias: conditioning on success moves the mean vector
        by at most √β / (2 (1 − β)) words in norm. The number of tries depends on the vector and must not be sent.
    """
    if scaled.ndim != 1:
        raise ConfigurationError(f"a vector to round must have one axis, not {scaled.ndim}")
    if tries < 1:
        raise ConfigurationError(f"conditional rounding needs at least one try, got {tries}")
    limit = rounded_norm(scaled_norm, scaled.size, "conditional", beta)
    real = _checked(scaled)
    norm = _norm(real)
    if not norm <= scaled_norm * (1.0 + 2.0**-20):
        raise OutOfRange(norm, scaled_norm)
    for attempt in range(1, tries + 1):
        integers = stochastic(real, rng)
        if _norm(integers.astype(np.float64)) <= limit:
            return Conditional(integers, attempt, False)
    integers = truncated(real)
    if not _norm(integers.astype(np.float64)) <= limit:
        raise OutOfRange(norm, scaled_norm)
    return Conditional(integers, tries, True)


def rounded_norm(scaled_norm: float, dimension: int, rounding: Rounding, beta: float = USUAL_BETA) -> float:
    """Return a bound on the norm of a rounded vector, in words.

    Args:
        scaled_norm: bound on its norm before, that is scale times clipping norm. Not negative.
        dimension: number of rounded coordinates (after padding), at least 1.
        rounding: the kind of rounding. ``"nearest"`` moves a coordinate by half a word at most, ``"stochastic"`` by
            a whole one; ``"conditional"`` is repeated until the norm is below the bound.
        beta: of conditional rounding, 0 < β < 1.

    Returns:
        sC + √d / 2, sC + √d, or the smaller of sC + √d and
        √(s²C² + d/4 + √(2 ln 1/β) · (sC + √d/2)).

    Raises:
        ConfigurationError: an argument outside its range.
    """
    _check(scaled_norm, dimension)
    root = math.sqrt(dimension)
    if rounding == "nearest":
        return scaled_norm + root / 2.0
    if rounding == "stochastic":
        return scaled_norm + root
    if rounding != "conditional":
        raise ConfigurationError(f"unknown rounding {rounding!r}; one of nearest, stochastic, conditional")
    if not 0.0 < beta < 1.0:
        raise ConfigurationError(f"beta must lie strictly between 0 and 1, not {beta!r}")
    likely = math.sqrt(2.0 * math.log(1.0 / beta)) * (scaled_norm + root / 2.0)
    return min(scaled_norm + root, math.sqrt(scaled_norm**2 + dimension / 4.0 + likely))


def vector_sensitivity(norm: float, dimension: int, shift_factor: float) -> Sensitivity:
    """Return how far a node's rounded vector moves a sum when the node's data are removed or replaced.

    Args:
        norm: bound on the norm of the rounded vector (:func:`rounded_norm`).
        dimension: number of coordinates.
        shift_factor: distance of neighbouring vectors in ``norm``, at least 1: 1 against the zero vector, which
            every kind of rounding preserves; 2 against any other vector within the bound.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    _check(norm, dimension)
    if not 1.0 <= shift_factor < math.inf:
        raise ConfigurationError(f"a shift factor must be at least 1 and finite, not {shift_factor!r}")
    return Sensitivity(shift_factor * norm, shift_factor * _l1(norm, dimension))


def record_sensitivity(scaled_shift: float, dimension: int, rounding: Rounding) -> Sensitivity:
    """Return the distance of rounded vectors of neighbouring inputs whose unrounded vectors are near.

    For units smaller than a node, such as a record: both inputs have a whole vector, and each is rounded.

    Args:
        scaled_shift: bound on the norm of the difference before rounding (scale · clip for one record more or
            less, twice that for a replaced one), in words. Not negative.
        dimension: number of coordinates.
        rounding: the kind of rounding.

    Returns:
        L2 of sC + √d for nearest and stochastic rounding, sC + 2√d for conditional rounding.

    Raises:
        ConfigurationError: an argument outside its range.

    Guarantees:
        This is a sensitivity for *accounting* with Rényi or hockey-stick divergences, not a bound on two drawn
        vectors: those may differ by almost two words more per coordinate. Stochastic rounding is ⌊x + u⌋ with u
        uniform and independent of the data; for any one u neighbours differ by less than one word more than before,
        and the divergence of two mixtures over the same u is at most the largest over u. Conditional rounding accepts
        different u for different inputs, so the two words remain.
    """
    _check(scaled_shift, dimension)
    words = {"nearest": 1.0, "stochastic": 1.0, "conditional": 2.0}.get(rounding)
    if words is None:
        raise ConfigurationError(f"unknown rounding {rounding!r}; one of nearest, stochastic, conditional")
    l2 = scaled_shift + words * math.sqrt(dimension)
    return Sensitivity(l2, _l1(l2, dimension))


def _l1(l2: float, dimension: int) -> float:
    """Bound the L1 norm of integer vectors: |x| ≤ x² coordinate by coordinate, and Cauchy-Schwarz."""
    return min(math.sqrt(dimension), l2) * l2


def _norm(vector: NDArray[np.float64]) -> float:
    # np.sum adds in pairs, so that the error grows with the logarithm of the length.
    return math.sqrt(float(np.sum(np.square(vector))))


def _checked(scaled: Scaled) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(scaled), initial=0.0))
    if not largest <= LARGEST:
        raise OutOfRange(largest, LARGEST)
    return scaled.astype(np.float64, copy=False)


def _check(norm: float, dimension: int) -> None:
    if not 0.0 <= norm < math.inf:
        raise ConfigurationError(f"a norm in words must be finite and not negative, not {norm!r}")
    if dimension < 1:
        raise ConfigurationError(f"a vector must have at least one coordinate, not {dimension!r}")
