"""Tables of who does not play fair: what nodes claim, who listens, who meddles with messages, and where they sit."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import AllOrPairs, Node, Nodes, Pairs, Table
from scenarios.format.units import Duration, Fraction
from scenarios.kinds.attacks import Attack

Placement: TypeAlias = Literal["random", "degree", "betweenness"]


class Placed(Table):
    """Some nodes: listed, or so many of them by their place in the graph."""

    enabled: bool = Field(
        default=True, examples=[False], description="false keeps the table for a what-if variant"
    )
    nodes: Nodes | None = Field(default=None, examples=[[3, 4]], description="which nodes")
    count: int | None = Field(
        default=None, ge=1, examples=[2], description="or how many, placed by placement"
    )
    placement: Placement | None = Field(
        default=None,
        examples=["degree"],
        description="with count: random, those of highest degree, or of highest betweenness; absent: random",
    )


class Byzantine(Placed):
    """Nodes that say something else than the protocol tells them to."""

    attack: Attack
    at: Duration | None = Field(
        default=None, ge=0, examples=["2 s"], description="from when they lie; absent: from the start"
    )
    until: Duration | None = Field(default=None, examples=["9 s"], description="until when; absent: for ever")
    records: bool = Field(
        default=False,
        examples=[True],
        description="whether they also keep what they see, as curious nodes do (views/)",
    )


class Curious(Placed):
    """Nodes that follow the protocol and keep all they see (written to views/)."""


class Tap(Table):
    """An eavesdropper on links, who changes nothing (written to views/wiretap.parquet)."""

    enabled: bool = Field(
        default=True, examples=[False], description="false keeps the table for a what-if variant"
    )
    links: AllOrPairs = Field(
        default="all", examples=[[[0, 1], [2, 5]]], description='pairs [from, to] of nodes, or "all"'
    )


class Tamper(Kind):
    """What is done to messages."""

    group: ClassVar[str] = "sottovoce.tamperings"

    enabled: bool = Field(
        default=True, examples=[False], description="false keeps the table for a what-if variant"
    )
    nodes: Nodes | None = Field(
        default=None, min_length=1, examples=[[3, 4]], description="nodes whose own messages are meddled with"
    )
    links: Pairs | None = Field(
        default=None,
        examples=[[[0, 1], [2, 5]]],
        description="or pairs [from, to] of nodes: the links attacked",
    )
    messages: tuple[str, ...] | None = Field(
        default=None,
        strict=False,
        min_length=1,
        examples=[["masked"]],
        description="kinds of message, such as model or masked; absent: all",
    )
    at: Duration | None = Field(
        default=None, ge=0, examples=["30 s"], description="from when; absent: from the start"
    )
    until: Duration | None = Field(
        default=None, examples=["45 s"], description="until when; absent: for ever"
    )


class DropTampering(Tamper):
    """Messages are held back."""

    kind: Literal["drop"] = Field(description="messages vanish")
    probability: Fraction = Field(
        default=1.0, ge=0, le=1, examples=["30 %"], description="of each message, 0 to 1"
    )


class DelayTampering(Tamper):
    """Messages leave later."""

    kind: Literal["delay"] = Field(description="messages leave later")
    by: Duration = Field(gt=0, examples=["200 ms"], description='how much later: "200 ms"')


class ReplayTampering(Tamper):
    """Messages are sent a second time."""

    kind: Literal["replay"] = Field(description="recorded messages are sent once more")
    after: Duration = Field(ge=0, examples=["500 ms"], description="how much later the second one leaves")
    probability: Fraction = Field(
        default=1.0, ge=0, le=1, examples=["30 %"], description="of each message, 0 to 1"
    )


class AlterTampering(Tamper):
    """Numbers in messages are changed."""

    kind: Literal["alter"] = Field(
        description="a number is added to every element of every array in a message, modulo its size; for models in "
        "the clear use adversary.byzantine"
    )
    add: int = Field(default=1, ge=1, lt=2**31, examples=[7], description="what is added")


class EquivocateTampering(Tamper):
    """Different receivers are told different things."""

    kind: Literal["equivocate"] = Field(
        description="as alter, but each receiver gets its own number times add: none is told the same"
    )
    add: int = Field(
        default=1, ge=1, lt=2**20, examples=[7], description="what is added, times the receiver's number + 1"
    )


class Sybil(Table):
    """Extra identities of one adversary, each linked to honest nodes; numbered after all others."""

    enabled: bool = Field(
        default=True, examples=[False], description="false keeps the table for a what-if variant"
    )
    identities: int = Field(ge=1, le=100_000, examples=[4], description="how many")
    links_each: int = Field(ge=1, examples=[3], description="links of each to honest nodes")
    targets: Literal["random", "degree"] | Nodes = Field(
        default="random",
        examples=["degree"],
        description="whom they link to: random nodes, those of highest degree, or those listed",
    )
    role: Literal["curious", "byzantine"] = Field(
        default="curious",
        examples=["byzantine"],
        description="what they are; byzantine ones attack as adversary.byzantine says",
    )


class Eclipse(Table):
    """A victim all of whose links lead to attackers."""

    enabled: bool = Field(
        default=True, examples=[False], description="false keeps the table for a what-if variant"
    )
    victim: Node = Field(examples=[0], description="who is cut off from honest nodes")
    attackers: Nodes = Field(min_length=1, examples=[[5, 6]], description="who surrounds it")
    role: Literal["curious", "byzantine"] = Field(
        default="curious",
        examples=["byzantine"],
        description="what they are; byzantine ones attack as adversary.byzantine says",
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
        default=True,
        examples=[False],
        description="whether links are encrypted for the wiretap and attackers on links",
    )
    knowledge: Literal["own", "received", "rushing", "neighbourhood", "omniscient"] = Field(
        default="own",
        examples=["rushing"],
        description="what Byzantine and meddling nodes know besides what they say themselves; each has all before it",
    )
