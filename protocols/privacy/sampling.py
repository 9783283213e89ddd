"""Amplification by Poisson sampling, for record-level sums in which every release is charged on its own.

A step that takes each record with probability q, by a draw that no observer sees, and adds Gaussian noise to the sum
of the records taken, is a Poisson-subsampled Gaussian mechanism. Steps compose adaptively, so a trace that is charged
contribution by contribution (the local bound) costs what their composition costs. The linear view cannot be
amplified: what several releases show of one step depends on whether the record was in it at all.

A step has the privacy loss distribution of dp-accounting, rounded towards more loss; loss_sums.py composes steps. The
width of the grid follows from the noise, the rate and the number of steps, so that the work stays bounded: a wider
grid costs accuracy, never the bound. Sampling never increases the loss, so the exact loss without it is an upper
bound as well, and the smaller of both is charged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.loss_sums import Losses, epsilon_of_sum

SAMPLED_DIGITS = 9
"""Significant digits of a noise multiplier, rounded down: releases that agree in them are charged alike."""
MOST_NOISES = 16
"""Largest number of distinct noise multipliers in a composition; beyond it, groups are charged at their smallest."""
STEP_POINTS, SUM_POINTS = 2**16, 2**20
"""Approximate number of grid points for the losses of one step, and of all steps together."""
FINEST, USUAL = 1e-7, 1e-4
"""Least and usual distance of two grid points, in units of ε."""
TAIL = 12.0
"""Standard deviations of a loss that the grid covers."""
LARGEST_LOSS, MOST_STEPS = 1e9, 10**6
"""Loss, and number of steps, above which amplification is not computed."""


def sampled_epsilon(
    rate: float, charged: Mapping[tuple[float, float], int], factor: float, adjacency: str, delta: float
) -> float:
    """Return ε at δ of subsampled Gaussian releases.

    Args:
        rate: q, the probability that a record takes part in a step.
        charged: number of releases of each (shift, variance), the shift with the adjacency's factor in it.
        factor: that factor; noise multipliers are relative to the clipping norm alone.
        adjacency: name of the adjacency.
        delta: δ.

    Returns:
        ε, infinite if anything was released without noise.

    Guarantees:
        An upper bound for adaptive composition, if records are drawn independently of each other, of data and of
        other steps, and no observer sees which were drawn. ``replace`` is composed as a replacement, not as two
        removals.
        It holds for every noise, rate and number of steps; what a wide grid or fewer noise multipliers lose is
        added to ε.
    """
    counts: dict[float, int] = {}
    plain = 0.0
    for (shift, variance), count in charged.items():
        if shift == 0:
            continue
        if not variance > 0 or shift == math.inf:
            return math.inf
        z = _rounded_down(math.sqrt(variance) / (shift / factor))
        counts[z] = counts.get(z, 0) + count
        plain += count * (shift / math.sqrt(variance)) ** 2
    if not counts:
        return 0.0
    without = epsilon_of(plain, delta)
    if rate == 1 or plain > LARGEST_LOSS or sum(counts.values()) > MOST_STEPS:
        return without
    return min(_composed(rate, _grouped(counts), adjacency, delta), without)


@lru_cache(maxsize=4096)
def _composed(rate: float, counts: tuple[tuple[float, int], ...], adjacency: str, delta: float) -> float:
    """Return the composed ε, infinite where floating point overflows."""
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            pairs, distance = _losses(rate, counts, adjacency)
            return max(epsilon_of_sum(pair, distance, delta) for pair in pairs)
    except (FloatingPointError, OverflowError):
        return math.inf


@lru_cache(maxsize=64)
def _losses(
    rate: float, counts: tuple[tuple[float, int], ...], adjacency: str
) -> tuple[list[list[Losses]], float]:
    """Return the losses of all steps and the distance of their grid; a list for each pair of neighbouring data.

    Cached, since a claim that pays for failures asks for several δ.
    """
    import dp_accounting  # takes two seconds to import
    from dp_accounting.pld import privacy_loss_distribution

    relations = dp_accounting.NeighboringRelation
    distance = _distance(rate, counts, 2.0 if adjacency == "replace" else 1.0)
    pairs: list[list[Losses]] = [[], []]
    for z, count in counts:
        distribution: Any = privacy_loss_distribution.from_gaussian_mechanism(
            z,
            sampling_prob=rate,
            value_discretization_interval=distance,
            neighboring_relation=relations.REPLACE_ONE
            if adjacency == "replace"
            else relations.ADD_OR_REMOVE_ONE,
        )
        # The library shows what it composes by none of its public names.
        for pair, side in zip(pairs, (distribution._pmf_remove, distribution._pmf_add), strict=True):
            step = side.to_dense_pmf()
            pair.append(Losses(step._lower_loss, np.asarray(step._probs), float(step._infinity_mass), count))
    return pairs[:1] if adjacency == "replace" else pairs, distance


def _distance(rate: float, counts: tuple[tuple[float, int], ...], shift: float) -> float:
    """Return the distance of grid points, from an estimate of the width of losses; it affects only the work.

    Args:
        rate: q.
        counts: (noise multiplier, steps).
        shift: change by one record, in clipping norms.
    """
    widest = total = variance = 0.0
    finest = USUAL
    for z, count in counts:
        mu = shift / z
        whole = mu * mu / 2 + TAIL * mu
        # A step's likelihood ratio is 1 − q + q e^loss: small rates make it small where e^loss is not huge.
        step = min(whole, math.log1p(rate * math.expm1(whole)) if whole < 700 else whole + math.log(rate))
        deviation = rate * math.sqrt(math.expm1(min(mu * mu, 700.0)))
        widest = max(widest, step)
        total += count * min(mu * mu / 2, deviation * deviation)
        variance += count * min(mu, 2 * deviation) ** 2
        finest = min(finest, deviation / 8)
    reach = total + TAIL * math.sqrt(variance) + widest
    return max(reach / SUM_POINTS, widest / STEP_POINTS, finest, FINEST)


def _grouped(counts: Mapping[float, int]) -> tuple[tuple[float, int], ...]:
    """Return at most :data:`MOST_NOISES` noise multipliers, ascending: the smallest of each group of equal ratio."""
    least, most = min(counts), max(counts)
    if len(counts) <= MOST_NOISES:
        return tuple(sorted(counts.items()))
    part = math.log(most / least) / MOST_NOISES
    grouped: dict[int, tuple[float, int]] = {}
    for z, count in counts.items():
        place = min(int(math.log(z / least) / part), MOST_NOISES - 1)
        first, before = grouped.get(place, (z, 0))
        grouped[place] = (min(first, z), before + count)
    return tuple(sorted(grouped.values()))


def _rounded_down(z: float) -> float:
    nearest = float(f"{z:.{SAMPLED_DIGITS - 1}e}")
    return nearest if nearest <= z else nearest * (1 - 10.0 ** (1 - SAMPLED_DIGITS))
