"""Privacy cost of one opened integer sum: the law of its noise, and the effect of rounding on its sensitivity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.accounting import shift_factor
from protocols.privacy.integer_accounting import (
    ORDERS,
    distributed_discrete_gaussian_rdp,
    rdp_epsilon,
    skellam_rdp,
)
from protocols.sharing.rounding import Sensitivity, record_sensitivity, rounded_norm, vector_sensitivity

Curve = NDArray[np.float64]
SLACK = 1e-6
"""Relative margin: variances of sums are added up in floating point, so claims count slightly less."""


@dataclass(frozen=True)
class SumLaw:
    """The noise of a run's integer sums.

    Args:
        law: ``"skellam"`` or ``"discrete-gaussian"``.
        scale: words per unit of the vectors.
        dimension: words of a vector, after padding.
        norm: bound on the norm of a member's vector, in its units.
        member_sigma: standard deviation of one member's noise, in the units of the vectors.
        unit: what was clipped, ``"record"`` or ``"node"``.

    Guarantees:
        ``curve`` bounds the Rényi divergences between neighbouring integer sums, for the sum's honest noise
        alone. The accounted law is that of exact draws; the error of drawing in floating point is not included.
        Wrapping of sums is not either: it is post-processing, and affects accuracy only.
    """

    law: Literal["skellam", "discrete-gaussian"]
    scale: float
    dimension: int
    norm: float
    member_sigma: float
    unit: str

    def sensitivity(self, shift: float, unit: str, adjacency: str) -> Sensitivity:
        """Return how far neighbouring inputs move the words of a sum.

        Args:
            shift: how far they move the sum of vectors before rounding, in its units, adjacency counted in.
            unit: protected unit of the question.
            adjacency: name of the adjacency.
        """
        if unit == "node" and self.unit == "node":
            # The whole vector of a node, whose norm after rounding is bounded for any input.
            limit = rounded_norm(self.scale * self.norm, self.dimension, "conditional")
            return vector_sensitivity(limit, self.dimension, shift_factor(adjacency))
        # Both neighbours contribute a whole vector, and each is rounded.
        return record_sensitivity(self.scale * shift, self.dimension, "stochastic")

    def curve(self, shift: float, variance: float, unit: str, adjacency: str) -> Curve:
        """Return the Rényi divergences of one sum over :data:`~protocols.privacy.integer_accounting.ORDERS`.

        Args:
            shift: as in :meth:`sensitivity`.
            variance: of the noise credited, per coordinate, in squared units of the vectors.
            unit: protected unit of the question.
            adjacency: name of the adjacency.
        """
        if shift == 0:
            return np.zeros(len(ORDERS))
        words = variance * self.scale**2 * (1 - SLACK)
        if not words > 0 or not np.isfinite(shift):
            return np.full(len(ORDERS), np.inf)
        change = self.sensitivity(shift, unit, adjacency)
        if self.law == "skellam":
            return skellam_rdp(ORDERS, change.l2, change.l1, words)
        sigma = self.member_sigma * self.scale
        members = int(words / sigma**2 + 0.5)
        if members < 1:
            return np.full(len(ORDERS), np.inf)
        return distributed_discrete_gaussian_rdp(ORDERS, change.l2, change.l1, members, sigma, self.dimension)

    def epsilon(self, curve: Curve, delta: float) -> float:
        """Return ε at δ of a sum of curves."""
        return rdp_epsilon(curve, delta)

    def facts(self) -> dict[str, Any]:
        """Return the entries of a run's manifest from which the run can be accounted again."""
        return asdict(self)
