"""Build the parts of a run from a scenario; the only module that uses all four packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import networkx as nx
from scipy.sparse import csr_array

from protocols.gossip.learner import Learner
from protocols.learning.bank import Bank
from protocols.learning.evaluate import Evaluator
from protocols.learning.separate import check_separate
from protocols.privacy.sum_law import SumLaw
from scenarios.assembly.adversary import Cast, Placing
from scenarios.assembly.attacks import build_probe, build_substitutions, poisoned
from scenarios.assembly.data import build_data, build_shares
from scenarios.assembly.faults import build_faults, build_speeds
from scenarios.assembly.learner import Learning, build_learning, build_task
from scenarios.assembly.network import NetworkParts, build_network
from scenarios.assembly.noise import build_noise
from scenarios.assembly.protocol import build_program
from scenarios.checks.run import check_degrees, check_links, check_nodes, check_noise
from scenarios.format.kind import plugin_of
from scenarios.objects import NOTHING, Objects
from scenarios.schema import Scenario
from simulator.adversary.coalition import Substitution
from simulator.contract.compute import Executor
from simulator.contract.node import Program
from simulator.faults.detector import HeartbeatDetector
from simulator.faults.plan import Fault
from simulator.faults.speeds import Speeds
from simulator.network.links import LinkModel
from simulator.topology.overlays import Overlay


@dataclass(frozen=True)
class Parts:
    """Everything that a run needs, simulated or live."""

    network: NetworkParts
    faults: tuple[Fault, ...]
    speeds: Speeds | None
    detector: HeartbeatDetector | None
    learning: Learning
    program: Program
    law: SumLaw | None
    failure_probability: float
    cast: Cast
    substitutions: dict[int, Substitution]
    probe: Evaluator | None
    objects: Objects = NOTHING

    @property
    def learner(self) -> Learner:
        """Local training of every node."""
        return self.learning.learner

    @property
    def bank(self) -> Bank:
        """Training samples of every node."""
        return self.learning.bank

    @property
    def graph(self) -> nx.Graph:
        """Graph of the links; without links where these change during the run."""
        return nx.empty_graph(len(self.neighbors)) if self.network.graph is None else self.network.graph

    @property
    def neighbors(self) -> Sequence[tuple[int, ...]]:
        """Neighbours of each node: those it may exchange messages with."""
        return self.network.neighbors

    @property
    def weights(self) -> csr_array:
        """Mixing matrix, row = receiver."""
        return self.network.weights

    @property
    def link(self) -> LinkModel:
        """Model of the links that carry messages."""
        return self.network.link

    @property
    def honest(self) -> frozenset[int]:
        """Nodes whose accuracy and privacy count."""
        return frozenset(range(len(self.neighbors))) - self.cast.corrupt


def build(
    scenario: Scenario,
    executor: Executor,
    base: Path,
    altered: Callable[[Bank], Bank] | None = None,
    objects: Objects = NOTHING,
) -> Parts:
    """Build every part of a run from its scenario.

    Args:
        scenario: the scenario to build.
        executor: carries out model mathematics.
        base: the folder that relative file names start at.
        altered: replaces samples by as many others, to run a scenario on a neighbouring data set.
        objects: take the place of tables of the scenario; must have passed
            :meth:`~scenarios.objects.Objects.check`.

    Raises:
        ConfigurationError: the parts cannot be built, or do not fit each other.
    """
    adversary, protocol = scenario.adversary, scenario.protocol
    placing = Placing(adversary, scenario.seed)

    def placed(graph: nx.Graph) -> nx.Graph:
        graph = placing.place(graph)
        check_nodes(len(graph), scenario)
        return graph

    network = build_network(scenario, base, placed)
    overlay, nodes = network.overlay, network.overlay.nodes
    if overlay.fixed:
        check_links(network.neighbors, scenario)
    check_degrees([len(around) for around in network.neighbors], scenario)
    if objects.latency is not None:
        link = replace(
            network.link,
            latency=objects.latency,
            base_s=None,
            latency_of="the function latency, given from Python,",
        )
        labels = {
            name: fact for name, fact in network.found.items() if name == "labels"
        }  # the places belonged to the latency law that is replaced
        network = replace(network, link=link, found=labels)
    learning = _learning(scenario, overlay, base, executor, len(placing.cast.sybils), objects)
    check_noise(learning.learner.sigma, scenario)
    if altered is not None:
        learning = learning.with_bank(altered(learning.bank))
    learning = poisoned(adversary, placing.cast, learning)
    learning.learner.lineage.distrusted = placing.cast.corrupt
    built = build_program(scenario, learning, overlay, learning.bank.counts, placing.cast)
    robust = None if protocol.links.tree_levels else protocol.rule
    return Parts(
        network=network,
        faults=build_faults(scenario, nodes, base),
        speeds=build_speeds(scenario.compute, nodes, scenario.seed),
        detector=None if scenario.detector is None else scenario.detector.build(),
        learning=learning,
        program=objects.program_for(learning.learner, scenario) or built.program,
        law=built.law,
        failure_probability=built.failure_probability,
        cast=placing.cast,
        substitutions=build_substitutions(
            adversary, placing.cast, learning, overlay, executor, None if robust is None else robust.build()
        ),
        probe=build_probe(adversary, learning),
        objects=objects,
    )


def _learning(
    scenario: Scenario, overlay: Overlay, base: Path, executor: Executor, sybils: int, objects: Objects
) -> Learning:
    """Build data, model and local training; Sybil identities are the last nodes and hold no data."""
    seed, nodes = scenario.seed, overlay.nodes - sybils
    dataset = objects.dataset(seed) or build_data(scenario.data, base, seed)
    shares = build_shares(dataset, scenario.partition, seed, nodes, sybils)
    task = objects.task_for(shares.dataset) or build_task(scenario.model, shares.dataset)
    foreign = objects.task is not None or plugin_of(type(scenario.model)) is not None
    if foreign and scenario.privacy is not None and scenario.privacy.unit == "record":
        check_separate(task, shares.dataset.train_x, shares.dataset.train_y)
    noise = build_noise(scenario, overlay, list(map(len, shares.holdings.train)))
    pooled_nodes = nodes if scenario.protocol.pools_data else 0
    return build_learning(shares, task, scenario.training, noise, seed, executor, pooled_nodes)
