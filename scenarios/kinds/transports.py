"""Transports: handling of lost messages."""

from __future__ import annotations

from abc import abstractmethod
from math import log
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import Problems
from scenarios.format.units import Duration

if TYPE_CHECKING:
    from simulator.network import links

LONGEST_TIMEOUT_S = 1e7
"""Four months; a last time-out beyond that is a slip in backoff or attempts."""


class Transport(Kind):
    """Handling of lost messages."""

    group: ClassVar[str] = "sottovoce.transports"

    @property
    @abstractmethod
    def delivers_once(self) -> bool:
        """Whether each message is handed over once at most, so that copies of it are never seen."""

    @abstractmethod
    def build(self) -> links.Transport | None:
        """Return how lost messages are repeated; None for datagrams."""


class DatagramTransport(Transport):
    """Lost messages are not repeated."""

    kind: Literal["datagram"] = Field(default="datagram", description="lost messages are not repeated")

    @property
    def delivers_once(self) -> bool:
        """No: a copy is a message like others."""
        return False

    def build(self) -> None:
        """Return None: nothing is repeated."""


class ReliableTransport(Transport):
    """Lost messages are sent again."""

    kind: Literal["reliable"] = Field(description="lost messages are sent again after a time-out")
    timeout: Duration = Field(
        gt=0, examples=["200 ms"], description='time-out after the first loss: "200 ms"'
    )
    backoff: float = Field(
        default=2.0,
        ge=1,
        le=100,
        examples=[1.5],
        description="ratio of a time-out to the one before it, at least 1",
    )
    attempts: int = Field(
        default=8,
        ge=1,
        le=1000,
        examples=[5],
        description="transmissions of a message in all, after which it expires",
    )
    ordered: bool = Field(
        default=True,
        examples=[False],
        description="messages of a link are handed over in the order they were sent",
    )

    @property
    def delivers_once(self) -> bool:
        """Yes: the receiver drops copies."""
        return True

    def build(self) -> links.Transport:
        """Return time-outs and attempts."""
        from simulator.network import links

        return links.Transport(self.timeout, self.backoff, self.attempts, self.ordered)

    def problems(self) -> Problems:
        """Find time-outs longer than any run."""
        if log(self.timeout) + (self.attempts - 1) * log(self.backoff) > log(LONGEST_TIMEOUT_S):
            yield (
                ("attempts",),
                f"the last of {self.attempts} time-outs, each {self.backoff:g} times the one before, "
                "would be longer than four months; use fewer attempts or a smaller backoff",
            )
