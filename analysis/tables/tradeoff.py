"""Trade-off of privacy, utility and latency: aggregates over seeds, and the Pareto front.

The two kinds of ε are never combined in one number. ``certified`` is a bound on what adaptive training reveals;
``open-loop`` is the loss of the recorded linear view with the other nodes' gradients held fixed, which on
sparse graphs is not a bound. Each has its own points and its own front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import polars as pl

from analysis.tables.estimate import Estimate, estimate, median

Basis: TypeAlias = Literal["certified", "open-loop"]
BASES: tuple[Basis, Basis] = ("certified", "open-loop")
BOUNDS = frozenset({"certified", "ldp-fallback"})
"""Values of ``basis`` in a summary that make its ε a bound."""

Setting: TypeAlias = tuple[tuple[str, Any], ...]
"""(dotted key, value) pairs that a point of a study changes."""

BASELINE = "baseline"
"""Name of a run without series and without variant."""


@dataclass(frozen=True)
class GridPoint:
    """All seeds of one series or variant at one setting of the swept keys.

    Args:
        series: name of the series or variant; a what-if's :data:`BASELINE`; the protocol in a sweep without series.
        setting: the swept (dotted key, value) pairs.
        basis: the kind of ε in ``epsilon``.
        protocol: as in the summaries, for example ``"dsgd/secure"``.
        epsilon: worst observer, worst victim; infinite if any seed's is.
        time_to_accuracy_s: over the seeds that reached the target (``missing`` counts the others).
        median_time_to_accuracy_s: median over all seeds, never reached counting as infinite.
        sums_opened: fraction of the requested secure sums that were opened; without a value where there are none.
        mixes_complete: fraction of the mixes that received a message from every expected neighbour.
        seeds: number of runs of the point, those without a value included.
    """

    series: str
    setting: Setting
    basis: Basis
    protocol: str
    accuracy_mean: Estimate
    accuracy_worst: Estimate
    epsilon: Estimate
    time_to_accuracy_s: Estimate
    median_time_to_accuracy_s: float
    simulated_s: Estimate
    bytes_sent: Estimate
    sums_opened: Estimate
    mixes_complete: Estimate
    seeds: int


def epsilon_of(summary: Mapping[str, Any], basis: Basis) -> float | None:
    """Return the worst ε of one run on ``basis``; ``None`` if the run has none, so that bases are never mixed."""
    headline, headline_basis = summary.get("epsilon_worst"), summary.get("basis")
    if basis == "certified":
        return _real(headline) if headline_basis in BOUNDS else None
    found = summary.get("epsilon_worst_open_loop")
    if found is None and headline_basis == "open-loop":
        found = headline
    return _real(found)


def label(row: Mapping[str, Any]) -> str:
    """Return the name of a run's series or variant."""
    return str(row.get("series") or row.get("variant") or BASELINE)


def grid_points(summaries: pl.DataFrame, basis: Basis = "certified") -> list[GridPoint]:
    """Aggregate a study's summaries over seeds.

    Args:
        summaries: one row a run (:attr:`analysis.store.Study.summaries`).
        basis: which ε to aggregate.

    Returns:
        One point per (series or variant, setting), in order of first appearance.
    """
    return [_point(name, setting, rows, basis) for name, setting, rows in grouped(summaries)]


def grouped(summaries: pl.DataFrame) -> list[tuple[str, Setting, list[dict[str, Any]]]]:
    """Return (series or variant, setting, runs) of every point of a study, in order of first appearance."""
    keys = [name for name in summaries.columns if name.startswith("set.")]
    rows = summaries.to_dicts()
    whatif = any(row.get("variant") for row in rows)
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        # A sweep without series has no baseline either; its runs are named by their protocol.
        name = label(row) if whatif else str(row.get("series") or row.get("protocol") or BASELINE)
        groups.setdefault((name, *(repr(row[key]) for key in keys)), []).append(row)
    return [
        (name, tuple((k.removeprefix("set."), of[0][k]) for k in keys if of[0][k] is not None), of)
        for (name, *_), of in groups.items()
    ]


def _point(name: str, setting: Setting, rows: Sequence[Mapping[str, Any]], basis: Basis) -> GridPoint:
    def over_seeds(key: str) -> Estimate:
        return estimate(_real(row.get(key)) for row in rows)

    times = [_real(row.get("time_to_accuracy_s")) for row in rows]
    return GridPoint(
        series=name,
        setting=setting,
        basis=basis,
        protocol=str(rows[0].get("protocol") or ""),
        accuracy_mean=over_seeds("accuracy_mean"),
        accuracy_worst=over_seeds("accuracy_worst"),
        epsilon=estimate(epsilon_of(row, basis) for row in rows),
        time_to_accuracy_s=estimate(times),
        median_time_to_accuracy_s=median(math.inf if t is None else t for t in times),
        simulated_s=over_seeds("simulated_s"),
        bytes_sent=over_seeds("bytes_sent"),
        sums_opened=over_seeds("sums_opened_fraction"),
        mixes_complete=over_seeds("mixes_complete_fraction"),
        seeds=len(rows),
    )


def curves(summaries: pl.DataFrame) -> dict[tuple[str, Basis], list[GridPoint]]:
    """Return the points with a finite ε, per series and basis, by increasing ε.

    A series whose open-loop ε equals its certified ε wherever it has one (a complete graph, for example) has the
    certified curve only.
    """
    found: dict[tuple[str, Basis], list[GridPoint]] = {}
    for basis in BASES:
        for point in grid_points(summaries, basis):
            if math.isfinite(point.epsilon.mean):
                found.setdefault((point.series, basis), []).append(point)
    for series in {series for series, _ in found}:
        certified, open_loop = found.get((series, "certified")), found.get((series, "open-loop"))
        if certified and open_loop and _same(certified, open_loop):
            del found[series, "open-loop"]
    return {key: sorted(points, key=lambda point: point.epsilon.mean) for key, points in found.items()}


def without_epsilon(summaries: pl.DataFrame) -> list[GridPoint]:
    """Return the points without a finite ε on any basis (plain gossip, or no noise at all)."""
    certified, open_loop = (grid_points(summaries, basis) for basis in BASES)
    return [
        one
        for one, other in zip(certified, open_loop, strict=True)
        if not math.isfinite(one.epsilon.mean) and not math.isfinite(other.epsilon.mean)
    ]


def infinite_points(summaries: pl.DataFrame) -> dict[tuple[str, Basis], list[GridPoint]]:
    """Return the points with an infinite ε on a basis, per series and basis, of those that have a curve.

    A point that is infinite on both bases is left to :func:`without_epsilon`.
    """
    drawn = {series for series, _ in curves(summaries)}
    certified, open_loop = (grid_points(summaries, basis) for basis in BASES)
    found: dict[tuple[str, Basis], list[GridPoint]] = {}
    for pair in zip(certified, open_loop, strict=True):
        for point, other in (pair, pair[::-1]):
            one_sided = math.isinf(point.epsilon.mean) and math.isfinite(other.epsilon.mean)
            if point.series in drawn and one_sided:
                found.setdefault((point.series, point.basis), []).append(point)
    return found


def unbounded(summaries: pl.DataFrame) -> list[str]:
    """Return the series with a curve that have, at some setting, no certified guarantee (ε infinite)."""
    drawn = {series for series, _ in curves(summaries)}
    points = grid_points(summaries, "certified")
    return list(dict.fromkeys(p.series for p in points if p.series in drawn and math.isinf(p.epsilon.mean)))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the points not dominated: no other has ε at most as large and accuracy at least as large, one strictly.

    Args:
        points: (ε, accuracy) pairs; a pair that is not finite is never on the front.

    Returns:
        Indices into ``points``, by increasing ε (of equal points, all).
    """
    finite = [i for i, (e, a) in enumerate(points) if math.isfinite(e) and math.isfinite(a)]
    front: list[int] = []
    best = -math.inf
    for i in sorted(finite, key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best or (front and points[i] == points[front[-1]]):
            front.append(i)
            best = points[i][1]
    return front


def _same(certified: Sequence[GridPoint], open_loop: Sequence[GridPoint]) -> bool:
    other = {point.setting: point.epsilon.mean for point in certified}
    return all(
        math.isclose(point.epsilon.mean, other.get(point.setting, math.nan), rel_tol=1e-6)
        for point in open_loop
    )


def _real(value: Any) -> float | None:
    return None if value is None else float(value)
