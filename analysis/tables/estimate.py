"""Means over seeds (runs, pairs of runs) with their intervals, and the treatment of infinite values."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from scipy.stats import t

LEVEL = 0.95
"""Confidence level of every interval over seeds."""

ONE_SEED = "one seed, no interval"


@dataclass(frozen=True)
class Estimate:
    """Mean with its 95 % Student t interval.

    Args:
        mean: infinite if a value is; NaN without a value, or with infinities of both signs.
        low: lower end of the interval; NaN with fewer than two values or an infinite one.
        high: upper end.
        count: number of values, infinite ones included.
        missing: number of runs without a value (diverged, failed, target never reached, no such ε).
    """

    mean: float
    low: float
    high: float
    count: int
    missing: int

    @property
    def half_width(self) -> float:
        """Return half the length of the interval."""
        return (self.high - self.low) / 2

    @property
    def bounded(self) -> bool:
        """Return whether there is an interval: two values or more, all of them finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)


def estimate(values: Iterable[float | None]) -> Estimate:
    """Compute mean and 95 % t interval of the values that exist (assumes a near-normal spread over seeds).

    Args:
        values: numbers of any unit; ``None`` and NaN are counted as missing, infinities are values.
    """
    given = list(values)
    present = [float(v) for v in given if v is not None and not math.isnan(v)]
    count, missing = len(present), len(given) - len(present)
    infinite = {v for v in present if math.isinf(v)}
    if infinite or not present:
        mean = infinite.pop() if len(infinite) == 1 else math.nan
        return Estimate(mean, math.nan, math.nan, count, missing)
    mean = math.fsum(present) / count
    if count == 1:
        return Estimate(mean, math.nan, math.nan, 1, missing)
    half = float(t.ppf(0.5 + LEVEL / 2, count - 1)) * statistics.stdev(present) / math.sqrt(count)
    return Estimate(mean, mean - half, mean + half, count, missing)


def median(values: Iterable[float]) -> float:
    """Return the median of numbers that may be infinite; for an even number the mean of the middle two.

    Args:
        values: at least one, none of them NaN.
    """
    return float(statistics.median(values))


def seeds_in_words(counts: Iterable[int]) -> str:
    """Describe the number of seeds: "one seed, no interval", "8 seeds" or "1 to 8 seeds".

    Args:
        counts: seeds of each row, curve or point.
    """
    present = sorted(set(counts))
    if not present or present[-1] <= 1:
        return ONE_SEED
    return f"{present[0]} to {present[-1]} seeds" if len(present) > 1 else f"{present[0]} seeds"
