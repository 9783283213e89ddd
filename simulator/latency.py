"""Latency laws: functions from a uniform number to seconds, so that a draw depends on its key alone."""

from __future__ import annotations

from collections.abc import Callable
from math import exp, log
from statistics import NormalDist
from typing import TypeAlias

Latency: TypeAlias = Callable[[float], float]

_NORMAL = NormalDist()


def constant(value_s: float) -> Latency:
    """Always ``value_s``."""
    return lambda u: value_s


def uniform(low_s: float, high_s: float) -> Latency:
    """Uniform between the bounds."""
    return lambda u: low_s + (high_s - low_s) * u


def lognormal(median_s: float, sigma: float) -> Latency:
    """exp of a normal with mean log(median) and standard deviation ``sigma`` (of the logarithm)."""
    mu = log(median_s)
    return lambda u: exp(mu + sigma * _NORMAL.inv_cdf(u))
