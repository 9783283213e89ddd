"""Tampering with messages that are handed to an uplink or have left it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from math import inf
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.locate import Key
from scenarios.format.tables import Nodes, Pairs
from scenarios.format.units import Duration, Fraction
from simulator.contract.knowledge import Knowledge

if TYPE_CHECKING:
    from simulator.adversary import tampering


class Tamper(Kind):
    """What is done to messages."""

    group: ClassVar[str] = "sottovoce.tamperings"

    enabled: bool = Field(
        default=True, examples=[False], description="false keeps the table for a what-if variant"
    )
    nodes: Nodes | None = Field(
        default=None,
        min_length=1,
        examples=[[3, 4]],
        description="nodes whose own messages are tampered with",
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

    @property
    @abstractmethod
    def changes(self) -> bool:
        """Whether it changes what messages carry, which it has to read for that."""

    @property
    def knowledge(self) -> Knowledge:
        """Least level of ``adversary.knowledge``; the message at hand unless a kind says so."""
        return "own"

    @abstractmethod
    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""

    def build(self) -> tampering.Tamper:
        """Return what is done to messages: to all, or to those of the kinds and the time given."""
        from simulator.adversary import tampering

        act = self.act()
        if self.messages is None and self.at is None and self.until is None:
            return act
        until_s = inf if self.until is None else self.until
        return tampering.only(act, kinds=self.messages, from_s=self.at or 0.0, until_s=until_s)

    def problems(self) -> Iterator[tuple[Key, str]]:
        """It has a place, and ends after it begins."""
        if (self.nodes is None) == (self.links is None):
            yield (), "give nodes (whose messages) or links (where), and not both"
        if self.at is not None and self.until is not None and self.until <= self.at:
            yield ("until",), "until must be later than at"


class ForwardingTamper(Tamper):
    """Base class of tampering that leaves what messages carry as it is; it works on encrypted links too."""

    @property
    def changes(self) -> bool:
        """Messages stay as they are."""
        return False


class ChangingTamper(Tamper):
    """Base class of tampering that changes what messages carry."""

    @property
    def changes(self) -> bool:
        """Messages are changed."""
        return True


class DropTampering(ForwardingTamper):
    """Messages are dropped."""

    kind: Literal["drop"] = Field(description="messages vanish")
    probability: Fraction = Field(
        default=1.0, ge=0, le=1, examples=["30 %"], description="of each message, 0 to 1"
    )

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        from simulator.adversary import tampering

        return tampering.drop(self.probability)


class DelayTampering(ForwardingTamper):
    """Messages leave later."""

    kind: Literal["delay"] = Field(description="messages leave later")
    by: Duration = Field(gt=0, examples=["200 ms"], description='how much later: "200 ms"')

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        from simulator.adversary import tampering

        return tampering.delay(self.by)


class ReplayTampering(ForwardingTamper):
    """Messages are sent a second time."""

    kind: Literal["replay"] = Field(description="recorded messages are sent once more")
    after: Duration = Field(ge=0, examples=["500 ms"], description="how much later the second one leaves")
    probability: Fraction = Field(
        default=1.0, ge=0, le=1, examples=["30 %"], description="of each message, 0 to 1"
    )

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        from simulator.adversary import tampering

        return tampering.replay(self.after, self.probability)


class AlterTampering(ChangingTamper):
    """Numbers in messages are changed."""

    kind: Literal["alter"] = Field(
        description="a number is added to every element of every array in a message, modulo its size; for models in "
        "the clear use adversary.byzantine"
    )
    add: int = Field(default=1, ge=1, lt=2**31, examples=[7], description="what is added")

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        import numpy as np

        from simulator.adversary import tampering

        add = self.add
        return tampering.alter(tampering.arrays(lambda a, rng: a + a.dtype.type(add), of=np.number))


class EquivocateTampering(ChangingTamper):
    """Different receivers are told different things."""

    kind: Literal["equivocate"] = Field(
        description="as alter, but each receiver gets its own number times add: none is told the same"
    )
    add: int = Field(
        default=1, ge=1, lt=2**20, examples=[7], description="what is added, times the receiver's number + 1"
    )

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        import numpy as np

        from simulator.adversary import tampering

        add = self.add
        return tampering.equivocate(
            lambda body, dst, rng: tampering.arrays(
                lambda a, rng: a + a.dtype.type(add * (dst + 1)), of=np.number
            )(body, rng)
        )
