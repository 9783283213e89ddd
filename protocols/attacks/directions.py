"""Vectors sent by Byzantine nodes: the mathematics of content attacks.

``x`` (n, d) are honest vectors, ``target`` (d,) that of the receiver. Traceable by JAX.

Sources: Baruch et al. 2019 (a little is enough); Xie et al. 2020 (inner product manipulation); Karimireddy et al.
2022 (mimic); He, Karimireddy, Jaggi 2022 (dissensus); Gaucher, Dieuleveut, Hendrikx 2025 (spectral heterogeneity);
Shejwalkar and Houmansadr 2021 (factors adapted to a defence).
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from protocols.learning.layers import Dense
from protocols.learning.task import Task
from simulator.contract.compute import Vector
from simulator.errors import ConfigurationError

FACTORS = 64
"""Factors tried by a search, and again between the neighbours of the best one."""
FACTOR_RANGE = (1e-2, 1e3)


def inner_product(x: jax.Array, factor: jax.Array | float) -> jax.Array:
    """Return minus a multiple of the honest mean (IPM, fall of empires)."""
    return -factor * jnp.mean(x, axis=0)


def little(x: jax.Array, z: jax.Array | float) -> jax.Array:
    """Return the honest mean plus z standard deviations, position by position (ALIE); one vector has none."""
    count = x.shape[0]
    mean = jnp.mean(x, axis=0)
    spread = jnp.sqrt(jnp.sum((x - mean) ** 2, axis=0) / max(count - 1, 1))
    return mean + z * spread


def mimicked(x: jax.Array) -> jax.Array:
    """Return the honest vector furthest along the direction in which honest vectors differ most."""
    centred = x - jnp.mean(x, axis=0)
    _, vectors = jnp.linalg.eigh(centred @ centred.T)
    # The projections on the first right singular vector are a multiple of the first left one.
    return x[jnp.argmax(jnp.abs(vectors[:, -1]))]


def dissensus(target: jax.Array, x: jax.Array, w: jax.Array, wrong: float, factor: float) -> jax.Array:
    """Return the vector that moves a target against the pull of its honest neighbours.

    Args:
        target: (d,).
        x: (n, d), its honest neighbours.
        w: (n,), their mixing weights at the target.
        wrong: total weight of the Byzantine neighbours there.
        factor: 1 holds the target in place, under plain gossip; more drives it away.
    """
    return target - factor * (w @ (x - target)) / wrong


def override(target: jax.Array, x: jax.Array, w: jax.Array, wrong: float, aim: jax.Array) -> jax.Array:
    """Return the vector that makes a target's next model, under plain gossip, equal ``aim``; arguments as above."""
    own = 1.0 - jnp.sum(w) - wrong
    return (aim - own * target - w @ x) / wrong


def fiedler(weights: Vector) -> Vector:
    """Return the Fiedler vector of a weighted graph, (n, n) symmetric -> (n,): unit norm, largest entry positive."""
    off = np.array(weights, float)
    np.fill_diagonal(off, 0.0)
    _, vectors = np.linalg.eigh(np.diag(off.sum(axis=1)) - off)
    vector: Vector = vectors[:, min(1, len(off) - 1)]
    signed: Vector = vector * np.sign(vector[np.argmax(np.abs(vector))])
    return signed


def spectral(
    target: jax.Array, entry: float, x: jax.Array, entries: jax.Array, factor: jax.Array | float
) -> jax.Array:
    """Return the target's model, pushed further along the slowest mode of disagreement.

    Args:
        target: (d,).
        entry: of the Fiedler vector, at the target.
        x: (n, d), all honest vectors.
        entries: (n,), of the Fiedler vector at theirs.
        factor: size of the push.
    """
    return target + factor * entry * (entries @ x)


def suited(
    say: Callable[[jax.Array], jax.Array],
    outcome: Callable[[jax.Array], jax.Array],
    wanted: jax.Array,
) -> jax.Array:
    """Return the vector sent with the factor that moves a defence furthest from the attack-free result.

    Args:
        say: function from a factor to the vector that is sent, (d,).
        outcome: function from that vector to the defence's result, (d,).
        wanted: the result without an attack.

    Zero and factors from 10^-2 to 10^3 are tried, then those around the best one.
    """
    low, high = FACTOR_RANGE

    def deviation(factor: jax.Array) -> jax.Array:
        found = jnp.sum((outcome(say(factor)) - wanted) ** 2)
        return jnp.where(jnp.isfinite(found), found, -1.0)

    def best(factors: jax.Array) -> tuple[jax.Array, jax.Array]:
        deviations = jax.lax.map(deviation, factors)
        return jnp.argmax(deviations), deviations

    coarse = jnp.asarray(np.concatenate([[0.0], np.geomspace(low, high, FACTORS)]), wanted.dtype)
    at, _ = best(coarse)
    last = len(coarse) - 1
    fine = jnp.linspace(coarse[jnp.maximum(at - 1, 0)], coarse[jnp.minimum(at + 1, last)], FACTORS + 1)
    fine = jnp.concatenate([fine, coarse[at][None]])
    return say(fine[best(fine)[0]])


DEAD = 1e3
"""Minus this is the bias of a unit that never activates on samples of usual size."""


def dead(task: Task, params: Vector) -> Vector:
    """Return a model whose first hidden layer never activates: only the biases of its output layer can learn.

    A node that trains it sends back a gradient that is zero before the output layer, whatever its data, so that a sum
    over many such nodes and one other shows that other one's (Pasquini, Francati, Ateniese 2022).

    Args:
        task: the model, with a first dense layer that is rectified.
        params: (d,), for the remaining parameters.

    Raises:
        ConfigurationError: another model.
    """
    network = task.network
    layers = () if network is None else network.layers
    if network is None or len(layers) < 3 or not isinstance(layers[0], Dense) or layers[1] != "relu":
        raise ConfigurationError(
            f'{task.name} has no hidden layer of rectified units to switch off; use model.kind = "mlp"',
            "adversary.byzantine.attack.aim",
        )
    features, units = int(np.prod(network.shape)), layers[0].units
    killed = np.array(params)
    killed[: features * units] = 0.0
    killed[features * units : (features + 1) * units] = -DEAD
    return killed
