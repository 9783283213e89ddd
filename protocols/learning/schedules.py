"""Step sizes over time: public functions of how many local steps a node has made."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from math import cos, pi, sqrt
from typing import TypeAlias

from simulator.errors import ConfigurationError

Schedule: TypeAlias = Callable[[int], float]
"""From the number of local steps made so far to the step size of the next."""


def constant(step: float) -> Schedule:
    """Always the same."""
    return lambda made: step


def piecewise(step: float, at: tuple[int, ...], factor: float) -> Schedule:
    """Multiplied by ``factor`` after each of these numbers of steps.

    Raises:
        ConfigurationError: they do not ascend.
    """
    if any(a >= b for a, b in pairwise(at)):
        raise ConfigurationError(f"schedule: steps {list(at)} do not ascend", "training.schedule.at")
    return lambda made: step * factor ** sum(made >= n for n in at)


def cosine(step: float, steps: int, final: float = 0.0) -> Schedule:
    """From ``step`` down to ``final`` · step along half a cosine over ``steps`` steps, then constant.

    Source: Loshchilov and Hutter 2017 (arXiv:1608.03983), without restarts.
    """
    return lambda made: step * (final + (1 - final) * 0.5 * (1 + cos(pi * min(made, steps) / steps)))


def exponential(step: float, half_life: float) -> Schedule:
    """Halved every ``half_life`` steps, smoothly."""
    return lambda made: step * 0.5 ** (made / half_life)


def inverse_sqrt(step: float, flat: int) -> Schedule:
    """Constant for ``flat`` steps, then as 1 / √steps."""
    return lambda made: step * sqrt(flat / max(flat, made))


def warmed_up(schedule: Schedule, steps: int) -> Schedule:
    """Rises linearly over the first ``steps`` steps to what the schedule says then."""
    return lambda made: schedule(made) * min(1.0, (made + 1) / steps) if steps else schedule(made)
