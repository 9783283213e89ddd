"""Local updates and mixing of a node's model, each recorded in the lineage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from protocols.privacy.adaptive_clip import BIT, AdaptiveClip
from protocols.privacy.bands import correlate
from protocols.privacy.lineage import ORIGIN, Lineage
from simulator.contract.compute import Handle, Vector
from simulator.contract.node import Node
from simulator.errors import ContractError

if TYPE_CHECKING:
    from protocols.learning.operations import Operations
    from protocols.learning.schedules import Schedule

OPTIMISER = "optimizer"
"""Keys on a node's disk for the state of its optimiser, and its number in the lineage."""

CONTRIBUTED, SPENT = "contributed", "spent"
"""Keys on a node's disk for the count of noised sums, and for the note that no more are allowed."""


class Model(NamedTuple):
    """Parameters and their state in the lineage.

    Args:
        params: handle or vector of all parameters, followed by the optimiser's state if that is sent too.
        state: number of the lineage state that describes them as a combination of contributions.

    Example:
        >>> sv.Model(params=[0.5, 1.0], state=0).params
        [0.5, 1.0]
    """

    params: Handle | Vector
    state: int


@dataclass(frozen=True)
class Learner:
    """Training at every node of a run.

    Args:
        operations: operations on models, compiled once per run.
        lineage: the run's record of releases.
        start: the public initial model, the same on every node.
        gain: the public factor between a clipped sum and a model update: step / divisor, or 1 where whole updates
            are clipped.
        sigma: per node, the standard deviation of the noise added to each coordinate of a clipped sum.
        sensitivity: largest norm of one unit's contribution to a clipped sum (inf without clipping).
        step_cost_s: virtual seconds of one local update.
        schedule: step sizes, where they change; ``gain`` is then that of a step of size 1 times the largest.
        adaptive: update rule of the clipping norm of whole updates; None: it is constant.
        bands: coefficients of noise correlated across rounds; None: independent draws.
        allowance: per node, how many noised sums it may contribute, restarts included; None: any number.

    Guarantees:
        Each local update draws its noise once, from the stream (node, "noise", round), before anything of it is
        sent; every receiver in that round sees the same draw. An update of several clipped steps has noise of
        its own in each of them. Every clipped sum is in the lineage with its noise; what is no linear function of
        them (momentum, Adam, weight decay, a proximal term, terms from earlier updates) is recorded as opaque,
        for which only the local bound is claimed.

    Example:
        >>> async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        ...     model = learner.start
        ...     for round in range(rounds):
        ...         model = await learner.local_update(node, model, round)
        ...         node.record("model", round=round + 1, value=model.params)
        >>> alone = {"protocol.exchange": "plain", "protocol.rounds": 2}
        >>> sv.run("quickstart", changes=alone, program=program).rounds_done_min
        2
    """

    operations: Operations
    lineage: Lineage
    start: Model
    gain: float
    sigma: Sequence[float]
    sensitivity: float
    step_cost_s: float
    schedule: Schedule | None = None
    allowance: Sequence[int] | None = None
    bands: Sequence[float] | None = None
    adaptive: AdaptiveClip | None = None

    @cached_property
    def size(self) -> int:
        """Return the elements that are sent: the parameters, and the optimiser's state if it is sent too."""
        return int(self.start.params.size)

    def noise(self, node: int, rng: np.random.Generator) -> Vector:
        """Draw a node's noise for one update, (d,) or (contributions, d)."""
        count, size = self.operations.recipe.contributions, self.operations.task.size
        drawn = rng.standard_normal((count, size) if count > 1 else size, dtype=np.float32)
        return drawn * np.float32(self.sigma[node])

    async def local_update(self, node: Node, model: Model, round: int) -> Model:
        """Train on the node's own data, starting from a model.

        Args:
            node: the node that trains.
            model: the model to start from.
            round: number of the update, from 0; it selects batches and noise, so it must be new in every call. A
                number that is used twice uses its noise twice, and the ledger then reports an infinite loss.

        Returns:
            The trained, clipped and noised model.
        """
        return await self.merge_update(node, round, ((1.0, model),))

    async def merge_update(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
        """Train on the node's own data, starting from the weighted sum of models: :meth:`combine` and
        :meth:`local_update` in one operation."""
        operations = self.operations
        recipe = operations.recipe
        if self._spent(node, round):
            alone = len(terms) == 1 and terms[0][0] == 1.0
            return terms[0][1] if alone else await self.combine(node, round, terms)
        self.lineage.begin(node.now_s, node.id, round)
        if len(terms) == 1 and terms[0][0] == 1.0:
            before = terms[0][1].state
            inputs: list[Any] = [terms[0][1].params]
        else:
            before = self._mixed(node, round, terms)
            inputs = await self._summands(node, terms)
        count = max(1, len(inputs) - 1)
        size = self.size
        if recipe.keeps == "node":
            inputs.append(self._kept(node)[0])
            size += recipe.optimiser.state_size(size)
        inputs.append(node.id)
        correlated = None
        if recipe.noised:
            noise = self.noise(node.id, node.rng("noise", round))
            if self.bands is not None:
                correlated = correlate(node, self.lineage, round, self.bands, noise, self.sigma[node.id])
                noise = correlated.vector
            if self.adaptive is not None:
                own = self.adaptive.update_multiplier / self.adaptive.multiplier
                noise = noise * np.float32(self._grown(node) * own)
            inputs.append(noise)
        if recipe.sampled:
            inputs.append(operations.batches.draw(node.id, node.rng("batch", round)))
        if recipe.scheduled:
            inputs.append(tuple(self._rates(round)))
        if self.adaptive is not None:
            inputs.append(np.float32(self.adaptive.norm(node)))
            size += 1
        params = await node.compute(operations.update(count), *inputs, size=size, cost_s=self.step_cost_s)
        if self.adaptive is not None:
            node.disk[BIT] = self.adaptive.bit(node, round, bool(node.read(params)[-1] > 0.5))
            params = await node.compute(operations.head(self.size), params, size=self.size)
        source = None if correlated is None else correlated.state
        return await self._updated(node, round, params, before, source)

    async def combine(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
        """Compute the weighted sum of models.

        Args:
            node: the node that computes.
            round: round of the node, for the record.
            terms: (weight, model) pairs, at least one.

        Raises:
            ContractError: a term is no pair of a weight and a model.
        """
        for term in terms:
            if not (isinstance(term, tuple) and len(term) == 2 and isinstance(term[1], Model)):
                raise ContractError(f"terms are (weight, Model) pairs, got {term!r:.80}")
        inputs = await self._summands(node, terms)
        params = await node.compute(self.operations.combine(len(inputs) - 1), *inputs, size=self.size)
        return Model(params, self._mixed(node, round, terms))

    def _spent(self, node: Node, round: int) -> bool:
        """Return whether another update would exceed the node's allowance; otherwise count it."""
        if self.allowance is None:
            return False
        made = node.disk.get(CONTRIBUTED, 0) + self.operations.recipe.contributions
        if made > self.allowance[node.id]:
            if not node.disk.get(SPENT):
                node.disk[SPENT] = True
                node.record("budget spent", round=round)
            return True
        node.disk[CONTRIBUTED] = made
        return False

    def _grown(self, node: Node) -> float:
        """Return the clipping norm relative to the initial one."""
        return 1.0 if self.adaptive is None else self.adaptive.norm(node) / self.adaptive.initial

    def _mixed(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> int:
        return self.lineage.combine(node.now_s, node.id, round, [(w, m.state) for w, m in terms])

    async def _updated(
        self, node: Node, round: int, params: Handle, before: int, noise: int | None = None
    ) -> Model:
        """Record an update in the lineage, keep its local state on disk, and return the model."""
        recipe, lineage, now_s = self.operations.recipe, self.lineage, node.now_s
        state, sensitivity = before, self.sensitivity
        sigma = self.sigma[node.id] if noise is None else 0.0
        if self.adaptive is not None:  # the update and its bit together equal one release with this noise
            sigma, sensitivity = sigma * self._grown(node), sensitivity * self._grown(node)
        for gain in self._gains(round):
            state = lineage.contribute(
                now_s, node.id, round, state, gain=-gain, sigma=sigma, sensitivity=sensitivity, noise=noise
            )
        if recipe.noised and not (recipe.linear and recipe.keeps == "fresh"):
            others = [self._kept(node)[1]] if recipe.keeps == "node" else []
            state = lineage.opaque(now_s, node.id, round, [state, before, *others])
        if recipe.keeps == "node":
            node.disk[OPTIMISER] = (params, state)
            size = self.operations.task.size
            params = await node.compute(self.operations.head(size), params, size=size)
        return Model(params, state)

    def _kept(self, node: Node) -> tuple[Handle | Vector, int]:
        """Return the state of the node's optimiser, after as many elements as there are parameters."""
        if OPTIMISER not in node.disk:
            size, optimiser = self.operations.task.size, self.operations.recipe.optimiser
            fresh = np.concatenate([np.zeros(size, np.float32), optimiser.fresh(size)])
            node.disk[OPTIMISER] = (fresh, ORIGIN)
        kept: tuple[Handle | Vector, int] = node.disk[OPTIMISER]
        return kept

    def _rates(self, round: int) -> list[float]:
        """Return the step sizes of a round's local steps."""
        steps = self.operations.recipe.steps
        if self.schedule is None:
            return [self.operations.rate] * steps
        return [self.schedule(round * steps + i) for i in range(steps)]

    def _gains(self, round: int) -> list[float]:
        recipe = self.operations.recipe
        if not recipe.noised:
            return [self.gain]
        if recipe.whole or self.schedule is None:
            return [self.gain] * recipe.contributions
        return [rate / self.operations.divisor for rate in self._rates(round)]

    async def _summands(self, node: Node, terms: Sequence[tuple[float, Model]]) -> list[Any]:
        """Return the vectors of a weighted sum, then the tuple of weights; partial sums for many terms."""
        vectors: list[Any] = [model.params for _, model in terms]
        weights = [weight for weight, _ in terms]
        operations = self.operations
        while len(vectors) > operations.most_terms:
            cuts = range(0, len(vectors), operations.most_terms)
            pieces = [slice(start, start + operations.most_terms) for start in cuts]
            sums = [operations.summands(vectors[piece], weights[piece]) for piece in pieces]
            vectors = [
                await node.compute(operations.combine(len(inputs) - 1), *inputs, size=self.size)
                for inputs in sums
            ]
            weights = [1.0] * len(vectors)
        return operations.summands(vectors, weights)
