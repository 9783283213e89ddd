"""From adversary tables to who sits where in the graph, who claims, listens and meddles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import networkx as nx
import numpy as np

from scenarios.kinds import adversaries
from scenarios.schema import Scenario
from simulator.adversary import placement, tampering
from simulator.adversary.coalition import Adversary, Claim, Tap
from simulator.adversary.wiretap import Wiretap
from simulator.contract.node import Link, Message
from simulator.errors import ConfigurationError


@dataclass(frozen=True)
class Cast:
    """Who plays which part.

    Args:
        byzantine: nodes that lie.
        curious: nodes that keep what they see; they follow the protocol, unless they are Byzantine too.
        meddling: nodes whose messages are tampered with.
        sybils: identities added to the graph, among the curious or the Byzantine.
    """

    byzantine: frozenset[int] = frozenset()
    curious: frozenset[int] = frozenset()
    meddling: frozenset[int] = frozenset()
    sybils: frozenset[int] = frozenset()

    @property
    def dishonest(self) -> frozenset[int]:
        """Nodes that do not follow the protocol or are nobody's: neither their accuracy nor their noise counts."""
        return self.byzantine | self.meddling | self.sybils


@dataclass
class Stage:
    """Places the adversary in a graph, before neighbours and weights follow from it.

    Args:
        scenario: what it says.
        cast: who plays which part, once :meth:`set` was called.
    """

    scenario: Scenario
    cast: Cast = field(default_factory=Cast)

    def set(self, graph: nx.Graph) -> nx.Graph:
        """The graph with sybils and around an eclipsed victim.

        Raises:
            ConfigurationError: more attackers than nodes, or nobody honest is left.
        """
        adversary, seed = self.scenario.adversary, self.scenario.seed
        roles: dict[str, set[int]] = {"byzantine": set(), "curious": set()}
        for role in roles:
            table = getattr(adversary, role)
            if table is not None and table.enabled:
                roles[role] |= set(_chosen(table, graph, roles["byzantine"], f"adversary.{role}", seed))
        sybils: tuple[int, ...] = ()
        if adversary.sybil is not None and adversary.sybil.enabled:
            table = adversary.sybil
            graph, sybils = placement.with_sybils(
                graph, table.identities, table.links_each, seed, table.targets
            )
            roles[table.role] |= set(sybils)
        if adversary.eclipse is not None and adversary.eclipse.enabled:
            graph = placement.eclipsed(graph, adversary.eclipse.victim, adversary.eclipse.attackers, seed)
            roles[adversary.eclipse.role] |= set(adversary.eclipse.attackers)
        meddling = {
            node for table in adversary.tamper if table.enabled and table.nodes for node in table.nodes
        }
        byzantine = frozenset(roles["byzantine"])
        curious = frozenset(roles["curious"]) - byzantine
        if adversary.byzantine is not None and adversary.byzantine.records:
            curious |= byzantine
        self.cast = Cast(byzantine, curious, frozenset(meddling), frozenset(sybils))
        if len(self.cast.dishonest) >= len(graph):
            raise ConfigurationError("nobody honest is left to measure", "adversary")
        return graph


def build_adversary(
    scenario: Scenario,
    cast: Cast,
    claims: Mapping[int, Claim],
    tap: Tap | None,
    tap_own: Callable[[float, int, Message], None],
    overheard: Callable[[float, int, Any], None],
) -> Adversary:
    """The adversary at work.

    Args:
        scenario: what it says.
        cast: who plays which part.
        claims: how Byzantine nodes lie.
        tap: what curious nodes keep of what they receive.
        tap_own: and of what they send.
        overheard: told what a wiretap hears in the clear.

    Raises:
        ConfigurationError: an attacker on an encrypted link that would have to read.
    """
    tables = scenario.adversary
    wires = None
    if tables.wiretap is not None and tables.wiretap.enabled:
        links = None if tables.wiretap.links == "all" else frozenset(tables.wiretap.links)
        wires = Wiretap(links, tables.encrypted, overheard)
    at_nodes: defaultdict[int, list[tampering.Tamper]] = defaultdict(list)
    on_links: defaultdict[Link, list[tampering.Tamper]] = defaultdict(list)
    for table in tables.tamper:
        if table.enabled:
            for node in table.nodes or ():
                at_nodes[node].append(_tamper(table))
            for link in table.links or ():
                on_links[link].append(_tamper(table))
    return Adversary(
        curious=cast.curious,
        tap=tap if cast.curious else None,
        tap_own=tap_own if cast.curious else None,
        byzantine=claims,
        tamper={node: _chained(acts) for node, acts in at_nodes.items()},
        wires=wires,
        on_links={link: _chained(acts) for link, acts in on_links.items()},
        encrypted=tables.encrypted,
        knowledge=tables.knowledge,
    )


def _chosen(
    table: adversaries.Placed, graph: nx.Graph, taken: Collection[int], key: str, seed: int
) -> tuple[int, ...]:
    """The nodes of a table; those that are counted are none of ``taken``."""
    if table.nodes is not None:
        return placement.given(table.nodes, len(graph))
    assert table.count is not None
    wanted = table.count + len(taken)
    if not wanted < len(graph):
        raise ConfigurationError(
            f"{wanted} of {len(graph)} nodes in all; at least one has to be honest", f"{key}.count"
        )
    match table.placement:
        case "degree":
            ranked = placement.by_degree(graph, wanted)
        case "betweenness":
            ranked = placement.by_betweenness(graph, wanted)
        case _:
            ranked = placement.at_random(range(len(graph)), wanted, seed)
    return tuple(node for node in ranked if node not in taken)[: table.count]


def _tamper(table: adversaries.Tamper) -> tampering.Tamper:
    act: tampering.Tamper
    match table:
        case adversaries.DropTampering():
            act = tampering.drop(table.probability)
        case adversaries.DelayTampering():
            act = tampering.delay(table.by)
        case adversaries.ReplayTampering():
            act = tampering.replay(table.after, table.probability)
        case adversaries.AlterTampering(add=add):
            act = tampering.alter(tampering.arrays(lambda a, rng: a + a.dtype.type(add), of=np.number))
        case adversaries.EquivocateTampering(add=add):
            act = tampering.equivocate(
                lambda body, dst, rng: tampering.arrays(
                    lambda a, rng: a + a.dtype.type(add * (dst + 1)), of=np.number
                )(body, rng)
            )
    if table.messages is None and table.at is None and table.until is None:
        return act
    until_s = inf if table.until is None else table.until
    return tampering.only(act, kinds=table.messages, from_s=table.at or 0.0, until_s=until_s)


def _chained(acts: list[tampering.Tamper]) -> tampering.Tamper:
    return acts[0] if len(acts) == 1 else tampering.chain(*acts)
