"""Amplification by Poisson sampling, for record-level sums whose every release is charged on its own.

A step that takes each record with probability q, by chance that nobody sees, and adds Gaussian noise to the sum of
what it took, is a Poisson-subsampled Gaussian mechanism. Steps compose adaptively, so a trace that is charged
contribution by contribution (the local bound) costs what their composition does. The linear view has no room for it:
what several releases show of one step depends on whether the record was in it at all.

Composition is by privacy loss distributions of dp-accounting, rounded to the side of more loss. Their grid is as wide
as the noise, the rate and the number of steps need for the work to stay bounded: a wider one costs accuracy, never
the bound. Sampling never costs anything, so the exact loss without it is an upper bound as well, and the smaller of
both is what is charged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from protocols.privacy.accounting import epsilon_of

SAMPLED_DIGITS = 9
"""Significant digits of a noise multiplier, rounded down: releases that differ beyond them are charged alike."""
MOST_NOISES = 16
"""How many noise multipliers a composition tells apart; of more, neighbours are charged as the least of them."""
STEP_POINTS, SUM_POINTS = 2**16, 2**20
"""About how many points the losses of one step, and of all steps together, may have."""
FINEST, USUAL = 1e-7, 1e-4
"""Least and usual distance of two points, in units of ε."""
TAIL = 12.0
"""Standard deviations of a loss that its grid is made for."""
HOPELESS, MOST_STEPS = 1e9, 10**6
"""A loss, and a number of steps, beyond which what sampling saves is not counted."""


def sampled_epsilon(
    rate: float, charged: Mapping[tuple[float, float], int], factor: float, adjacency: str, delta: float
) -> float:
    """ε at δ of subsampled Gaussian releases.

    Args:
        rate: q, the probability that a record takes part in a step.
        charged: how many releases there are of each (shift, variance), the shift with the adjacency's factor in it.
        factor: that factor; noise multipliers are over the clipping norm alone.
        adjacency: as everywhere.
        delta: δ.

    Returns:
        Infinite if something was released without noise.

    Guarantees:
        An upper bound for adaptive composition, if records are drawn independently of each other, of data and of
        other steps, and nobody sees who was drawn. ``replace`` is composed as a replacement, not as two removals.
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
    if rate == 1 or plain > HOPELESS or sum(counts.values()) > MOST_STEPS:
        return without
    return min(_composed(rate, _grouped(counts), adjacency, delta), without)


@lru_cache(maxsize=4096)
def _composed(rate: float, counts: tuple[tuple[float, int], ...], adjacency: str, delta: float) -> float:
    """Infinite where floating point ends before the losses do."""
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            return float(_accountant(rate, counts, adjacency).get_epsilon(delta))
    except (FloatingPointError, OverflowError):
        return math.inf


@lru_cache(maxsize=64)
def _accountant(rate: float, counts: tuple[tuple[float, int], ...], adjacency: str) -> Any:
    """What was composed; asked for several deltas where a claim pays for failures."""
    import dp_accounting  # two seconds to import: only where somebody asks
    from dp_accounting import pld

    relations = dp_accounting.NeighboringRelation
    accountant = pld.PLDAccountant(
        neighboring_relation=relations.REPLACE_ONE if adjacency == "replace" else relations.ADD_OR_REMOVE_ONE,
        value_discretization_interval=_distance(rate, counts, 2.0 if adjacency == "replace" else 1.0),
    )
    for z, count in counts:
        accountant.compose(dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.GaussianDpEvent(z)), count)
    return accountant


def _distance(rate: float, counts: tuple[tuple[float, int], ...], shift: float) -> float:
    """How far apart the points of a grid are: a guess at how wide losses are decides the work, not the bound.

    Args:
        rate: q.
        counts: (noise multiplier, steps).
        shift: what a record moves, in clipping norms.
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
    """At most :data:`MOST_NOISES` noise multipliers, in order: the least of each of as many equal ratios."""
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
