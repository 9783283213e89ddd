"""Local update of a node: optimiser steps on its own samples, clipped and noised as configured.

A whole update with all its steps is one operation. Its function is built from static choices alone (the
:class:`Recipe`); step sizes, clipping norm and data are array inputs, so runs that differ only in those share their
compilations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp

from protocols.learning.batches import NOBODY
from protocols.learning.gradient import Unit, clip_vector, clipped, summed
from protocols.learning.optimisers import Optimiser, flatten, sgd, unflatten
from protocols.learning.task import Task

Keeps: TypeAlias = Literal["fresh", "node", "travels"]
PLAIN = Optimiser(sgd(), linear=True)
"""Optimiser of plain gradient descent."""


@dataclass(frozen=True)
class Recipe:
    """Static choices of a local update.

    Args:
        steps: optimiser steps, at least 1.
        optimiser: see :class:`~protocols.learning.optimisers.Optimiser`.
        unit: unit of clipping: a ``record`` in every step or the ``node``; None for no clipping.
        whole: with unit ``node``: the change by the whole update is clipped, and noised once.
        noised: noise is an input.
        sampled: batches are an input; otherwise every step uses all samples.
        partial: a node may have fewer batches than others; empty ones are no steps.
        keeps: the optimiser's state: new for every update, kept by the node, or part of the model.
        scheduled: step sizes are an input.
        adapts: the clipping norm is an input, and the result has one more element after the parameters: whether the
            update was within the norm. Needs ``whole`` and a new optimiser state for every update.
        proximal: a proximal term towards the model at the start of the update (Li et al. 2020, arXiv:1812.06127).
    """

    steps: int = 1
    optimiser: Optimiser = PLAIN
    unit: Unit | None = None
    whole: bool = False
    noised: bool = False
    sampled: bool = False
    partial: bool = False
    keeps: Keeps = "fresh"
    scheduled: bool = False
    proximal: bool = False
    adapts: bool = False

    @property
    def contributions(self) -> int:
        """Return the number of clipped sums, each with its own noise, that one update adds to the model."""
        return self.steps if self.noised and not self.whole else 1

    @property
    def linear(self) -> bool:
        """Return whether an update is the model minus step sizes times clipped, noised sums."""
        return self.whole or (self.optimiser.linear and not self.proximal)


@lru_cache(maxsize=256)
def update_function(task: Task, recipe: Recipe) -> Callable[..., jax.Array]:
    """Return ``fn(model, [state], node, [noise], [batches], [rates], [clip], x, y, mask, …) -> vector``.

    Args:
        task: the model.
        recipe: decides which inputs in brackets exist.

    The inputs: the model (d,), followed by its optimiser state if that is sent; a kept state as returned by this
    function; the node's number; noise, already scaled, (d,) or (steps, d); batches (steps, size) of sample numbers;
    step sizes (steps,); a clipping norm. Then the inputs common to all nodes: the data bank (x, y, mask), the
    constant step size, 1 / divisor, the clipping norm and the proximal coefficient.

    A step is: parameters −= rate · direction(share · (clipped sum + noise) + pull · (parameters − start)).

    Returns:
        (d,) parameters, or (d + s,) followed by the state where it is kept or sent.

    Guarantees:
        With ``whole`` and unit ``node``, a node's update without noise has norm at most C, and a node without data
        has the update zero, for any optimiser, decay and proximal term: zeroing out its data moves the update by at
        most C, replacing them by at most 2C, from any model and kept state.

    Source: Abadi et al. 2016 (arXiv:1607.00133), Algorithm 1, with a public divisor in place of the batch size;
        with ``whole``, McMahan et al. 2018 (arXiv:1710.06963).
    """
    size = task.size
    transform = recipe.optimiser.transform
    state_size = recipe.optimiser.state_size(size)

    def contribution(
        params: jax.Array, x: jax.Array, y: jax.Array, mask: jax.Array, clip: jax.Array
    ) -> jax.Array:
        if recipe.unit is None or recipe.whole:
            return summed(task)(params, x, y, mask)
        return clipped(task, recipe.unit)(params, x, y, mask, clip)

    def update(model: jax.Array, *given: Any) -> jax.Array:
        *own, x, y, mask, rate, share, clip, pull = given
        inputs = iter(own)
        kept = next(inputs)[size:] if recipe.keeps == "node" else model[size:]
        node = next(inputs)
        noise = next(inputs) if recipe.noised else None
        batches = next(inputs) if recipe.sampled else None
        rates = next(inputs) if recipe.scheduled else None
        clip = next(inputs) if recipe.adapts else clip
        x, y, mask = x[node], y[node], mask[node]
        start = model[:size]

        def step(params: jax.Array, state: Any, drawn: Any) -> tuple[jax.Array, Any]:
            this_rate, this_noise, chosen = drawn
            if chosen is None:
                gradient = contribution(params, x, y, mask, clip)
            else:
                gradient = contribution(params, x[chosen], y[chosen], chosen != NOBODY, clip)
            if this_noise is not None:
                gradient = gradient + this_noise
            if recipe.optimiser.linear and not recipe.proximal:
                moved = params - this_rate * share * gradient
            else:
                gradient = share * gradient
                if recipe.proximal:
                    gradient = gradient + pull * (params - start)
                direction, after = transform.update(gradient, state, params)
                moved = params - this_rate * direction
                if recipe.partial:
                    made = jnp.any(chosen != NOBODY)
                    after = jax.tree.map(lambda new, old: jnp.where(made, new, old), after, state)
                    moved = jnp.where(made, moved, params)
                state = after
            return moved, state

        state = transform.init(start) if recipe.keeps == "fresh" else unflatten(recipe.optimiser, size, kept)
        every_step = None if recipe.whole else noise
        if recipe.steps == 1:
            this_noise = None if every_step is None else every_step.reshape(size)
            chosen = None if batches is None else batches[0]
            this_rate = rate if rates is None else rates[0]
            params, state = step(start, state, (this_rate, this_noise, chosen))
        else:
            constant = jnp.broadcast_to(rate, (recipe.steps,)) if rates is None else rates

            def scanned(carry: Any, drawn: Any) -> tuple[Any, None]:
                params, state = carry
                return step(params, state, drawn), None

            (params, state), _ = jax.lax.scan(scanned, (start, state), (constant, every_step, batches))
        if recipe.whole:
            whole = start - params
            within = jnp.linalg.norm(whole) <= clip
            moved = whole
            if recipe.unit:
                # Decay, a proximal term or kept momentum move a node without data too; its neighbour's update is 0.
                moved = jnp.where(jnp.any(mask), clip_vector(whole, clip), 0.0)
            params = start - (moved if noise is None else moved + noise.reshape(size))
        if recipe.adapts:
            return jnp.append(params, within)
        if recipe.keeps == "fresh" or not state_size:
            return params
        return jnp.concatenate([params, flatten(state, params.dtype)])

    return update
