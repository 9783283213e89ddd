"""Build the faults and compute speeds of a scenario."""

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
        nodes: number of nodes.
        base: the folder that relative file names start at.

    Raises:
        ConfigurationError: a fault does not fit the number of nodes, or a file is missing or wrong.
    """
    regions = {region.name: region.nodes for region in scenario.region}
    site = Site(nodes, regions, base, scenario.seed)
    found = tuple(event for fault in scenario.fault for event in fault.build(site))
    plan.check(found, nodes)
    return found


def build_speeds(compute: Compute | None, nodes: int, seed: int) -> Speeds | None:
    """Return the compute speed of each node; None if all are alike.

    Raises:
        ConfigurationError: a factor is not finite and above 0.
    """
    return None if compute is None else compute.slowdown.build(nodes, seed)
