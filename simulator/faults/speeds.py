"""Compute speed of nodes: a constant factor each, and periods in which a node is slow.

A factor is a slowness: computing takes so many times as long. Factors in force at one instant multiply.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import isfinite
from typing import TypeAlias

import numpy as np

from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.faults.plan import Slow
from simulator.streams import Law, Prefix

Steps: TypeAlias = tuple[tuple[int, ...], tuple[Fraction, ...]]
"""Nanoseconds at which a node's factor changes, ascending, and the factor from then on; 1 before the first."""


@dataclass(frozen=True)
class Speeds:
    """Durations of computations, by node and time.

    Args:
        factor: of each node, above 0; empty if all are 1.
        slow: times in which a node is slower (or faster) still.

    Raises:
        ConfigurationError: a factor that is not finite and above 0.
    """

    factor: Sequence[float] = ()
    slow: Sequence[Slow] = ()

    def __post_init__(self) -> None:
        for node, factor in enumerate(self.factor):
            _refuse(node, factor)
        for period in self.slow:
            _refuse(period.node, period.factor)

    def cost_ns(self, node: int, at_ns: int, cost_s: float) -> int:
        """Return how long a computation of ``cost_s`` seconds takes ``node`` if it starts at ``at_ns``.

        The cost times the node's own factor is quantised once; slow periods that begin or end meanwhile count
        from or until then, exactly, and the end is rounded to the nearest nanosecond.
        """
        work_ns = to_ns(cost_s * self.factor[node] if self.factor else cost_s)
        steps = self._steps.get(node)
        return work_ns if steps is None else round(stretched_ns(steps, at_ns, work_ns))

    @cached_property
    def _steps(self) -> Mapping[int, Steps]:
        periods: defaultdict[int, list[Slow]] = defaultdict(list)
        for period in self.slow:
            periods[period.node].append(period)
        return {node: steps_of(around) for node, around in periods.items()}


def steps_of(periods: Iterable[Slow]) -> Steps:
    """Factor of one node over time, from slow periods that may overlap."""
    changes: defaultdict[int, Fraction] = defaultdict(lambda: Fraction(1))
    for period in periods:
        changes[to_ns(period.at_s)] *= Fraction(period.factor)
        if period.until_s is not None:
            changes[to_ns(period.until_s)] /= Fraction(period.factor)
    times = tuple(sorted(changes))
    factors, now = [], Fraction(1)
    for t_ns in times:
        now *= changes[t_ns]
        factors.append(now)
    return times, tuple(factors)


def stretched_ns(steps: Steps, at_ns: int | Fraction, work_ns: int | Fraction) -> Fraction:
    """Return the T for which the integral of 1/factor from ``at_ns`` to ``at_ns + T`` is ``work_ns``, exactly."""
    times, factors = steps
    left, now = Fraction(work_ns), Fraction(at_ns)
    i = bisect_right(times, now)
    while True:
        factor = factors[i - 1] if i else Fraction(1)
        if i == len(times) or left * factor <= times[i] - now:
            return now + left * factor - at_ns
        left -= (times[i] - now) / factor
        now = Fraction(times[i])
        i += 1


def draw_factors(law: Law, nodes: int, seed: int) -> tuple[float, ...]:
    """A factor of each node, drawn from ``law`` by the stream (seed, "speed", node).

    Node i has the same factor however many nodes there are.

    Raises:
        ConfigurationError: the law gave a factor that is not finite and above 0.
    """
    draws = Prefix(seed, "speed")
    factors = tuple(law(np.array([draws.uniforms(node)[0] for node in range(nodes)])).tolist())
    for node, factor in enumerate(factors):
        _refuse(node, factor)
    return factors


def _refuse(node: int, factor: float) -> None:
    if not (isfinite(factor) and factor > 0):
        raise ConfigurationError(
            f"speed of node {node}: a factor is finite and above 0, not {factor}", "speed"
        )
