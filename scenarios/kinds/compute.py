"""Computing speed of nodes, and the failure detector."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.locate import Key
from scenarios.format.tables import Table, written
from scenarios.format.units import Duration, Size
from simulator.units import DURATIONS, show

if TYPE_CHECKING:
    from simulator.faults.detector import HeartbeatDetector
    from simulator.faults.speeds import Speeds
    from simulator.streams import Law


class Slowdown(Kind):
    """Ratio of each node's computing time to normal."""

    group: ClassVar[str] = "sottovoce.slowdowns"

    @property
    @abstractmethod
    def listed(self) -> int | None:
        """Number of nodes that it lists factors for; None if it fits any number."""

    @abstractmethod
    def build(self, nodes: int, seed: int) -> Speeds:
        """Return the factor of each of so many nodes.

        Raises:
            ConfigurationError: a factor is not finite and above 0.
        """


class DrawnSlowdown(Slowdown):
    """Base class of factors that are drawn for each node from one law."""

    @property
    def listed(self) -> None:
        """Any number of nodes."""
        return None

    @abstractmethod
    def law(self) -> Law:
        """Return the law of factors."""

    def build(self, nodes: int, seed: int) -> Speeds:
        """Draw the factor of each node by the stream (seed, "speed", node)."""
        from simulator.faults import speeds

        return speeds.Speeds(speeds.draw_factors(self.law(), nodes, seed))


class GivenSlowdown(Slowdown):
    """A factor for each node."""

    kind: Literal["given"] = Field(description="a factor for each node")
    factors: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        strict=False,
        min_length=1,
        examples=[[1, 1, 2.5]],
        description="ratio of computing time to normal, one per node",
    )

    @property
    def listed(self) -> int:
        """As many as there are factors."""
        return len(self.factors)

    def build(self, nodes: int, seed: int) -> Speeds:
        """Return the factors as they are listed."""
        from simulator.faults.speeds import Speeds

        return Speeds(self.factors)


class UniformSlowdown(DrawnSlowdown):
    """Factors drawn evenly."""

    kind: Literal["uniform"] = Field(description="one draw per node, evenly between two factors")
    low: float = Field(gt=0, examples=[0.5], description="smallest factor")
    high: float = Field(gt=0, examples=[4.0], description="largest factor")

    def law(self) -> Law:
        """Return the law of factors."""
        from simulator.network import latency

        return latency.uniform(self.low, self.high)

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find bounds in the wrong order."""
        if self.low > self.high:
            yield (
                ("low",),
                f"low must be at most high ({self.high:g}), got {self.low:g}; lower low or raise high",
            )


class LognormalSlowdown(DrawnSlowdown):
    """Factors around 1, some nodes much slower."""

    kind: Literal["lognormal"] = Field(description="one draw per node, log-normal with median 1")
    sigma: float = Field(gt=0, examples=[0.5], description="standard deviation of the logarithm")

    def law(self) -> Law:
        """Return the law of factors."""
        from simulator.network import latency

        return latency.lognormal(1.0, self.sigma)


class Compute(Table):
    """Computing speed of nodes."""

    slowdown: Slowdown


class Detector(Table):
    """Failure detector: heartbeats, and suspicion of neighbours that stay silent."""

    period: Duration = Field(
        gt=0, examples=["500 ms"], description='time between heartbeats to every neighbour: "500 ms"'
    )
    timeout: Duration = Field(
        gt=0, examples=["2 s"], description="silence after which a neighbour is suspected, above the period"
    )
    size: Size = Field(default=written("8 B"), ge=0, examples=["16 B"], description="payload of a heartbeat")

    def build(self) -> HeartbeatDetector:
        """Return the failure detector."""
        from simulator.faults.detector import HeartbeatDetector

        return HeartbeatDetector(self.period, self.timeout, round(self.size))

    def problems(self) -> Iterator[tuple[Key, str]]:
        """Find a time-out that is no longer than the period of heartbeats."""
        if self.timeout <= self.period:
            yield (
                ("timeout",),
                f"timeout must be longer than period ({show(self.period, DURATIONS)}), got "
                f"{show(self.timeout, DURATIONS)}; raise it, or every neighbour is suspected between two heartbeats",
            )
