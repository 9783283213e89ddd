"""Input and outcome of a run of node programs, in virtual or real time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from simulator.adversary.coalition import Adversary
from simulator.contract.compute import Executor
from simulator.core.records import Sink
from simulator.errors import ConfigurationError
from simulator.faults import plan
from simulator.faults.detector import HeartbeatDetector
from simulator.faults.plan import Fault, Slow
from simulator.faults.speeds import Speeds
from simulator.topology.overlays import Overlay, fixed


def _ignore(*_: Any, **__: Any) -> None:
    """Ignore what is recorded, released or monitored."""


@dataclass(frozen=True)
class World:
    """Public facts of a run.

    Args:
        seed: root of every stream of randomness.
        neighbors: node -> its neighbours, ascending; index is the node id. If links change, all nodes it may ever
            have a link to, or none: ``overlay`` alone says who they are.
        weights: mixing matrix W, row = receiver.
        executor: where ``node.compute`` is carried out.
        faults: outages, arrivals, closed links and slow periods.
        overlay: links and weights as they change; by default ``neighbors`` and ``weights`` throughout.
        speeds: how long computing takes; by default what it costs. Slow periods among the faults count too.
        detector: heartbeats by which nodes suspect each other; None for none.
        adversary: taps, substitutions of Byzantine nodes, tampering.
        tie_seed: events at the same instant happen in an order drawn from it; None for the order of scheduling.
        record: receives ``node.record`` calls.
        released: called with (t_s, receiver, round, message.release) for each delivered message that has one, by
            receiver in order of time, at the latest when the run ends.
        monitor: called with t_s every ``monitor_s`` seconds, and never changes the trace.
        monitor_s: seconds between calls of ``monitor``; None for no calls.
    """

    seed: int
    neighbors: Sequence[tuple[int, ...]]
    weights: NDArray[np.float64] | csr_array
    executor: Executor
    faults: Sequence[Fault] = ()
    overlay: Overlay = None  # type: ignore[assignment]  # never None once it is built
    speeds: Speeds | None = None
    detector: HeartbeatDetector | None = None
    adversary: Adversary = field(default_factory=Adversary)
    tie_seed: int | None = None
    record: Sink = _ignore
    released: Callable[[float, int, int, Any], None] = _ignore
    monitor: Callable[[float], None] = _ignore
    monitor_s: float | None = None

    def __post_init__(self) -> None:
        n = len(self.neighbors)
        if self.weights.shape != (n, n):
            raise ConfigurationError(f"the mixing matrix is {self.weights.shape}, the topology has {n} nodes")
        if self.overlay is None:
            object.__setattr__(self, "overlay", fixed(self.neighbors, csr_array(self.weights)))
        if self.overlay.nodes != n:
            raise ConfigurationError(f"an overlay of {self.overlay.nodes} nodes on a topology of {n}")
        plan.check(self.faults, n)
        if slow := [fault for fault in self.faults if isinstance(fault, Slow)]:
            given = self.speeds or Speeds()
            rest = [period for period in slow if period not in given.slow]
            object.__setattr__(self, "speeds", Speeds(given.factor, [*given.slow, *rest]))

    @property
    def audible(self) -> bool:
        """Return whether a listener outside the nodes receives deliveries."""
        return self.released is not _ignore or self.adversary.tap is not None


@dataclass(frozen=True)
class Ending:
    """Outcome of a run.

    Args:
        t_s: when the last program finished (or the run was stopped).
        down: nodes that were down then.
        unfinished: nodes whose program had not finished although they were up.
    """

    t_s: float
    down: frozenset[int]
    unfinished: frozenset[int]
