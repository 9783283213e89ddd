"""Content attacks: what a Byzantine node says in place of its own model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from protocols.gossip.learner import Learner, Model
from simulator.compute import Executor
from simulator.node import Node


def sign_flip(learner: Learner, executor: Executor, scale: float) -> Callable[[Node, Model, int, int], Model]:
    """−scale times the node's own model, the same to every neighbour (knowledge: own state only).

    The factor is linear, so the lineage stays exact: the claim is the state times −scale.
    """
    op = learner.operations.scale(-scale)

    def claim(node: Node, content: Any, to: int, round: int) -> Model:
        model: Model = content
        params = executor.submit(op, [model.params], node=node.id, size=learner.size)
        state = learner.lineage.combine(node.now_s, node.id, round, [(-scale, model.state)])
        return Model(params, state)

    return claim


def two_faced(learner: Learner, executor: Executor, scale: float) -> Callable[[Node, Model, int, int], Model]:
    """:func:`sign_flip` to neighbours of odd number, the truth to the others: the simplest equivocation."""
    flip = sign_flip(learner, executor, scale)

    def claim(node: Node, content: Any, to: int, round: int) -> Model:
        truth: Model = content
        return flip(node, content, to, round) if to % 2 else truth

    return claim
