"""Small worlds for protocol tests: everything real but tiny."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from protocols.aggregation.encoding import FixedPoint
from protocols.aggregation.keyring import KeyPlan
from protocols.aggregation.keys import Directory, Identity
from protocols.aggregation.public_range import PublicRange
from protocols.aggregation.sums import NormProof, Rules
from protocols.gossip.exchange import ExchangeFactory
from protocols.gossip.learner import Learner, Model
from protocols.gossip.secure_exchange import NeighbourhoodExchange
from protocols.learning import data, models, partition
from protocols.learning.bank import Bank
from protocols.learning.batches import Batches
from protocols.learning.executor import BatchedExecutor
from protocols.learning.local_update import Recipe
from protocols.learning.operations import Operations
from protocols.privacy.lineage import ORIGIN, Lineage
from protocols.sharing.codec import codec_for
from simulator import streams
from simulator.adversary.coalition import Adversary
from simulator.contract.compute import values_of
from simulator.contract.node import Node, Program
from simulator.faults.plan import Fault
from simulator.network.latency import lognormal
from simulator.network.links import LinkModel
from simulator.runtime.virtual import Kernel
from simulator.runtime.world import Ending, World
from simulator.topology import graphs, mixing
from tests.support.networks import complete as complete
from tests.support.suites import Workshop, modulus_of

SEED = 7


@dataclass
class Lab:
    """One tiny world and what happened in it."""

    neighbors: list[tuple[int, ...]]
    sigma: float = 0.0
    clip: float | None = 1.0
    seed: int = SEED
    events: list[tuple[float, int, str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        dataset = data.blobs(40 * len(self.neighbors), 3, 2, 1.0, 0.2, streams.generator(self.seed, "data"))
        parts = partition.iid(dataset.train_y, len(self.neighbors), streams.generator(self.seed, "partition"))
        task = models.softmax(dataset.features, dataset.classes)
        bank = Bank.of(dataset.train_x, dataset.train_y, parts)
        self.dataset = dataset
        self.executor = BatchedExecutor()
        recipe = Recipe(unit=None if self.clip is None else "record", noised=self.sigma > 0)
        self.initial = task.init(streams.generator(self.seed, "initial"))
        self.learner = Learner(
            operations=Operations(task, bank, recipe, Batches(bank.counts), 0.5, 32, self.clip),
            lineage=Lineage(),
            start=Model(self.executor.constant(self.initial), ORIGIN),
            gain=0.5 / 32,
            sigma=[self.sigma] * len(self.neighbors),
            sensitivity=self.clip or float("inf"),
            step_cost_s=0.01,
        )
        self.weights = mixing.metropolis(self.neighbors)

    def workshop(
        self,
        *,
        suite: str = "masks",
        real: bool = True,
        colluders: int = 0,
        tolerated_dropouts: int = 1,
        bound: float = 1000.0,
        timeout_s: float = 0.5,
        pair_sigma: float = 1.0,
        public_range: PublicRange | None = None,
        proof: NormProof | None = None,
        directory: Callable[[dict[int, bytes]], dict[int, bytes]] = lambda public: public,
    ) -> Workshop:
        """Rules and keys of secure sums."""
        context = b"test"
        identities = {
            n: Identity(streams.digest(self.seed, "identity", n, size=32)) for n in range(len(self.neighbors))
        }
        rules = Rules(
            encoding=FixedPoint(codec_for(bound, 1.0, max(map(len, self.neighbors)), modulus_of(suite))),
            real=real,
            colluders=colluders,
            tolerated_dropouts=tolerated_dropouts,
            timeout_s=timeout_s,
            context=context,
            agreement_cost_s=1e-4,
            mask_cost_s_per_byte=1e-9,
            share_cost_s_per_byte=1e-8,
            public_range=public_range,
            proof=proof,
        )
        keys = KeyPlan(
            Directory(directory({n: i.public for n, i in identities.items()})),
            identities,
            context,
            timeout_s,
            1e-4,
        )
        return Workshop(self.learner, rules, keys, pair_sigma)

    def secure(
        self,
        *,
        suite: str = "masks",
        wrap: Callable[[Node], Node] = lambda node: node,
        options: dict[str, Any] | None = None,
        **rules: Any,
    ) -> ExchangeFactory:
        """Exchanges of neighbourhood secure aggregation."""
        shop = self.workshop(suite=suite, **rules)

        def exchange(node: Node) -> NeighbourhoodExchange:
            wrapped = wrap(node)
            made = shop.make(suite, wrapped, **(options or {}))
            return NeighbourhoodExchange(wrapped, self.learner, shop.rules, made)

        return exchange

    def run(
        self,
        program: Program,
        *,
        loss: float = 0.0,
        faults: Sequence[Fault] = (),
        adversary: Adversary | None = None,
        overlay: Any = None,
        until_s: float | None = None,
    ) -> tuple[Kernel, Ending]:
        """Run a program on every node, in virtual time; ``overlay`` in place of links that stay."""
        world = World(
            seed=self.seed,
            neighbors=self.neighbors,
            weights=self.weights,
            executor=self.executor,
            faults=faults,
            adversary=adversary or Adversary(),
            record=lambda t_s, node, kind, fields: self.events.append((t_s, node, kind, dict(fields))),
            released=self.learner.lineage.delivered,
            overlay=overlay,
        )
        kernel = Kernel(world, LinkModel(lognormal(0.05, 0.4), 10e6, loss, 40), program)
        return kernel, kernel.run(until_s)

    def of_kind(self, kind: str) -> list[tuple[float, int, dict[str, Any]]]:
        """Recorded events of a kind."""
        return [(t_s, node, fields) for t_s, node, k, fields in self.events if k == kind]

    def values(self, handles: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
        """The vectors of handles."""
        return [np.asarray(value) for value in values_of(self.executor, handles)]

    def final_models(self) -> dict[int, np.ndarray[Any, Any]]:
        """The last model each node recorded."""
        last = {node: fields["value"] for _, node, fields in self.of_kind("model")}
        return {node: np.asarray(values_of(self.executor, [value])[0]) for node, value in last.items()}


def regular(nodes: int, degree: int, seed: int = SEED) -> list[tuple[int, ...]]:
    """Neighbourhoods of a random regular graph."""
    return graphs.neighborhoods(graphs.regular(nodes, degree, streams.generator(seed, "topology")))
