"""ε of many sampled Gaussian steps, in bounded time and memory.

Privacy losses of steps add up: their composition is a convolution, done by Fourier transforms of bounded length.
Before it, the law is *tilted* (multiplied by e^(λ loss)) so that the part that decides about δ is in its middle, not
in its tail: rounding of the transforms is then relative to δ, however small. The grid of losses is as fine as
:data:`MOST_POINTS` allow for the range that the sum can be in. A wide range (little noise, many steps) gets a coarser
grid, which charges a little more and never less.

Sources: Koskela, Jälkö and Honkela 2020 (arXiv 1906.03049, composition by Fourier transforms); the tilt is the
exponential change of measure of large deviations, as in Alghamdi et al. 2023 (arXiv 2208.09595); Chernoff's bound
for what is outside the window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtri_exp

from protocols.privacy.loss_steps import ULP, Floats, Pair, Step, loss_range, step_losses

LEAST_POINTS, MOST_POINTS = 2**17, 2**19
"""Sizes of grids; the largest is 4 MiB an array."""
_SKETCH = 2**11
"""The fewest points of the grid on which the range of the sum is found."""
_PART = 1e-7
"""What part of δ may be spent on draws and sums beyond the grid, each."""
_TURNED = 1e-9
"""What part of the tilted law may lie on each side of the window; it is counted as if it lay on the other."""
_NARROW = 1e-4
"""Losses that differ by less than this part of their size are not told apart."""
_ORDERS = 64
"""How many tilts are tried for Chernoff's bound."""


def composed_epsilon(
    rate: float, steps: Sequence[tuple[float, int]], pair: Pair, delta: float, points: int | None = None
) -> float:
    """ε at δ of independent steps, for one pair of neighbouring inputs.

    Args:
        rate: q, the probability that the record takes part in a step; above 0, at most 1.
        steps: (noise multiplier in clipping norms, how many steps there are with it), not empty.
        pair: of neighbouring inputs.
        delta: δ.
        points: the most losses told apart; fewer are quicker and charge more. As many as the number of steps
            asks for, if None.

    Returns:
        Infinite where numbers leave the range of floating point.

    Guarantees:
        An upper bound of the smallest ε for which the composition of all steps, chosen adaptively, is (ε, δ)-close
        from upper to lower. Take the largest over the pairs of an adjacency.
    """
    total = sum(count for _, count in steps)
    points = points or _points(total)
    # Rounded up to a power of ten: compositions of like lengths share their steps.
    longest = 10 ** math.ceil(math.log10(total) - 1e-9)
    reach = -float(ndtri_exp(math.log(_PART * delta / 2 / longest)))
    with np.errstate(over="ignore", invalid="ignore"):
        ranges = [loss_range(rate, z, pair, reach) for z, _ in steps]
    furthest = max(abs(end) for both in ranges for end in both)
    span = max(max(high - low for low, high in ranges), _NARROW * furthest)
    if not 0 < span < math.inf:
        return math.inf

    def at(width: float) -> list[tuple[Step, int]]:
        return [(step_losses(rate, z, pair, reach, width), count) for z, count in steps]

    # All widths are powers of two, so that every grid is part of every finer one and bounds it from above.
    width = _power(span / (_SKETCH // min(len(steps), 8))) / 2
    slip = total * 8 * ULP * (1 + furthest)
    while True:
        window = _window(at(width), delta)
        if window is None:
            return math.inf
        least = _power(max(window.high - window.low, span) / (points - 4))
        if least > width:
            width = least
            continue
        found = _epsilon(at(least), window, delta, points)
        if found > window.low + least or least == width or width < span / points:
            return found + slip if found > 0 else 0.0
        width = max(least, width / 16)  # what the sketch took for the least is too much


@dataclass(frozen=True)
class _Window:
    """Where the sum of losses is looked at, and the tilt that puts δ into its middle."""

    low: float
    high: float
    tilt: float


def _points(total: int) -> int:
    """A grid over 18 deviations of the sum costs ε about 80 steps / points² of itself; this keeps it near 1e-5."""
    return int(min(max(_power(4000 * math.sqrt(total)), LEAST_POINTS), MOST_POINTS))


def _power(width: float) -> float:
    """The least power of two that is not below."""
    return 2.0 ** math.ceil(math.log2(width))


def _cumulants(steps: Sequence[tuple[Step, int]], orders: Floats) -> Floats:
    """ln E exp(order · sum of losses) on the grid, [orders]."""
    total = np.zeros(len(orders))
    for step, count in steps:
        there = step.mass > 0
        losses, logs = step.losses[there], np.log(step.mass[there])
        total += count * np.array([_log_sum(order * losses + logs) for order in orders])
    return total


def _log_sum(powers: Floats) -> float:
    top = float(powers.max())
    return top + math.log(float(np.exp(powers - top).sum()))


def _window(steps: Sequence[tuple[Step, int]], delta: float) -> _Window | None:
    """By Chernoff's bound; what is above the window has at most :data:`_PART` of δ."""
    span = max(len(step.mass) for step, _ in steps) * steps[0][0].width
    total = sum(count for _, count in steps)
    orders = np.geomspace(0.1 / total, 1e5, _ORDERS) / span
    grown = _cumulants(steps, orders)
    high = float(np.min((grown - math.log(_PART * delta)) / orders))
    best = int(np.argmin((grown - math.log(delta)) / orders))
    tilt, level = float(orders[best]), float(grown[best])
    more, less = _cumulants(steps, tilt + orders) - level, _cumulants(steps, tilt - orders) - level
    high = max(high, float(np.min((more - math.log(_TURNED)) / orders)))
    low = float(np.max((math.log(_TURNED) - less) / orders))
    if not (math.isfinite(high) and math.isfinite(low)):
        return None
    return _Window(min(low, high), high, tilt)


def _epsilon(steps: Sequence[tuple[Step, int]], window: _Window, delta: float, points: int) -> float:
    width, total = steps[0][0].width, sum(count for _, count in steps)
    transform, level, origin = np.ones(points // 2 + 1, np.complex128), 0.0, 0
    for step, count in steps:
        with np.errstate(divide="ignore"):
            powers = window.tilt * step.losses + np.log(step.mass)
        scale = _log_sum(powers)
        level += count * scale
        origin += count * step.first
        transform *= np.fft.rfft(_folded(np.exp(powers - scale), points)) ** count
    first = math.floor(window.low / width)
    law = np.maximum(np.roll(np.fft.irfft(transform, points), -((first - origin) % points)), 0.0)
    losses = np.arange(first, first + points) * width
    # Back to the law itself; far below the window's middle this is more than there is, never less.
    scale_back = np.exp(np.minimum(level - window.tilt * losses, 700.0))
    mass = law * scale_back
    rounding = 64 * total * ULP * scale_back
    above = np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0)
    shrink = math.exp(-width)
    discounted = np.append(lfilter([shrink], [1.0, -shrink], mass[:0:-1])[::-1], 0.0)
    left = delta * (1 - 2 * _PART) - sum(count * step.beyond for step, count in steps)
    over = np.flatnonzero(above - discounted + rounding > left)
    if not len(over):
        return max(0.0, float(losses[0]))
    last = int(over[-1])
    if last == points - 1:
        return math.inf
    spare = left - float(rounding[last])
    if discounted[last] <= 0 or spare >= above[last]:
        return float(losses[last + 1])
    inside = float(losses[last]) + math.log((float(above[last]) - spare) / float(discounted[last]))
    return min(max(inside, float(losses[last])), float(losses[last + 1]))


def _folded(mass: Floats, points: int) -> Floats:
    """A law on a circle of ``points``."""
    padded = np.pad(mass, (0, -len(mass) % points))
    folded: Floats = padded.reshape(-1, points).sum(axis=0)
    return folded
