"""Adaptive clipping: a clipping norm that follows a quantile of update norms, estimated from noised bits.

Each client sends, beside its clipped and noised update, one bit that says whether the update was within the norm:
b − 1/2 with b in {0, 1}, plus noise of standard deviation σ_b. The server updates the norm:
C ← C exp(−η (mean of b − γ)), with γ the target quantile. Both releases together cost as much as one release of noise
multiplier z if the update's own noise multiplier is z_Δ = (z⁻² − (2 σ_b)⁻²)^(−1/2).

Source: Andrew, Thakkar, McMahan and Ramaswamy 2021 (arXiv 1905.03871).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from simulator.contract.node import Node
from simulator.errors import ConfigurationError

CLIP, BIT = "clip", "clip bit"
"""Keys on a node's disk: the current norm, and the node's noised bit."""


@dataclass(frozen=True)
class AdaptiveClip:
    """Update rule of the clipping norm.

    Args:
        initial: C before the first update, positive.
        quantile: γ, in (0, 1).
        rate: η, positive.
        multiplier: z, noise multiplier of both releases together.
        bit_sigma: σ_b, standard deviation of a bit's noise; above z / 2.

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
        """Return z_Δ, the noise multiplier of updates alone."""
        return 1.0 / math.sqrt(self.multiplier**-2 - (2 * self.bit_sigma) ** -2)

    def norm(self, node: Node) -> float:
        """Return the norm last received by a node."""
        found: float = node.disk.get(CLIP, self.initial)
        return found

    def bit(self, node: Node, round: int, within: bool) -> float:
        """Return b − 1/2 plus noise."""
        return float(within) - 0.5 + self.bit_sigma * float(node.rng(BIT, round).standard_normal())

    def moved(self, norm: float, bits: Sequence[float]) -> float:
        """Return the next norm, from the noised bits of the clients that answered; unchanged if there are none."""
        if not bits:
            return norm
        mean = 0.5 + math.fsum(bits) / len(bits)
        return norm * math.exp(-self.rate * (mean - self.quantile))
