"""Names of series and variants, which tables and figures are labelled by."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.kinds.studies import Series, Whatif
from scenarios.schema import Scenario


def distinct_names(scenario: Scenario) -> Found:
    """Series and variants are told apart by name."""
    groups: tuple[tuple[Key, tuple[Series | Whatif, ...]], ...] = (
        (("sweep", "series"), scenario.sweep.series if scenario.sweep else ()),
        (("whatif",), scenario.whatif),
    )
    for key, group in groups:
        seen: set[str] = set()
        for i, item in enumerate(group):
            if item.name in seen:
                yield (*key, i, "name"), f'the name "{item.name}" is taken by an earlier one; use another'
            seen.add(item.name)


def baseline_is_a_series(scenario: Scenario) -> Found:
    """The baseline of a sweep is one of its series, and not the only one."""
    sweep = scenario.sweep
    if sweep is None or sweep.baseline is None:
        return
    names = [one.name for one in sweep.series]
    if sweep.baseline not in names or len(names) < 2:
        there = ", ".join(f'"{name}"' for name in names) or "none"
        yield (
            ("sweep", "baseline"),
            f'"{sweep.baseline}" must be the name of one of two or more [[sweep.series]] (there are: {there}); name '
            "one of them, or leave baseline out",
        )


CHECKS = (distinct_names, baseline_is_a_series)
