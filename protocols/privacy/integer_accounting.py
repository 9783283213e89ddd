"""Privacy cost of an opened sum of integers with integer noise, by Rényi divergences.

For continuous Gaussian noise the loss of linear views is exact (:mod:`protocols.privacy.accounting`). Noise made of
integers costs a little more. Its bounds are Rényi divergences of many orders: a *curve* over a fixed grid of orders.
Curves of releases add up, also of adaptive ones, and become (ε, δ) once, at the end.

All numbers are in words: noise as it is added to words, and sensitivities of *rounded* vectors
(:func:`protocols.sharing.rounding.vector_sensitivity`, :func:`protocols.sharing.rounding.record_sensitivity`).

Sources: Agarwal, Kairouz and Liu 2021 (arXiv 2110.04995, theorem 3.5: Skellam); Kairouz, Liu and Steinke 2021
(arXiv 2102.06387, section 3: sums of discrete Gaussians); Canonne, Kamath and Steinke 2020 (arXiv 2004.00010,
proposition 12: conversion); Mironov 2017 (arXiv 1702.07476: composition); Bretagnolle and Huber 1979 (total
variation from the Kullback-Leibler divergence).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError

Curve: TypeAlias = NDArray[np.float64]
"""Rényi divergences, one for each order of a grid."""


def _grid() -> NDArray[np.float64]:
    orders = np.array([*range(2, 129), 160, 192, 256, 384, 512, 768, 1024, 1536, 2048], np.float64)
    orders.setflags(write=False)
    return orders


ORDERS = _grid()
"""Default orders of curves: integers, as the bound for Skellam noise holds for integers only."""

_FROM, _TO = 2.0**-100, 2.0**200
_LOST = 16 * 2.0**-52
"""Relative error that a few operations in double precision may cause; curves and ε are rounded up by it."""


def skellam_rdp(orders: NDArray[np.floating[Any]], l2: float, l1: float, variance: float) -> Curve:
    """Bound the Rényi divergences between neighbouring integer sums with Skellam noise.

    Args:
        orders: α, integers from 2.
        l2: bound on the Euclidean norm of what neighbouring inputs change in the sum, in words.
        l1: bound on the sum of absolute changes, in words.
        variance: μ, of the noise in each coordinate of the sum, from all counted members. Positive.

    Returns:
        α l2² / 2μ + min(((2α − 1) l2² + 6 l1) / 4μ², 3 l1 / 2μ), float64 of the shape of ``orders``.

    Raises:
        ConfigurationError: an argument outside its range, or an order that is no integer.

    Guarantees:
        An upper bound for one release towards every observer of the opened sum, for integer vectors of any
        dimension and noise drawn anew and unknown to the observer. Reduction modulo M is post-processing, so
        it holds whether or not sums wrap. The sum of the members' noises has exactly this law, for every set of
        survivors whose variances add up to ``variance`` or more.
    """
    orders = np.asarray(orders, np.float64)
    if not (np.all(orders >= 2) and np.all(orders == np.floor(orders))):
        raise ConfigurationError("the bound for Skellam noise holds for integer orders from 2 on")
    _check_change(l2, l1)
    _check_positive("the variance of noise", variance)
    leading = orders * (l2 * l2 / (2.0 * variance))
    fine = ((2.0 * orders - 1.0) * (l2 * l2) + 6.0 * l1) / (4.0 * variance * variance)
    result: Curve = leading + np.minimum(fine, 1.5 * l1 / variance)
    return result


def distributed_discrete_gaussian_rdp(
    orders: NDArray[np.floating[Any]], l2: float, l1: float, members: int, sigma: float, dimension: int
) -> Curve:
    """Bound the Rényi divergences between neighbouring integer sums with noise from several discrete Gaussians.

    Args:
        orders: α > 1.
        l2: bound on the Euclidean norm of what neighbouring inputs change in the sum, in words.
        l1: bound on the sum of absolute changes, in words.
        members: n, number of members whose noise is counted, each with the same law; at least 1.
        sigma: parameter σ of one member's noise, in words. Positive.
        dimension: d, coordinates of the sum, at least 1.

    Returns:
        With τ = :func:`sum_gap` the smallest of α l2² / 2nσ² + τ d, α/2 · (l2² / nσ² + 2 l1 τ / √n σ + τ² d) and
        α/2 · (l2 / √n σ + τ √d)².

    Raises:
        ConfigurationError: an argument outside its range.

    Guarantees:
        As for :func:`skellam_rdp`, but for exactly ``members`` noises that the observer does not know: count the
        fewest honest survivors there may be; more only help. Useful from σ ≈ 1 on; below, τ is large.
    """
    orders = np.asarray(orders, np.float64)
    if not np.all(orders > 1):
        raise ConfigurationError("orders of Rényi divergences must be above 1")
    _check_change(l2, l1)
    if dimension < 1:
        raise ConfigurationError(f"a sum must have at least one coordinate, not {dimension!r}")
    gap = sum_gap(members, sigma)
    shift = l2 / (math.sqrt(members) * sigma)
    crude = orders * (shift * shift / 2.0) + gap * dimension
    mixed = shift * shift + 2.0 * l1 * gap / (math.sqrt(members) * sigma) + gap * gap * dimension
    plain = (shift + math.sqrt(dimension) * gap) ** 2
    result: Curve = np.minimum(crude, orders * (min(mixed, plain) / 2.0))
    return result


def sum_gap(members: int, sigma: float) -> float:
    """Return τ: the distance, in log-probabilities, of a sum of discrete Gaussians from a discrete Gaussian.

    Args:
        members: n, identically distributed summands; at least 1.
        sigma: parameter σ of one of them, in words. Positive.

    Returns:
        10 Σ_{k=1}^{n−1} exp(−2π² σ² k / (k + 1)): zero for one, below 10^-7 from σ = 1.5 for a hundred.

    Raises:
        ConfigurationError: an argument outside its range.
    """
    if members < 1:
        raise ConfigurationError(f"noise must come from at least one member, not {members!r}")
    _check_positive("sigma", sigma)
    k = np.arange(1.0, members)
    return 10.0 * float(np.sum(np.exp(-2.0 * (math.pi * sigma) ** 2 * (k / (k + 1.0)))))


def rdp_epsilon(curve: Curve, delta: float, orders: NDArray[np.floating[Any]] = ORDERS) -> float:
    """Return the ε of a curve of Rényi divergences: the smallest over its orders.

    Args:
        curve: the sum of the curves of all releases, one number per order. Not negative; may be infinite.
        delta: 0 < δ < 1.
        orders: the grid the curve is over, above 1.

    Returns:
        The least over α of R(α) + ln(1 − 1/α) − ln(δ α) / (α − 1), rounded up and never below 0; infinite if every
        R(α) is. Zero also where the divergence is so small that δ covers the total variation, 1 − exp(−R) < δ².

    Raises:
        ConfigurationError: δ outside its range, or a curve with another shape than ``orders``, or with negative
        values.

    Guarantees:
        All releases that were added up are together (ε, δ)-differentially private for the adjacency of their
        sensitivities. δ must also cover what is not in the curve, such as the distance of sampled noise from its
        law.
    """
    curve, orders = np.asarray(curve, np.float64), np.asarray(orders, np.float64)
    if not 0.0 < delta < 1.0:
        raise ConfigurationError(f"delta must lie strictly between 0 and 1, got {delta}")
    if curve.shape != orders.shape or curve.ndim != 1 or curve.size == 0 or not np.all(orders > 1):
        raise ConfigurationError(
            f"a curve must have one divergence for each of its orders above 1, got shape {curve.shape} "
            f"for {orders.shape}"
        )
    if not np.all(curve >= 0):
        raise ConfigurationError("Rényi divergences must be numbers that are not negative")
    if np.any(delta * delta * (1 - _LOST) > -np.expm1(-curve)):
        return 0.0
    gained, spent = np.log1p(-1.0 / orders), np.log(delta * orders) / (orders - 1.0)
    lost = _LOST * (curve + np.abs(gained) + np.abs(spent) + 1.0 / (orders - 1.0))
    return max(0.0, float(np.min(curve + gained - spent + lost)))


def variance_for(
    epsilon: float,
    delta: float,
    releases: int,
    cost: Callable[[float], Curve],
    orders: NDArray[np.floating[Any]] = ORDERS,
) -> float:
    """Return the least variance of noise at which a number of releases are (ε, δ)-differentially private.

    Args:
        epsilon: ε > 0, finite.
        delta: 0 < δ < 1.
        releases: number of opened sums, each with noise drawn anew; at least 1.
        cost: the curve of one release for a variance of its noise; must not rise with the variance.
        orders: the grid of its curves.

    Returns:
        The variance, to 12 digits, rounded up.

    Raises:
        ConfigurationError: an argument outside its range, or no variance between 2^-100 and 2^200 suffices.
    """
    if not 0.0 < epsilon < math.inf:
        raise ConfigurationError(f"calibration needs a finite epsilon above 0, got {epsilon}")
    if releases < 1:
        raise ConfigurationError(f"calibration needs at least one release, got {releases}")

    def enough(variance: float) -> bool:
        return rdp_epsilon(releases * cost(variance), delta, orders) <= epsilon

    low = high = 1.0
    while enough(low) and low > _FROM:
        low, high = low / 2.0, low
    while not enough(high) and high < _TO:
        low, high = high, high * 2.0
    if low <= _FROM or high >= _TO:
        raise ConfigurationError(
            f"no variance between 2^-100 and 2^200 is where ({epsilon}, {delta}) begins; check the sensitivity"
        )
    while high > low * (1.0 + 1e-12):
        middle = math.sqrt(low) * math.sqrt(high)
        if not low < middle < high:
            break
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check_change(l2: float, l1: float) -> None:
    if not (0.0 <= l2 < math.inf and 0.0 <= l1 < math.inf):
        raise ConfigurationError(f"sensitivities must be finite and not negative, got {l2!r} and {l1!r}")


def _check_positive(what: str, value: float) -> None:
    if not 0.0 < value < math.inf:
        raise ConfigurationError(f"{what} must be positive and finite, not {value!r}")
