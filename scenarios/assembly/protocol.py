"""What every node of a run does: its gossip protocol and how sums are secured, from a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from protocols.aggregation.neighbourhood import NeighbourhoodExchange
from protocols.aggregation.pair_noise import PairNoises
from protocols.gossip.asynchronous import Pace
from protocols.gossip.centralised import centralised
from protocols.gossip.decor import PairDisguise
from protocols.gossip.direct import DirectExchange
from protocols.gossip.dsgd import dsgd
from protocols.gossip.exchange import ExchangeFactory
from protocols.gossip.fedavg import fedavg
from protocols.gossip.federation import ROOT, FederationPlan, Place
from protocols.gossip.hierarchical import hierarchical
from protocols.gossip.learner import Learner
from protocols.gossip.local import local
from protocols.gossip.merging import MergeRules
from protocols.gossip.message_noise import DisguiseFactory
from protocols.gossip.pairwise import pairwise
from protocols.gossip.pull import pull
from protocols.gossip.push import push
from protocols.gossip.push_pull import push_pull
from protocols.gossip.push_sum import push_sum
from protocols.gossip.robust_mix import RobustMix
from protocols.gossip.secure_fedavg import secure_fedavg
from protocols.gossip.tracking import tracking
from protocols.gossip.zip_dl import ZeroSum
from protocols.privacy.sum_law import SumLaw
from scenarios.assembly.adversary import Cast
from scenarios.assembly.keys import build_keys, name_of
from scenarios.assembly.learner import Learning, update_weights
from scenarios.assembly.secure import build_security
from scenarios.kinds import privacy as privacy_tables
from scenarios.kinds import protocols as protocol_tables
from scenarios.schema import Scenario
from simulator.contract.node import Program
from simulator.errors import ConfigurationError
from simulator.topology.overlays import Overlay


class Built(NamedTuple):
    """A protocol, ready to run.

    Args:
        program: what every node runs.
        law: of integer noise in its sums; None if there is none.
        failure_probability: bound on the probability that an honest member of a sum refuses for its vector.
    """

    program: Program
    law: SumLaw | None = None
    failure_probability: float = 0.0


def build_program(
    scenario: Scenario,
    learning: Learning,
    overlay: Overlay,
    samples: Sequence[int],
    cast: Cast,
) -> Built:
    """The protocol every node runs.

    Args:
        scenario: the scenario.
        learning: what there is to learn, and how.
        overlay: who is linked to whom.
        samples: how many each node holds (public).
        cast: who plays which part: for rules with an oracle, and for Byzantine nodes that send last.

    Raises:
        ConfigurationError: the links are no tree, where the protocol needs one.
    """
    spec, rounds, learner = scenario.protocol, scenario.protocol.rounds, learning.learner
    byzantine = scenario.adversary.byzantine
    deals = byzantine is not None and byzantine.attack.part == "shares"
    dealers = cast.byzantine if deals else frozenset[int]()
    table = getattr(spec, "robust", None)
    robust = table and RobustMix(learner, table.build(), table.least, cast.corrupt)
    match spec:
        case protocol_tables.DsgdProtocol():
            exchange: ExchangeFactory
            failures = 0.0
            if spec.exchange == "secure":
                security = build_security(scenario, learning, overlay, max(samples), (), dealers)
                exchange = lambda node: NeighbourhoodExchange(  # noqa: E731
                    node, learner, security.rules, security.suite(node), robust
                )
                failures = security.failure_probability
            else:
                rescale = spec.missing == "rescale"
                disguised = build_disguise(scenario, learner, overlay)
                rushing = scenario.adversary.knowledge not in ("own", "received")
                late = cast.byzantine if rushing else frozenset[int]()
                exchange = lambda node: DirectExchange(  # noqa: E731
                    node,
                    learner,
                    spec.timeout,
                    rescale=rescale,
                    disguise=disguised and disguised(node),
                    robust=robust,
                    late=late,
                )
            return Built(
                lambda node: dsgd(node, learner, exchange, rounds, spec.mix_every, spec.mixes),
                failure_probability=failures,
            )
        case protocol_tables.AsynchronousProtocol():
            rules = MergeRules(spec.merge, spec.merge_weight, spec.staleness, spec.stale_after or 0)
            pace = Pace(rounds, spec.period, rules)
            program = {"push": push, "pull": pull, "push-pull": push_pull}[spec.kind]
            return Built(lambda node: program(node, learner, pace))
        case protocol_tables.PairwiseProtocol():
            return Built(lambda node: pairwise(node, learner, rounds, spec.period, spec.timeout))
        case protocol_tables.PushSumProtocol():
            return Built(lambda node: push_sum(node, learner, rounds, spec.timeout, spec.reliable))
        case protocol_tables.TrackingProtocol():
            return Built(lambda node: tracking(node, learner, rounds, spec.timeout))
        case protocol_tables.FedavgProtocol():
            star = build_federation(spec, 1, overlay, samples, robust)
            if spec.exchange == "secure":
                secured = build_security(scenario, learning, overlay, max(samples), star.shares, dealers)
                return Built(
                    lambda node: secure_fedavg(node, learner, star, secured.rules, secured.suite(node)),
                    secured.law,
                    secured.failure_probability,
                )
            return Built(lambda node: fedavg(node, learner, star))
        case protocol_tables.HierarchicalProtocol():
            tree = build_federation(spec, spec.global_every, overlay, samples, robust)
            return Built(lambda node: hierarchical(node, learner, tree))
        case protocol_tables.LocalProtocol():
            return Built(lambda node: local(node, learner, rounds))
        case protocol_tables.CentralisedProtocol():
            return Built(lambda node: centralised(node, learner, rounds))


def build_disguise(scenario: Scenario, learner: Learner, overlay: Overlay) -> DisguiseFactory | None:
    """Noise on top of each node's own that cancels in averages; None without."""
    privacy = scenario.privacy
    if privacy is None or privacy.correlated is None:
        return None
    sigma = privacy.correlated.multiplier * privacy.clip * learner.gain
    match privacy.correlated:
        case privacy_tables.ZeroSumNoise():
            return lambda node: ZeroSum(node, learner, sigma)
        case privacy_tables.PairNoise(key_agreement_cost=cost_s):
            assert isinstance(scenario.protocol, protocol_tables.DsgdProtocol)
            keys = build_keys(scenario, overlay, name_of(scenario), scenario.protocol.timeout, cost_s)
            noises = PairNoises(learner.lineage, sigma)
            return lambda node: PairDisguise(node, learner, keys, noises)


def build_federation(
    spec: protocol_tables.FederatedProtocol,
    global_every: int,
    overlay: Overlay,
    samples: Sequence[int],
    robust: RobustMix | None,
) -> FederationPlan:
    """Who averages whose models, how often and with which weights."""
    return FederationPlan(
        places=places(overlay),
        rounds=spec.rounds,
        mix_every=spec.mix_every,
        global_every=global_every,
        participation=spec.participation,
        shares=update_weights(spec, samples),
        inner_train=spec.inner_train,
        timeout_s=spec.timeout,
        robust=robust,
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
