"""Search for the breaking point of a scenario, by bisection over the number of Byzantine nodes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.tables.estimate import estimate
from analysis.tables.paired import HONEST
from scenarios.kinds.studies import STUDY_TABLES, seeds_of
from scenarios.load import Loaded, merged
from scenarios.studies.study import Planned, carry_out
from simulator.errors import ConfigurationError

COUNT, ATTACK = "adversary.byzantine.count", "adversary.byzantine.attack"
METRIC = "accuracy_mean"
ATTACKED = "attacked"
"""Variant in which Byzantine nodes attack; in :data:`HONEST` the same nodes follow the protocol."""


@dataclass(frozen=True)
class AccuracyLoss:
    """Accuracy lost to Byzantine nodes, compared with the same nodes without an attack.

    Args:
        byzantine: number of Byzantine nodes.
        mean: mean accuracy lost over seeds, as a fraction.
        low, high: 95 % t interval of the mean; None for one seed, which has no interval.
        seeds: number of seeds.
    """

    byzantine: int
    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class BreakingPoint:
    """Result of the bisection.

    Args:
        byzantine: smallest number of Byzantine nodes that costs at least the asked accuracy; None if no number up to
            ``most`` does.
        most: largest number that was tried.
        costs: accuracy lost for every number tried, ascending.
    """

    byzantine: int | None
    most: int
    costs: tuple[AccuracyLoss, ...]


def breaking_point(
    loaded: Loaded, out: Path, *, drop: float, most: int, jobs: int, on_progress: Callable[[float, str], None]
) -> BreakingPoint:
    """Bisect over the number of Byzantine nodes; every run is kept in a study folder, and none is repeated.

    The cost is assumed to rise with the number: placements are nested, so a larger number adds nodes to a smaller
    one. Otherwise the number found is one of several at which the cost crosses ``drop``.

    Args:
        loaded: the scenario, with [adversary.byzantine] and its ``count``. Seeds are those of [study].
        out: the study folder.
        drop: mean accuracy lost over seeds that counts as broken, as a fraction.
        most: largest number of Byzantine nodes to try, at least 1.
        jobs: number of processes.
        on_progress: called with (fraction done, text).

    Raises:
        ConfigurationError: the scenario has no ``count`` of Byzantine nodes or no attack, or ``most`` is too large.
        SottovoceError: runs failed.
    """
    table = loaded.scenario.adversary.byzantine
    if table is None or table.count is None or table.attack.part == "nothing":
        raise ConfigurationError(
            f"{loaded.path} needs [adversary.byzantine] with count (in place of nodes) and an attack to search for a "
            "breaking point; add them",
            "adversary.byzantine.count",
        )
    if most < 1:
        raise ConfigurationError(
            f"most, the largest number of Byzantine nodes to try, must be at least 1, got {most}"
        )
    seeds = seeds_of(loaded.scenario.study.seeds, loaded.scenario.seed)
    planned: list[Planned] = []
    costs: dict[int, AccuracyLoss] = {}

    def cost(byzantine: int) -> AccuracyLoss:
        if byzantine not in costs:
            new = [
                _planned(loaded, byzantine, seed, attacked) for seed in seeds for attacked in (True, False)
            ]
            planned.extend(new)
            carry_out("breaking", loaded, planned, out, jobs, on_progress)
            costs[byzantine] = _cost(out, byzantine, new)
        return costs[byzantine]

    low, high = 0, most
    if cost(most).mean < drop:
        found = None
    else:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if cost(middle).mean >= drop else (middle, high)
        found = high
    point = BreakingPoint(found, most, tuple(costs[number] for number in sorted(costs)))
    _write(out, point, drop)
    return point


def _planned(loaded: Loaded, byzantine: int, seed: int, attacked: bool) -> Planned:
    changes: dict[str, Any] = {COUNT: byzantine, "adversary.byzantine.enabled": True, "seed": seed}
    if not attacked:
        changes[ATTACK] = {"kind": "none"}
    raw = {k: v for k, v in merged(loaded.raw, changes).items() if k not in STUDY_TABLES}
    return Planned(raw, seed, {COUNT: byzantine}, variant=ATTACKED if attacked else HONEST)


def _cost(out: Path, byzantine: int, runs: list[Planned]) -> AccuracyLoss:
    by_arm: dict[str | None, list[float]] = {}
    for run in runs:
        summary = json.loads((out / "runs" / run.id / "summary.json").read_text())
        by_arm.setdefault(run.variant, []).append(float(summary[METRIC]))
    lost = estimate(
        honest - attacked for honest, attacked in zip(by_arm[HONEST], by_arm[ATTACKED], strict=True)
    )
    low, high = (lost.low, lost.high) if lost.bounded else (None, None)
    return AccuracyLoss(byzantine, lost.mean, low, high, lost.count)


def _write(out: Path, point: BreakingPoint, drop: float) -> None:
    content = {
        "format": 1,
        "metric": METRIC,
        "drop": drop,
        "byzantine": point.byzantine,
        "most": point.most,
        "costs": [vars(cost) for cost in point.costs],
    }
    (out / "breaking.json").write_text(json.dumps(content, indent=2) + "\n")
