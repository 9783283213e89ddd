"""Step-size schedules: public functions of the number of local steps a node has made."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import cos, pi, sqrt
from typing import TypeAlias

from simulator.errors import ConfigurationError

Schedule: TypeAlias = Callable[[int], float]
"""Function from the number of local steps made so far to the step size of the next."""


def constant(step: float) -> Schedule:
    """Return a constant step size."""
    return lambda made: step


def piecewise(step: float, at: tuple[int, ...], factor: float) -> Schedule:
    """Multiply the step size by ``factor`` after each of these numbers of steps.

    Raises:
        ConfigurationError: the numbers do not ascend.
    """
    if any(a >= b for a, b in pairwise(at)):
        raise ConfigurationError(f"schedule: steps {list(at)} do not ascend", "training.schedule.at")
    return lambda made: step * factor ** sum(made >= n for n in at)


def cosine(step: float, steps: int, final: float = 0.0) -> Schedule:
    """Decrease from ``step`` to ``final`` · step along half a cosine over ``steps`` steps, then stay constant.

    Source: Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
    """
    return lambda made: step * (final + (1 - final) * 0.5 * (1 + cos(pi * min(made, steps) / steps)))


def exponential(step: float, half_life: float) -> Schedule:
    """Halve the step size every ``half_life`` steps, continuously."""
    return lambda made: step * 0.5 ** (made / half_life)


def inverse_sqrt(step: float, flat: int) -> Schedule:
    """Keep the step size for ``flat`` steps, then decrease as 1 / √steps."""
    return lambda made: step * sqrt(flat / max(flat, made))


def warmed_up(schedule: Schedule, steps: int) -> Schedule:
    """Increase linearly over the first ``steps`` steps to the scheduled step size."""
    return lambda made: schedule(made) * min(1.0, (made + 1) / steps) if steps else schedule(made)
