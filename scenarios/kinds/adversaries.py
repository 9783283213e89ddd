"""Tables of who does not play fair: what nodes claim, who listens, who meddles with messages, and where they sit."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.format.tables import AllOrPairs, Node, Nodes, Pairs, Table
from scenarios.format.units import Duration, Fraction
from scenarios.kinds.attacks import Attack

Placement: TypeAlias = Literal["random", "degree", "betweenness"]


class Placed(Table):
    """Some nodes: listed, or so many of them by their place in the graph."""

    enabled: bool = Field(default=True, description="false keeps the table for a what-if variant")
    nodes: Nodes | None = Field(default=None, description="which nodes")
    count: int | None = Field(default=None, ge=1, description="or how many, placed by placement")
    placement: Placement | None = Field(
        default=None,
        description="with count: random, those of highest degree, or of highest betweenness; absent: random",
    )


class Byzantine(Placed):
    """Nodes that say something else than the protocol tells them to."""

    attack: Attack
    at: Duration | None = Field(default=None, ge=0, description="from when they lie; absent: from the start")
    until: Duration | None = Field(default=None, description="until when; absent: for ever")
    records: bool = Field(
        default=False, description="whether they also keep what they see, as curious nodes do (views/)"
    )


class Curious(Placed):
    """Nodes that follow the protocol and keep all they see (written to views/)."""


class Tap(Table):
    """An eavesdropper on links, who changes nothing (written to views/wiretap.parquet)."""

    enabled: bool = Field(default=True, description="false keeps the table for a what-if variant")
    links: AllOrPairs = Field(default="all", description='pairs [from, to] of nodes, or "all"')


class Tampering(Table):
    """Where and when messages are meddled with."""

    enabled: bool = Field(default=True, description="false keeps the table for a what-if variant")
    nodes: Nodes | None = Field(
        default=None, min_length=1, description="nodes whose own messages are meddled with"
    )
    links: Pairs | None = Field(default=None, description="or pairs [from, to] of nodes: the links attacked")
    messages: tuple[str, ...] | None = Field(
        default=None,
        strict=False,
        min_length=1,
        description="kinds of message, such as model or masked; absent: all",
    )
    at: Duration | None = Field(default=None, ge=0, description="from when; absent: from the start")
    until: Duration | None = Field(default=None, description="until when; absent: for ever")


class DropTampering(Tampering):
    """Messages are held back."""

    kind: Literal["drop"] = Field(description="messages vanish")
    probability: Fraction = Field(default=1.0, ge=0, le=1, description="of each message, 0 to 1")


class DelayTampering(Tampering):
    """Messages leave later."""

    kind: Literal["delay"] = Field(description="messages leave later")
    by: Duration = Field(gt=0, description='how much later: "200 ms"')


class ReplayTampering(Tampering):
    """Messages are sent a second time."""

    kind: Literal["replay"] = Field(description="recorded messages are sent once more")
    after: Duration = Field(ge=0, description="how much later the second one leaves")
    probability: Fraction = Field(default=1.0, ge=0, le=1, description="of each message, 0 to 1")


class AlterTampering(Tampering):
    """Numbers in messages are changed."""

    kind: Literal["alter"] = Field(
        description="a number is added to every element of every array in a message, modulo its size; for models in "
        "the clear use adversary.byzantine"
    )
    add: int = Field(default=1, ge=1, lt=2**31, description="what is added")


class EquivocateTampering(Tampering):
    """Different receivers are told different things."""

    kind: Literal["equivocate"] = Field(
        description="as alter, but each receiver gets its own number times add: none is told the same"
    )
    add: int = Field(default=1, ge=1, lt=2**20, description="what is added, times the receiver's number + 1")


Tamper: TypeAlias = Annotated[
    DropTampering | DelayTampering | ReplayTampering | AlterTampering | EquivocateTampering,
    Field(discriminator="kind", description="what is done to messages"),
]


class Sybil(Table):
    """Extra identities of one adversary, each linked to honest nodes; numbered after all others."""

    enabled: bool = Field(default=True, description="false keeps the table for a what-if variant")
    identities: int = Field(ge=1, le=100_000, description="how many")
    links_each: int = Field(ge=1, description="links of each to honest nodes")
    targets: Literal["random", "degree"] | Nodes = Field(
        default="random",
        description="whom they link to: random nodes, those of highest degree, or those listed",
    )
    role: Literal["curious", "byzantine"] = Field(
        default="curious", description="what they are; byzantine ones attack as adversary.byzantine says"
    )


class Eclipse(Table):
    """A victim all of whose links lead to attackers."""

    enabled: bool = Field(default=True, description="false keeps the table for a what-if variant")
    victim: Node = Field(description="who is cut off from honest nodes")
    attackers: Nodes = Field(min_length=1, description="who surrounds it")
    role: Literal["curious", "byzantine"] = Field(
        default="curious", description="what they are; byzantine ones attack as adversary.byzantine says"
    )


class Adversary(Table):
    """Who does not play fair. One adversary: all its parts act together."""

    byzantine: Byzantine | None = Field(default=None, description="nodes that lie")
    curious: Curious | None = Field(default=None, description="nodes that record what they see")
    wiretap: Tap | None = Field(default=None, description="an eavesdropper on links")
    tamper: tuple[Tamper, ...] = Field(
        default=(), strict=False, description="meddling with messages, one [[adversary.tamper]] each"
    )
    sybil: Sybil | None = Field(default=None, description="extra identities")
    eclipse: Eclipse | None = Field(default=None, description="a victim that is surrounded")
    encrypted: bool = Field(
        default=True, description="whether links are encrypted for the wiretap and attackers on links"
    )
    knowledge: Literal["own", "received", "rushing", "neighbourhood", "omniscient"] = Field(
        default="own",
        description="what Byzantine and meddling nodes know besides what they say themselves; each has all before it",
    )
