"""Tables of how messages travel: latency, rates, loss."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.tables import Table, written
from scenarios.units import Duration, Fraction, Rate, Size


class ConstantLatency(Table):
    """The same latency for every message."""

    kind: Literal["constant"] = Field(description="always the same")
    value: Duration = Field(ge=0, description='one-way latency, for example "50 ms"')


class UniformLatency(Table):
    """Latency drawn uniformly, once per message."""

    kind: Literal["uniform"] = Field(description="uniform between low and high")
    low: Duration = Field(ge=0, description='smallest one-way latency, for example "20 ms"')
    high: Duration = Field(ge=0, description='largest one-way latency, for example "80 ms"')


class LognormalLatency(Table):
    """Latency drawn from a log-normal law, once per message."""

    kind: Literal["lognormal"] = Field(description="log-normal: the logarithm is Gaussian")
    median: Duration = Field(gt=0, description='median one-way latency, for example "50 ms"')
    sigma: float = Field(ge=0, le=5, description="standard deviation of the natural logarithm, 0 to 5")


class NormalLatency(Table):
    """Latency drawn from a normal law cut off at zero, once per message."""

    kind: Literal["normal"] = Field(description="normal, never negative")
    mean: Duration = Field(gt=0, description='mean before the cut: "50 ms"')
    deviation: Duration = Field(gt=0, description='standard deviation before the cut: "10 ms"')


class GammaLatency(Table):
    """Latency drawn from a gamma law, once per message."""

    kind: Literal["gamma"] = Field(description="gamma; shape 1 is exponential")
    mean: Duration = Field(gt=0, description='mean: "50 ms"')
    shape: float = Field(gt=0, le=1e6, description="shape, above 0; large means nearly constant")


class ParetoLatency(Table):
    """Latency drawn from a Pareto law, once per message."""

    kind: Literal["pareto"] = Field(description="heavy tail above a minimum")
    minimum: Duration = Field(gt=0, description='smallest one-way latency: "30 ms"')
    tail: float = Field(gt=0, le=100, description="tail index; the mean is infinite at 1 and below")


class EmpiricalLatency(Table):
    """Latency drawn from measured values, once per message."""

    kind: Literal["empirical"] = Field(description="one of the samples, each equally likely")
    samples: tuple[Duration, ...] = Field(
        strict=False, min_length=1, description='measured one-way latencies: ["40 ms", "55 ms"]'
    )


Latency: TypeAlias = Annotated[
    ConstantLatency
    | UniformLatency
    | LognormalLatency
    | NormalLatency
    | GammaLatency
    | ParetoLatency
    | EmpiricalLatency,
    Field(discriminator="kind", description="law of the one-way latency of a message"),
]


class Network(Table):
    """The links between nodes."""

    latency: Latency
    uplink: Rate = Field(gt=0, description='sending rate of each node, shared by its messages: "10 Mbit/s"')
    loss: Fraction = Field(
        default=0.0, ge=0, lt=1, description='probability of losing a message: "1 %" or 0.01'
    )
    header: Size = Field(default=written("40 B"), ge=0, description='bytes added to every message: "40 B"')
