"""A clipping norm that follows a quantile of the norms of updates, learnt from noised bits.

Beside its clipped, noised update every client says whether its update was within the norm: b − 1/2 with b of 0 or 1,
plus noise of standard deviation σ_b. The server moves the norm: C ← C exp(−η (mean of b − γ)), γ being the quantile.
Both releases together cost what one of noise multiplier z would, if the update's own is
z_Δ = (z⁻² − (2 σ_b)⁻²)^(−1/2).

Source: Andrew, Thakkar, McMahan and Ramaswamy 2021 (arXiv 1905.03871).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.contract.node import Node
from simulator.errors import ConfigurationError

CLIP, BIT = "clip", "clip bit"
"""Where a node's disk keeps the current norm, and what it has to say about it."""


@dataclass(frozen=True)
class AdaptiveClip:
    """How the norm moves.

    Args:
        initial: C before the first update; positive.
        quantile: γ, in (0, 1).
        rate: η, positive.
        multiplier: z, of both releases together.
        bit_sigma: σ_b, above z / 2.

    Raises:
        ConfigurationError: an argument outside its range.
    """

    initial: float
    quantile: float
    rate: float
    multiplier: float
    bit_sigma: float

    def __post_init__(self) -> None:
        if not (self.initial > 0 and 0 < self.quantile < 1 and self.rate > 0):
            raise ConfigurationError("a norm and its rate must be positive, and a quantile between 0 and 1")
        if not self.bit_sigma > self.multiplier / 2:
            raise ConfigurationError(
                f"bits with noise {self.bit_sigma:g} alone cost more than noise multiplier {self.multiplier:g}; "
                f"give more than {self.multiplier / 2:g}",
                "privacy.adaptive_clip.bit_noise",
            )

    @property
    def update_multiplier(self) -> float:
        """z_Δ, of the updates' noise alone."""
        return 1.0 / math.sqrt(self.multiplier**-2 - (2 * self.bit_sigma) ** -2)

    def norm(self, node: Node) -> float:
        """The norm that a node has been told."""
        found: float = node.disk.get(CLIP, self.initial)
        return found

    def bit(self, node: Node, round: int, within: bool) -> float:
        """b − 1/2 with noise."""
        return float(within) - 0.5 + self.bit_sigma * float(node.rng(BIT, round).standard_normal())

    def moved(self, norm: float, bits: Sequence[float]) -> float:
        """The next norm, from the noised bits of those who answered; the same if nobody did."""
        if not bits:
            return norm
        mean = 0.5 + math.fsum(bits) / len(bits)
        return norm * math.exp(-self.rate * (mean - self.quantile))
