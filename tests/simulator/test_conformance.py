"""The node contract, clause by clause, on virtual time and on real sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.conformance.clauses import BATTERY
from simulator.conformance.harness import TICK_S, Case, Runtime, run_case
from simulator.contract.node import Program
from simulator.network.latency import constant
from simulator.network.links import LinkModel
from simulator.runtime.real import Live
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import Ending, World
from tests.support.networks import NEVER_CUT
from tests.support.paces import at_some_pace


def virtual(world: World, program: Program) -> Ending:
    return Kernel(world, LinkModel(constant(TICK_S / 10), 1e9), program).run(until_s=60)


def stations(world: World, program: Program) -> Ending:
    """Virtual time, with every message taken from station to station."""
    return virtual(replace(world, faults=[*world.faults, NEVER_CUT]), program)


@pytest.mark.parametrize("case", BATTERY, ids=lambda case: case.name)
@pytest.mark.parametrize("engine", [virtual, stations])
def test_contract(case: Case, engine: Runtime) -> None:
    run_case(case, engine)


@pytest.mark.parametrize("case", BATTERY, ids=lambda case: case.name)
def test_contract_on_real_sockets(case: Case) -> None:
    def check(pace: float) -> None:
        run_case(case, lambda world, program: Live(world, program, pace=pace).run(until_s=20))

    at_some_pace(check)
