"""Cross-checks of the protocol table: which links, mixing weights and adversaries a protocol can work with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from scenarios.checks.topology import least_degree
from scenarios.facts.secure import LEAST_HONEST, asked
from scenarios.format.locate import Key
from scenarios.kinds import protocols as protocol_tables
from scenarios.kinds.aggregations import MasksAggregation
from scenarios.kinds.robust_rules import RobustRule
from scenarios.kinds.topologies import EpidemicTopology, OnePeerExponentialTopology, Topology, node_count
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]

TREES = {"fedavg": ("star",), "hierarchical-fedavg": ("tree", "star")}
"""Kinds of topology that are the tree a protocol needs; a graph in a file is looked at when it is built."""
ANSWERED = ("pull", "push-pull", "ad-psgd")
"""Protocols in which messages are answered."""
FEDERATED = (protocol_tables.FedavgProtocol, protocol_tables.HierarchicalProtocol)
YARDSTICKS = ("local", "centralised")
"""What sends no messages."""


def _one_way(topology: Topology) -> bool:
    """Whether links have a direction."""
    local = isinstance(topology, EpidemicTopology) and topology.where == "local"
    return local or isinstance(topology, OnePeerExponentialTopology)


def fitting_links(scenario: Scenario) -> Found:
    """Answers need a way back, federated averaging a tree, tracking doubly stochastic weights."""
    kind, topology = scenario.protocol.kind, scenario.topology
    if kind in TREES and topology.kind not in (*TREES[kind], "file"):
        yield (
            ("topology", "kind"),
            f"{kind} averages up and down a tree from node 0, a {topology.kind} graph is none; use "
            + " or ".join(f'topology.kind = "{one}"' for one in TREES[kind]),
        )
    elif kind in ANSWERED and _one_way(topology):
        yield (
            ("topology", "kind"),
            f"{kind} answers messages, but links of this {topology.kind} topology lead one way; use push, push-sum "
            "or links without a direction",
        )
    elif kind == "gradient-tracking" and isinstance(topology, EpidemicTopology) and _one_way(topology):
        yield (
            ("topology", "where"),
            "gradient-tracking needs doubly stochastic weights, which local epidemic links have on average only; "
            'use where = "global", or the protocol push-sum',
        )
    elif (
        kind == "gradient-tracking"
        and scenario.mixing is not None
        and scenario.mixing.kind == "uniform-neighbour"
        and topology.kind not in ("ring", "complete", "torus", "hypercube", "regular")
    ):
        yield (
            ("mixing", "kind"),
            "gradient-tracking needs doubly stochastic weights, uniform-neighbour has them only where all nodes have "
            'one number of neighbours; use "metropolis"',
        )


def used_keys(scenario: Scenario) -> Found:
    """Keys of the protocol table that have an effect."""
    protocol = scenario.protocol
    if isinstance(protocol, protocol_tables.AsynchronousProtocol):
        if protocol.staleness == "discard" and protocol.stale_after is None:
            yield (
                ("protocol",),
                'staleness = "discard" needs stale_after, the number of local updates a sender may be behind',
            )
        elif protocol.staleness != "discard" and protocol.stale_after is not None:
            yield (
                ("protocol", "stale_after"),
                f'stale_after has no effect with staleness = "{protocol.staleness}"; remove it or use "discard"',
            )
    elif isinstance(protocol, protocol_tables.DsgdProtocol):
        if protocol.exchange == "secure" and protocol.missing == "rescale":
            yield (
                ("protocol", "missing"),
                'a secure sum is opened as it was weighted, so nothing can be rescaled; use missing = "own"',
            )
        if protocol.mix_every > protocol.rounds:
            yield (
                ("protocol", "mix_every"),
                f"there are only {protocol.rounds} rounds, so nodes would never mix; use at most that, or the "
                'protocol "local"',
            )


def yardsticks(scenario: Scenario) -> Found:
    """What sends nothing cannot be attacked, and what is at one place has no faults."""
    protocol, adversary, privacy = scenario.protocol, scenario.adversary, scenario.privacy
    if protocol.kind not in YARDSTICKS:
        return
    sends_nothing = (
        f'has no effect with protocol.kind = "{protocol.kind}", which sends no messages; remove it'
    )
    for name in ("byzantine", "curious", "wiretap", "sybil", "eclipse"):
        table = getattr(adversary, name)
        if table is not None and table.enabled:
            yield ("adversary", name), f"adversary.{name} {sends_nothing}"
    for i, table in enumerate(adversary.tamper):
        if table.enabled:
            yield ("adversary", "tamper", i), f"adversary.tamper {sends_nothing}"
    if scenario.detector is not None:
        yield ("detector",), f"[detector] {sends_nothing}"
    if protocol.kind == "centralised":
        for i, _ in enumerate(scenario.fault):
            yield (
                ("fault", i),
                "a centralised run is a yardstick that knows no faults; remove this table",
            )
        if privacy is not None and privacy.unit == "node":
            yield (
                ("privacy", "unit"),
                "a centralised run has pooled the data of all nodes, so there is no node's sum to clip; use "
                '"record" or remove [privacy]',
            )


def robust_rules(scenario: Scenario) -> Found:
    """Rules compare models that are seen, and enough of them."""
    protocol = scenario.protocol
    key: Key = ("protocol", "robust")
    if isinstance(protocol, FEDERATED) and protocol.robust is not None:
        yield from _served(scenario, protocol, protocol.robust)
    if not isinstance(protocol, protocol_tables.DsgdProtocol) or protocol.robust is None:
        return
    if protocol.exchange == "secure":
        yield from _bucketed(scenario, protocol.robust)
        return
    if protocol.missing != "own":
        yield (
            ("protocol", "missing"),
            "with a robust rule the weight of missing models falls to the own one; leave this key out",
        )
    if "own samples" in protocol.robust.needs and protocol.exchange == "ldp":
        yield (
            key,
            f"{protocol.robust.kind} chooses models by the node's own samples, and noise on updates does not cover "
            'that choice; use another rule, or exchange = "plain"',
        )
    least, degree = protocol.robust.least, least_degree(scenario)
    if degree is not None and degree + 1 < least:
        yield (
            key,
            f"{protocol.robust.kind} with this f needs {least} models, and a node of this {scenario.topology.kind} "
            f"graph compares {degree + 1}, its own included; use a denser topology or a smaller f",
        )


def _served(
    scenario: Scenario,
    protocol: protocol_tables.FedavgProtocol | protocol_tables.HierarchicalProtocol,
    rule: RobustRule,
) -> Found:
    """A server sees results, and has a model of its own to trust only if it trains."""
    key: Key = ("protocol", "robust")
    if protocol.exchange == "secure":
        yield (
            key,
            f"{rule.kind} compares single models, and secure sums hide them: a server opens one sum; use "
            'exchange = "plain" or "ldp", or leave it out',
        )
        return
    if "own samples" in rule.needs:
        yield (
            key,
            f"{rule.kind} chooses by losses on a node's own samples, and a server serves others; use another rule",
        )
    elif not protocol.inner_train and rule.centred:
        yield (
            key,
            f"{rule.kind} compares with the own model, and a server that does not train has none; set inner_train, "
            "or use a rule that compares all with all",
        )
    least, nodes = rule.least, node_count(scenario.topology)
    if protocol.kind == "fedavg" and nodes is not None:
        there = asked(scenario, nodes - 1) + protocol.inner_train
        if there < least:
            yield (
                key,
                f"{rule.kind} with this f needs {least} models, and the server compares {there}; use a smaller f",
            )


def _bucketed(scenario: Scenario, rule: RobustRule) -> Found:
    """Behind secure sums a rule has nothing to compare but the sums of buckets, and must have enough of those."""
    key: Key = ("protocol", "robust")
    secure, privacy = scenario.secure, scenario.privacy
    if secure is None or secure.buckets == 1:
        yield (
            key,
            f"{rule.kind} compares single models, and secure sums hide them: only their sum is opened; split "
            'neighbourhoods into several sums (secure.buckets), use exchange = "plain" or "ldp", or leave it out',
        )
        return
    aggregation = secure.aggregation
    if not isinstance(aggregation, MasksAggregation) or aggregation.on_dropout != "skip":
        yield (
            ("secure", "aggregation"),
            'buckets are sums of kind "masks" that are skipped when a member drops out; others do not split',
        )
    if rule.needs:
        yield key, f"{rule.kind} in this form asks more of a bucket than its sum; use another rule"
    if privacy is not None and privacy.noise == "sum":
        yield (
            ("privacy", "noise"),
            'every bucket is opened on its own, and noise = "sum" is meant for whole neighbourhoods; use "member"',
        )
    least, degree = rule.least, least_degree(scenario)
    if secure.buckets + 1 < least:
        yield (
            ("secure", "buckets"),
            f"{rule.kind} with this f needs {least} vectors, and there are {secure.buckets} buckets and the own "
            "model; f members spoil up to f buckets, so more than 2 f must be there",
        )
    needed = LEAST_HONEST + secure.colluders
    if degree is not None and degree // secure.buckets - secure.tolerated_dropouts < needed:
        yield (
            ("secure", "buckets"),
            f"{secure.buckets} buckets of {degree} neighbours are of {degree // secure.buckets}; each must hide its "
            f"members among {needed} after {secure.tolerated_dropouts} dropped out; use fewer buckets or more links",
        )


def lonely_buckets(scenario: Scenario) -> Found:
    """Buckets are for rules."""
    secure = scenario.secure
    if secure is None or secure.buckets == 1:
        return
    if getattr(scenario.protocol, "robust", None) is None:
        yield (
            ("secure", "buckets"),
            "several sums of a neighbourhood tell more than one, and only protocol.robust has a use for that; set "
            "it, or leave this key out",
        )


CHECKS = (lonely_buckets, fitting_links, used_keys, yardsticks, robust_rules)
