"""Conformance battery of the node contract: run it over every implementation.

A :class:`Case` is a small world, a program and a check of what the program recorded; the cases are in
:mod:`simulator.conformance.clauses`. :func:`run_case` runs one on an engine, a function from (world, program) to an
ending::

    @pytest.mark.parametrize("case", BATTERY, ids=lambda case: case.name)
    def test_contract(case):
        run_case(case, my_engine)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from simulator.adversary.coalition import Adversary
from simulator.contract.compute import Handle, Input, Op, Vector
from simulator.contract.node import Message, Program
from simulator.errors import ProgramError
from simulator.faults.detector import HeartbeatDetector
from simulator.faults.plan import Outage
from simulator.runtime.world import Ending, World
from simulator.topology.mixing import metropolis

Runtime: TypeAlias = Callable[[World, Program], Ending]
Said: TypeAlias = "list[tuple[int, str, dict[str, Any]]]"
"""Records of nodes: (node, kind, fields), in order."""

TICK_S = 0.05
"""Time step of the battery; short enough for real seconds, long enough for a busy machine."""


LINE: Sequence[tuple[int, ...]] = ((1,), (0, 2), (1,))


class Known:
    """A handle whose value exists."""

    def __init__(self, value: Vector) -> None:
        self.value = value

    @property
    def size(self) -> int:
        """Elements."""
        return int(self.value.size)


class ImmediateExecutor:
    """Carries out every operation when it is submitted, with numpy. Enough for protocols without a model."""

    def submit(self, op: Op, inputs: Sequence[Input], *, node: int, size: int) -> Handle:
        """Compute the result now."""
        values = [i.value if isinstance(i, Known) else np.array(i) for i in inputs]
        return self.constant(np.asarray(op.fn(*values, *op.shared)))

    def constant(self, value: Vector) -> Handle:
        """Wrap a copy."""
        copy = np.array(value)
        copy.setflags(write=False)
        return Known(copy)

    def read(self, handles: Sequence[Handle]) -> list[Vector]:
        """Return the values."""
        return [handle.value for handle in handles if isinstance(handle, Known)]

    def stack(self, handles: Sequence[Handle]) -> Vector:
        """Return the values as rows."""
        return np.stack(self.read(handles))


@dataclass(frozen=True)
class Case:
    """One clause of the contract.

    Args:
        name: the clause.
        program: what every node runs.
        check: raises AssertionError unless what was recorded conforms.
        neighbors: the topology.
        faults: crashes and returns.
        adversary: taps and substitutions.
        detector: heartbeats.
        fails: the run must end with a ProgramError whose cause is of this type.
    """

    name: str
    program: Program
    check: Callable[[Said], None]
    neighbors: Sequence[tuple[int, ...]] = ((1,), (0,))
    faults: Sequence[Outage] = ()
    adversary: Adversary | None = None
    detector: HeartbeatDetector | None = None
    fails: type[BaseException] | None = None


def run_case(case: Case, engine: Runtime, seed: int = 1) -> None:
    """Run a case on an engine.

    Raises:
        AssertionError: the engine does not conform.
    """
    said: Said = []
    neighbors = list(case.neighbors)
    world = World(
        seed=seed,
        neighbors=neighbors,
        weights=metropolis(neighbors),
        executor=ImmediateExecutor(),
        faults=case.faults,
        adversary=case.adversary or Adversary(),
        detector=case.detector,
        record=lambda t_s, node, kind, fields: said.append((node, kind, dict(fields))),
        released=lambda t_s, node, round, tag: said.append((node, "released", {"tag": tag, "round": round})),
    )
    try:
        engine(world, case.program)
    except ProgramError as error:
        require(case.fails is not None and isinstance(error.__cause__, case.fails), f"unexpected: {error}")
    else:
        require(case.fails is None, f"expected a failure of type {case.fails}")
    case.check(said)


def message(kind: str, round: int = 0, body: Any = None, release: Any = None) -> Message:
    """A small message."""
    return Message(kind, round, body, 8, release)


def said_of(said: Said, kind: str, node: int | None = None) -> list[Any]:
    """Return what was recorded as ``value`` under a kind, by one node or by all."""
    return [fields.get("value") for n, k, fields in said if k == kind and node in (None, n)]


def nothing(said: Said) -> None:
    """Accept anything that was recorded."""


def equal(found: Any, expected: Any) -> None:
    """Raise AssertionError unless both are equal."""
    require(found == expected, f"found {found!r}, expected {expected!r}")


def require(holds: bool, otherwise: str) -> None:
    """Raise AssertionError unless ``holds``."""
    if not holds:
        raise AssertionError(otherwise)
