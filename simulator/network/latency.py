"""Delay laws and base delays: pure maps, so that a draw depends on its key alone.

A law maps uniform numbers in (0, 1), an array of any shape, to as many seconds; every law is monotone. The base
delay of a link holds for the whole run; what a law draws for every message (jitter) comes on top of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, log
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv, ndtr, ndtri

from simulator import streams
from simulator.errors import ConfigurationError
from simulator.streams import Law

BaseDelay: TypeAlias = Callable[[int, NDArray[np.int64]], NDArray[np.float64]]
"""(source, destinations) to the seconds that every message on each of these links takes at least."""

LONGEST_S = 1e9
"""Heavy tails end here, 32 years on: later than any run ends, and still whole nanoseconds in 64 bits."""


def constant(value_s: float) -> Law:
    """Always ``value_s``."""
    _check("value", value_s, least=0)
    return lambda u: np.full(np.shape(u), value_s, np.float64)


def uniform(low_s: float, high_s: float) -> Law:
    """Uniform between the bounds."""
    _check("low", low_s, least=0)
    _check("high", high_s, least=low_s)
    return lambda u: low_s + (high_s - low_s) * u


def lognormal(median_s: float, sigma: float) -> Law:
    """exp of a normal with mean log(median) and standard deviation ``sigma`` (of the logarithm)."""
    _check("median", median_s, above=0)
    _check("sigma", sigma, least=0)
    mu, end = log(median_s), log(LONGEST_S)
    return lambda u: np.exp(np.minimum(mu + sigma * ndtri(u), end))


def normal(mean_s: float, deviation_s: float) -> Law:
    """Normal, truncated to times that are not negative; mean and deviation are those before truncation."""
    _check("mean", mean_s, above=0)
    _check("deviation", deviation_s, above=0)
    positive = ndtr(mean_s / deviation_s)
    # By the upper tail: 1 - u never rounds to 0 or 1, so no draw is infinite.
    return lambda u: np.maximum(mean_s - deviation_s * ndtri(positive * (1 - u)), 0.0)


def gamma(mean_s: float, shape: float) -> Law:
    """Gamma with the given mean; shape 1 is exponential, a large shape nearly constant."""
    _check("mean", mean_s, above=0)
    _check("shape", shape, above=0)
    scale_s = mean_s / shape
    return lambda u: np.minimum(scale_s * gammaincinv(shape, u), LONGEST_S)


def exponential(mean_s: float) -> Law:
    """Exponential: without memory."""
    _check("mean", mean_s, above=0)
    return lambda u: -mean_s * np.log1p(-u)


def weibull(scale_s: float, shape: float) -> Law:
    """Weibull: above t with probability exp(-(t/scale)^shape). Below shape 1, what has lasted lasts longer."""
    _check("scale", scale_s, above=0)
    _check("shape", shape, above=0)
    mu, end, power = log(scale_s), log(LONGEST_S), 1 / shape
    return lambda u: np.exp(np.minimum(mu + power * np.log(-np.log1p(-u)), end))


def pareto(minimum_s: float, tail: float) -> Law:
    """Pareto: never below ``minimum_s``, and above t with probability (minimum/t)^tail. A heavy tail."""
    _check("minimum", minimum_s, above=0)
    _check("tail", tail, above=0)
    end = log(LONGEST_S / minimum_s)
    return lambda u: minimum_s * np.exp(np.minimum(np.log1p(-u) / -tail, end))


def empirical(samples_s: Sequence[float]) -> Law:
    """One of the samples, each equally likely."""
    if not len(samples_s):
        raise ConfigurationError("an empirical law needs at least one sample")
    ordered = np.sort(np.asarray(samples_s, np.float64))
    for sample in (ordered[0], ordered[-1]):
        _check("samples", float(sample), least=0)
    last = len(ordered) - 1

    def law(u: NDArray[np.float64]) -> NDArray[np.float64]:
        return ordered[np.minimum(np.multiply(u, len(ordered)).astype(np.int64), last)]

    return law


def no_delay(src: int, dst: NDArray[np.int64]) -> NDArray[np.float64]:
    """Base delay of links that have none."""
    return np.zeros(np.shape(dst))


def per_link(law: Law, seed: int, *, symmetric: bool) -> BaseDelay:
    """A base delay drawn once for every link, from the stream (seed, "base-delay") at the link's two ends.

    Args:
        law: of the base delay over the links.
        seed: the run's.
        symmetric: whether both directions of a link get the same delay.
    """
    root = streams.root(seed, "base-delay")

    def base(src: int, dst: NDArray[np.int64]) -> NDArray[np.float64]:
        first, second = (np.minimum(src, dst), np.maximum(src, dst)) if symmetric else (src, dst)
        return law(streams.unit(streams.absorb(streams.absorb(root, first), second)))

    return base


def given(delays_s: Mapping[tuple[int, int], float], otherwise: BaseDelay = no_delay) -> BaseDelay:
    """Base delays of the (source, destination) pairs of a graph file."""
    by_source: dict[int, dict[int, float]] = {}
    for (src, dst), seconds in delays_s.items():
        _check(f"the latency of link {src}-{dst}", seconds, least=0)
        by_source.setdefault(src, {})[dst] = seconds

    def base(src: int, dst: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = otherwise(src, dst)
        listed = by_source.get(src)
        if listed is None:
            return drawn
        chosen = [listed.get(peer, rest) for peer, rest in zip(dst.tolist(), drawn.tolist(), strict=True)]
        return np.array(chosen, np.float64)

    return base


def together(first: BaseDelay, second: BaseDelay) -> BaseDelay:
    """Sum of two base delays, such as those of the path and of the access networks."""
    return lambda src, dst: first(src, dst) + second(src, dst)


def _check(name: str, value: float, *, least: float = -inf, above: float = -inf) -> None:
    if not (value >= least and above < value < inf):
        bound = f"above {above:g}" if above > -inf else f"at least {least:g}"
        raise ConfigurationError(f"{name} must be a finite number, {bound}, got {value:g}")
