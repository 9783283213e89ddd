"""ε of a sum of independent privacy losses given on a grid, with every error of its computation added to δ.

The convolution of many distributions by a fast Fourier transform has a rounding error that is absolute: of 3,000
steps about 1e-13, which is much of a small δ and may be of either sign. Here each distribution is tilted first, every
probability p(x) becoming p(x) e^(s x) / M(s) with s > 0 chosen so that the sum lies near ε. Tilted back, the errors
are multiplied by M e^(−s ε), a Chernoff bound of δ itself, so that what is added to δ is a small part of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ROUNDING = 2.0**-53
"""Largest relative error of one operation."""
TAIL_LOG = -40.0
"""Logarithm of the tilted probability of a sum beyond each end of the window in which it is computed."""
OUTSIDE = 2 * math.exp(TAIL_LOG)
"""Tilted probability outside the window; the transform moves it into the window."""
TILTS, LEAST_ERROR = (1.0, 1 / 8, 1 / 64, 0.0), 1e-4
"""Shares of the tilt s tried in turn until the errors are at most that part of δ: where few losses are possible,
Chernoff's bound may be far above δ."""
ORDERS = (1e-6, 1e4)
"""Range of the tilt s."""


@dataclass(frozen=True)
class Losses:
    """Privacy losses of ``count`` equal steps: probabilities of first, first + 1, … grid points, and of infinity."""

    first: int
    probabilities: NDArray[np.float64]
    infinite: float
    count: int


@dataclass(frozen=True)
class _Tilted:
    first: int
    probabilities: NDArray[np.float64]
    log_moment: float
    count: int


def epsilon_of_sum(parts: list[Losses], distance: float, delta: float) -> float:
    """Return the least ε found at which the sum of all losses has a hockey-stick divergence of at most δ.

    Args:
        parts: losses of independent steps, all on one grid.
        distance: of two grid points, in units of ε.
        delta: δ, more than 0.

    Returns:
        ε ≥ 0; infinite if an infinite loss alone is more likely than δ.

    Guarantees:
        An upper bound for the losses as given: what lies outside the window, and bounds of the rounding errors of
        the transform and of the exponents, are added to δ. The transform's bound is log2(N) errors of eight
        operations for each of its N outputs (J. W. Cooley and J. W. Tukey 1965; N. J. Higham, Accuracy and
        Stability of Numerical Algorithms, 2002, section 24.1), times the number of steps. In the 2-norm, that is
        one for the inverse as well, and enters δ by the inequality of Cauchy and Schwarz.
    """
    infinite = -math.expm1(sum(part.count * math.log1p(-part.infinite) for part in parts))
    if infinite >= delta:
        return math.inf
    steps = sum(part.count for part in parts)
    highest = distance * sum(part.count * (part.first + len(part.probabilities) - 1) for part in parts)
    found = max(highest, 0.0)
    order, _ = _least_chernoff(parts, distance, -math.log(delta - infinite), ORDERS)
    for share in TILTS:
        bound = _bound(parts, distance, order * share)
        found = _least(bound, found, (delta - infinite) / (1 + steps * 2.0**10 * ROUNDING))
        if bound.of(found)[1] <= delta * LEAST_ERROR:
            break
    return found


@dataclass(frozen=True)
class _Bound:
    """Bound of the divergence: tilted probabilities of the sum at ``losses``, and the 2-norm of their errors."""

    losses: NDArray[np.float64]
    masses: NDArray[np.float64]
    order: float
    log_moment: float
    rounding: float

    def of(self, epsilon: float) -> tuple[float, float]:
        """Return a bound of the divergence at ε, and the part of it that is there for errors."""
        above = self.losses[int(np.searchsorted(self.losses, epsilon, side="right")) :]
        weights = np.exp(-self.order * (above - epsilon)) * -np.expm1(epsilon - above)
        inside = float(weights @ self.masses[len(self.masses) - len(above) :])
        error = self.rounding * math.sqrt(float(weights @ weights)) + OUTSIDE
        return self._scale(epsilon) * (inside + error), self._scale(epsilon) * error

    def _scale(self, epsilon: float) -> float:
        exponent = self.log_moment - self.order * epsilon
        return math.exp(exponent) if exponent < 700 else math.inf


def _least(bound: _Bound, high: float, delta: float) -> float:
    """Return the least ε ≤ ``high`` found with a divergence of at most δ; ``high`` is known to be enough."""
    if bound.of(0.0)[0] <= delta:
        return 0.0
    low = 0.0
    while high - low > max(1e-9 * high, 1e-12):
        middle = (low + high) / 2
        low, high = (middle, high) if bound.of(middle)[0] > delta else (low, middle)
    return high


def _bound(parts: list[Losses], distance: float, order: float) -> _Bound:
    tilted = [_tilt(part, order * distance) for part in parts]
    indices, masses, rounding = _sum(tilted)
    return _Bound(
        indices * distance, masses, order, sum(part.count * part.log_moment for part in tilted), rounding
    )


def _exponents(part: Losses | _Tilted, order: float) -> NDArray[np.float64]:
    """Return log p(x) + order x at every grid point x, −∞ where rounding left no probability or a negative one."""
    logs = np.full(len(part.probabilities), -np.inf)
    np.log(part.probabilities, out=logs, where=part.probabilities > 0)
    logs += order * (part.first + np.arange(len(logs)))
    return logs


def _log_moment(part: Losses | _Tilted, order: float) -> float:
    exponents = _exponents(part, order)
    largest = float(exponents.max())
    return largest + math.log(float(_exponential(exponents - largest).sum()))


def _exponential(exponents: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the exponentials, 0 where they would underflow."""
    exponentials: NDArray[np.float64] = np.exp(np.maximum(exponents, -700.0))
    exponentials[exponents <= -700.0] = 0
    return exponentials


def _tilt(part: Losses, order: float) -> _Tilted:
    log_moment = _log_moment(part, order)
    return _Tilted(part.first, _exponential(_exponents(part, order) - log_moment), log_moment, part.count)


def _sum(parts: list[_Tilted]) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Return grid points of the sum, their tilted probabilities, and a bound of the 2-norm of rounding errors."""
    from scipy import fft

    low, high = _window(parts)
    size = fft.next_fast_len(high - low + 1, real=True)
    spectrum = np.ones(size // 2 + 1, dtype=complex)
    for part in parts:
        places = (part.first + np.arange(len(part.probabilities))) % size
        folded = np.bincount(places, weights=part.probabilities, minlength=size)
        spectrum *= _power(fft.rfft(folded), part.count)
    indices = low + np.arange(size)
    masses = fft.irfft(spectrum, size)[indices % size]
    steps = sum(part.count for part in parts)
    return indices, masses, (steps + 1) * (8 * math.log2(size) + 8) * ROUNDING


def _power(values: NDArray[np.complex128], count: int) -> NDArray[np.complex128]:
    """Return values of modulus ≤ 1 to a power, 0 where it would underflow."""
    small = np.abs(values) < 1e-300 ** (1 / count)
    return np.where(small, 0, np.where(small, 1, values) ** count)


def _window(parts: list[_Tilted]) -> tuple[int, int]:
    """Return grid points between which the tilted sum lies but for exp(TAIL_LOG) on either side (Chernoff)."""
    least = sum(part.count * part.first for part in parts)
    most = sum(part.count * (part.first + len(part.probabilities) - 1) for part in parts)
    return max(least, math.floor(-_reach(parts, -1))), min(most, math.ceil(_reach(parts, 1)))


def _reach(parts: list[_Tilted], sign: int) -> float:
    """Return a value that the sum times ``sign`` exceeds with probability at most exp(TAIL_LOG), in grid points."""
    longest = max(len(part.probabilities) for part in parts)
    return _least_chernoff(
        parts, sign, -TAIL_LOG, (0.01 / longest / sum(part.count for part in parts), 100.0)
    )[1]


def _least_chernoff(
    parts: Sequence[Losses | _Tilted], scale: float, surprise: float, orders: tuple[float, float]
) -> tuple[float, float]:
    """Return the order r, between ``orders``, of the least (log E e^(r scale S) + surprise) / r, and that value."""
    from scipy.optimize import minimize_scalar

    def chernoff(log_order: float) -> float:
        order = math.exp(log_order)
        return (sum(part.count * _log_moment(part, order * scale) for part in parts) + surprise) / order

    bounds = (math.log(orders[0]), math.log(orders[1]))
    found = minimize_scalar(chernoff, bounds=bounds, method="bounded", options={"xatol": 1e-2})
    return math.exp(found.x), float(found.fun)
