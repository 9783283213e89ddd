"""Laws of a delay; each is a kind of jitter and of latency."""

from __future__ import annotations

from math import log
from statistics import median
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.tables import Problems
from scenarios.format.units import Duration
from scenarios.kinds.latencies.family import DelayLaw
from simulator.units import DURATIONS, show

if TYPE_CHECKING:
    from simulator import streams


class _FromZero(DelayLaw):
    """A law without a smallest delay above zero."""

    @property
    def least_s(self) -> float:
        """Zero."""
        return 0.0


class ConstantLaw(DelayLaw):
    """Always the same delay."""

    kind: Literal["constant"] = Field(description="always the same")
    value: Duration = Field(ge=0, examples=["50 ms"], description='the delay: "50 ms"')

    varies: ClassVar[bool] = False

    @property
    def least_s(self) -> float:
        """The delay."""
        return self.value

    @property
    def median_s(self) -> float:
        """The delay."""
        return self.value

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.constant(self.value)


class UniformLaw(DelayLaw):
    """Delay drawn uniformly."""

    kind: Literal["uniform"] = Field(description="uniform between low and high")
    low: Duration = Field(ge=0, examples=["20 ms"], description='smallest delay: "20 ms"')
    high: Duration = Field(ge=0, examples=["80 ms"], description='largest delay: "80 ms"')

    @property
    def least_s(self) -> float:
        """The lower bound."""
        return self.low

    @property
    def median_s(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.uniform(self.low, self.high)

    def problems(self) -> Problems:
        """Find bounds in the wrong order."""
        if self.low > self.high:
            yield (
                ("low",),
                f"low must be at most high ({show(self.high, DURATIONS)}), got {show(self.low, DURATIONS)}; "
                "lower low or raise high",
            )


class LognormalLaw(DelayLaw):
    """Delay drawn from a log-normal law."""

    kind: Literal["lognormal"] = Field(description="log-normal: the logarithm is Gaussian")
    median: Duration = Field(gt=0, examples=["50 ms"], description='median: "50 ms"')
    sigma: float = Field(
        ge=0, le=5, examples=[0.4], description="standard deviation of the natural logarithm, 0 to 5"
    )

    @property
    def least_s(self) -> float:
        """The median without deviation, else 0."""
        return 0.0 if self.sigma else self.median

    @property
    def median_s(self) -> float:
        """The median."""
        return self.median

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.lognormal(self.median, self.sigma)


class NormalLaw(_FromZero):
    """Delay drawn from a normal law cut off at zero."""

    kind: Literal["normal"] = Field(description="normal, never negative")
    mean: Duration = Field(gt=0, examples=["50 ms"], description='mean before the cut: "50 ms"')
    deviation: Duration = Field(
        gt=0, examples=["10 ms"], description='standard deviation before the cut: "10 ms"'
    )

    @property
    def median_s(self) -> float:
        """The mean before the cut at zero, which moves the median up."""
        return self.mean

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.normal(self.mean, self.deviation)


class GammaLaw(_FromZero):
    """Delay drawn from a gamma law."""

    kind: Literal["gamma"] = Field(description="gamma; shape 1 is exponential")
    mean: Duration = Field(gt=0, examples=["50 ms"], description='mean: "50 ms"')
    shape: float = Field(
        gt=0, le=1e6, examples=[4.0], description="shape, above 0; large means nearly constant"
    )

    @property
    def median_s(self) -> float:
        """The median by Wilson and Hilferty (1931)."""
        return float(self.mean * max(0.0, 1 - 1 / (9 * self.shape)) ** 3)

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.gamma(self.mean, self.shape)


class ExponentialLaw(_FromZero):
    """Delay drawn from an exponential law."""

    kind: Literal["exponential"] = Field(description="exponential (memoryless)")
    mean: Duration = Field(gt=0, examples=["50 ms"], description='mean: "50 ms"')

    @property
    def median_s(self) -> float:
        """The mean times log 2."""
        return self.mean * log(2)

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.exponential(self.mean)


class WeibullLaw(_FromZero):
    """Delay drawn from a Weibull law."""

    kind: Literal["weibull"] = Field(description="Weibull: above t with probability exp(-(t/scale)^shape)")
    scale: Duration = Field(
        gt=0, examples=["50 ms"], description='scale, exceeded with probability 1/e: "50 ms"'
    )
    shape: float = Field(
        gt=0, le=1e6, examples=[0.7], description="shape, above 0; below 1 a heavy tail, 1 exponential"
    )

    @property
    def median_s(self) -> float:
        """The median: scale times (log 2)^(1/shape)."""
        return float(self.scale * log(2) ** (1 / self.shape))

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.weibull(self.scale, self.shape)


class ParetoLaw(DelayLaw):
    """Delay drawn from a Pareto law."""

    kind: Literal["pareto"] = Field(description="heavy tail above a minimum")
    minimum: Duration = Field(gt=0, examples=["30 ms"], description='smallest delay: "30 ms"')
    tail: float = Field(
        gt=0, le=100, examples=[2.5], description="tail index; the mean is infinite at 1 and below"
    )

    @property
    def least_s(self) -> float:
        """The minimum."""
        return self.minimum

    @property
    def median_s(self) -> float:
        """The median: minimum times 2^(1/tail)."""
        return float(self.minimum * 2 ** (1 / self.tail))

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.pareto(self.minimum, self.tail)


class EmpiricalLaw(DelayLaw):
    """Delay drawn from measured values."""

    kind: Literal["empirical"] = Field(description="one of the samples, each equally likely")
    samples: tuple[Duration, ...] = Field(
        strict=False,
        min_length=1,
        examples=[["40 ms", "55 ms"]],
        description='measured delays: ["40 ms", "55 ms"]',
    )

    @property
    def least_s(self) -> float:
        """The smallest sample."""
        return min(self.samples)

    @property
    def median_s(self) -> float:
        """The median of the samples."""
        return float(median(self.samples))

    def build(self) -> streams.Law:
        """Return the law."""
        from simulator.network import latency

        return latency.empirical(self.samples)
