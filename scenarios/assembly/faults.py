"""From fault, compute and detector tables to what a world is told."""

from __future__ import annotations

from pathlib import Path

from scenarios.kinds import faults as fault_tables
from scenarios.kinds.faults import members_of
from scenarios.schema import Scenario
from simulator.faults import churn, speeds
from simulator.faults import plan as faults
from simulator.faults.detector import HeartbeatDetector
from simulator.faults.plan import Arrival, Churn, Cut, Fault, Hold, Slow
from simulator.faults.speeds import Speeds
from simulator.network import latency
from simulator.streams import Law


def build_faults(scenario: Scenario, nodes: int, base: Path) -> tuple[Fault, ...]:
    """Everything that goes wrong, and when.

    Raises:
        ConfigurationError: it cannot go wrong like that on so many nodes, or a file is missing or wrong.
    """
    regions = [(region.name, region.nodes) for region in scenario.region]
    found: list[Fault] = []
    for table in scenario.fault:
        match table:
            case fault_tables.OutageFault():
                found += faults.region_outage(
                    members_of(table, regions),
                    table.down_at,
                    table.up_at,
                    keeps_disk=table.keeps_disk,
                    spread_s=table.spread,
                    seed=scenario.seed,
                )
            case fault_tables.ArrivalFault():
                found += [Arrival(node, table.at) for node in members_of(table, regions)]
            case fault_tables.SessionsFault():
                who = range(nodes) if table.nodes == "all" else table.nodes
                found.append(
                    Churn(
                        tuple(who),
                        _law(table.up),
                        _law(table.down),
                        table.keeps_disk,
                        table.together,
                        table.stationary,
                        table.at,
                    )
                )
            case fault_tables.AvailabilityFault():
                found += churn.availability_trace(base / table.path, nodes, keeps_disk=table.keeps_disk)
            case fault_tables.PartitionFault():
                named = dict(regions)
                groups = [named[group] if isinstance(group, str) else group for group in table.groups]
                found.append(faults.partition(groups, table.at, table.until, nodes))
            case fault_tables.LinksFault():
                closure = Cut if table.kind == "cut" else Hold
                found.append(closure(table.directions, table.at, table.until))
            case fault_tables.SlowFault():
                found += [
                    Slow(node, table.factor, table.at, table.until) for node in members_of(table, regions)
                ]
    faults.check(found, nodes)
    return tuple(found)


def build_speeds(scenario: Scenario, nodes: int) -> Speeds | None:
    """How long computing takes each node; None if all are alike.

    Raises:
        ConfigurationError: factors that are not one per node.
    """
    if scenario.compute is None:
        return None
    match scenario.compute.slowdown:
        case fault_tables.GivenSlowdown(factors=factors):
            return Speeds(factors)
        case fault_tables.UniformSlowdown(low=low, high=high):
            law = latency.uniform(low, high)
        case fault_tables.LognormalSlowdown(sigma=sigma):
            law = latency.lognormal(1.0, sigma)
    return Speeds(speeds.draw_factors(law, nodes, scenario.seed))


def build_detector(scenario: Scenario) -> HeartbeatDetector | None:
    """The failure detector, if there is one."""
    table = scenario.detector
    return None if table is None else HeartbeatDetector(table.period, table.timeout, round(table.size))


def _law(table: fault_tables.SessionLaw) -> Law:
    return churn.weibull(table.mean, 1.0 if table.shape is None else table.shape)
