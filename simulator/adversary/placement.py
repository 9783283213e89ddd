"""Placement of adversaries: nodes chosen by rank or at random, Sybil identities, and eclipses of a victim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import networkx as nx
import numpy as np

from simulator import streams
from simulator.errors import ConfigurationError

EXACT_BETWEENNESS = 500
"""Graphs with more nodes have their betweenness estimated from shortest paths out of some nodes only."""

FEWEST_PIVOTS = 128
"""Smallest number of nodes the estimate starts from (Brandes and Pich 2007); a budget of 500 x 500 otherwise."""

REWIRINGS = 20
"""Number of draws of an eclipse before its graph is given up as not connected."""


def by_degree(graph: nx.Graph, count: int) -> tuple[int, ...]:
    """Return the ``count`` nodes with most neighbours, most first; ties by node number.

    Raises:
        ConfigurationError: ``count`` is not from 1 to the number of nodes less one (one node must be honest).
    """
    _check_count(count, len(graph))
    return _first(dict(graph.degree), count)


def by_betweenness(graph: nx.Graph, count: int) -> tuple[int, ...]:
    """Return the ``count`` nodes on most shortest paths, most first; ties by node number.

    Exact up to 500 nodes (Brandes 2001). Above, estimated from the paths out of nodes sampled with a fixed seed, so
    that the same graph gives the same answer: good for the few that stand out, not for the order of near equals.

    Raises:
        ConfigurationError: as :func:`by_degree`.
    """
    nodes = len(graph)
    _check_count(count, nodes)
    pivots = None
    if nodes > EXACT_BETWEENNESS:
        pivots = max(FEWEST_PIVOTS, EXACT_BETWEENNESS**2 // nodes)
    between = nx.betweenness_centrality(_in_order(graph), k=pivots, seed=0)
    # Nodes that symmetry makes equal differ in the last digits by the order of summation.
    return _first({node: round(value, 10) for node, value in between.items()}, count)


def at_random(nodes: Sequence[int], count: int, seed: int) -> tuple[int, ...]:
    """``count`` of ``nodes``, all sets equally likely, in the order drawn.

    The first of a larger draw are the smaller draw, so that growing a coalition only adds to it.

    Raises:
        ConfigurationError: as :func:`by_degree`.
    """
    _check_count(count, len(nodes))
    order = streams.generator(seed, "placement").permutation(len(nodes))
    return tuple(int(nodes[i]) for i in order[:count])


def given(nodes: Sequence[int], total: int) -> tuple[int, ...]:
    """Check listed nodes and return them.

    Raises:
        ConfigurationError: one is named twice or is not from 0 to ``total`` - 1, or no node is left honest.
    """
    _check_count(len(nodes), total)
    for i, node in enumerate(nodes):
        _check_node(node, total, "adversary.nodes")
        if node in nodes[:i]:
            raise ConfigurationError(f"node {node} is listed twice", "adversary.nodes")
    return tuple(nodes)


def with_sybils(
    graph: nx.Graph,
    identities: int,
    links_each: int,
    seed: int,
    targets: Literal["random", "degree"] | Sequence[int] = "random",
) -> tuple[nx.Graph, tuple[int, ...]]:
    """Add identities that one adversary controls, linked to honest nodes and not to each other.

    Under Metropolis-Hastings weights, k of them on a node of degree d hold k/(1 + d + k) of its weight as long as
    none of them has more than d + k links (Douceur 2002 for the attack).

    Args:
        graph: on 0..n-1; not changed.
        identities: how many; they become n, n + 1, ...
        links_each: links of each to different nodes of ``graph``.
        seed: for what is random; identity i draws the same targets however many there are.
        targets: whom they link to. ``random``: any node, equally likely, each identity for itself. ``degree``: all
            to the nodes with most neighbours. A sequence: to those, drawn at random if there are more than needed.

    Returns:
        A new graph (attributes of old links kept, new links without), and the new nodes.

    Raises:
        ConfigurationError: no identity, fewer targets than links, or a target that does not exist.
    """
    nodes = _check_labels(graph)
    if identities < 1:
        raise ConfigurationError(
            f"identities must be at least 1, got {identities}", "adversary.sybils.identities"
        )
    if isinstance(targets, str):
        if targets not in ("random", "degree"):
            raise ConfigurationError(
                f"targets {targets!r} are unknown; expected random, degree or a list of nodes",
                "adversary.sybils.targets",
            )
        choice: Sequence[int] = range(nodes)
    else:
        choice = sorted(set(targets))
        for node in choice:
            _check_node(node, nodes, "adversary.sybils.targets")
    if not 1 <= links_each <= len(choice):
        raise ConfigurationError(
            f"links_each must be from 1 to the {len(choice)} nodes there are to link to, got {links_each}",
            "adversary.sybils.links_each",
        )
    if targets == "degree":
        choice = _first(dict(graph.degree), links_each)
    grown = graph.copy()
    new = tuple(range(nodes, nodes + identities))
    for i, sybil in enumerate(new):
        drawn = streams.generator(seed, "sybil", i).choice(len(choice), links_each, replace=False)
        grown.add_edges_from((sybil, choice[j]) for j in sorted(drawn.tolist()))
    return grown, new


def eclipsed(graph: nx.Graph, victim: int, attackers: Sequence[int], seed: int = 0) -> nx.Graph:
    """Rewire so that all links of ``victim`` lead to ``attackers``.

    The victim keeps its degree as far as there are attackers, those first that it is linked to already, then in the
    order given. An honest neighbour u that it loses is made up for by switching links: victim-u and attacker-w become
    victim-attacker and u-w, with w drawn from the attacker's neighbours, so that all four keep their degrees. Where
    no w fits, or no attacker is left, u is linked to another node that lost the victim too, else to a node drawn
    from all (whose degree grows by one), honest ones first. Only a node linked to everybody already loses a link.

    Args:
        graph: on 0..n-1; not changed.
        victim: node whose neighbours become attackers only.
        attackers: nodes of the graph, Sybils included (:func:`with_sybils`).
        seed: of the draws.

    Returns:
        A new graph; links that stay keep their attributes, new ones have none.

    Raises:
        ConfigurationError: no attacker, a node that does not exist, the victim among the attackers, or the rest
            (everybody but the victim) not connected after any of several draws.
    """
    nodes = _check_labels(graph)
    _check_node(victim, nodes, "adversary.eclipse.victim")
    for node in attackers:
        _check_node(node, nodes, "adversary.eclipse.attackers")
    hostile = frozenset(attackers)
    if not hostile or victim in hostile:
        raise ConfigurationError(
            f"an eclipse of node {victim} needs attackers other than itself, got {sorted(hostile)}",
            "adversary.eclipse.attackers",
        )
    for attempt in range(REWIRINGS):
        rng = streams.generator(seed, "eclipse", victim, attempt)
        rewired = _rewired(graph, victim, hostile, attackers, rng)
        rest = rewired.subgraph(node for node in rewired if node != victim)
        if nx.is_connected(rest):
            return rewired
    parts = sorted(len(part) for part in nx.connected_components(rest))
    raise ConfigurationError(
        f"eclipsing node {victim} leaves the others in {len(parts)} parts of {', '.join(map(str, parts))} nodes; "
        "expected them connected: choose another victim, other attackers or a denser graph",
        "adversary.eclipse.victim",
    )


def _rewired(
    graph: nx.Graph, victim: int, hostile: frozenset[int], attackers: Sequence[int], rng: np.random.Generator
) -> nx.Graph:
    before = frozenset(graph[victim])
    lost = sorted(before - hostile)
    rng.shuffle(lost)
    gained = [a for a in dict.fromkeys(attackers) if a not in before][: len(lost)]
    rewired = graph.copy()
    rewired.remove_edges_from([(victim, u) for u in lost])
    rewired.add_edges_from((victim, a) for a in gained)
    waiting = list(lost)
    for attacker in gained:
        for u in waiting:
            fits = sorted(set(rewired[attacker]) - set(rewired[u]) - {victim, u})
            if fits:
                w = fits[int(rng.integers(len(fits)))]
                rewired.remove_edge(attacker, w)
                rewired.add_edge(u, w)
                waiting.remove(u)
                break
    while waiting:
        u = waiting.pop(0)
        partner = next((other for other in waiting if not rewired.has_edge(u, other)), None)
        if partner is not None:
            waiting.remove(partner)
        else:
            partner = _stranger(rewired, u, victim, hostile, rng)
        if partner is not None:
            rewired.add_edge(u, partner)
    return rewired


def _stranger(
    graph: nx.Graph, node: int, victim: int, hostile: frozenset[int], rng: np.random.Generator
) -> int | None:
    known = {node, victim, *graph[node]}
    strangers = [other for other in range(len(graph)) if other not in known]
    choice = [other for other in strangers if other not in hostile] or strangers
    return choice[int(rng.integers(len(choice)))] if choice else None


def _first(score: Mapping[int, float], count: int) -> tuple[int, ...]:
    return tuple(sorted(score, key=lambda node: (-score[node], node))[:count])


def _in_order(graph: nx.Graph) -> nx.Graph:
    """Rebuild the same graph in one order, so that samples do not depend on the order of construction."""
    ordered = nx.empty_graph(len(graph))
    ordered.add_edges_from(sorted((min(i, j), max(i, j)) for i, j in graph.edges))
    return ordered


def _check_labels(graph: nx.Graph) -> int:
    nodes = len(graph)
    if graph.is_directed():
        raise ConfigurationError("links of the graph have a direction; expected a graph without", "topology")
    if set(graph) != set(range(nodes)):
        raise ConfigurationError(f"nodes of the graph must be numbered from 0 to {nodes - 1}", "topology")
    return nodes


def _check_count(count: int, nodes: int) -> None:
    if not 1 <= count < nodes:
        raise ConfigurationError(
            f"an adversary of {count} nodes does not fit; expected from 1 to {nodes - 1} of {nodes}",
            "adversary.count",
        )


def _check_node(node: int, nodes: int, key: str) -> None:
    if not 0 <= node < nodes:
        raise ConfigurationError(f"there is no node {node}; expected from 0 to {nodes - 1}", key)
