"""Rules that aggregate stacked vectors of which some may be arbitrary.

Every rule is a function of x (n, d), one vector per row, and of its parameters; ``f`` is how many of *these rows* may
be wrong. The caller decides whether a receiver's own vector is among them, and f counts accordingly. All are
traceable by JAX and batched over receivers with :func:`jax.vmap`; ties go to the row that comes first. The caller
must reject
infinite and NaN inputs: a rule that sorts puts infinities at its ends, one that measures distances may return NaN.

Sources: Yin et al. 2018 (median, trimmed mean); Xie et al. 2018 (mean around median); Blanchard et al. 2017 (Krum);
Pillutla et al. 2022 (smoothed Weiszfeld); El Mhamdi et al. 2018 (minimum diameter averaging); Karimireddy et al. 2021
(centred clipping), 2022 (bucketing); Farhadkhani et al. 2022, 2023 (nearest-neighbour averaging); Allouah
et al. 2023 (nearest-neighbour mixing), 2025 (adaptive robust clipping).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from protocols.robust.ordering import sorted_rows
from simulator.errors import ConfigurationError

MOST_SUBSETS = 200_000
"""Number of subsets above which an exhaustive search is refused."""
Scores = Literal["others", "blanchard"]


def mean(x: jax.Array) -> jax.Array:
    """Return the mean: no rule, one wrong vector moves it anywhere."""
    return jnp.mean(x, axis=0)


def median(x: jax.Array) -> jax.Array:
    """Return the median position by position; for an even number the mean of the middle two."""
    rows = sorted_rows(x)
    return (rows[(len(rows) - 1) // 2] + rows[len(rows) // 2]) / 2


def trimmed_mean(x: jax.Array, f: int) -> jax.Array:
    """Return, position by position, the mean without the f smallest and the f largest values.

    Raises:
        ConfigurationError: 2 f is not below n.
    """
    _check(x, f, 2 * f < x.shape[0], "2 f must be below n")
    rows = sorted_rows(x)[f : x.shape[0] - f]
    total = rows[0]
    for row in rows[1:]:
        total = total + row
    return total / len(rows)


def mean_around_median(x: jax.Array, f: int) -> jax.Array:
    """Return, position by position, the mean of the n − f values nearest the median.

    They are consecutive in sorted order, so of the f + 1 such windows the one whose further end is nearest is taken,
    the lower one of equals.

    Raises:
        ConfigurationError: f is not below n.
    """
    count = x.shape[0]
    _check(x, f, f < count, "f must be below n")
    rows = sorted_rows(x)
    middle = (rows[(count - 1) // 2] + rows[count // 2]) / 2
    kept = count - f
    nearest, total = None, None
    for start in range(f + 1):
        window = rows[start : start + kept]
        reach = jnp.maximum(middle - window[0], window[-1] - middle)
        summed = window[0]
        for row in window[1:]:
            summed = summed + row
        if nearest is None or total is None:
            nearest, total = reach, summed
        else:
            total = jnp.where(reach < nearest, summed, total)
            nearest = jnp.minimum(reach, nearest)
    assert total is not None
    return total / kept


def distances(x: jax.Array) -> jax.Array:
    """Return squared distances, (n, n), from differences: exact zeros for equal rows, at n² d operations."""
    return jax.vmap(lambda row: jnp.sum((x - row) ** 2, axis=1))(x)


def krum(x: jax.Array, f: int, chosen: int = 1, scores: Scores = "others") -> jax.Array:
    """Return the mean of the vectors nearest to their nearest neighbours (Multi-Krum; Krum with one).

    Args:
        x: (n, d).
        f: number of vectors that may be wrong.
        chosen: number of vectors that are averaged.
        scores: a vector's score sums its squared distances to its n − f − 1 nearest others (``others``, as many as
            are surely right), or to n − f − 2 (``blanchard``, as in the paper). The two may choose differently.

    Raises:
        ConfigurationError: no distance is left for a score, or ``chosen`` is not 1 … n.
    """
    count = x.shape[0]
    near = count - f - (1 if scores == "others" else 2)
    _check(x, f, near >= 1 and 1 <= chosen <= count, "too few vectors for a score, or to choose")
    away = jnp.sort(distances(x), axis=1)[:, 1 : near + 1]
    best = jnp.argsort(jnp.sum(away, axis=1), stable=True)[:chosen]
    return jnp.mean(x[best], axis=0)


def smoothed_geometric_median(x: jax.Array, nu: float, steps: int) -> jax.Array:
    """Run smoothed Weiszfeld from zero with a given number of steps, converged or not."""

    def step(_: int, z: jax.Array) -> jax.Array:
        weight = 1.0 / jnp.maximum(jnp.linalg.norm(x - z, axis=1), nu)
        return weight @ x / jnp.sum(weight)

    found: jax.Array = jax.lax.fori_loop(0, steps, step, jnp.zeros_like(x[0]))
    return found


def geometric_median(x: jax.Array, tolerance: float = 1e-6, most: int = 1000) -> jax.Array:
    """Return the point with the least sum of distances, by Weiszfeld's steps from the mean until they are short.

    Args:
        x: (n, d).
        tolerance: length of a step, relative to the spread of x, at which the iteration ends.
        most: largest number of steps.
    """
    start = jnp.mean(x, axis=0)
    spread = jnp.sqrt(jnp.mean(jnp.sum((x - start) ** 2, axis=1)))
    least = jnp.maximum(tolerance * spread, 1e-30)

    def go_on(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, moved, count = state
        return (moved > least) & (count < most)

    def step(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, _, count = state
        weight = 1.0 / jnp.maximum(jnp.linalg.norm(x - z, axis=1), 1e-3 * least)
        after = weight @ x / jnp.sum(weight)
        return after, jnp.linalg.norm(after - z), count + 1

    first = (start, jnp.asarray(jnp.inf, x.dtype), jnp.asarray(0))
    return jax.lax.while_loop(go_on, step, first)[0]


def minimum_diameter_mean(x: jax.Array, f: int) -> jax.Array:
    """Return the mean of the n − f vectors whose largest distance is least; of several sets the first in order.

    Raises:
        ConfigurationError: f is not below n, or there are too many sets to search.
    """
    count = x.shape[0]
    _check(x, f, f < count, "f must be below n")
    if comb(count, f) > MOST_SUBSETS:
        raise ConfigurationError(
            f"{comb(count, f)} sets of {count - f} of {count} vectors are too many to search"
        )
    sets = np.array(list(combinations(range(count), count - f)), np.int32)
    away = distances(x)
    widest = jax.lax.map(
        lambda members: jnp.max(away[members][:, members]), jnp.asarray(sets), batch_size=4096
    )
    return jnp.mean(x[jnp.asarray(sets)[jnp.argmin(widest)]], axis=0)


def centred_clipping(x: jax.Array, start: jax.Array, radius: float, steps: int) -> jax.Array:
    """Move from a start by the mean difference to all vectors, each clipped to a radius; repeat.

    Args:
        x: (n, d).
        start: (d,), the last result, or a receiver's own vector.
        radius: τ, largest length of a difference.
        steps: L, number of repetitions.
    """

    def step(_: int, v: jax.Array) -> jax.Array:
        return v + jnp.mean(clipped(x - v, radius), axis=0)

    found: jax.Array = jax.lax.fori_loop(0, steps, step, start)
    return found


def nearest_mean(x: jax.Array, f: int, pivot: int) -> jax.Array:
    """Return the mean of the n − f vectors nearest one of them, itself included (MoNNA, NNA).

    Raises:
        ConfigurationError: f is not below n.
    """
    _check(x, f, f < x.shape[0], "f must be below n")
    away = jnp.sum((x - x[pivot]) ** 2, axis=1)
    return jnp.mean(x[jnp.argsort(away, stable=True)[: x.shape[0] - f]], axis=0)


# Transformations of vectors before a rule.


def clipped(x: jax.Array, radius: jax.Array | float) -> jax.Array:
    """Shorten rows longer than a radius to it."""
    norms = jnp.linalg.norm(x, axis=1, keepdims=True)
    return x * jnp.where(norms > radius, radius / norms, 1.0)


def adaptively_clipped(x: jax.Array, f: int) -> jax.Array:
    """Shorten the int(2 f / n · (n − f)) longest rows to the length of the next one (ARC).

    Raises:
        ConfigurationError: f is not below n.
    """
    count = x.shape[0]
    _check(x, f, f < count, "f must be below n")
    longest = int(2 * f / count * (count - f))
    norms = jnp.linalg.norm(x, axis=1)
    radius = -jnp.sort(-norms)[min(longest, count - 1)]
    return clipped(x, radius)


def nearest_mixed(x: jax.Array, f: int) -> jax.Array:
    """Replace each vector by the mean of its n − f nearest, itself included (NNM).

    Raises:
        ConfigurationError: f is not below n.
    """
    count = x.shape[0]
    _check(x, f, f < count, "f must be below n")
    near = jnp.argsort(distances(x), axis=1, stable=True)[:, : count - f]
    chosen = jnp.zeros((count, count), x.dtype).at[jnp.arange(count)[:, None], near].set(1.0 / (count - f))
    return chosen @ x


def bucketed(x: jax.Array, order: jax.Array, size: int) -> jax.Array:
    """Return means of buckets of vectors in a given order; a smaller last bucket counts as much as the others.

    Args:
        x: (n, d).
        order: a permutation of the rows.
        size: number of vectors in a bucket.
    """
    count = x.shape[0]
    buckets = -(-count // size)
    place = jnp.arange(count) // size
    total = jnp.zeros((buckets, x.shape[1]), x.dtype).at[place].add(x[order])
    sizes = np.minimum(size, count - size * np.arange(buckets))
    return total / jnp.asarray(sizes, x.dtype)[:, None]


def batched(rule: Callable[[jax.Array], jax.Array]) -> Callable[[jax.Array], jax.Array]:
    """Compile a rule for many receivers at once, (receivers, n, d) -> (receivers, d)."""
    return jax.jit(jax.vmap(rule))


def _check(x: jax.Array, f: int, fine: bool, wanted: str) -> None:
    if f < 0 or not fine:
        raise ConfigurationError(f"f = {f} of n = {x.shape[0]} vectors: {wanted}")
