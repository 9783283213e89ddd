"""Paired what-if differences: a variant against the baseline of the same seed (common random numbers)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from analysis.tradeoff import BASELINE, epsilon_of, label
from simulator.errors import StorageError

RESAMPLES = 10_000


@dataclass(frozen=True)
class Metric:
    """A quantity that is compared, and the unit a difference is shown in.

    Args:
        key: summary key; ``epsilon_certified`` and ``epsilon_open_loop`` are read per basis.
        title: for people.
        unit: of a difference, after scaling.
        scale: factor from the summary's unit.
    """

    key: str
    title: str
    unit: str
    scale: float = 1.0


METRICS = (
    Metric("accuracy_mean", "accuracy, mean", "percentage points", 100.0),
    Metric("accuracy_worst", "accuracy, worst honest node", "percentage points", 100.0),
    Metric("epsilon_certified", "ε, certified", "ε"),
    Metric("epsilon_open_loop", "ε, open-loop (not a bound)", "ε"),
    Metric("simulated_s", "virtual time", "s"),
    Metric("bytes_sent", "traffic", "MiB", 1 / 2**20),
)
IF_THERE = (
    Metric("epsilon_median", "ε, certified, median victim", "ε"),
    Metric("backdoor_success_mean", "success of the backdoor", "percentage points", 100.0),
    Metric("leak_determined", "others' static values determined", "percentage points", 100.0),
    Metric("leak_updates", "updates reconstructed, cosine", "cosine"),
    Metric("leak_samples", "samples found by inversion", "percentage points", 100.0),
    Metric("leak_members", "membership by loss, AUC", "AUC"),
)
"""Compared only in studies that have them."""


@dataclass(frozen=True)
class Difference:
    """Variant minus baseline in one metric, seed by seed.

    Args:
        variant: name of the variant.
        metric: what was compared.
        per_seed: (seed, difference in ``metric.unit``), finite ones only, by seed.
        mean: of the finite differences; NaN if there are none.
        low: lower end of the 95 % bootstrap interval of the mean; NaN with fewer than two.
        high: upper end.
        note: in words, what the numbers leave out ("" if nothing).
    """

    variant: str
    metric: Metric
    per_seed: tuple[tuple[int, float], ...]
    mean: float
    low: float
    high: float
    note: str


def bootstrap_interval(
    values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a mean (Efron & Tibshirani 1993, chapter 13).

    Args:
        values: at least one finite number. With very few, the interval is somewhat too short.
        resamples: how many resamples are drawn.
        seed: of the resampling, so that a figure can be made again.
    """
    sample = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, sample.size, size=(resamples, sample.size))
    low, high = np.quantile(sample[picks].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def differences(summaries: pl.DataFrame) -> list[Difference]:
    """Compare every variant with the baseline, pairing runs by seed.

    Args:
        summaries: a what-if study's table; the baseline is the runs without variant.

    Returns:
        One entry per variant and metric, variants in order of first appearance.

    Raises:
        StorageError: there is no baseline, or one variant holds a seed twice.
    """
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for row in summaries.to_dicts():
        of_variant = runs.setdefault(label(row), {})
        if int(row["seed"]) in of_variant:
            raise StorageError(f"summaries.parquet: variant {label(row)!r} holds seed {row['seed']} twice")
        of_variant[int(row["seed"])] = row
    if BASELINE not in runs:
        raise StorageError("summaries.parquet: no finished baseline run (variant null) to compare with")
    baseline = runs.pop(BASELINE)
    metrics = metrics_of(summaries)
    return [
        _difference(variant, metric, rows, baseline) for variant, rows in runs.items() for metric in metrics
    ]


def metrics_of(summaries: pl.DataFrame) -> tuple[Metric, ...]:
    """What a study has to compare."""
    return (*METRICS, *(m for m in IF_THERE if m.key in summaries.columns and _says(summaries[m.key])))


def _says(column: pl.Series) -> bool:
    """Whether some number in it is finite."""
    return bool(column.drop_nulls().cast(pl.Float64, strict=False).is_finite().any())


def _difference(
    variant: str,
    metric: Metric,
    rows: Mapping[int, Mapping[str, Any]],
    baseline: Mapping[int, Mapping[str, Any]],
) -> Difference:
    seeds = sorted(set(rows) | set(baseline))
    finite: list[tuple[int, float]] = []
    notes: dict[str, int] = {}
    for seed in seeds:
        if seed not in rows or seed not in baseline:
            why = "no pair"
        else:
            after, before = _value(rows[seed], metric.key), _value(baseline[seed], metric.key)
            if after is not None and before is not None and math.isfinite(after) and math.isfinite(before):
                finite.append((seed, metric.scale * (after - before)))
                continue
            why = _why(after, before)
        notes[why] = notes.get(why, 0) + 1
    values = [value for _, value in finite]
    mean = math.fsum(values) / len(values) if values else math.nan
    low, high = bootstrap_interval(values) if len(values) > 1 else (math.nan, math.nan)
    note = "; ".join(
        why if count == len(seeds) else f"{count} of {len(seeds)} seeds: {why}"
        for why, count in notes.items()
    )
    return Difference(variant, metric, tuple(finite), mean, low, high, note)


def _value(row: Mapping[str, Any], key: str) -> float | None:
    if key == "epsilon_certified":
        value = epsilon_of(row, "certified")
    elif key == "epsilon_open_loop":
        value = epsilon_of(row, "open-loop")
    else:
        value = None if row.get(key) is None else float(row[key])
    return None if value is not None and math.isnan(value) else value


def _why(after: float | None, before: float | None) -> str:
    words = [
        "no value" if value is None else "∞" if math.isinf(value) else "finite" for value in (before, after)
    ]
    return f"{words[0]} in both" if words[0] == words[1] else f"{words[0]} → {words[1]}"
