"""Public bounds on honest vectors, known before the run: sums are encoded, and norms proven, for these.

A member's vector is a *base*, plus its local updates since then and their noise. Updates are clipped, and noise
beyond k standard deviations has a chosen small probability, so the distance of a vector from its base is bounded
(:class:`Stride`). A base is computed from received models. Honest nodes cannot move it far, but Byzantine members may
move it to the edge of the range that can be encoded: whether the next vector still fits would then depend on its
    data.
Every base is therefore projected into a public set (:class:`PublicRange`) that bases of honest runs never leave. From
there a vector fits for every behaviour of other nodes, except with the probability of larger noise

Without projection, unrolling gossip bounds the bases: a model after t local updates of each node is

    x = Σ_w a_w(0) x(0) − gain · Σ_{τ≤t} Σ_w a_w(τ) (g_w(τ) + z_w(τ)),

where a(τ) is a row of a product of mixing matrices. Averaging with stochastic rows (weights not negative, sum 1; a
skipped exchange is the identity row) makes every such row stochastic again: the first term is the common initial
model, clipped sums of one update contribute at most gain · step_norm in norm, and each update's noise has per
coordinate a standard deviation of at most gain · sigma (Σ_w a_w² ≤ 1), independent of that of other updates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simulator.contract.compute import Vector
from simulator.errors import ConfigurationError

ROUNDING = 1e-5
"""Relative margin for float32 rounding in bounds that hold for real numbers."""


@dataclass(frozen=True, slots=True)
class Stride:
    """Bounds on the effect of honest local updates.

    Args:
        gain: factor of a clipped, noised sum: learning rate / divisor. Not negative.
        step_norm: bound on the norm of one clipped sum (records · clip for record-level clipping). Not negative.
        sigma: standard deviation per coordinate of the noise added to one clipped sum. Not negative.
        sigmas: number of standard deviations of accumulated noise within the bound. Not negative.

    Raises:
        ConfigurationError: an argument is negative or not finite.

    Guarantees:
        Clipped sums stay within their part for adaptive training too. Gaussian noise exceeds its part with
        probability at most 2Φ(−sigmas) per coordinate, or exp(−sigmas²/2) for the norm of a vector. For real
        arithmetic.
    """

    gain: float
    step_norm: float
    sigma: float
    sigmas: float

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0.0 <= value < math.inf:
                raise ConfigurationError(f"{name} must be finite and not negative, not {value!r}")

    def coordinate(self, sums: int) -> float:
        """Return the largest change of any coordinate by this number of clipped, noised sums."""
        return self.gain * (sums * self.step_norm + self.sigmas * self.sigma * math.sqrt(sums))

    def norm(self, sums: int, dimension: int) -> float:
        """Return the largest norm of the change of a vector by this number of clipped, noised sums."""
        noise = (math.sqrt(dimension) + self.sigmas) * self.sigma * math.sqrt(sums)
        return self.gain * (sums * self.step_norm + noise)


@dataclass(frozen=True, eq=False)
class PublicRange:
    """A set of vectors around a public one.

    Args:
        centre: the public initial model, (d,).
        reach: largest distance of a coordinate from the centre's. Not negative.
        radius: largest Euclidean distance from the centre; positive.
    """

    centre: Vector
    reach: float
    radius: float = math.inf

    @property
    def largest(self) -> float:
        """Return the largest |coordinate| in the set."""
        return float(np.max(np.abs(self.centre), initial=0.0)) + self.reach

    def holds(self, vector: Vector, margin: float = 0.0) -> bool:
        """Return whether a vector is in the set by a relative ``margin``; NaN is not."""
        with np.errstate(invalid="ignore", over="ignore"):
            away = np.subtract(vector, self.centre, dtype=np.float64)
            inside = float(np.max(np.abs(away), initial=0.0)) <= self.reach * (1.0 - margin)
            return inside and (
                math.isinf(self.radius) or float(np.linalg.norm(away)) <= self.radius * (1.0 - margin)
            )

    def nearest(self, vector: Vector) -> Vector:
        """Map any vector into the set: clip each coordinate, then scale the distance; float32.

        A coordinate that is NaN becomes the centre's.
        """
        away = np.subtract(np.where(np.isnan(vector), self.centre, vector), self.centre, dtype=np.float64)
        away = np.clip(away, -self.reach, self.reach)
        length = float(np.linalg.norm(away))
        if length > self.radius:
            away *= self.radius / length * (1.0 - 2.0**-40)
        moved: Vector = (self.centre + away).astype(np.float32)
        # Rounding to float32 must not leave the set again.
        out = np.abs(np.subtract(moved, self.centre, dtype=np.float64)) > np.abs(away)
        return np.where(out, np.nextafter(moved, self.centre.astype(np.float32)), moved)
