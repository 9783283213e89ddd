"""What any run of node programs needs to be told, whether time is virtual or real, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulator.adversary import Adversary
from simulator.compute import Executor
from simulator.errors import ConfigurationError
from simulator.faults import Outage
from simulator.records import Sink


def _ignore(*_: Any, **__: Any) -> None:
    """A listener that does not listen."""


@dataclass(frozen=True)
class World:
    """The public facts of a run.

    Args:
        seed: root of every stream of randomness.
        neighbors: node -> its neighbours, ascending; index is the node id.
        weights: mixing matrix W, row = receiver.
        executor: where ``node.compute`` is carried out.
        outages: crashes and returns.
        adversary: taps and Byzantine claims.
        record: receives ``node.record`` calls.
        released: called with (t_s, receiver, round, message.release) for each delivered message that has one.
        monitor: called with t_s every ``monitor_s`` seconds, and never changes the trace.
        monitor_s: seconds between calls of ``monitor``; None for no calls.
    """

    seed: int
    neighbors: Sequence[tuple[int, ...]]
    weights: NDArray[np.float64]
    executor: Executor
    outages: Sequence[Outage] = ()
    adversary: Adversary = field(default_factory=Adversary)
    record: Sink = _ignore
    released: Callable[[float, int, int, Any], None] = _ignore
    monitor: Callable[[float], None] = _ignore
    monitor_s: float | None = None

    def __post_init__(self) -> None:
        n = len(self.neighbors)
        if self.weights.shape != (n, n):
            raise ConfigurationError(f"the mixing matrix is {self.weights.shape}, the topology has {n} nodes")
        for outage in self.outages:
            if not 0 <= outage.node < n:
                raise ConfigurationError(f"outage of node {outage.node}, but nodes are 0..{n - 1}", "fault")
            if outage.up_s is not None and outage.up_s <= outage.down_s:
                raise ConfigurationError(f"node {outage.node} would return before it is down", "fault.up_at")


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    Args:
        t_s: when the last program finished (or the run was stopped).
        down: nodes that were down then.
        unfinished: nodes whose program had not finished although they were up.
    """

    t_s: float
    down: frozenset[int]
    unfinished: frozenset[int]
