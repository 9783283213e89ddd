"""Gradient inversion: samples from the sum of their gradients.

An attacker that knows the range of features clips its results to it: the true values lie within, so no error grows,
and many samples are recognised only then.

Source: Geiping et al. 2020 (first layers with a bias).
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Box: TypeAlias = tuple[float, float]
"""Range of features, as publicly known."""


class Candidate(NamedTuple):
    """One output of the first layer, and the input it points to.

    Args:
        unit: number of the output.
        x: (features,), the weighted mean of the samples' inputs; a sample itself if it alone changed this unit.
        weight: the bias gradient: the larger, the less rounding and noise there is in x.
    """

    unit: int
    x: Floats
    weight: float


def first_layer(
    weights: Floats, bias: Floats, least: float = 1e-12, box: Box | None = None
) -> list[Candidate]:
    """Return inputs from the gradient of a first dense layer: ∂L/∂W = Σ xᵢ δᵢᵀ and ∂L/∂b = Σ δᵢ, their quotient is x.

    Args:
        weights: (features, units) gradient.
        bias: (units,) gradient.
        least: bias gradients below this are taken as zero.
        box: range to which features are clipped; None: unknown.

    Returns:
        Strongest first. Exact for one sample; for more, units that only one sample changes give that sample.
    """
    order = np.argsort(-np.abs(bias), kind="stable")
    return [
        Candidate(int(c), _within(weights[:, c] / bias[c], box), float(abs(bias[c])))
        for c in order
        if abs(bias[c]) > least
    ]


def _within(x: Floats, box: Box | None) -> Floats:
    return x if box is None else np.clip(x, *box)


def psnr(found: Floats, truth: Floats, peak: float | None = None) -> float:
    """Return the peak signal-to-noise ratio in dB; infinite for an exact match.

    Args:
        found, truth: of one shape.
        peak: largest difference two samples can have; None: the range of the truth.
    """
    error = float(np.mean((np.asarray(found, float) - np.asarray(truth, float)) ** 2))
    if not np.isfinite(error):
        return -np.inf
    span = float(np.ptp(truth)) if peak is None else peak
    return np.inf if error == 0 else float(10 * np.log10(span**2 / error))


def best_psnr(candidates: list[Candidate], truths: Floats, peak: float) -> Floats:
    """Return, for every true sample (n, features), the best PSNR over the candidates, in dB."""
    if not candidates:
        return np.full(len(truths), -np.inf)
    return np.array([max(psnr(c.x, truth, peak) for c in candidates) for truth in truths])
