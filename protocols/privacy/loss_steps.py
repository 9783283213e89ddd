"""The privacy loss of one Poisson-sampled Gaussian step, on a grid of losses and never below the truth.

A pair of neighbouring inputs makes a step draw from an *upper* or from a *lower* law. In clipping norms, with noise z
and q the probability that the record takes part:

=========  =============================  =============================
pair       upper                          lower
=========  =============================  =============================
remove     (1 - q) N(0, z²) + q N(1, z²)  N(0, z²)
add        N(0, z²)                       (1 - q) N(0, z²) + q N(1, z²)
replace    (1 - q) N(0, z²) + q N(1, z²)  (1 - q) N(0, z²) + q N(-1, z²)
=========  =============================  =============================

The loss is ln(upper / lower) at what was drawn from upper. The mass between two neighbouring points of the grid is
shared out to both so that its mass under *both* laws stays what it is. The true pair is post-processing of the pair
on the grid, so every δ computed from it is an upper bound, and its error is of second
order in the width of the grid.

Sources: Doroshenko, Ghazi, Kamath, Kumar and Manurangsi 2022 (arXiv 2207.04380, "connect the dots"); Zhu, Dong
and Wang 2022 (arXiv 2106.08567, dominating pairs of Poisson sampling); dp-accounting for the pair of ``replace``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
Pair = Literal["remove", "add", "replace"]

ULP = 2.0**-52
_NO_LOWER = 1e-290
"""Below it a probability has lost digits; the upper end of its cell is charged instead."""
MOST_KEPT = 24
"""How many steps are kept for the next composition, of at most 4 MiB each."""
_FAR, _LARGE = -800.0, 30.0
"""Exponents beyond which exp() is nothing, or 1 beside it is nothing."""
_LARGE_LOSS = 600.0
"""Above it exp(loss) is not trusted to stay a number; likewise."""


@dataclass(frozen=True)
class Step:
    """The loss of one step on a grid.

    Args:
        width: distance of two points of the grid.
        first: the loss of the first point is ``first * width``.
        mass: probability of each point, [points].
        beyond: probability of a loss above the last point, taken to be infinite.
    """

    width: float
    first: int
    mass: Floats
    beyond: float

    @property
    def losses(self) -> Floats:
        """[points]."""
        points: Floats = np.arange(self.first, self.first + len(self.mass), dtype=np.float64) * self.width
        return points


def loss_range(rate: float, z: float, pair: Pair, reach: float) -> tuple[float, float]:
    """Between which losses a step stays but for draws beyond ``reach`` standard deviations.

    Args:
        rate: q, above 0 and at most 1.
        z: noise multiplier, in clipping norms.
        pair: of neighbouring inputs.
        reach: standard deviations on either side.
    """
    if pair == "add":
        ends = -_removal_loss(rate, z, np.array([reach * z, -reach * z]))
    else:
        at = np.array([-reach * z, 1 + reach * z])
        ends = _removal_loss(rate, z, at)
        if pair == "replace":
            ends = ends - _removal_loss(rate, z, -at)
    return float(ends[0]), float(ends[1])


@lru_cache(maxsize=MOST_KEPT)
def step_losses(rate: float, z: float, pair: Pair, reach: float, width: float) -> Step:
    """The loss of one step.

    Args:
        rate, z, pair, reach: as for :func:`loss_range`.
        width: of the grid.

    Guarantees:
        Composed with itself and with others of its kind, it gives no smaller δ than the step does, for every ε.
        What floating point may have lost of a probability is added to the larger loss.
    """
    low, high = loss_range(rate, z, pair, reach)
    first, last = int(np.floor(low / width)), int(np.ceil(high / width)) + 1
    upper_means: tuple[float, ...]
    lower_means: tuple[float, ...]
    points: Floats = np.arange(first, last + 1, dtype=np.float64) * width
    if pair == "add":
        edges = -_removal_draw(rate, z, -points)  # so it is drawn with the other sign
        upper_means, lower_means = (0.0,), (0.0, -1.0)
    elif pair == "remove":
        edges = _removal_draw(rate, z, points)
        upper_means, lower_means = (0.0, 1.0), (0.0,)
    else:
        edges = _replacement_draw(rate, z, points)
        upper_means, lower_means = (0.0, 1.0), (0.0, -1.0)
    weights = (1 - rate, rate)
    upper, lower = (_cells(edges, z, means, weights) for means in (upper_means, lower_means))
    mass = _shared_out(upper, lower, points[:-1], width)
    # Draws below the grid are charged as its first point, and never weighed against the lower law's mass there.
    mass[0] += sum(w * float(ndtr((edges[0] - mean) / z)) for mean, w in _mixture(upper_means, weights))
    beyond = sum(w * float(ndtr((mean - edges[-1]) / z)) for mean, w in _mixture(upper_means, weights))
    return Step(width, first, mass, beyond)


def _shared_out(
    upper: tuple[Floats, Floats], lower: tuple[Floats, Floats], points: Floats, width: float
) -> Floats:
    """The mass of cells at their ends: what goes up solves  up + down = P  and  up / e^width + down = Q e^point."""
    (mass, slip), (below, below_slip) = upper, lower
    known = (below > _NO_LOWER) & (points < _LARGE_LOSS)
    grown = np.exp(np.where(known, points, 0.0))
    excess = mass - below * grown + slip + below_slip * grown
    up = np.where(known, np.clip(excess / -np.expm1(-width), 0.0, mass), mass)
    shared = np.append(mass - up, 0.0)
    shared[1:] += up
    return shared


def _mixture(means: Sequence[float], weights: Sequence[float]) -> Iterator[tuple[float, float]]:
    """(mean, weight) of each part; a single part has all the weight."""
    return zip(means, weights if len(means) > 1 else (1.0,), strict=True)


def _cells(
    edges: Floats, z: float, means: Sequence[float], weights: Sequence[float]
) -> tuple[Floats, Floats]:
    """Probability of the cells between edges under a mixture, and what rounding may have lost of it."""
    total, slip = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for mean, weight in _mixture(means, weights):
        at = (edges - mean) / z
        left, right = ndtr(at), ndtr(-at)
        upper_half = at[:-1] > 0
        near = np.where(upper_half, right[:-1], left[1:])
        far = np.where(upper_half, right[1:], left[:-1])
        total += weight * np.maximum(near - far, 0.0)
        spread = np.minimum(np.where(upper_half, at[:-1], at[1:]) ** 2, 1500.0)
        slip += weight * near * (4 + spread) * ULP
    return total, slip


def _removal_loss(rate: float, z: float, draw: Floats) -> Floats:
    """ln(1 - q + q e^s) with s the loss without sampling, (2x - 1) / 2z²."""
    plain = (2 * draw - 1) / (2 * z * z)
    with np.errstate(divide="ignore"):
        apart = np.logaddexp(np.log1p(-rate), np.log(rate) + plain)
        loss = np.where(_near(rate, plain), np.log1p(rate * np.expm1(np.clip(plain, _FAR, _LARGE))), apart)
    return loss


def _removal_draw(rate: float, z: float, loss: Floats) -> Floats:
    """The draw with a loss; minus infinity where every draw has a larger one."""
    with np.errstate(divide="ignore"):
        near = np.log1p(np.maximum(np.expm1(np.clip(loss, _FAR, _LARGE)) / rate, -1.0))
        kept = np.maximum(-np.expm1(np.log1p(-rate) - np.maximum(loss, np.log1p(-rate))), 0.0)
        plain = np.where(_near(rate, loss), near, loss + np.log(kept) - np.log(rate))
    draw: Floats = z * z * plain + 0.5
    return draw


def _near(rate: float, at: Floats) -> NDArray[np.bool_]:
    """Where logarithms of 1 + something keep their digits; elsewhere there is a large term to take out."""
    return (at < _LARGE) & ((at > -0.5) | (rate <= 0.5))


def _replacement_draw(rate: float, z: float, loss: Floats) -> Floats:
    """The draw with a loss of a replacement: z² (l/2 + asinh(a sinh(l/2))), a = e^(1/2z²) (1 - q) / q."""
    half = np.abs(loss) / 2
    if rate == 1:
        turned = np.zeros_like(half)
    else:
        with np.errstate(divide="ignore"):
            log_sinh = half + np.log(-np.expm1(-2 * half)) - np.log(2)
        log_scaled = log_sinh + 1 / (2 * z * z) + np.log1p(-rate) - np.log(rate)
        turned = np.logaddexp(log_scaled, np.logaddexp(0.0, 2 * log_scaled) / 2)
    draw: Floats = np.sign(loss) * z * z * (half + turned)
    return draw
