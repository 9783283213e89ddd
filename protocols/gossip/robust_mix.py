"""Mixing by a robust rule in place of a weighted average: models are compared, and what stands out counts little.

A node's own model is the first of the vectors a rule sees. Rules that count wrong models by number use no weights
of links and do not keep the average of all models, even without attacks. The weight of neighbours that are not heard
falls to the own model. A model with a number that is not finite is replaced by the node's own before anything is
compared.
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
    """What a node compares in one mix.

    Args:
        models: (n, d), the own one first.
        weights: (n,), mixing weights of these rows; they sum to 1.
        honest: (n,), 1 or 0: what no real node knows, for rules with an oracle.
        lots: (n,), drawn by the node for this mix: their order is a random one.
        losses: gives (n,), every model's mean loss on the node's own samples.
    """

    models: jax.Array
    weights: jax.Array
    honest: jax.Array
    lots: jax.Array
    losses: Callable[[], jax.Array]


Rule = Callable[[Heard], jax.Array]


class RobustMix:
    """The mixes of one run.

    Args:
        learner: how nodes train; its lineage records mixes.
        rule: what is done with the vectors.
        least: how many it needs; a node that hears fewer keeps its own model.
        corrupt: nodes that do not follow the protocol, for oracles.
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
        """The rule over the own model and those heard, each with its weight."""
        return await self._over(node, round, mine, own, heard, counted=True)

    async def pool(
        self, node: Node, round: int, before: Model, results: Mapping[int, tuple[float, Model]]
    ) -> Model:
        """The rule over results alone, weights summing to 1; what was there before replaces what is no number."""
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
    """A rule as an operation: vectors, the own one first, weights, who is honest, lots, the node, the data bank.

    Args:
        rule: what is done.
        losses: of models on a node's samples.
        counted: whether the own vector is one of those compared; otherwise it only replaces what is no number.
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
