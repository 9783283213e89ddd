"""The whole gossip family on tiny worlds, learners with known answers, and the values that states stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import jax.numpy as jnp
import networkx as nx
import numpy as np
from numpy.typing import NDArray

from protocols.gossip.asynchronous import Pace, pull, push, push_pull
from protocols.gossip.dsgd import dsgd
from protocols.gossip.federation import FederationPlan, fedavg, hierarchical
from protocols.gossip.learner import Learner, Model
from protocols.gossip.local import local
from protocols.gossip.merging import MergeRules
from protocols.gossip.pairwise import pairwise
from protocols.gossip.plain_exchange import DirectExchange
from protocols.gossip.push_sum import push_sum
from protocols.gossip.tracking import tracking
from protocols.learning.bank import Bank
from protocols.learning.batches import Batches
from protocols.learning.local_update import Recipe
from protocols.learning.operations import Operations
from protocols.learning.task import Task
from protocols.privacy.entries import Combination, Contribution
from protocols.privacy.lineage import ORIGIN
from scenarios.kinds.protocols.federation import places
from simulator.contract.compute import Vector, values_of
from simulator.contract.node import Links, Node, Program
from simulator.topology import graphs, mixing, overlays
from tests.support.worlds import Lab, regular

Floats = NDArray[np.float64]
Maker = Callable[[Lab, int], Program]

TIMEOUT_S, PERIOD_S = 0.5, 0.2


# ---------------------------------------------------------------- protocols


def _dsgd(mix_every: int = 1, rescale: bool = False) -> Maker:
    def make(lab: Lab, rounds: int) -> Program:
        def exchange(node: Node) -> DirectExchange:
            return DirectExchange(node, lab.learner, TIMEOUT_S, rescale=rescale)

        return lambda node: dsgd(node, lab.learner, exchange, rounds, mix_every)

    return make


def _asynchronous(program: Any, **rules: Any) -> Maker:
    def make(lab: Lab, rounds: int) -> Program:
        pace = Pace(rounds, PERIOD_S, MergeRules(**rules))
        return lambda node: program(node, lab.learner, pace)

    return make


def federated(program: Any, **changes: Any) -> Maker:
    """Federated averaging on the tree that the world's links are."""

    def make(lab: Lab, rounds: int) -> Program:
        nodes = len(lab.neighbors)
        plan = FederationPlan(
            places=places(overlays.fixed(lab.neighbors, lab.weights)),
            rounds=rounds,
            mix_every=1,
            global_every=1,
            participation=1.0,
            shares=[1.0] * nodes,
            inner_train=True,
            timeout_s=TIMEOUT_S,
        )
        return lambda node: program(node, lab.learner, replace(plan, **changes))

    return make


def star(nodes: int) -> list[tuple[int, ...]]:
    return graphs.neighborhoods(graphs.star(nodes))


def tree() -> list[tuple[int, ...]]:
    return graphs.neighborhoods(nx.balanced_tree(3, 2))


FAMILY: dict[str, tuple[Callable[[], list[tuple[int, ...]]], Maker]] = {
    "dsgd": (lambda: regular(10, 4), _dsgd()),
    "dsgd, rare mixes": (lambda: regular(10, 4), _dsgd(mix_every=3, rescale=True)),
    "push": (lambda: regular(10, 4), _asynchronous(push)),
    "push, update first": (
        lambda: regular(10, 4),
        _asynchronous(push, order="update-merge", staleness="discard", stale_after=3),
    ),
    "pull": (lambda: regular(10, 4), _asynchronous(pull, weight="updates", staleness="weight")),
    "push-pull": (lambda: regular(10, 4), _asynchronous(push_pull)),
    "ad-psgd": (
        lambda: regular(10, 4),
        lambda lab, rounds: lambda node: pairwise(node, lab.learner, rounds, PERIOD_S, TIMEOUT_S),
    ),
    "push-sum": (
        lambda: regular(10, 4),
        lambda lab, rounds: lambda node: push_sum(node, lab.learner, rounds, TIMEOUT_S),
    ),
    "push-sum, running sums": (
        lambda: regular(10, 4),
        lambda lab, rounds: lambda node: push_sum(node, lab.learner, rounds, TIMEOUT_S, "running-sums"),
    ),
    "gradient tracking": (
        lambda: regular(10, 4),
        lambda lab, rounds: lambda node: tracking(node, lab.learner, rounds, TIMEOUT_S),
    ),
    "fedavg": (lambda: star(10), federated(fedavg)),
    "fedavg, half": (lambda: star(10), federated(fedavg, participation=0.5, mix_every=2, inner_train=False)),
    "hierarchical": (tree, federated(hierarchical, global_every=3)),
    "local": (
        lambda: regular(10, 4),
        lambda lab, rounds: lambda node: local(node, lab.learner, rounds),
    ),
}
"""By name, the links and the program of every protocol that exchanges models in the clear, and of training alone."""


def with_learner(lab: Lab, kind: type[Learner], **more: Any) -> None:
    """Give a world a learner of another kind, with everything else as it was."""
    lab.learner = kind(**{f.name: getattr(lab.learner, f.name) for f in fields(lab.learner)}, **more)


# ---------------------------------------------------------------- learners with known answers


@dataclass(frozen=True)
class Scattered(Learner):
    """Round 0 moves node i from the common start by ``offsets[i]``; nothing is learnt after that."""

    offsets: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    async def merge_update(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
        model = terms[0][1] if len(terms) == 1 else await self.combine(node, round, terms)
        if round:
            return model
        params = await node.compute(
            self.operations.combine(2),
            model.params,
            self.offsets[node.id].astype(np.float32),
            np.ones(2, np.float32),
            size=self.size,
        )
        state = self.lineage.contribute(
            node.now_s, node.id, round, model.state, gain=1.0, sigma=0.0, sensitivity=1.0
        )
        return Model(params, state)


def scattered(neighbors: Sequence[tuple[int, ...]], seed: int = 3) -> tuple[Lab, Floats]:
    """A world whose nodes only average, and the values they start to average from."""
    lab = Lab(list(neighbors))
    offsets = np.random.default_rng(seed).standard_normal((len(neighbors), lab.learner.size))
    with_learner(lab, Scattered, offsets=offsets)
    return lab, offsets + lab.initial


def _loss(params: Any, x: Any, y: Any) -> Any:
    return 0.5 * (jnp.dot(x[:-1], params) - x[-1]) ** 2


def _losses(params: Any, x: Any, y: Any) -> dict[str, Any]:
    return {"loss": 0.5 * (x[:, :-1] @ params - x[:, -1]) ** 2}


REGRESSION = Task("regression(3)", 3, lambda rng: np.zeros(3, np.float32), _loss, _losses)
"""Least squares with three coefficients; the last feature of a sample is what is to be predicted."""


def regression(neighbors: Sequence[tuple[int, ...]], step: float, seed: int = 5) -> tuple[Lab, Floats]:
    """A world of least squares whose nodes have different data, and the optimum over all of them."""
    nodes, samples = len(neighbors), 8
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((nodes * samples, 3))
    b = a @ [1.0, -2.0, 0.5] + np.repeat(rng.standard_normal(nodes), samples)
    x = np.column_stack([a, b]).astype(np.float32)
    parts = [np.arange(node * samples, (node + 1) * samples) for node in range(nodes)]
    bank = Bank.of(x, np.zeros(len(x), np.int32), parts)
    lab = Lab(list(neighbors), clip=None)
    lab.initial = np.zeros(3, np.float32)
    lab.learner = replace(
        lab.learner,
        operations=Operations(REGRESSION, bank, Recipe(), Batches(bank.counts), step, samples),
        start=Model(lab.executor.constant(lab.initial), ORIGIN),
        gain=step / samples,
    )
    return lab, np.linalg.lstsq(a, b, rcond=None)[0]


# ---------------------------------------------------------------- links with a direction


class Directed:
    """Links that lead one way and stay; receivers average what they hear with equal weights."""

    fixed = False

    def __init__(self, to: Sequence[Sequence[int]]) -> None:
        self.nodes = len(to)
        sources = [tuple(v for v in range(self.nodes) if i in to[v]) for i in range(self.nodes)]
        self._links = [
            Links(tuple(sorted(to[i])), sources[i], dict.fromkeys(sources[i], 1.0 / (1 + len(sources[i]))))
            for i in range(self.nodes)
        ]

    def epoch(self, t_ns: int, round: int | None) -> int:
        return 0

    def links(self, node: int, epoch: int) -> Links:
        return self._links[node]

    def changed(self, t_ns: int, up: frozenset[int]) -> None:
        pass


LOPSIDED = Directed([(1, 3), (2,), (3, 4, 0), (4,), (0,)])
"""Five nodes, strongly connected, with one to three receivers each."""


def second_eigenvalue(neighbors: Sequence[Sequence[int]]) -> float:
    """The second largest modulus of the Metropolis matrix."""
    moduli = np.sort(np.abs(np.linalg.eigvalsh(mixing.metropolis(neighbors).toarray())))
    return float(moduli[-2])


# ---------------------------------------------------------------- what states stand for


@dataclass(frozen=True)
class Traced(Learner):
    """Keeps what came out of every local update, by its state."""

    made: dict[int, Any] = field(default_factory=dict)

    async def merge_update(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
        result = await super().merge_update(node, round, terms)
        self.made[result.state] = result.params
        return result


def values_of_states(lab: Lab) -> dict[int, Vector]:
    """Every state of a world with a :class:`Traced` learner, in double precision.

    Contributions are taken as they came out of the local update; everything else is put together again from them, by
    what the lineage says alone.
    """
    learner: Any = lab.learner
    states = list(learner.made)
    vectors = values_of(lab.executor, [learner.made[state] for state in states])
    values: dict[int, Vector] = {ORIGIN: np.asarray(lab.initial, np.float64)}
    updates = dict(zip(states, vectors, strict=True))
    for entry in learner.lineage.entries:  # states are numbered as they are made
        if isinstance(entry, Contribution):
            values[entry.state] = np.asarray(updates[entry.state], np.float64)
        elif isinstance(entry, Combination):
            values[entry.state] = sum(
                (c * values[p] for c, p in zip(entry.coefs, entry.parents, strict=True)),
                np.zeros(learner.size),
            )
    return values
