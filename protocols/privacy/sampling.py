"""Amplification by Poisson sampling, for record-level sums whose every release is charged on its own.

A step that takes each record with probability q, by chance that nobody sees, and adds Gaussian noise to the sum of
what it took, is a Poisson-subsampled Gaussian mechanism. Steps compose adaptively, so a trace that is charged
contribution by contribution (the local bound) costs what their composition does. The linear view has no room for it:
what several releases show of one step depends on whether the record was in it at all.

Composition (:mod:`protocols.privacy.composition`) takes the same time and memory whatever the noise, the rate and
the number of steps are. Sampling never costs anything, so the exact loss without it is an upper bound as well, and
the smaller of both is what is charged.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.composition import composed_epsilon

SAMPLED_DIGITS = 9
"""Significant digits of a noise multiplier, rounded down: releases that differ beyond them are charged alike."""
SKETCHED = 2**14
"""Losses told apart where it only matters whether they are larger than others."""
MOST_NOISES = 16
"""How many noise multipliers a composition tells apart; of more, neighbours are charged as the least of them."""


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
        It holds for every noise, rate and number of steps; what a coarser grid or fewer noise multipliers lose is
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
    if rate == 1:
        return without
    return min(_composed(rate, _grouped(counts), adjacency, delta), without)


@lru_cache(maxsize=4096)
def _composed(rate: float, counts: tuple[tuple[float, int], ...], adjacency: str, delta: float) -> float:
    if adjacency == "replace":
        return composed_epsilon(rate, counts, "replace", delta)
    removed = composed_epsilon(rate, counts, "remove", delta)
    # Adding nearly always costs less than removing, and then a coarse upper bound is enough to know it.
    if composed_epsilon(rate, counts, "add", delta, SKETCHED) <= removed:
        return removed
    return max(removed, composed_epsilon(rate, counts, "add", delta))


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
