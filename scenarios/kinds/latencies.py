"""Tables of latency laws, and of base delays from files."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.format.tables import Table, written
from scenarios.format.units import Duration

# ---------------------------------------------------------------- laws


class ConstantLaw(Table):
    """Always the same delay."""

    kind: Literal["constant"] = Field(description="always the same")
    value: Duration = Field(ge=0, examples=["50 ms"], description='the delay: "50 ms"')


class UniformLaw(Table):
    """Delay drawn uniformly."""

    kind: Literal["uniform"] = Field(description="uniform between low and high")
    low: Duration = Field(ge=0, examples=["20 ms"], description='smallest delay: "20 ms"')
    high: Duration = Field(ge=0, examples=["80 ms"], description='largest delay: "80 ms"')


class LognormalLaw(Table):
    """Delay drawn from a log-normal law."""

    kind: Literal["lognormal"] = Field(description="log-normal: the logarithm is Gaussian")
    median: Duration = Field(gt=0, examples=["50 ms"], description='median: "50 ms"')
    sigma: float = Field(
        ge=0, le=5, examples=[0.4], description="standard deviation of the natural logarithm, 0 to 5"
    )


class NormalLaw(Table):
    """Delay drawn from a normal law cut off at zero."""

    kind: Literal["normal"] = Field(description="normal, never negative")
    mean: Duration = Field(gt=0, examples=["50 ms"], description='mean before the cut: "50 ms"')
    deviation: Duration = Field(
        gt=0, examples=["10 ms"], description='standard deviation before the cut: "10 ms"'
    )


class GammaLaw(Table):
    """Delay drawn from a gamma law."""

    kind: Literal["gamma"] = Field(description="gamma; shape 1 is exponential")
    mean: Duration = Field(gt=0, examples=["50 ms"], description='mean: "50 ms"')
    shape: float = Field(
        gt=0, le=1e6, examples=[4.0], description="shape, above 0; large means nearly constant"
    )


class ExponentialLaw(Table):
    """Delay drawn from an exponential law."""

    kind: Literal["exponential"] = Field(description="exponential: without memory")
    mean: Duration = Field(gt=0, examples=["50 ms"], description='mean: "50 ms"')


class WeibullLaw(Table):
    """Delay drawn from a Weibull law."""

    kind: Literal["weibull"] = Field(description="Weibull: above t with probability exp(-(t/scale)^shape)")
    scale: Duration = Field(
        gt=0, examples=["50 ms"], description='scale, exceeded with probability 1/e: "50 ms"'
    )
    shape: float = Field(
        gt=0, le=1e6, examples=[0.7], description="shape, above 0; below 1 a heavy tail, 1 exponential"
    )


class ParetoLaw(Table):
    """Delay drawn from a Pareto law."""

    kind: Literal["pareto"] = Field(description="heavy tail above a minimum")
    minimum: Duration = Field(gt=0, examples=["30 ms"], description='smallest delay: "30 ms"')
    tail: float = Field(
        gt=0, le=100, examples=[2.5], description="tail index; the mean is infinite at 1 and below"
    )


class EmpiricalLaw(Table):
    """Delay drawn from measured values."""

    kind: Literal["empirical"] = Field(description="one of the samples, each equally likely")
    samples: tuple[Duration, ...] = Field(
        strict=False,
        min_length=1,
        examples=[["40 ms", "55 ms"]],
        description='measured delays: ["40 ms", "55 ms"]',
    )


Law: TypeAlias = Annotated[
    ConstantLaw
    | UniformLaw
    | LognormalLaw
    | NormalLaw
    | GammaLaw
    | ExponentialLaw
    | WeibullLaw
    | ParetoLaw
    | EmpiricalLaw,
    Field(discriminator="kind", description="law of a delay"),
]


# ---------------------------------------------------------------- one-way latency


class _Drawn(Table):
    """How often a law is asked."""

    per: Literal["message", "link"] = Field(
        default="message",
        examples=["link"],
        description="message (a draw for each) or link (one draw for the whole run)",
    )
    symmetric: bool = Field(
        default=False,
        examples=[True],
        description='both directions of a link get the same draw; only with per = "link"',
    )


class UniformLatency(_Drawn, UniformLaw):
    """Latency drawn uniformly."""


class LognormalLatency(_Drawn, LognormalLaw):
    """Latency drawn from a log-normal law."""


class NormalLatency(_Drawn, NormalLaw):
    """Latency drawn from a normal law cut off at zero."""


class GammaLatency(_Drawn, GammaLaw):
    """Latency drawn from a gamma law."""


class ExponentialLatency(_Drawn, ExponentialLaw):
    """Latency drawn from an exponential law."""


class WeibullLatency(_Drawn, WeibullLaw):
    """Latency drawn from a Weibull law."""


class ParetoLatency(_Drawn, ParetoLaw):
    """Latency drawn from a Pareto law."""


class EmpiricalLatency(_Drawn, EmpiricalLaw):
    """Latency drawn from measured values."""


DrawnLatency: TypeAlias = (
    UniformLatency
    | LognormalLatency
    | NormalLatency
    | GammaLatency
    | ExponentialLatency
    | WeibullLatency
    | ParetoLatency
    | EmpiricalLatency
)
"""What may be drawn for every message or once for every link."""


class _Places(Table):
    """Nodes at places of a file."""

    path: str = Field(
        min_length=1, examples=["delays/cities.csv"], description="a CSV file, relative to the scenario file"
    )
    assign: Literal["in-order", "random"] = Field(
        default="in-order",
        examples=["random"],
        description="node i at place i, beginning again where places run out; or places shuffled by the seed",
    )


class MatrixLatency(_Places):
    """Measured delays between places."""

    kind: Literal["matrix"] = Field(description="measured delays between places, a square CSV")
    meaning: Literal["rtt", "one-way"] = Field(
        examples=["rtt"], description="whether the file holds round-trip times (halved) or one-way delays"
    )
    unit: Literal["ns", "us", "ms", "s"] = Field(
        examples=["ms"], description="unit of the numbers in the file"
    )
    symmetric: bool = Field(
        default=False, examples=[True], description="replace both directions by their mean"
    )
    fill: bool = Field(
        default=False,
        examples=[True],
        description="fill in cells without a delay: by the opposite direction, else over one other place",
    )


class GeographicLatency(_Places):
    """Light in fibre along great circles."""

    kind: Literal["geographic"] = Field(
        description="light in fibre between places, a CSV of name, latitude, longitude"
    )
    fibre: float = Field(
        default=2 / 3, gt=0, le=1, examples=[0.67], description="speed in fibre / speed of light, 0 to 1"
    )
    detour: float = Field(
        default=1.0,
        ge=1,
        le=1000,
        examples=[1.5],
        description="length of the cable / great circle, at least 1",
    )
    per_hop: Duration = Field(
        default=written("0 s"),
        ge=0,
        examples=["2 ms"],
        description='what every link takes besides, routers and access: "2 ms"',
    )


Latency: TypeAlias = Annotated[
    ConstantLaw | DrawnLatency | MatrixLatency | GeographicLatency,
    Field(discriminator="kind", description="one-way latency of a message"),
]
