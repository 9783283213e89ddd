"""Tables of what the nodes do: gossip protocols, and how the sums of one are secured."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.tables import Table, written
from scenarios.units import Duration


class DsgdProtocol(Table):
    """Synchronous decentralised SGD: train, exchange with all neighbours, average, round by round."""

    kind: Literal["dsgd"] = Field(description="rounds in step with the neighbours")
    rounds: int = Field(ge=1, le=1_000_000, description="local updates of each node")
    exchange: Literal["plain", "ldp", "secure"] = Field(
        description="plain (models in the clear), ldp (noised models) or secure (only sums are seen)"
    )
    timeout: Duration = Field(
        default=written("500 ms"), gt=0, description='longest wait for a neighbour in a round: "500 ms"'
    )


class PushProtocol(Table):
    """Asynchronous gossip: each node trains and pushes to a random neighbour on its own clock."""

    kind: Literal["push"] = Field(description="asynchronous, one random neighbour at a time")
    rounds: int = Field(ge=1, le=1_000_000, description="local updates of each node")
    exchange: Literal["plain", "ldp"] = Field(
        description="plain (models in the clear) or ldp (noised models)"
    )
    period: Duration = Field(
        default=written("250 ms"), gt=0, description='time between local updates: "250 ms"'
    )


Protocol: TypeAlias = Annotated[
    DsgdProtocol | PushProtocol, Field(discriminator="kind", description="what the nodes do")
]


class Secure(Table):
    """Secure aggregation inside each neighbourhood; only with exchange = "secure"."""

    crypto: Literal["real", "ideal"] = Field(
        default="real", description="real keys and masks, or an ideal sum of the same sizes and costs"
    )
    colluders: int = Field(
        default=0, ge=0, description="members of one neighbourhood that may pool what they see"
    )
    tolerated_dropouts: int = Field(
        default=1, ge=0, description="members that may be missing from a list before it is refused"
    )
    range_sigmas: float = Field(
        default=8.0,
        gt=0,
        description="standard deviations of noise that the fixed-point range leaves room for",
    )
    key_agreement_cost: Duration = Field(
        default=written("120 us"), ge=0, description='time of one key agreement: "120 us"'
    )
    mask_cost_per_mib: Duration = Field(
        default=written("1 ms"), ge=0, description='time to make 1 MiB of mask: "1 ms"'
    )
