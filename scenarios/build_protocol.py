"""What every node of a run does: its gossip protocol and how sums are secured, from a scenario."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np

from protocols.aggregation.keyring import KeyPlan, Keyring
from protocols.aggregation.keys import Directory, Identity
from protocols.aggregation.neighbourhood import NeighbourhoodExchange, SecurePlan
from protocols.gossip.asynchronous import Pace
from protocols.gossip.centralised import centralised
from protocols.gossip.direct import DirectExchange
from protocols.gossip.dsgd import dsgd
from protocols.gossip.exchange import ExchangeFactory
from protocols.gossip.fedavg import fedavg
from protocols.gossip.federation import ROOT, FederationPlan, Place
from protocols.gossip.hierarchical import hierarchical
from protocols.gossip.local import local
from protocols.gossip.merging import MergeRules
from protocols.gossip.pairwise import pairwise
from protocols.gossip.pull import pull
from protocols.gossip.push import push
from protocols.gossip.push_pull import push_pull
from protocols.gossip.push_sum import push_sum
from protocols.gossip.tracking import tracking
from protocols.sharing.codec import codec_for, model_bound
from scenarios import protocol_tables
from scenarios.build_learner import Learning
from scenarios.schema import Scenario
from scenarios.training_facts import sums_in_all
from simulator import streams
from simulator.errors import ConfigurationError
from simulator.node import Node, Program
from simulator.overlay import Overlay


def build_program(
    scenario: Scenario,
    learning: Learning,
    overlay: Overlay,
    samples: Sequence[int],
) -> Program:
    """The protocol every node runs.

    Args:
        scenario: the scenario.
        learning: what there is to learn, and how.
        overlay: who is linked to whom.
        samples: how many each node holds (public).

    Raises:
        ConfigurationError: the links are no tree, where the protocol needs one.
    """
    spec, rounds, learner = scenario.protocol, scenario.protocol.rounds, learning.learner
    match spec:
        case protocol_tables.DsgdProtocol():
            exchange: ExchangeFactory
            if spec.exchange == "secure":
                exchange = build_secure(scenario, spec, learning, overlay, max(samples))
            else:
                rescale = spec.missing == "rescale"
                exchange = lambda node: DirectExchange(node, learner, spec.timeout, rescale=rescale)  # noqa: E731
            return lambda node: dsgd(node, learner, exchange, rounds, spec.mix_every)
        case protocol_tables.AsynchronousProtocol():
            rules = MergeRules(spec.merge, spec.merge_weight, spec.staleness, spec.stale_after or 0)
            pace = Pace(rounds, spec.period, rules)
            program = {"push": push, "pull": pull, "push-pull": push_pull}[spec.kind]
            return lambda node: program(node, learner, pace)
        case protocol_tables.PairwiseProtocol():
            return lambda node: pairwise(node, learner, rounds, spec.period, spec.timeout)
        case protocol_tables.PushSumProtocol():
            return lambda node: push_sum(node, learner, rounds, spec.timeout, spec.reliable)
        case protocol_tables.TrackingProtocol():
            return lambda node: tracking(node, learner, rounds, spec.timeout)
        case protocol_tables.FedavgProtocol():
            star = build_federation(spec, 1, overlay, samples)
            return lambda node: fedavg(node, learner, star)
        case protocol_tables.HierarchicalProtocol():
            tree = build_federation(spec, spec.global_every, overlay, samples)
            return lambda node: hierarchical(node, learner, tree)
        case protocol_tables.LocalProtocol():
            return lambda node: local(node, learner, rounds)
        case protocol_tables.CentralisedProtocol():
            return lambda node: centralised(node, learner, rounds)


def build_federation(
    spec: protocol_tables.FederatedProtocol, global_every: int, overlay: Overlay, samples: Sequence[int]
) -> FederationPlan:
    """Who averages whose models, how often and with which weights."""
    return FederationPlan(
        places=places(overlay),
        rounds=spec.rounds,
        mix_every=spec.mix_every,
        global_every=global_every,
        participation=spec.participation,
        shares=[float(count) for count in samples] if spec.weights == "samples" else [1.0] * overlay.nodes,
        inner_train=spec.inner_train,
        timeout_s=spec.timeout,
    )


def places(overlay: Overlay) -> list[Place]:
    """Every node's place in the tree whose root is node 0.

    Raises:
        ConfigurationError: the links are no tree.
    """
    parent: dict[int, int | None] = {ROOT: None}
    order = [ROOT]
    for node in order:  # grows while it is walked
        below = [peer for peer in overlay.links(node, 0).to if peer != parent[node]]
        if not parent.keys().isdisjoint(below):
            raise ConfigurationError(
                "federated averaging needs a tree; these links have a cycle", "topology.kind"
            )
        parent |= dict.fromkeys(below, node)
        order += below
    if len(order) < overlay.nodes:
        raise ConfigurationError(
            "federated averaging needs a tree; some nodes cannot be reached from node 0", "topology.kind"
        )
    children: dict[int, list[int]] = {node: [] for node in order}
    height = dict.fromkeys(order, 0)
    for node in reversed(order):
        above = parent[node]
        if above is not None:
            children[above].append(node)
            height[above] = max(height[above], height[node] + 1)
    return [Place(parent[node], tuple(sorted(children[node])), height[node]) for node in range(overlay.nodes)]


def build_secure(
    scenario: Scenario,
    spec: protocol_tables.DsgdProtocol,
    learning: Learning,
    overlay: Overlay,
    largest: int,
) -> Callable[[Node], NeighbourhoodExchange]:
    """Codec, directory and keys for neighbourhood secure aggregation."""
    secure, privacy, learner = scenario.secure, scenario.privacy, learning.learner
    assert secure is not None
    assert privacy is not None
    contributions = largest if privacy.unit == "record" else 1
    bound = model_bound(
        float(np.linalg.norm(learning.initial)),
        learner.gain,
        sums_in_all(scenario),
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
