"""Robust rules for gossip: a receiver's own vector is trusted, and links have weights.

Every rule is a function of x (n, d), the receiver's own vector first, and of w (n,), the mixing weights of these
rows, which sum to 1. A *budget* b is the largest total weight of wrong rows, never of the own one. Traceable by JAX;
ties go to the row that comes first.

Sources: He, Karimireddy, Jaggi 2022 (clipped gossip); Gaucher, Dieuleveut, Hendrikx 2025 (F-RG: clipping and trimming
by weight); Wu, Chen, Ling 2023 (iterative outlier scissor); Guo et al. 2022 (UBAR).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from protocols.robust.rules import clipped
from simulator.errors import ConfigurationError

NEARLY = 1.0 + 1e-5
"""Tolerance of comparisons with a budget: sums of rounded weights this close have not exceeded it."""


def clipped_gossip(x: jax.Array, w: jax.Array, radius: jax.Array | float) -> jax.Array:
    """Move the own vector by the weighted sum of all differences to it, each clipped to a radius."""
    return x[0] + w[1:] @ clipped(x[1:] - x[0], radius)


def second_furthest(x: jax.Array) -> jax.Array:
    """Return the second largest distance of a neighbour: the largest if there is one neighbour, 0 if none."""
    if x.shape[0] == 1:
        return jnp.zeros((), x.dtype)
    away = jnp.sort(_away(x))
    return away[-2] if len(away) > 1 else away[-1]


def oracle_radius(x: jax.Array, w: jax.Array, honest: jax.Array) -> jax.Array:
    """Return the radius for which clipped gossip is proven: √(Σ w_j |x_j − x_0|² over honest rows / wrong weight).

    No node can compute it, as honest (n,) is unknown to nodes. Without wrong rows nothing is clipped.
    """
    good = w[1:] * honest[1:]
    wrong = jnp.sum(w[1:] * (1.0 - honest[1:]))
    spread = jnp.sum(good * _away(x) ** 2)
    return jnp.where(wrong > 0, jnp.sqrt(spread / jnp.where(wrong > 0, wrong, 1.0)), jnp.inf)


def budget_radius(x: jax.Array, w: jax.Array, budget: float) -> jax.Array:
    """Return the same radius from a budget instead of an oracle: the furthest rows are taken for the wrong ones.

    Rows count as wrong, from the furthest on, as long as those before them do not exceed the budget in weight.
    """
    away, before, order = _from_furthest(x, w)
    kept = before > budget * NEARLY
    return jnp.sqrt(jnp.sum(jnp.where(kept, w[1:][order] * away**2, 0.0)) / budget)


def clipped_sum(x: jax.Array, w: jax.Array, budget: float) -> jax.Array:
    """Apply clipped gossip with the largest distance beyond which twice the budget lies (CS+)."""
    away, before, _ = _from_furthest(x, w)
    far = before * NEARLY >= 2.0 * budget
    return clipped_gossip(x, w, jnp.max(jnp.where(far, away, 0.0), initial=0.0))


def trimmed_sum(x: jax.Array, w: jax.Array, budget: float) -> jax.Array:
    """Gossip without the furthest rows, up to the weight of the budget; the last one is clipped in part (GTS).

    With equal weights w and a budget of f w these are the f furthest: nearest-neighbour averaging by weight.
    """
    _, before, order = _from_furthest(x, w)
    after = before + w[1:][order]
    kept = jnp.clip(after - budget, 0.0, w[1:][order])
    kept = jnp.where(after > budget * NEARLY, kept, 0.0)
    return x[0] + kept @ (x[1:] - x[0])[order]


def without_furthest(x: jax.Array, w: jax.Array, f: int) -> jax.Array:
    """Gossip without the f rows furthest from the own one, which takes their weight.

    Raises:
        ConfigurationError: there are fewer others than f.
    """
    _check(x, f)
    kept = jnp.argsort(_away(x), stable=True)[: x.shape[0] - 1 - f]
    return x[0] + w[1:][kept] @ (x[1:] - x[0])[kept]


def outliers_cut(x: jax.Array, w: jax.Array, f: int) -> jax.Array:
    """Leave out, f times, the row furthest from the weighted mean, never the own one (IOS).

    Raises:
        ConfigurationError: there are fewer others than f.
    """
    _check(x, f)

    def mean(left: jax.Array) -> jax.Array:
        found: jax.Array = left @ x / jnp.sum(left)
        return found

    def cut(_: int, left: jax.Array) -> jax.Array:
        away = jnp.sum((x - mean(left)) ** 2, axis=1)
        away = jnp.where(left > 0, away, -1.0).at[0].set(-1.0)
        return left.at[jnp.argmax(away)].set(0.0)

    left: jax.Array = jax.lax.fori_loop(0, f, cut, w)
    return mean(left)


def useful_mean(x: jax.Array, losses: jax.Array, keep: int, own_share: float) -> jax.Array:
    """Return the mean of the nearest neighbours no worse than the own vector; the single nearest if none (UBAR).

    Args:
        x: (n, d), the own vector first.
        losses: (n,), of every row on the receiver's own samples.
        keep: number of nearest neighbours that are considered.
        own_share: weight of the own vector in the result.

    Raises:
        ConfigurationError: there are fewer neighbours than ``keep``, or it is 0.
    """
    if not 1 <= keep < x.shape[0]:
        raise ConfigurationError(f"{keep} of {x.shape[0] - 1} neighbours to keep, expected 1 or more of them")
    near = 1 + jnp.argsort(_away(x), stable=True)[:keep]
    useful: jax.Array = (losses[near] <= losses[0]).astype(x.dtype)
    useful = jnp.where(jnp.any(useful > 0), useful, jnp.zeros_like(useful).at[0].set(1.0))
    mean: jax.Array = useful @ x[near] / jnp.sum(useful)
    mixed: jax.Array = own_share * x[0] + (1.0 - own_share) * mean
    return mixed


def _away(x: jax.Array) -> jax.Array:
    away: jax.Array = jnp.linalg.norm(x[1:] - x[0], axis=1)
    return away


def _from_furthest(x: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return distances of the other rows, descending, the total weight before each of them, and their order."""
    away = _away(x)
    order = jnp.argsort(-away, stable=True)
    weights = w[1:][order]
    return away[order], jnp.cumsum(weights) - weights, order


def _check(x: jax.Array, f: int) -> None:
    if not 0 <= f < x.shape[0]:
        raise ConfigurationError(f"f = {f} of {x.shape[0] - 1} neighbours")
