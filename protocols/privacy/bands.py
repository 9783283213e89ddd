"""Noise correlated across rounds: banded matrix factorisation.

With C lower triangular and Toeplitz, its first column c with as many entries as there are bands, the noise of round
t is (C⁻¹ z)_t, so that prefix sums of updates carry less noise than with independent draws. Computing it needs the
noise of the last few rounds: w_t = (z_t − Σ_{k ≥ 1} c_k w_{t−k}) / c_0.

Sources: Choquette-Choo et al. 2023 (banded factorisation, DP-BandMF); Fichtenberger, Henzinger and Upadhyay 2023 (the
square root of the prefix-sum matrix, whose entries are the coefficients used unless others are given).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from protocols.privacy.lineage import ORIGIN, Lineage
from simulator.contract.compute import Vector
from simulator.contract.node import Node

MEMORY = "noises"
"""Key on a node's disk: its last noise vectors, the latest first."""


class RoundNoise(NamedTuple):
    """Noise of one round.

    Args:
        vector: w_t.
        state: its number in the lineage.
    """

    vector: Vector
    state: int


def square_root_bands(bands: int) -> tuple[float, ...]:
    """Return the coefficients of the square root of the prefix-sum matrix, truncated to the bands, of norm 1."""
    return normalised([math.comb(2 * k, k) / 4.0**k for k in range(bands)])


def normalised(coefficients: Sequence[float]) -> tuple[float, ...]:
    """Scale coefficients to norm 1: a node that takes part once is as well protected as by independent noise."""
    norm = math.sqrt(math.fsum(c * c for c in coefficients))
    return tuple(c / norm for c in coefficients)


def correlate(
    node: Node, lineage: Lineage, round: int, coefficients: Sequence[float], drawn: Vector, sigma: float
) -> RoundNoise:
    """Compute the noise of a round from a fresh draw and earlier noise, and keep it on the node's disk.

    Args:
        node: the node that adds the noise.
        lineage: record of the run.
        round: round of the update.
        coefficients: c, one per band.
        drawn: z_t, the fresh draw.
        sigma: standard deviation of ``drawn``.
    """
    before: list[RoundNoise] = node.disk.get(MEMORY, [])
    first, *others = coefficients
    vector = drawn.astype(np.float64)
    state = lineage.contribute(node.now_s, node.id, round, ORIGIN, gain=1.0, sigma=sigma, sensitivity=0.0)
    terms = [(1.0 / first, state)]
    for c, past in zip(others, before, strict=False):
        vector -= c * past.vector
        terms.append((-c / first, past.state))
    made = RoundNoise((vector / first).astype(np.float32), lineage.combine(node.now_s, node.id, round, terms))
    node.disk[MEMORY] = [made, *before][: len(others)]
    return made
