"""Place the adversary in the graph and build it from the adversary tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import networkx as nx

from scenarios.kinds import adversaries
from simulator.adversary import tampering
from simulator.adversary.coalition import Adversary, Substitution, Tap
from simulator.contract.node import Link, Message
from simulator.errors import ConfigurationError


@dataclass(frozen=True)
class Cast:
    """Roles of nodes in the adversary.

    Args:
        byzantine: nodes that do not follow the protocol.
        curious: nodes that record what they see; they follow the protocol, unless they are Byzantine too.
        tampering: nodes whose messages are tampered with.
        sybils: identities added to the graph, among the curious or the Byzantine.
    """

    byzantine: frozenset[int] = frozenset()
    curious: frozenset[int] = frozenset()
    tampering: frozenset[int] = frozenset()
    sybils: frozenset[int] = frozenset()

    @property
    def corrupt(self) -> frozenset[int]:
        """Nodes that are Byzantine, tamper or are Sybils; their accuracy and their noise are not counted."""
        return self.byzantine | self.tampering | self.sybils


@dataclass
class Placing:
    """Placement of the adversary in a graph, before neighbours and weights are computed from the graph.

    Args:
        adversary: the adversary tables.
        seed: of the run.
        cast: roles of nodes, set by :meth:`place`.
    """

    adversary: adversaries.Adversary
    seed: int
    cast: Cast = field(default_factory=Cast)

    def place(self, graph: nx.Graph) -> nx.Graph:
        """Return the graph with Sybil identities added and the links of an eclipsed victim changed.

        Raises:
            ConfigurationError: there are more attackers than nodes, or no honest node is left.
        """
        adversary, seed = self.adversary, self.seed
        roles: dict[str, set[int]] = {"byzantine": set(), "curious": set()}
        for role, table in (("byzantine", adversary.byzantine), ("curious", adversary.curious)):
            if table is not None and table.enabled:
                roles[role] |= set(table.place(graph, roles["byzantine"], f"adversary.{role}", seed))
        sybils: tuple[int, ...] = ()
        if adversary.sybil is not None and adversary.sybil.enabled:
            graph, sybils = adversary.sybil.place(graph, seed)
            roles[adversary.sybil.role] |= set(sybils)
        if adversary.eclipse is not None and adversary.eclipse.enabled:
            graph = adversary.eclipse.place(graph, seed)
            roles[adversary.eclipse.role] |= set(adversary.eclipse.attackers)
        tampering = frozenset(
            node for tamper in adversary.tamper if tamper.enabled for node in tamper.nodes or ()
        )
        byzantine = frozenset(roles["byzantine"])
        curious = frozenset(roles["curious"]) - byzantine
        if adversary.byzantine is not None and adversary.byzantine.records:
            curious |= byzantine
        self.cast = Cast(byzantine, curious, tampering, frozenset(sybils))
        if len(self.cast.corrupt) >= len(graph):
            raise ConfigurationError(
                "at least one node must be honest, since only honest nodes are measured, got none; use fewer "
                "attackers",
                "adversary",
            )
        return graph


def build_adversary(
    tables: adversaries.Adversary,
    cast: Cast,
    substitutions: Mapping[int, Substitution],
    tap: Tap | None,
    tap_own: Callable[[float, int, Message], None],
    overheard: Callable[[float, int, Any], None],
) -> Adversary:
    """Build the adversary of a run.

    Args:
        tables: the adversary tables.
        cast: roles of nodes.
        substitutions: content that Byzantine nodes send in place of their own.
        tap: called with what curious nodes receive.
        tap_own: called with what curious nodes send.
        overheard: called with what a wiretap reads in the clear.

    Raises:
        ConfigurationError: an attacker on an encrypted link needs the content of messages.
    """
    wires = None
    if tables.wiretap is not None and tables.wiretap.enabled:
        wires = tables.wiretap.build(tables.encrypted, overheard)
    at_nodes: defaultdict[int, list[tampering.Tamper]] = defaultdict(list)
    on_links: defaultdict[Link, list[tampering.Tamper]] = defaultdict(list)
    for table in tables.tamper:
        if table.enabled:
            for node in table.nodes or ():
                at_nodes[node].append(table.build())
            for link in table.links or ():
                on_links[link].append(table.build())
    return Adversary(
        curious=cast.curious,
        tap=tap if cast.curious else None,
        tap_own=tap_own if cast.curious else None,
        byzantine=substitutions,
        tamper={node: _chained(acts) for node, acts in at_nodes.items()},
        wires=wires,
        on_links={link: _chained(acts) for link, acts in on_links.items()},
        encrypted=tables.encrypted,
        knowledge=tables.knowledge,
    )


def _chained(acts: list[tampering.Tamper]) -> tampering.Tamper:
    return acts[0] if len(acts) == 1 else tampering.chain(*acts)
