"""Amplification by Poisson sampling, for record-level sums whose every release is charged on its own.

A step that takes each record with probability q, by chance that nobody sees, and adds Gaussian noise to the sum of
what it took, is a Poisson-subsampled Gaussian mechanism. Steps compose adaptively, so a trace that is charged
contribution by contribution (the local bound) costs what their composition does. The linear view has no room for it:
what several releases show of one step depends on whether the record was in it at all.

Composition is by privacy loss distributions (dp-accounting), rounded to the side of more loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SAMPLED_DIGITS = 9
"""Significant digits of a noise multiplier, rounded down: releases that differ beyond them are charged alike."""


def sampled_epsilon(
    rate: float, charged: Mapping[tuple[float, float], int], factor: float, adjacency: str, delta: float
) -> float:
    """ε at δ of subsampled Gaussian releases.

    Args:
        rate: q, the probability that a record takes part in a step.
        charged: how many releases there are of each (shift, variance), the shift with the adjacency's factor in it.
        factor: that factor; the library wants the clipping norm alone.
        adjacency: as everywhere.
        delta: δ.

    Returns:
        Infinite if something was released without noise.

    Guarantees:
        An upper bound for adaptive composition, if records are drawn independently of each other, of data and of
        other steps, and nobody sees who was drawn. ``replace`` is composed as a replacement, not as two removals.
    """
    counts: dict[float, int] = {}
    for (shift, variance), count in charged.items():
        if shift == 0:
            continue
        if not variance > 0 or shift == float("inf"):
            return float("inf")
        z = _rounded_down(variance**0.5 / (shift / factor))
        counts[z] = counts.get(z, 0) + count
    return _composed(rate, tuple(sorted(counts.items())), adjacency, delta)


@lru_cache(maxsize=1024)
def _composed(rate: float, counts: tuple[tuple[float, int], ...], adjacency: str, delta: float) -> float:
    return float(_accountant(rate, counts, adjacency).get_epsilon(delta)) if counts else 0.0


@lru_cache(maxsize=64)
def _accountant(rate: float, counts: tuple[tuple[float, int], ...], adjacency: str) -> Any:
    """What was composed; asked for several deltas where a claim pays for failures."""
    import dp_accounting  # two seconds to import: only where somebody asks
    from dp_accounting import pld

    relations = dp_accounting.NeighboringRelation
    relation = relations.REPLACE_ONE if adjacency == "replace" else relations.ADD_OR_REMOVE_ONE
    accountant = pld.PLDAccountant(neighboring_relation=relation)
    for z, count in counts:
        event = dp_accounting.GaussianDpEvent(z)
        if rate < 1:
            event = dp_accounting.PoissonSampledDpEvent(rate, event)
        accountant.compose(event, count)
    return accountant


def _rounded_down(z: float) -> float:
    nearest = float(f"{z:.{SAMPLED_DIGITS - 1}e}")
    return nearest if nearest <= z else nearest * (1 - 10.0 ** (1 - SAMPLED_DIGITS))
