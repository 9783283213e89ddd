"""Checks of the names of series and variants, which label tables and figures."""

from __future__ import annotations

import json

from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.kinds.studies import SEEDS, Grid, Series, Whatif
from scenarios.schema import Scenario

BASELINE = "baseline"
"""Name of the scenario itself among its variants."""


def distinct_names(scenario: Scenario) -> Found:
    """Check that series and variants have distinct names."""
    groups: tuple[tuple[Key, tuple[Series | Whatif, ...]], ...] = (
        (("sweep", "series"), scenario.sweep.series if scenario.sweep else ()),
        (("whatif",), scenario.whatif),
    )
    for key, group in groups:
        seen: set[str] = set()
        for i, item in enumerate(group):
            if item.name in seen:
                yield (
                    (*key, i, "name"),
                    f'must be distinct, and "{item.name}" names an earlier one; use another name',
                )
            seen.add(item.name)


def baseline_is_a_series(scenario: Scenario) -> Found:
    """Check that the baseline of a sweep is one of two or more series."""
    sweep = scenario.sweep
    if sweep is None or sweep.baseline is None:
        return
    names = [one.name for one in sweep.series]
    if sweep.baseline not in names or len(names) < 2:
        there = ", ".join(f'"{name}"' for name in names) or "none"
        yield (
            ("sweep", "baseline"),
            f'must name one of two or more [[sweep.series]] (there are: {there}), got "{sweep.baseline}"; name one '
            "of "
            "them, or remove baseline",
        )


def no_variant_is_the_baseline(scenario: Scenario) -> Found:
    """Check that no variant has the name under which tables and figures show the scenario itself."""
    for i, variant in enumerate(scenario.whatif):
        if variant.name == BASELINE:
            yield (
                ("whatif", i, "name"),
                f'must not be "{BASELINE}", which tables and figures call the scenario itself; use another name',
            )


def distinct_points(scenario: Scenario) -> Found:
    """Check that no value of a grid is listed twice: both would be the same run, counted twice."""
    sweep = scenario.sweep
    if sweep is None:
        return
    grids: list[tuple[Key, Grid | None]] = [(("sweep", "grid"), sweep.grid)]
    grids += [(("sweep", "series", i, "grid"), one.grid) for i, one in enumerate(sweep.series)]
    for key, grid in grids:
        for name, values in (grid or {}).items():
            texts = [json.dumps(value, sort_keys=True, default=str) for value in values]
            again = next((text for i, text in enumerate(texts) if text in texts[:i]), None)
            if again is not None:
                yield (
                    (*key, name),
                    f"lists {again} twice, which would count one run twice; list each value once",
                )


def last_seed(scenario: Scenario) -> Found:
    """Check that the seeds counted from the scenario's own are below the largest one."""
    studies = (
        (("study", "seeds"), scenario.study.seeds),
        (("sweep", "seeds"), scenario.sweep and scenario.sweep.seeds),
    )
    for key, seeds in studies:
        if isinstance(seeds, int) and scenario.seed + seeds > SEEDS:
            yield (
                key,
                f"counts beyond the largest seed, 2**63 - 1, from seed {scenario.seed} on; use a smaller seed",
            )


CHECKS = (distinct_names, baseline_is_a_series, no_variant_is_the_baseline, distinct_points, last_seed)
