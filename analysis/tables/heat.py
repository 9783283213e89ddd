"""Table of attacks against defences: remaining accuracy, and the worst attack on each defence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import polars as pl

from analysis.store import Study
from analysis.tables.estimate import Estimate, estimate

ATTACK = "set.adversary.byzantine.attack"
WORST = "worst attack"


@dataclass(frozen=True)
class Cell:
    """Result of one attack on one defence.

    Args:
        defence, attack: names.
        estimate: mean over seeds with its 95 % t interval.
    """

    defence: str
    attack: str
    estimate: Estimate

    @property
    def mean(self) -> float:
        """Return the mean over seeds; NaN without any run."""
        return self.estimate.mean

    @property
    def seeds(self) -> int:
        """Return the number of seeds."""
        return self.estimate.count


@dataclass(frozen=True)
class Grid:
    """Results of all attacks on all defences.

    Args:
        defences, attacks: in the order of the study; attacks end with :data:`WORST`.
        cells: by (defence, attack).
    """

    defences: tuple[str, ...]
    attacks: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]


def has_heat(study: Study) -> bool:
    """Return whether a study sweeps attacks."""
    if study.kind != "sweep" or ATTACK not in study.summaries.columns:
        return False
    return ATTACK.removeprefix("set.") in (study.description["scenario"].get("sweep") or {}).get("grid", {})


def heat(study: Study, metric: str) -> Grid:
    """Build the grid of a sweep over attacks with a series per defence.

    A run that diverged counts with chance accuracy, as in its summary. The worst attack of a defence is the one
    with the lowest mean, of all but ``none``; its interval is that attack's own.
    """
    rows = study.summaries.filter(pl.col(metric).is_not_null())
    defences = list(dict.fromkeys(str(series or "–") for series in rows["series"]))
    planned = [entry.get("set", {}).get(ATTACK.removeprefix("set.")) for entry in study.description["runs"]]
    attacks = list(dict.fromkeys(name_of(attack) for attack in planned if attack is not None))
    values: dict[tuple[str, str], list[float]] = {}
    for row in rows.to_dicts():
        values.setdefault((str(row["series"] or "–"), name_of(row[ATTACK])), []).append(float(row[metric]))
    cells = {
        (defence, attack): Cell(defence, attack, estimate(values.get((defence, attack), [])))
        for defence in defences
        for attack in attacks
    }
    for defence in defences:
        of_defence = [cells[defence, attack] for attack in attacks if attack != "none"]
        known = [cell for cell in of_defence if cell.seeds]
        if known:
            worst = min(known, key=lambda cell: cell.mean)
            cells[defence, WORST] = worst
    return Grid(tuple(defences), (*attacks, WORST), cells)


def name_of(attack: Any) -> str:
    """Return a short name: the kind, and whether it was searched."""
    table = json.loads(attack) if isinstance(attack, str) else attack
    kind = str(table["kind"])
    searched = [key for key, value in table.items() if value == "search"]
    return f"{kind} (searched)" if searched else kind


def heat_rows(study: Study, metric: str = "accuracy_mean") -> tuple[list[str], list[list[str]]]:
    """Return header and rows for a table."""
    grid = heat(study, metric)
    rows = []
    for defence in grid.defences:
        cells = [grid.cells.get((defence, attack)) for attack in grid.attacks]
        texts = ["–" if cell is None or not cell.seeds else f"{100 * cell.mean:.1f}" for cell in cells]
        rows.append([defence, *texts])
    return ["defence", *grid.attacks], rows
