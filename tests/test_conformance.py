"""The node contract, clause by clause, on virtual time and on real sockets."""

from __future__ import annotations

import pytest

from simulator.battery import BATTERY
from simulator.kernel import Kernel
from simulator.latency import constant
from simulator.links import LinkModel
from simulator.live import Live
from simulator.node import Program
from simulator.testing import TICK_S, Case, run_case
from simulator.world import Ending, World


def virtual(world: World, program: Program) -> Ending:
    return Kernel(world, LinkModel(constant(TICK_S / 10), 1e9), program).run(until_s=60)


def real(world: World, program: Program) -> Ending:
    return Live(world, program).run(until_s=20)


@pytest.mark.parametrize("case", BATTERY, ids=lambda case: case.name)
@pytest.mark.parametrize("engine", [virtual, real])
def test_contract(case: Case, engine: object) -> None:
    run_case(case, engine)  # type: ignore[arg-type]
