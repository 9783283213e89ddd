"""Mixing by a robust rule in place of a weighted average: models are compared, and what stands out counts little.

A node's own model is the first of the vectors a rule sees, so f of a rule counts wrong ones among the neighbours and
the node together. Weights of links play no part, and the average of all models is not kept, even without attacks. A
model with a number that is not finite is replaced by the node's own before anything is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp

from protocols.gossip.learner import Learner, Model
from simulator.compute import Op
from simulator.node import Node

Rule = Callable[[jax.Array], jax.Array]
"""From (n, d), the own vector first, to (d,)."""


class RobustMix:
    """The mixes of one run.

    Args:
        learner: whose lineage records them.
        rule: what is done with the vectors.
        least: how many it needs; a node that hears fewer keeps its own model.
    """

    def __init__(self, learner: Learner, rule: Rule, least: int) -> None:
        self._learner = learner
        self._least = least
        self._op = lru_cache(maxsize=None)(lambda count: Op(f"robust mix of {count}", compared(rule)))

    async def mix(self, node: Node, round: int, mine: Model, heard: Sequence[Model]) -> Model:
        """The rule over the own model and those heard."""
        if 1 + len(heard) < self._least:
            node.record("too few to compare", round=round)
            return mine
        models = [mine, *heard]
        learner = self._learner
        params = await node.compute(
            self._op(len(models)), *(model.params for model in models), size=learner.size
        )
        states = [model.state for model in models]
        return Model(params, learner.lineage.opaque(node.now_s, node.id, round, states))


def compared(rule: Rule) -> Callable[..., jax.Array]:
    """A rule as an operation on separate vectors, the own one first."""

    def mixed(*vectors: jax.Array) -> jax.Array:
        own = vectors[0]
        sound = [jnp.where(jnp.all(jnp.isfinite(vector)), vector, own) for vector in vectors]
        return rule(jnp.stack(sound))

    return mixed
