"""Cross-checks of protocol and topology: links, mixing weights, and enough models for a robust rule."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.schema import Scenario


def fitting_links(scenario: Scenario) -> Found:
    """Check that the topology has the tree, return links or doubly stochastic weights that the protocol needs."""
    kind, needs = scenario.protocol.kind, scenario.protocol.links
    topology, mixing = scenario.topology, scenario.mixing
    levels, uneven = topology.tree_levels, topology.uneven_weights()
    if needs.tree_levels and levels is not None and not 1 <= levels <= needs.tree_levels:
        trees = '"star"' if needs.tree_levels == 1 else '"tree" or "star"'
        yield (
            ("topology", "kind"),
            f'{kind} needs a tree rooted at node 0; "{topology.kind}" is not one; use topology.kind = {trees}',
        )
    elif needs.all_pairs and topology.misses_pairs:
        yield (
            ("topology", "kind"),
            f'{kind} with this schedule needs links between all nodes, and "{topology.kind}" has fewer; use '
            'topology.kind = "complete", or schedule.kind = "connected" or "stars", which keep to the links',
        )
    elif needs.both_ways and topology.one_way:
        yield (
            ("topology", "kind"),
            f"{kind} answers messages, but links of this {topology.kind} topology are directed; use push, push-sum "
            "or undirected links",
        )
    elif needs.doubly_stochastic and uneven is not None:
        yield (
            ("topology", *uneven[0]),
            f"{kind} needs doubly stochastic weights, which {uneven[1]}, or the protocol push-sum",
        )
    elif (
        needs.doubly_stochastic
        and mixing is not None
        and not mixing.doubly_stochastic(regular=topology.regular)
    ):
        yield (
            ("mixing", "kind"),
            f"{kind} needs doubly stochastic weights, which {mixing.kind} has only if all nodes have the same "
            "degree; "
            'use "metropolis"',
        )


def models_enough(scenario: Scenario) -> Found:
    """Check that a robust rule has as many models as it needs."""
    protocol, topology = scenario.protocol, scenario.topology
    rule = protocol.rule
    if rule is None or protocol.exchange == "secure":
        return
    least, there = rule.least, protocol.compared(scenario.topology.least_degree, topology.node_count)
    if there is None or there >= least:
        return
    who, what = (
        f"a node of this {topology.kind} graph compares {there}, its own included",
        "a denser topology",
    )
    if protocol.links.tree_levels:
        who, what = f"the server compares {there}", "more clients"
    yield (
        ("protocol", "robust"),
        f"{rule.kind} with this f needs {least} models, and {who}; use {what} or a smaller f",
    )


CHECKS = (fitting_links, models_enough)
