"""Cross-checks of protocol and topology: links, mixing weights, and models enough for a robust rule."""

from __future__ import annotations

from scenarios.checks.topology import Found, least_degree
from scenarios.kinds.robust_rules import least_models
from scenarios.kinds.topologies import EpidemicTopology, OnePeerExponentialTopology, Topology, node_count
from scenarios.schema import Scenario

REGULAR = ("ring", "complete", "torus", "hypercube", "regular")
"""Kinds of topology whose nodes all have one number of neighbours."""


def fitting_links(scenario: Scenario) -> Found:
    """Answers need a way back, federated averaging a tree, tracking doubly stochastic weights."""
    kind, needs, topology = scenario.protocol.kind, scenario.protocol.links, scenario.topology
    if needs.trees and topology.kind not in (*needs.trees, "file"):  # a file is looked at when it is built
        yield (
            ("topology", "kind"),
            f'{kind} needs a tree rooted at node 0; "{topology.kind}" is not one; use '
            + " or ".join(f'topology.kind = "{one}"' for one in needs.trees),
        )
    elif needs.both_ways and _one_way(topology):
        yield (
            ("topology", "kind"),
            f"{kind} answers messages, but links of this {topology.kind} topology lead one way; use push, push-sum "
            "or links without a direction",
        )
    elif needs.doubly_stochastic and isinstance(topology, EpidemicTopology) and _one_way(topology):
        yield (
            ("topology", "where"),
            f"{kind} needs doubly stochastic weights, which local epidemic links have on average only; use "
            'where = "global", or the protocol push-sum',
        )
    elif (
        needs.doubly_stochastic
        and scenario.mixing is not None
        and scenario.mixing.kind == "uniform-neighbour"
        and topology.kind not in REGULAR
    ):
        yield (
            ("mixing", "kind"),
            f"{kind} needs doubly stochastic weights, which uniform-neighbour has only where all nodes have one "
            'number of neighbours; use "metropolis"',
        )


def _one_way(topology: Topology) -> bool:
    """Whether links have a direction."""
    local = isinstance(topology, EpidemicTopology) and topology.where == "local"
    return local or isinstance(topology, OnePeerExponentialTopology)


def models_enough(scenario: Scenario) -> Found:
    """A robust rule sees as many models as it needs."""
    protocol, topology = scenario.protocol, scenario.topology
    rule = protocol.rule
    if rule is None or protocol.exchange == "secure":
        return
    least, there = least_models(rule), protocol.compared(least_degree(scenario), node_count(topology))
    if there is None or there >= least:
        return
    who, what = (
        f"a node of this {topology.kind} graph compares {there}, its own included",
        "a denser topology",
    )
    if protocol.links.trees:
        who, what = f"the server compares {there}", "more clients"
    yield (
        ("protocol", "robust"),
        f"{rule.kind} with this f needs {least} models, and {who}; use {what} or a smaller f",
    )


CHECKS = (fitting_links, models_enough)
