"""The adversary: Byzantine and curious nodes, wiretaps, Sybil identities, eclipses, and their common knowledge."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import Field

from scenarios.format.locate import Key
from scenarios.format.tables import AllOrPairs, Node, Nodes, Table
from scenarios.format.units import Duration, not_later
from scenarios.kinds.attacks import Attack
from scenarios.kinds.tampering import Tamper
from simulator.contract.knowledge import LEVELS, Knowledge
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    import networkx as nx

    from simulator.adversary.wiretap import Wiretap

Placement: TypeAlias = Literal["random", "degree", "betweenness"]


class Placed(Table):
    """Nodes, listed or chosen by their place in the graph."""

    enabled: bool = Field(
        default=True,
        examples=[False],
        description="false: the table has no effect unless a what-if variant enables it",
    )
    nodes: Nodes | None = Field(default=None, examples=[[3, 4]], description="node numbers")
    count: int | None = Field(
        default=None,
        ge=1,
        examples=[2],
        description="number of nodes, in place of nodes; chosen by placement",
    )
    placement: Placement | None = Field(
        default=None,
        examples=["degree"],
        description="with count: random, those of highest degree, or of highest betweenness; absent: random",
    )

    def place(self, graph: nx.Graph, taken: Collection[int], key: str, seed: int) -> tuple[int, ...]:
        """Return the nodes; those that are counted are none of ``taken``.

        Args:
            graph: on 0 to n - 1.
            taken: nodes that play another part.
            key: dotted key of this table, for errors.
            seed: of random placement.

        Raises:
            ConfigurationError: there are not enough nodes, or one does not exist.
        """
        from simulator.adversary import placement

        if self.nodes is not None:
            return placement.given(self.nodes, len(graph))
        assert self.count is not None
        wanted = self.count + len(taken)
        if not wanted < len(graph):
            raise ConfigurationError(
                f"count = {self.count} makes {wanted} of {len(graph)} nodes adversarial; use fewer, so "
                f"that one is honest",
                f"{key}.count",
            )
        match self.placement:
            case "degree":
                ranked = placement.by_degree(graph, wanted)
            case "betweenness":
                ranked = placement.by_betweenness(graph, wanted)
            case "random" | None:
                ranked = placement.at_random(range(len(graph)), wanted, seed)
        return tuple(node for node in ranked if node not in taken)[: self.count]

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find nodes named in no way or in two, and a node named twice."""
        if (self.nodes is None) == (self.count is None):
            yield (), "give either nodes (a list) or count (a number)"
        if self.placement is not None and self.count is None:
            yield ("placement",), "placement has no effect on nodes that are listed; give count, or remove it"
        if self.nodes is not None and self.enabled and not self.nodes:
            yield ("nodes",), "the list is empty; name at least one node or set enabled = false"
        if self.nodes is not None and len(set(self.nodes)) < len(self.nodes):
            yield ("nodes",), "a node is listed twice; list each node once"


class Byzantine(Placed):
    """Nodes that do not follow the protocol."""

    attack: Attack
    at: Duration | None = Field(
        default=None, ge=0, examples=["2 s"], description="beginning of the attack; absent: from the start"
    )
    until: Duration | None = Field(
        default=None, examples=["9 s"], description="end of the attack; absent: for ever"
    )
    records: bool = Field(
        default=False,
        examples=[True],
        description="whether they also record what they see, as curious nodes do (views/)",
    )

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find nodes named in no way or in two, and a window of time for an attack that has none."""
        yield from super().problems()
        if self.at is not None and self.until is not None and self.until <= self.at:
            yield ("until",), not_later("until", self.until, "at", self.at)
        given = [name for name in ("at", "until") if getattr(self, name) is not None]
        if given and self.attack.part in ("training", "shares"):
            where = (
                "what a node trains on and with" if self.attack.part == "training" else "the shares it deals"
            )
            yield (
                (given[0],),
                f"{self.attack.kind} is in {where}, for the whole run; remove {' and '.join(given)}",
            )


class Curious(Placed):
    """Nodes that follow the protocol and record all they see (written to views/)."""


class Tap(Table):
    """Eavesdropper on links (written to views/wiretap.parquet)."""

    enabled: bool = Field(
        default=True,
        examples=[False],
        description="false: the table has no effect unless a what-if variant enables it",
    )
    links: AllOrPairs = Field(
        default="all", examples=[[[0, 1], [2, 5]]], description='pairs [from, to] of nodes, or "all"'
    )

    def build(self, encrypted: bool, overheard: Callable[[float, int, Any], None]) -> Wiretap:
        """Return the wiretap.

        Args:
            encrypted: whether links are.
            overheard: told what is heard in the clear.
        """
        from simulator.adversary.wiretap import Wiretap

        return Wiretap(None if self.links == "all" else frozenset(self.links), encrypted, overheard)


class Sybil(Table):
    """Extra identities of one adversary, each linked to honest nodes and numbered after all others."""

    enabled: bool = Field(
        default=True,
        examples=[False],
        description="false: the table has no effect unless a what-if variant enables it",
    )
    identities: int = Field(ge=1, le=100_000, examples=[4], description="number of identities")
    links_each: int = Field(ge=1, examples=[3], description="links of each identity to honest nodes")
    targets: Literal["random", "degree"] | Nodes = Field(
        default="random",
        examples=["degree"],
        description="targets of the links: random nodes, those of highest degree, or those listed",
    )
    role: Literal["curious", "byzantine"] = Field(
        default="curious",
        examples=["byzantine"],
        description="role of these nodes; byzantine: they attack as adversary.byzantine says",
    )

    def place(self, graph: nx.Graph, seed: int) -> tuple[nx.Graph, tuple[int, ...]]:
        """Return the graph with the extra identities, and their node numbers.

        Raises:
            ConfigurationError: a target does not exist, or there are fewer targets than links.
        """
        from simulator.adversary import placement

        return placement.with_sybils(graph, self.identities, self.links_each, seed, self.targets)


class Eclipse(Table):
    """Victim whose links all lead to attackers."""

    enabled: bool = Field(
        default=True,
        examples=[False],
        description="false: the table has no effect unless a what-if variant enables it",
    )
    victim: Node = Field(examples=[0], description="node that is cut off from honest nodes")
    attackers: Nodes = Field(min_length=1, examples=[[5, 6]], description="nodes that surround the victim")
    role: Literal["curious", "byzantine"] = Field(
        default="curious",
        examples=["byzantine"],
        description="role of these nodes; byzantine: they attack as adversary.byzantine says",
    )

    def place(self, graph: nx.Graph, seed: int) -> nx.Graph:
        """Return the graph with attackers alone around the victim.

        Raises:
            ConfigurationError: a node does not exist, or the others would not be connected.
        """
        from simulator.adversary import placement

        return placement.eclipsed(graph, self.victim, self.attackers, seed)

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find a victim among its attackers."""
        if self.victim in self.attackers:
            yield ("attackers",), f"node {self.victim} is the victim; name other nodes"


class Adversary(Table):
    """Adversary; all its parts act together."""

    byzantine: Byzantine | None = Field(default=None, description="nodes that do not follow the protocol")
    curious: Curious | None = Field(default=None, description="nodes that record what they see")
    wiretap: Tap | None = Field(default=None, description="an eavesdropper on links")
    tamper: tuple[Tamper, ...] = Field(
        default=(), strict=False, description="tampering with messages, one [[adversary.tamper]] each"
    )
    sybil: Sybil | None = Field(default=None, description="extra identities")
    eclipse: Eclipse | None = Field(default=None, description="a victim that is surrounded")
    encrypted: bool = Field(
        default=True,
        examples=[False],
        description="whether links are encrypted for the wiretap and attackers on links",
    )
    knowledge: Literal["own", "received", "rushing", "neighbourhood", "omniscient"] = Field(
        default="own",
        examples=["rushing"],
        description="knowledge of Byzantine and tampering nodes beside their own messages; each level "
        "includes those before it",
    )

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find a node with two parts, too little knowledge, and encrypted links that an attack has to read."""
        byzantine, curious = self.byzantine, self.curious
        if byzantine and curious and byzantine.enabled and curious.enabled:
            for node in sorted(set(byzantine.nodes or ()) & set(curious.nodes or ())):
                yield (
                    ("curious", "nodes"),
                    f"node {node} is Byzantine too; a curious node is one that follows the protocol",
                )
        if byzantine is not None and not self._knows(byzantine.attack.knowledge):
            attack = byzantine.attack
            yield ("byzantine", "attack", "kind"), self._unknown(attack.kind, attack.knowledge)
        for name, placed in (("sybil", self.sybil), ("eclipse", self.eclipse)):
            if placed is None or not placed.enabled or placed.role != "byzantine":
                continue
            if byzantine is None or not byzantine.enabled:
                yield (
                    (name, "role"),
                    'role = "byzantine" needs [adversary.byzantine], which has the attack of these nodes; add it, '
                    'or use role = "curious"',
                )
        for i, tamper in enumerate(self.tamper):
            if not self._knows(tamper.knowledge):
                yield ("tamper", i, "kind"), self._unknown(tamper.kind, tamper.knowledge)
            if (
                tamper.links is not None
                and self.encrypted
                and (tamper.changes or tamper.messages is not None)
            ):
                yield (
                    ("tamper", i, "kind" if tamper.changes else "messages"),
                    "links are encrypted, and this needs to read messages there; use "
                    "drop, delay "
                    "or replay of all messages, or adversary.encrypted = false",
                )

    def _knows(self, needed: Knowledge) -> bool:
        return LEVELS.index(self.knowledge) >= LEVELS.index(needed)

    def _unknown(self, kind: str, needed: Knowledge) -> str:
        return (
            f'{kind} in this form needs adversary.knowledge = "{needed}" or more, got "{self.knowledge}"; raise it, '
            "or use another kind"
        )
