"""How many liars does it take? The breaking point of a scenario, by bisection over their number."""

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


@dataclass(frozen=True)
class AccuracyLoss:
    """What some liars cost, against the same nodes telling the truth.

    Args:
        liars: how many.
        mean: accuracy lost, over seeds.
        low, high: 95 % t interval of the mean; None for one seed, which has no interval.
        seeds: how many.
    """

    liars: int
    mean: float
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class BreakingPoint:
    """What bisection found.

    Args:
        liars: the smallest number that costs as much as asked; None if even the most do not.
        most: of liars that were tried.
        costs: of all numbers tried, ascending.
    """

    liars: int | None
    most: int
    costs: tuple[AccuracyLoss, ...]


def breaking_point(
    loaded: Loaded, out: Path, *, drop: float, most: int, jobs: int, on_progress: Callable[[float, str], None]
) -> BreakingPoint:
    """Bisect over the number of Byzantine nodes; every run is kept in a study folder, and none is repeated.

    Args:
        loaded: the scenario, with [adversary.byzantine] and its ``count``. Seeds are those of [study].
        out: the study folder.
        drop: accuracy lost that counts as broken, in mean over seeds.
        most: liars to try at most.
        jobs: processes.
        on_progress: called with (fraction done, text).

    Raises:
        ConfigurationError: nobody lies by number in this scenario, or more are to be tried than there can be.
        SottovoceError: runs failed.

    The cost is taken to rise with the number of liars: more are those before and others (placements are nested).
    Where it does not, the point found is one at which it crosses the mark.
    """
    table = loaded.scenario.adversary.byzantine
    if table is None or table.count is None or table.attack.kind == "none":
        raise ConfigurationError(
            f"{loaded.path} needs [adversary.byzantine] with a count and an attack to look for a breaking point",
            "adversary.byzantine.count",
        )
    if most < 1:
        raise ConfigurationError(f"{most} liars at most; expected 1 or more")
    seeds = seeds_of(loaded.scenario.study.seeds, loaded.scenario.seed)
    planned: list[Planned] = []
    costs: dict[int, AccuracyLoss] = {}

    def cost(liars: int) -> AccuracyLoss:
        if liars not in costs:
            new = [_planned(loaded, liars, seed, lying) for seed in seeds for lying in (True, False)]
            planned.extend(new)
            carry_out("breaking", loaded, planned, out, jobs, on_progress)
            costs[liars] = _cost(out, liars, new)
        return costs[liars]

    low, high = 0, most
    if cost(most).mean < drop:
        found = None
    else:
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if cost(middle).mean >= drop else (middle, high)
        found = high
    point = BreakingPoint(found, most, tuple(costs[liars] for liars in sorted(costs)))
    _write(out, point, drop)
    return point


def _planned(loaded: Loaded, liars: int, seed: int, lying: bool) -> Planned:
    changes: dict[str, Any] = {COUNT: liars, "adversary.byzantine.enabled": True, "seed": seed}
    if not lying:
        changes[ATTACK] = {"kind": "none"}
    raw = {k: v for k, v in merged(loaded.raw, changes).items() if k not in STUDY_TABLES}
    return Planned(raw, seed, {COUNT: liars}, variant="lying" if lying else HONEST)


def _cost(out: Path, liars: int, runs: list[Planned]) -> AccuracyLoss:
    by_arm: dict[str | None, list[float]] = {}
    for run in runs:
        summary = json.loads((out / "runs" / run.id / "summary.json").read_text())
        by_arm.setdefault(run.variant, []).append(float(summary[METRIC]))
    lost = estimate(truth - lie for truth, lie in zip(by_arm[HONEST], by_arm["lying"], strict=True))
    low, high = (lost.low, lost.high) if lost.bounded else (None, None)
    return AccuracyLoss(liars, lost.mean, low, high, lost.count)


def _write(out: Path, point: BreakingPoint, drop: float) -> None:
    content = {
        "format": 1,
        "metric": METRIC,
        "drop": drop,
        "liars": point.liars,
        "most": point.most,
        "costs": [vars(cost) for cost in point.costs],
    }
    (out / "breaking.json").write_text(json.dumps(content, indent=2) + "\n")
