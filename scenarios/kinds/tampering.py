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
from scenarios.format.units import Duration, Fraction, not_later
from simulator.contract.knowledge import Knowledge

if TYPE_CHECKING:
    from simulator.adversary import tampering


class Tamper(Kind):
    """Tampering with messages.

    With ``nodes``, messages of their own programs are tampered with as they leave; with ``links``, all messages that
    pass, after the uplink.
    """

    group: ClassVar[str] = "sottovoce.tamperings"

    enabled: bool = Field(
        default=True,
        examples=[False],
        description="false: the table has no effect unless a what-if variant enables it",
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
        description="pairs [from, to] of nodes, in place of nodes: the links attacked",
    )
    messages: tuple[str, ...] | None = Field(
        default=None,
        strict=False,
        min_length=1,
        examples=[["masked"]],
        description="kinds of message, such as model or masked; absent: all",
    )
    at: Duration | None = Field(
        default=None, ge=0, examples=["30 s"], description="beginning; absent: from the start"
    )
    until: Duration | None = Field(default=None, examples=["45 s"], description="end; absent: for ever")

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
        """Find tampering without a place, or that ends before it begins."""
        if (self.nodes is None) == (self.links is None):
            yield (), "give either nodes (senders) or links"
        if self.at is not None and self.until is not None and self.until <= self.at:
            yield ("until",), not_later("until", self.until, "at", self.at)


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

    kind: Literal["drop"] = Field(description="messages are dropped")
    probability: Fraction = Field(
        default=1.0, ge=0, le=1, examples=["30 %"], description="probability for each message, 0 to 1"
    )

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        from simulator.adversary import tampering

        return tampering.drop(self.probability)


class DelayTampering(ForwardingTamper):
    """Messages leave later."""

    kind: Literal["delay"] = Field(description="messages leave later")
    by: Duration = Field(gt=0, examples=["200 ms"], description='additional delay: "200 ms"')

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        from simulator.adversary import tampering

        return tampering.delay(self.by)


class ReplayTampering(ForwardingTamper):
    """Messages are sent a second time."""

    kind: Literal["replay"] = Field(description="recorded messages are sent once more")
    after: Duration = Field(ge=0, examples=["500 ms"], description="delay of the second copy")
    probability: Fraction = Field(
        default=1.0, ge=0, le=1, examples=["30 %"], description="probability for each message, 0 to 1"
    )

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        from simulator.adversary import tampering

        return tampering.replay(self.after, self.probability)


class AlterTampering(ChangingTamper):
    """Numbers in messages are changed."""

    kind: Literal["alter"] = Field(
        description="a number is added to every element of every array in a message, modulo its size; for "
        "models in "
        "the clear use adversary.byzantine"
    )
    add: int = Field(default=1, ge=1, lt=2**31, examples=[7], description="number that is added")

    def act(self) -> tampering.Tamper:
        """Return what is done to a message."""
        import numpy as np

        from simulator.adversary import tampering

        add = self.add
        return tampering.alter(tampering.arrays(lambda a, rng: a + a.dtype.type(add), of=np.number))


class EquivocateTampering(ChangingTamper):
    """Different receivers get different messages."""

    kind: Literal["equivocate"] = Field(
        description="as alter, but the number depends on the receiver, so that no two get the same message"
    )
    add: int = Field(
        default=1,
        ge=1,
        lt=2**20,
        examples=[7],
        description="number that is added, times the receiver's number + 1",
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
