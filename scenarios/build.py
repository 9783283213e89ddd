"""From a scenario to the parts of a run: the only place where all floors meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx as nx
from scipy.sparse import csr_array

from protocols.gossip.learner import Learner
from protocols.learning.bank import Bank
from protocols.learning.evaluate import Evaluator
from protocols.privacy.sum_law import SumLaw
from scenarios.assembly.adversary import Cast, Stage
from scenarios.assembly.attacks import build_claims, build_probe, poisoned
from scenarios.assembly.faults import build_detector, build_faults, build_speeds
from scenarios.assembly.learner import Learning, build_learning
from scenarios.assembly.network import NetworkParts, build_network
from scenarios.assembly.protocol import build_program
from scenarios.checks.run import check_degrees, check_links, check_nodes, check_noise
from scenarios.schema import Scenario
from simulator.adversary.coalition import Claim
from simulator.contract.compute import Executor
from simulator.contract.node import Program
from simulator.faults.detector import HeartbeatDetector
from simulator.faults.plan import Fault
from simulator.faults.speeds import Speeds
from simulator.network.links import LinkModel


@dataclass(frozen=True)
class Parts:
    """What a run is made of, simulated or live."""

    network: NetworkParts
    faults: tuple[Fault, ...]
    speeds: Speeds | None
    detector: HeartbeatDetector | None
    learning: Learning
    program: Program
    law: SumLaw | None
    failure_probability: float
    cast: Cast
    claims: dict[int, Claim]
    probe: Evaluator | None

    @property
    def learner(self) -> Learner:
        """How every node trains."""
        return self.learning.learner

    @property
    def bank(self) -> Bank:
        """Who holds which training samples."""
        return self.learning.bank

    @property
    def graph(self) -> nx.Graph:
        """Who is linked to whom; without links where they change."""
        return nx.empty_graph(len(self.neighbors)) if self.network.graph is None else self.network.graph

    @property
    def neighbors(self) -> Sequence[tuple[int, ...]]:
        """Whom each node may exchange messages with."""
        return self.network.neighbors

    @property
    def weights(self) -> csr_array:
        """Mixing matrix, row = receiver."""
        return self.network.weights

    @property
    def link(self) -> LinkModel:
        """How messages travel."""
        return self.network.link

    @property
    def honest(self) -> frozenset[int]:
        """Nodes whose accuracy and privacy count."""
        return frozenset(range(len(self.neighbors))) - self.cast.dishonest


def build(
    scenario: Scenario, executor: Executor, base: Path, altered: Callable[[Bank], Bank] | None = None
) -> Parts:
    """Make every part of a run from its scenario.

    Args:
        scenario: what to build.
        executor: carries out model mathematics.
        base: where relative file names start.
        altered: puts other samples in place of some, as many of them: what neighbouring data sets are.

    Raises:
        ConfigurationError: what is asked for cannot be built.
    """
    stage = Stage(scenario)

    def placed(graph: nx.Graph) -> nx.Graph:
        graph = stage.set(graph)
        check_nodes(len(graph), scenario)
        return graph

    network = build_network(scenario, base, placed)
    overlay, nodes = network.overlay, network.overlay.nodes
    if overlay.fixed:
        check_links(network.neighbors, scenario)
    check_degrees([len(around) for around in network.neighbors], scenario)
    learning = build_learning(scenario, overlay, base, executor, len(stage.cast.sybils))
    check_noise(learning.learner.sigma, scenario)
    if altered is not None:
        learning = learning.with_bank(altered(learning.bank))
    learning = poisoned(scenario, stage.cast, learning)
    learning.learner.lineage.distrusted = stage.cast.dishonest
    built = build_program(scenario, learning, overlay, learning.bank.counts, stage.cast)
    return Parts(
        network=network,
        faults=build_faults(scenario, nodes, base),
        speeds=build_speeds(scenario, nodes),
        detector=build_detector(scenario),
        learning=learning,
        program=built.program,
        law=built.law,
        failure_probability=built.failure_probability,
        cast=stage.cast,
        claims=build_claims(scenario, stage.cast, learning, overlay, executor),
        probe=build_probe(scenario, learning),
    )
