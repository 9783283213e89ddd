"""From a scenario to the parts of a run: the only place where all floors meet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
from scipy.sparse import csr_array

from protocols.aggregation.keyring import KeyPlan, Keyring
from protocols.aggregation.keys import Directory, Identity
from protocols.aggregation.neighbourhood import NeighbourhoodExchange, SecurePlan, minimum_members
from protocols.attacks.byzantine import sign_flip, two_faced
from protocols.gossip.direct import DirectExchange
from protocols.gossip.dsgd import dsgd
from protocols.gossip.exchange import ExchangeFactory
from protocols.gossip.learner import Learner
from protocols.gossip.push import push
from protocols.learning import data, models, partition
from protocols.learning.evaluate import Evaluator
from protocols.learning.local_update import Bank, operations
from protocols.learning.task import Task
from protocols.privacy.accounting import noise_multiplier_for, shift_factor
from protocols.privacy.lineage import Lineage
from protocols.privacy.mechanism import member_sigma
from protocols.sharing.codec import codec_for, model_bound
from scenarios import schema
from scenarios.build_adversary import Cast, Stage
from scenarios.build_faults import build_detector, build_faults, build_speeds
from scenarios.build_network import NetworkParts, build_network
from scenarios.checks import check_degrees, check_links, check_noise
from simulator import streams
from simulator.adversary import Claim
from simulator.compute import Executor
from simulator.detector import HeartbeatDetector
from simulator.faults import Fault
from simulator.links import LinkModel
from simulator.node import Node, Program
from simulator.overlay import Overlay
from simulator.speed import Speeds

NO_CLIP = float("inf")


@dataclass(frozen=True)
class Parts:
    """What a run is made of, simulated or live."""

    network: NetworkParts
    faults: tuple[Fault, ...]
    speeds: Speeds | None
    detector: HeartbeatDetector | None
    bank: Bank
    learner: Learner
    evaluator: Evaluator
    program: Program
    cast: Cast
    claims: dict[int, Claim]

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


def build(scenario: schema.Scenario, executor: Executor, base: Path) -> Parts:
    """Make every part of a run from its scenario; ``base`` is where relative file names start.

    Raises:
        ConfigurationError: what is asked for cannot be built.
    """
    stage = Stage(scenario)
    network = build_network(scenario, base, stage.set)
    overlay, nodes = network.overlay, network.overlay.nodes
    if overlay.fixed:
        check_links(network.neighbors, scenario)
    check_degrees([len(around) for around in network.neighbors], scenario)
    learner, evaluator, bank = build_learner(scenario, overlay, len(stage.cast.sybils))
    check_noise(learner.sigma, scenario)
    largest = int(bank.mask.sum(1).max())
    claims: dict[int, Claim] = {}
    byzantine = scenario.adversary.byzantine
    if byzantine is not None and stage.cast.byzantine:
        attack = {"sign-flip": sign_flip, "two-faced": two_faced}[byzantine.attack]
        claims = dict.fromkeys(sorted(stage.cast.byzantine), attack(learner, executor, byzantine.scale))
    return Parts(
        network=network,
        faults=build_faults(scenario, nodes, base),
        speeds=build_speeds(scenario, nodes),
        detector=build_detector(scenario),
        bank=bank,
        learner=learner,
        evaluator=evaluator,
        program=build_program(scenario, learner, overlay, largest),
        cast=stage.cast,
        claims=claims,
    )


def build_learner(
    scenario: schema.Scenario, overlay: Overlay, sybils: int = 0
) -> tuple[Learner, Evaluator, Bank]:
    """Data, model and mechanism; the last ``sybils`` nodes hold no data, so that what others hold stays the same."""
    nodes = overlay.nodes - sybils
    dataset = build_data(scenario)
    parts = build_partition(scenario, dataset.train_y, nodes) + [np.zeros(0, np.int64)] * sybils
    task = build_task(scenario.model, dataset)
    privacy, training = scenario.privacy, scenario.training
    divisor = training.divisor or -(-len(dataset.train_y) // nodes)
    clip = None if privacy is None else privacy.clip
    bank = Bank.of(dataset.train_x, dataset.train_y, parts)
    ops = operations(
        task,
        bank,
        step=training.step,
        divisor=divisor,
        clip=clip,
        unit="record" if privacy is None else privacy.unit,
    )
    learner = Learner(
        task=task,
        operations=ops,
        lineage=Lineage(),
        initial=task.init(streams.generator(scenario.seed, "initial model")),
        gain=training.step / divisor,
        sigma=build_sigma(scenario, overlay),
        sensitivity=NO_CLIP if clip is None else clip,
        step_cost_s=training.step_cost,
    )
    return learner, Evaluator(task, dataset), bank


def build_data(scenario: schema.Scenario) -> data.Dataset:
    """Training and test samples."""
    rng = streams.generator(scenario.seed, "data")
    match scenario.data:
        case schema.DigitsData() as spec:
            return data.digits(spec.test_fraction, rng)
        case schema.BlobsData() as spec:
            return data.blobs(spec.samples, spec.features, spec.classes, spec.spread, spec.test_fraction, rng)


def build_partition(scenario: schema.Scenario, labels: Any, nodes: int) -> list[Any]:
    """Which training samples each node holds."""
    rng = streams.generator(scenario.seed, "partition")
    match scenario.partition:
        case schema.IidPartition():
            return partition.iid(labels, nodes, rng)
        case schema.DirichletPartition() as spec:
            return partition.dirichlet(labels, nodes, spec.alpha, spec.min_samples, rng)


def build_task(spec: schema.Model, dataset: data.Dataset) -> Task:
    """The model."""
    match spec:
        case schema.SoftmaxModel():
            return models.softmax(dataset.features, dataset.classes)
        case schema.MlpModel():
            return models.mlp(dataset.features, spec.hidden, dataset.classes)


def build_sigma(scenario: schema.Scenario, overlay: Overlay) -> list[float]:
    """Per node, the standard deviation of the noise it adds to its clipped sum; zero without a mechanism."""
    privacy = scenario.privacy
    if privacy is None or scenario.protocol.exchange == "plain":
        return [0.0] * overlay.nodes
    shared = privacy.noise == "sum"
    relative = [_share(scenario, node, overlay) if shared else 1.0 for node in range(overlay.nodes)]
    z = privacy.noise_multiplier
    if z is None:
        assert privacy.target_epsilon is not None
        local = noise_multiplier_for(privacy.target_epsilon, privacy.delta, scenario.protocol.rounds)
        z = local * shift_factor(privacy.adjacency) / min(relative)
    return [z * privacy.clip * share for share in relative]


def _share(scenario: schema.Scenario, node: int, overlay: Overlay) -> float:
    """The part of a sum's noise that ``node`` must add, so that any sum it enters has enough."""
    secure = scenario.secure
    assert secure is not None
    return max(
        member_sigma(
            1.0,
            1.0,
            [list(links.weights.values())],
            secure.colluders,
            minimum_members(len(links.sources), secure.colluders, secure.tolerated_dropouts),
        )
        for links in (overlay.links(v, 0) for v in overlay.links(node, 0).to)
    )


def build_program(
    scenario: schema.Scenario,
    learner: Learner,
    overlay: Overlay,
    largest: int,
) -> Program:
    """The protocol every node runs."""
    match scenario.protocol:
        case schema.PushProtocol() as spec:
            rounds, period_s = spec.rounds, spec.period
            return lambda node: push(node, learner, rounds, period_s)
        case schema.DsgdProtocol() as spec:
            exchange: ExchangeFactory
            if spec.exchange == "secure":
                exchange = build_secure(scenario, spec, learner, overlay, largest)
            else:
                exchange = lambda node: DirectExchange(node, learner, spec.timeout)  # noqa: E731
            return lambda node: dsgd(node, learner, exchange, spec.rounds)


def build_secure(
    scenario: schema.Scenario,
    spec: schema.DsgdProtocol,
    learner: Learner,
    overlay: Overlay,
    largest: int,
) -> Callable[[Node], NeighbourhoodExchange]:
    """Codec, directory and keys for neighbourhood secure aggregation."""
    secure, privacy = scenario.secure, scenario.privacy
    assert secure is not None
    assert privacy is not None
    contributions = largest if privacy.unit == "record" else 1
    bound = model_bound(
        float(np.linalg.norm(learner.initial)),
        learner.gain,
        spec.rounds,
        contributions * privacy.clip,
        max(learner.sigma),
        secure.range_sigmas,
    )
    around = [overlay.links(node, 0).weights for node in range(overlay.nodes)]
    context = sha256(scenario.model_dump_json().encode()).digest()
    plan = SecurePlan(
        codec=codec_for(bound, max(sum(shares.values()) for shares in around), max(map(len, around))),
        real=secure.crypto == "real",
        colluders=secure.colluders,
        tolerated_dropouts=secure.tolerated_dropouts,
        timeout_s=spec.timeout,
        context=context,
        mask_cost_s_per_byte=secure.mask_cost_per_mib / 2**20,
    )
    # Identity keys stand for a directory agreed on long before the run; simulated, so derived from the seed.
    identities = {
        node: Identity(streams.digest(scenario.seed, "identity", node, size=32))
        for node in range(overlay.nodes)
    }
    keys = KeyPlan(
        directory=Directory({node: identity.public for node, identity in identities.items()}),
        identities=identities,
        context=context,
        timeout_s=spec.timeout,
        agreement_cost_s=secure.key_agreement_cost,
    )
    return lambda node: NeighbourhoodExchange(node, learner, plan, Keyring(node, keys))
