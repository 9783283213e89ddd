"""Checks of the names of series and variants, which label tables and figures."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.kinds.studies import Series, Whatif
from scenarios.schema import Scenario


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


CHECKS = (distinct_names, baseline_is_a_series)
