"""Mixing by a robust rule in place of a weighted average: models are compared, and outliers have little weight.

A node's own model is the first of the vectors given to a rule. Rules that count wrong models by number ignore link
weights and do not preserve the average of all models, even without attacks. The weight of missing neighbours falls to
the own model. A model with a number that is not finite is replaced by the node's own before the rule is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp

from protocols.gossip.learner import Learner, Model
from protocols.gossip.peers import draws
from protocols.learning.own_loss import own_losses
from simulator.contract.compute import Op
from simulator.contract.node import Node


@dataclass(frozen=True)
class Heard:
    """Input of a rule in one mix.

    Args:
        models: (n, d), the own one first.
        weights: (n,), mixing weights of these rows; they sum to 1.
        honest: (n,), 1 or 0: unknown to any real node, for rules with an oracle.
        lots: (n,), drawn by the node for this mix: their order is a random one.
        losses: returns (n,), every model's mean loss on the node's own samples.
    """

    models: jax.Array
    weights: jax.Array
    honest: jax.Array
    lots: jax.Array
    losses: Callable[[], jax.Array]


Rule = Callable[[Heard], jax.Array]


class RobustMix:
    """Robust mixing in one run.

    Args:
        learner: local training; its lineage records mixes.
        rule: function from vectors and weights to one vector.
        least: smallest number of models it needs; a node with fewer keeps its own model.
        corrupt: Byzantine nodes, for oracles.
    """

    def __init__(self, learner: Learner, rule: Rule, least: int, corrupt: frozenset[int]) -> None:
        self._learner = learner
        self._least = least
        self._corrupt = corrupt
        operations = learner.operations
        bank = operations.bank
        losses = own_losses(operations.task)
        self._op = lru_cache(maxsize=None)(
            lambda count, counted: Op(
                f"robust mix of {count}", compared(rule, losses, counted), (bank.x, bank.y, bank.mask)
            )
        )

    async def mix(
        self, node: Node, round: int, mine: Model, own: float, heard: Mapping[int, tuple[float, Model]]
    ) -> Model:
        """Apply the rule to the own model and the received ones, each with its weight."""
        return await self._over(node, round, mine, own, heard, counted=True)

    async def pool(
        self, node: Node, round: int, before: Model, results: Mapping[int, tuple[float, Model]]
    ) -> Model:
        """Apply the rule to results alone, weights summing to 1; the previous model replaces those not finite."""
        return await self._over(node, round, before, 0.0, results, counted=False)

    async def _over(
        self,
        node: Node,
        round: int,
        mine: Model,
        own: float,
        heard: Mapping[int, tuple[float, Model]],
        *,
        counted: bool,
    ) -> Model:
        if counted + len(heard) < self._least:
            node.record("too few to compare", round=round)
            return mine
        learner = self._learner
        models = [mine, *(model for _, model in heard.values())]
        weights = (own, *(weight for weight, _ in heard.values()))
        honest = (1.0, *(float(peer not in self._corrupt) for peer in heard))
        params = await node.compute(
            self._op(len(models), counted),
            *(model.params for model in models),
            weights,
            honest,
            tuple(draws(node, "buckets", round, len(models))),
            node.id,
            size=learner.size,
        )
        states = [model.state for model in models]
        return Model(params, learner.lineage.opaque(node.now_s, node.id, round, states))


@lru_cache(maxsize=256)
def compared(rule: Rule, losses: Callable[..., jax.Array], counted: bool = True) -> Callable[..., jax.Array]:
    """Make an operation of a rule: vectors, the own one first, weights, honesty, lots, the node, the data bank.

    Args:
        rule: the rule.
        losses: computes losses of models on a node's samples.
        counted: whether the own vector is one of those compared; otherwise it only replaces vectors that are not
            finite.
    """
    first = 0 if counted else 1

    def mixed(*inputs: Any) -> jax.Array:
        *vectors, weights, honest, lots, node, x, y, mask = inputs
        own = vectors[0]
        sound = jnp.stack(
            [jnp.where(jnp.all(jnp.isfinite(vector)), vector, own) for vector in vectors[first:]]
        )
        return rule(
            Heard(
                sound,
                weights[first:],
                honest[first:],
                lots[first:],
                lambda: losses(sound, x[node], y[node], mask[node]),
            )
        )

    return mixed
