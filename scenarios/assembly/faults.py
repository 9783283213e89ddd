"""What a world is told of the faults, speeds and failure detector of a scenario."""

from __future__ import annotations

from pathlib import Path

from scenarios.kinds.compute import Compute
from scenarios.kinds.faults import Site
from scenarios.schema import Scenario
from simulator.faults import plan
from simulator.faults.plan import Fault
from simulator.faults.speeds import Speeds


def build_faults(scenario: Scenario, nodes: int, base: Path) -> tuple[Fault, ...]:
    """Return the events of all faults.

    Args:
        scenario: with its faults, regions and seed.
        nodes: how many.
        base: where relative file names start.

    Raises:
        ConfigurationError: there can be no such events on so many nodes, or a file is missing or wrong.
    """
    regions = {region.name: region.nodes for region in scenario.region}
    site = Site(nodes, regions, base, scenario.seed)
    found = tuple(event for fault in scenario.fault for event in fault.build(site))
    plan.check(found, nodes)
    return found


def build_speeds(compute: Compute | None, nodes: int, seed: int) -> Speeds | None:
    """Return how long computing takes each node; None if all are alike.

    Raises:
        ConfigurationError: a factor is not finite and above 0.
    """
    return None if compute is None else compute.slowdown.build(nodes, seed)
