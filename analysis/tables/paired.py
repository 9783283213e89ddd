"""Paired differences: runs against the baseline's runs of the same seed (common random numbers)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.metrics.catalogue import of_plugins
from analysis.store import Study
from analysis.tables.estimate import Estimate, estimate
from analysis.tables.tradeoff import BASELINE, Setting, epsilon_of, label
from simulator.errors import StorageError


@dataclass(frozen=True)
class Quantity:
    """Quantity that is compared, and the unit of a difference.

    Args:
        key: summary key; ``epsilon_certified`` and ``epsilon_open_loop`` are read per basis.
        title: label of a row.
        unit: of a difference, after scaling.
        scale: factor from the summary's unit.
        short: label of a column.
    """

    key: str
    title: str
    unit: str
    scale: float = 1.0
    short: str = ""


HONEST, FORMERLY_HONEST = "honest", "telling the truth"
"""Variant in which nodes that are Byzantine in the others follow the protocol; its name now, and in older studies."""

ROUNDING = 1e-12
"""Relative difference of two values up to which it is taken as rounding."""

POINTS = "percentage points"
METRICS = (
    Quantity("accuracy_mean", "accuracy, mean", POINTS, 100.0, "mean acc."),
    Quantity("accuracy_worst", "accuracy, worst honest node", POINTS, 100.0, "worst acc."),
    Quantity("epsilon_certified", "ε, certified", "ε", short="ε certified"),
    Quantity("epsilon_open_loop", "ε, open-loop (not a bound)", "ε", short="ε open-loop"),
    Quantity("simulated_s", "virtual time", "s", short="virtual"),
    Quantity("bytes_sent", "traffic", "MiB", 1 / 2**20, "traffic"),
)
IF_THERE = (
    Quantity("epsilon_median", "ε, certified, median victim", "ε", short="ε median"),
    Quantity("sums_opened_fraction", "secure sums opened", POINTS, 100.0, "sums opened"),
    Quantity("mixes_complete_fraction", "mixes with all partners", POINTS, 100.0, "mixes with all"),
    Quantity("backdoor_success_mean", "success of the backdoor", POINTS, 100.0, "backdoor"),
    Quantity("leak_determined", "others' static values determined", POINTS, 100.0, "values determined"),
    Quantity("leak_updates", "updates reconstructed, cosine", "cosine", short="update cosine"),
    Quantity("leak_samples", "samples found by inversion", POINTS, 100.0, "samples found"),
    Quantity("leak_members", "membership by loss, AUC", "AUC", short="membership"),
)
"""Quantities compared only in studies in which they differ between runs."""


@dataclass(frozen=True)
class Difference:
    """Difference of a variant to the baseline in one metric, seed by seed.

    Args:
        variant: name of the variant or series.
        metric: the compared quantity.
        per_seed: (seed, difference in ``metric.unit``) by seed: infinite where one of the two values is, zero where
            they differ by :data:`ROUNDING` or less.
        estimate: mean over ``per_seed`` and its 95 % Student t interval; NaN where some pair is infinite in both
            runs, since the difference of that pair, and so their mean, is undefined.
        note: in words, what the numbers leave out ("" if nothing).
        setting: the swept (dotted key, value) pairs of the point; none in a what-if.
    """

    variant: str
    metric: Quantity
    per_seed: tuple[tuple[int, float], ...]
    estimate: Estimate
    note: str
    setting: Setting = ()

    @property
    def mean(self) -> float:
        """Return the mean of the differences."""
        return self.estimate.mean

    @property
    def low(self) -> float:
        """Return the lower end of the 95 % interval of the mean; NaN below two pairs or with an infinite one."""
        return self.estimate.low

    @property
    def high(self) -> float:
        """Return the upper end of the interval."""
        return self.estimate.high


Rows = Mapping[int, Mapping[str, Any]]
"""Summaries by seed."""


def differences(
    summaries: pl.DataFrame, baseline: str = BASELINE, grid: Iterable[str] = ()
) -> list[Difference]:
    """Compare every variant with the baseline, pairing runs by seed.

    Args:
        summaries: a study's table; the baseline of a what-if is the runs without variant.
        baseline: name of the variant or series that the others are compared with.
        grid: dotted keys that a sweep sweeps. A point is compared with the point of the baseline with the same values
            of the keys that the baseline sweeps; a baseline that sweeps nothing is compared with every point.

    Returns:
        One entry per variant (and setting) and metric, variants in order of first appearance.

    Raises:
        StorageError: there is no baseline, or one variant holds a seed twice.
    """
    keys = [key for key in grid if f"set.{key}" in summaries.columns]
    places: dict[str, tuple[str, Setting, dict[int, dict[str, Any]]]] = {}
    for row in summaries.to_dicts():
        setting = tuple((key, row[f"set.{key}"]) for key in keys if row[f"set.{key}"] is not None)
        name = label(row)
        *_, runs = places.setdefault(repr((name, setting)), (name, setting, {}))
        if int(row["seed"]) in runs:
            raise StorageError(
                f"summaries.parquet: variant {name!r} {dict(setting) or ''} holds seed {row['seed']} twice; one of "
                "these runs belongs to another study, run this one again"
            )
        runs[int(row["seed"])] = row
    bases = [(setting, runs) for name, setting, runs in places.values() if name == baseline]
    if not bases:
        named = "variant null" if baseline == BASELINE else f"series {baseline!r}"
        raise StorageError(f"summaries.parquet: no finished baseline run ({named}) to compare with")
    metrics = metrics_of(summaries.to_dicts())
    found = []
    for name, setting, runs in places.values():
        if name != baseline:
            base = next((of for swept, of in bases if fits(swept, setting)), {})
            found += [paired(name, metric, runs, base, setting) for metric in metrics]
    return found


def fits(base: Setting, setting: Setting) -> bool:
    """Return whether a point has the baseline's values of all keys that the baseline sweeps."""
    return all(pair in setting for pair in base)


def study_differences(study: Study) -> list[Difference]:
    """Return the differences of a what-if, a breaking point, or a sweep with a baseline; none without its runs.

    Raises:
        StorageError: one variant holds a seed twice.
    """
    baseline = baseline_of(study)
    if baseline is None or baseline not in map(label, study.summaries.to_dicts()):
        return []
    return differences(study.summaries, baseline, swept_keys(study))


def swept_keys(study: Study) -> tuple[str, ...]:
    """Return dotted keys in the grids of a sweep and of its series, and those a search varies; none of a what-if."""
    tables: list[Any] = []
    if study.kind == "sweep":
        sweep = study.description["scenario"].get("sweep") or {}
        tables = [sweep.get("grid"), *(one.get("grid") for one in sweep.get("series") or ())]
    elif study.kind == "breaking":
        tables = [run.get("set") for run in study.description["runs"]]
    return tuple(dict.fromkeys(key for table in tables for key in table or ()))


def baseline_of(study: Study) -> str | None:
    """Return the baseline of the runs of a study; ``None`` if there is none.

    That is a what-if's own scenario, the honest runs of a search for a breaking point, the series named by a sweep.
    """
    if study.kind in ("whatif", "breaking"):
        older = any(run.get("variant") == FORMERLY_HONEST for run in study.description["runs"])
        return BASELINE if study.kind == "whatif" else FORMERLY_HONEST if older else HONEST
    named = (study.description["scenario"].get("sweep") or {}).get("baseline")
    return None if study.kind != "sweep" or named is None else str(named)


def metrics_of(rows: Sequence[Mapping[str, Any]]) -> tuple[Quantity, ...]:
    """Return the quantities to compare in some summaries: :data:`METRICS` with a value, others with a finite one."""

    def values(metric: Quantity) -> list[float]:
        return [value for row in rows if (value := _value(row, metric.key)) is not None]

    always = [metric for metric in METRICS if values(metric)]
    declared = [
        Quantity(one.name, one.name, one.unit or "1", short=one.name) for one in of_plugins().values()
    ]
    others = (one for one in (*IF_THERE, *declared) if any(map(math.isfinite, values(one))))
    return (*always, *others)


def paired(
    variant: str,
    metric: Quantity,
    rows: Rows,
    baseline: Rows,
    setting: Setting = (),
) -> Difference:
    """Compare one metric of a variant's runs with the baseline's runs of the same seeds.

    Args:
        variant: its name.
        metric: the compared quantity.
        rows: the variant's summaries by seed.
        baseline: the baseline's.
        setting: the swept (dotted key, value) pairs of the variant.
    """
    seeds = sorted(set(rows) | set(baseline))
    per_seed: list[tuple[int, float]] = []
    notes: dict[str, int] = {}
    undefined = False
    for seed in seeds:
        if seed not in rows or seed not in baseline:
            notes["no pair"] = notes.get("no pair", 0) + 1
            continue
        after, before = _value(rows[seed], metric.key), _value(baseline[seed], metric.key)
        if after is not None and before is not None:
            if after == before and math.isinf(after):
                undefined = True
            else:
                same = math.isclose(after, before, rel_tol=ROUNDING)
                per_seed.append((seed, 0.0 if same else metric.scale * (after - before)))
                if math.isfinite(after) and math.isfinite(before):
                    continue
        why = _why(after, before)
        notes[why] = notes.get(why, 0) + 1
    note = "; ".join(
        why if count == len(seeds) else f"{count} of {len(seeds)} seeds: {why}"
        for why, count in notes.items()
    )
    mean = estimate([value for _, value in per_seed] if not undefined else [])
    return Difference(variant, metric, tuple(per_seed), mean, note, setting)


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
        "no value"
        if value is None
        else "∞"
        if value == math.inf
        else "−∞"
        if value == -math.inf
        else "finite"
        for value in (before, after)
    ]
    return f"{words[0]} in both" if words[0] == words[1] else f"{words[0]} → {words[1]}"
