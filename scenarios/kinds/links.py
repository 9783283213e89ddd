"""Tables of how messages travel: latency, rates, losses, repetition, and exceptions to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import ConfigDict, Field

from scenarios.format.tables import Node, Nodes, Problems, Table, written
from scenarios.format.units import Duration, Fraction, Rate, Rates, Size
from scenarios.kinds.latencies import DelayLaw, Latency
from scenarios.kinds.transports import DatagramTransport, Transport

if TYPE_CHECKING:
    from simulator.network import links, packet_loss


class Bursts(Table):
    """Losses in bursts (Gilbert 1960; Elliott 1963): every link alternates between a good and a bad state."""

    good: Duration = Field(
        gt=0, le=1e7, examples=["30 s"], description='mean time from one burst to the next: "30 s"'
    )
    bad: Duration = Field(gt=0, le=1e7, examples=["500 ms"], description='mean length of a burst: "500 ms"')
    loss: Fraction = Field(
        default=1.0,
        gt=0,
        le=1,
        examples=["80 %"],
        description="probability of losing a message in a burst, on top of network.loss",
    )

    def build(self) -> packet_loss.Bursts:
        """Return the law of good and bad times."""
        from simulator.network import packet_loss

        return packet_loss.Bursts(self.good, self.bad, loss_bad=self.loss)


class Reordering(Table):
    """Delay of a fraction of the messages, so that later ones overtake them."""

    share: Fraction = Field(gt=0, le=1, examples=["5 %"], description="probability that a message is delayed")
    delay: Duration = Field(gt=0, examples=["100 ms"], description='additional delay: "100 ms"')

    def build(self) -> links.Reordering:
        """Return which share is delayed by how much."""
        from simulator.network import links

        return links.Reordering(self.share, self.delay)


class NodeRates(Table):
    """Rates of single nodes, in place of those of [network]."""

    node: Node | None = Field(default=None, examples=[3], description="one node, or else nodes")
    nodes: Nodes | None = Field(
        default=None, min_length=1, examples=[[4, 5]], description="several nodes, or else node"
    )
    uplink: Rate | None = Field(
        default=None, gt=0, examples=["1 Mbit/s"], description="sending rate, in place of network.uplink"
    )
    downlink: Rate | None = Field(
        default=None, gt=0, examples=["5 Mbit/s"], description="receiving rate, in place of network.downlink"
    )

    @property
    def members(self) -> tuple[int, ...]:
        """The nodes meant."""
        return (() if self.node is None else (self.node,)) + (self.nodes or ())

    def problems(self) -> Problems:
        """Find that nodes are named in no way or in two, and that no rate is given."""
        if (self.node is None) == (self.nodes is None):
            yield (), "give either node (one) or nodes (a list)"
        if self.uplink is None and self.downlink is None:
            yield (), "uplink and downlink are both missing; give one of them"


class LinkException(Table):
    """Properties of a single link, in place of those of [network]."""

    model_config = ConfigDict(serialize_by_alias=True)  # "from" is a word of Python's

    source: Node = Field(alias="from", examples=[0], description="node the link begins at")
    to: Node = Field(examples=[1], description="node the link ends at")
    both: bool = Field(
        default=True, examples=[False], description="whether the same holds in the other direction"
    )
    latency: Duration | None = Field(
        default=None,
        ge=0,
        examples=["300 ms"],
        description="one-way latency before jitter, in place of network.latency",
    )
    rate: Rate | None = Field(
        default=None, gt=0, examples=["256 kbit/s"], description="rate, in place of network.link_rate"
    )
    loss: Fraction | None = Field(
        default=None,
        ge=0,
        le=1,
        examples=["5 %"],
        description="probability of losing a message, in place of network.loss",
    )

    @property
    def directions(self) -> tuple[tuple[int, int], ...]:
        """The directed links meant."""
        there = (self.source, self.to)
        return (there, there[::-1]) if self.both else (there,)

    def problems(self) -> Problems:
        """Find a link from a node to itself, and one that does not differ."""
        if self.source == self.to:
            yield ("to",), f"to must differ from from, got {self.to} for both; name two nodes"
        if self.latency is None and self.rate is None and self.loss is None:
            yield (), "latency, rate and loss are all missing; give one of them"


class Network(Table):
    """Links between nodes: latency, rates, losses and exceptions.

    A message passes its sender's uplink, its link, the propagation delay (the latency of the link and the jitter
    drawn for the message) and its receiver's downlink. A latency belongs to the link if it is constant, drawn with
    ``per = "link"``, a matrix or geographic; only such a latency can have jitter, and exceptions in single links.
    [[network.node]] and [[network.link]] take precedence over [network], and both over the attributes of a graph
    file.
    """

    latency: Latency
    jitter: DelayLaw | None = Field(
        default=None,
        description="a delay drawn for each message on top of a latency that belongs to the link",
    )
    uplink: Rates | None = Field(
        default=None,
        examples=["10 Mbit/s"],
        description='sending rate of each node, shared by its messages: "10 Mbit/s", or a list with one rate '
        "per node; absent: no limit",
    )
    downlink: Rates | None = Field(
        default=None,
        examples=[["50 Mbit/s", "10 Mbit/s"]],
        description="receiving rate of each node, in the same forms; absent: no limit",
    )
    link_rate: Rate | None = Field(
        default=None,
        gt=0,
        examples=["2 Mbit/s"],
        description="rate of each link in each direction; absent: no limit",
    )
    sharing: Literal["fifo", "fair"] = Field(
        default="fifo",
        examples=["fair"],
        description="fifo (one message after another) or fair (all under way share, max-min)",
    )
    loss: Fraction = Field(
        default=0.0,
        ge=0,
        lt=1,
        examples=["1 %"],
        description='probability of losing a message: "1 %" or 0.01',
    )
    bursts: Bursts | None = Field(default=None, description="losses in bursts, in addition to loss")
    transport: Transport = DatagramTransport()
    duplication: Fraction = Field(
        default=0.0,
        ge=0,
        le=1,
        examples=["0.1 %"],
        description="probability that a second copy of a message arrives",
    )
    reordering: Reordering | None = Field(
        default=None, description="delays of some messages, so that others overtake"
    )
    header: Size = Field(default=written("40 B"), ge=0, description='bytes added to every message: "40 B"')
    node: tuple[NodeRates, ...] = Field(
        default=(), strict=False, description="rates of single nodes, one [[network.node]] each"
    )
    link: tuple[LinkException, ...] = Field(
        default=(), strict=False, description="exceptions for single links, one [[network.link]] each"
    )
