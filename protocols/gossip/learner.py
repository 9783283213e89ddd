"""A node's model on its way through a protocol: local updates and mixing, each recorded in the lineage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from protocols.privacy.lineage import ORIGIN, Lineage
from simulator.compute import Handle, Vector
from simulator.node import Node

if TYPE_CHECKING:
    from protocols.learning.local_update import Operations
    from protocols.learning.task import Task

VALUE_BYTES = 4
"""A parameter travels as one 32-bit number, masked or not."""


class Model(NamedTuple):
    """Parameters, and the lineage state they are.

    Args:
        params: handle or vector of all parameters.
        state: what they are as a combination of contributions.
    """

    params: Handle | Vector
    state: int


@dataclass(frozen=True)
class Learner:
    """How every node of a run trains.

    Args:
        task: the model.
        operations: the run's model mathematics.
        lineage: the run's record of releases.
        initial: public initial parameters, the same on every node.
        gain: step / divisor, the public factor between a clipped sum and a model update.
        sigma: per node, the standard deviation of the noise added to each coordinate of the clipped sum.
        sensitivity: largest norm of one unit's contribution to the clipped sum (inf without clipping).
        step_cost_s: virtual seconds of one local update.

    Guarantees:
        Each local update draws its noise once, from the stream (node, "noise", round), before anything of
        it is sent; every receiver in that round sees the same draw.
    """

    task: Task
    operations: Operations
    lineage: Lineage
    initial: Vector
    gain: float
    sigma: Sequence[float]
    sensitivity: float
    step_cost_s: float

    @property
    def size(self) -> int:
        """Number of parameters."""
        return int(self.initial.size)

    @property
    def start(self) -> Model:
        """The public initial model."""
        return Model(self.initial, ORIGIN)

    def noise(self, node: int, rng: np.random.Generator) -> Vector:
        """One draw of a node's noise; zeros without a mechanism."""
        sigma = np.float32(self.sigma[node])
        if sigma == 0:
            return np.zeros(self.size, np.float32)
        return rng.standard_normal(self.size, dtype=np.float32) * sigma

    async def local_update(self, node: Node, model: Model, round: int) -> Model:
        """One noised gradient step on the node's own data."""
        sigma = self.sigma[node.id]
        noise = self.noise(node.id, node.rng("noise", round))
        params = await node.compute(
            self.operations.local_step, model.params, node.id, noise, size=self.size, cost_s=self.step_cost_s
        )
        state = self.lineage.contribute(
            node.now_s,
            node.id,
            round,
            model.state,
            gain=-self.gain,
            sigma=sigma,
            sensitivity=self.sensitivity,
        )
        return Model(params, state)

    async def combine(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
        """The weighted sum of models."""
        weights = tuple([w for w, _ in terms])
        params = await node.compute(
            self.operations.combine(len(terms)), *(m.params for _, m in terms), weights, size=self.size
        )
        return Model(
            params, self.lineage.combine(node.now_s, node.id, round, [(w, m.state) for w, m in terms])
        )
