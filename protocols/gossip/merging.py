"""Rules by which asynchronous gossip merges received models: order, weights and staleness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from protocols.gossip.learner import Learner, Model
from simulator.contract.node import Node

Order: TypeAlias = Literal["merge-update", "update-merge"]
Weighting: TypeAlias = Literal["half", "updates"]
Staleness: TypeAlias = Literal["accept", "discard", "weight"]


class Aged(NamedTuple):
    """Model with the public counts that asynchronous gossip sends with it.

    Args:
        model: the model.
        updates: number of local updates in its history: one more after each update, the larger of two after a merge.
        steps: number of local updates made by the node that holds or sent it.
    """

    model: Model
    updates: int
    steps: int


@dataclass(frozen=True)
class MergeRules:
    """Treatment of received models in a run.

    A received model has the weight α, the own one 1 − α. Its *age* is the node's own count of local updates minus
    the sender's when it was sent, and at least 0.

    Args:
        order: ``"merge-update"``: merge received models, then make the local step. ``"update-merge"``: make the local
            step on the received model (several are first merged with one another) and merge it into the own model
            then; a node that received nothing makes it on its own model. Either way a round has one local step.
        weight: ``"half"``: α = 1/2. ``"updates"``: α = u' / (u + u'), with the updates u of the own and u' of the
            received model (1/2 where both are 0).
        staleness: ``"accept"``: α does not depend on age. ``"discard"``: models whose age is above ``stale_after``
            are not merged. ``"weight"``: α is divided by 1 + age.
        stale_after: rounds; only with ``"discard"``.

    Source: Ormándi, Hegedűs and Jelasity 2013 (arXiv 1109.1396), CreateModelMU and CreateModelUM, the latter without
        its second local step; weights by updates as in Hegedűs, Danner and Jelasity 2021 (J. Parallel Distrib.
        Comput. 148).
    """

    order: Order = "merge-update"
    weight: Weighting = "half"
    staleness: Staleness = "accept"
    stale_after: int = 0

    def share(self, mine: Aged, received: Aged) -> float:
        """Return α."""
        both = mine.updates + received.updates
        share = 0.5 if self.weight == "half" or both == 0 else received.updates / both
        return share / (1 + _age(mine, received)) if self.staleness == "weight" else share

    async def round(self, node: Node, learner: Learner, mine: Aged, arrived: Sequence[Aged]) -> Aged:
        """Run one round: merging and the local step, in the order of the rules."""
        fresh = self._fresh(node, mine, arrived)
        if self.order == "merge-update" or not fresh:
            return await self._updated(node, learner, mine, fresh)
        # The local step is this node's, so the received model counts as its own until it is merged.
        guest = await self._updated(node, learner, fresh[0]._replace(steps=mine.steps), fresh[1:])
        share = self.share(mine, guest._replace(steps=max(received.steps for received in fresh)))
        model = await learner.combine(node, mine.steps, [(1.0 - share, mine.model), (share, guest.model)])
        return Aged(model, max(mine.updates, guest.updates), guest.steps)

    async def last(self, node: Node, learner: Learner, mine: Aged, arrived: Sequence[Aged]) -> Aged:
        """Merge what came after the last local step."""
        terms, updates = self._terms(mine, self._fresh(node, mine, arrived))
        if len(terms) == 1:
            return mine
        return Aged(await learner.combine(node, mine.steps, terms), updates, mine.steps)

    def _fresh(self, node: Node, mine: Aged, arrived: Sequence[Aged]) -> list[Aged]:
        fresh = []
        for received in arrived:
            if self.staleness == "discard" and _age(mine, received) > self.stale_after:
                node.record("stale", round=mine.steps, age=_age(mine, received))
            else:
                fresh.append(received)
        return fresh

    async def _updated(self, node: Node, learner: Learner, mine: Aged, others: Sequence[Aged]) -> Aged:
        """Merge the others into ``mine``, then make a local step."""
        terms, updates = self._terms(mine, others)
        model = await learner.merge_update(node, mine.steps, terms)
        return Aged(model, updates + 1, mine.steps + 1)

    def _terms(self, mine: Aged, others: Sequence[Aged]) -> tuple[list[tuple[float, Model]], int]:
        """Return the weights of a sequential merge of the others into ``mine``, and the updates of the result."""
        terms = [(1.0, mine.model)]
        for received in others:
            share = self.share(mine, received)
            terms = [(weight * (1.0 - share), model) for weight, model in terms]
            terms.append((share, received.model))
            if received.updates > mine.updates:
                mine = mine._replace(updates=received.updates)
        return terms, mine.updates


def _age(mine: Aged, received: Aged) -> int:
    return max(0, mine.steps - received.steps)
