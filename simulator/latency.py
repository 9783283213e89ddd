"""Latency laws: functions from a uniform number to seconds, so that a draw depends on its key alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log
from statistics import NormalDist
from typing import TypeAlias

from scipy.special import gammaincinv

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


def normal(mean_s: float, deviation_s: float) -> Latency:
    """Normal, truncated to times that are not negative; mean and deviation are those before truncation."""
    law = NormalDist(mean_s, deviation_s)
    negative = law.cdf(0.0)
    return lambda u: max(0.0, law.inv_cdf(negative + (1 - negative) * u))


def gamma(mean_s: float, shape: float) -> Latency:
    """Gamma with the given mean; shape 1 is exponential, a large shape nearly constant."""
    scale_s = mean_s / shape
    return lambda u: scale_s * float(gammaincinv(shape, u))


def pareto(minimum_s: float, tail: float) -> Latency:
    """Pareto: never below ``minimum_s``, and above t with probability (minimum/t)^tail. A heavy tail."""
    return lambda u: minimum_s * float((1 - u) ** (-1 / tail))


def empirical(samples_s: Sequence[float]) -> Latency:
    """One of the samples, each equally likely."""
    ordered = sorted(samples_s)
    return lambda u: ordered[min(int(u * len(ordered)), len(ordered) - 1)]
