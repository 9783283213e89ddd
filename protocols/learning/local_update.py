"""What one local update of a node is: some steps of an optimiser on its own samples, clipped and noised as asked.

A whole update, however many steps it has, is one operation. Its function is built from static choices alone (the
:class:`Recipe`); step sizes, clipping norm and data travel as arrays, so runs that differ only in those share their
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
"""Gradient descent."""


@dataclass(frozen=True)
class Recipe:
    """The static choices of a local update.

    Args:
        steps: optimiser steps, at least 1.
        optimiser: see :class:`~protocols.learning.optimisers.Optimiser`.
        unit: whose contribution is clipped: a ``record`` in every step or the ``node``; None for no clipping.
        whole: with unit ``node``: the difference that the whole update makes is clipped, and noised once.
        noised: noise is an input.
        sampled: batches are an input; otherwise every step uses all samples.
        partial: a node may have fewer batches than others; empty ones are no steps.
        keeps: the optimiser's state: made anew for every update, kept by the node, or part of the model.
        scheduled: step sizes are an input.
        adapts: the clipping norm is an input, and whether the update was within it comes behind the parameters; with
            ``whole`` and an optimiser made anew.
        proximal: a pull towards the model at the start of the update (Li et al. 2020, arXiv:1812.06127).
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
        """How many clipped sums, each with its own noise, one update adds to the model."""
        return self.steps if self.noised and not self.whole else 1

    @property
    def linear(self) -> bool:
        """Whether an update is the model minus step sizes times clipped, noised sums."""
        return self.whole or (self.optimiser.linear and not self.proximal)


@lru_cache(maxsize=256)
def update_function(task: Task, recipe: Recipe) -> Callable[..., jax.Array]:
    """``fn(model, [state], node, [noise], [batches], [rates], [clip], x, y, mask, …) -> vector``.

    Args:
        task: the model.
        recipe: what of the inputs in brackets there is.

    The inputs: the model (d,), with its optimiser state behind it if that travels; a kept state as this function
    returned it; the node's number; noise, already scaled, (d,) or (steps, d); batches (steps, size) of sample
    numbers; step sizes (steps,); a clipping norm. Then what all nodes share: the data bank (x, y, mask), the constant
    step size, 1 / divisor, the clipping norm and the proximal coefficient.

    A step is: parameters −= rate · direction(share · (clipped sum + noise) + pull · (parameters − start)).

    Returns:
        (d,) parameters, or (d + s,) with the state behind them where it is kept or travels.

    Guarantees:
        With ``whole`` and unit ``node``, a node's update without noise has norm at most C, and a node without any
        data has the update zero, whatever its optimiser, decay and pull: zeroing out its data moves the update by at
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
                # Decay, a pull or kept momentum move a node without data too; its neighbour in privacy says nothing.
                moved = jnp.where(jnp.any(mask), clip_vector(whole, clip), 0.0)
            params = start - (moved if noise is None else moved + noise.reshape(size))
        if recipe.adapts:
            return jnp.append(params, within)
        if recipe.keeps == "fresh" or not state_size:
            return params
        return jnp.concatenate([params, flatten(state, params.dtype)])

    return update
