"""Schedules: the step size as a function of a node's local steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field

from scenarios.format.kind import Kind
from scenarios.format.tables import Problems
from scenarios.format.units import Fraction

Warmup: TypeAlias = Annotated[
    int,
    Field(
        ge=0, examples=[10], description="local steps over which the step size first rises to the schedule"
    ),
]


class Schedule(Kind):
    """Step size as a function of a node's local steps."""

    group: ClassVar[str] = "sottovoce.schedules"

    @abstractmethod
    def build(self, step: float) -> Callable[[int], float]:
        """Return a function from the local steps that a node has made to the size of its next one.

        It must be public: a function of that number and of the table alone, never of a node's data.

        Args:
            step: the scenario's step size, > 0.
        """


class PiecewiseSchedule(Schedule):
    """Constant step sizes between given numbers of local steps."""

    kind: Literal["piecewise"] = Field(description="multiplied by factor after given numbers of local steps")
    at: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        strict=False, min_length=1, examples=[[50, 80]], description="numbers of local steps, ascending"
    )
    factor: float = Field(
        default=0.1, gt=0, le=1, examples=[0.5], description="factor of the step size at each of these"
    )
    warmup: Warmup = 0

    def problems(self) -> Problems:
        """The numbers of local steps ascend."""
        if any(a >= b for a, b in pairwise(self.at)):
            yield ("at",), f"{list(self.at)} do not ascend; give ascending numbers of local steps"

    def build(self, step: float) -> Callable[[int], float]:
        """Return :func:`protocols.learning.schedules.piecewise`, warmed up."""
        from protocols.learning import schedules

        return schedules.warmed_up(schedules.piecewise(step, self.at, self.factor), self.warmup)


class CosineSchedule(Schedule):
    """Half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)."""

    kind: Literal["cosine"] = Field(description="decay along half a cosine")
    steps: int = Field(ge=1, examples=[100], description="local steps until the end of the cosine")
    final: Fraction = Field(
        default=0.0, ge=0, le=1, examples=["10 %"], description="step size after that, as a share of step"
    )
    warmup: Warmup = 0

    def build(self, step: float) -> Callable[[int], float]:
        """Return :func:`protocols.learning.schedules.cosine`, warmed up."""
        from protocols.learning import schedules

        return schedules.warmed_up(schedules.cosine(step, self.steps, self.final), self.warmup)


class ExponentialSchedule(Schedule):
    """Exponential decay."""

    kind: Literal["exponential"] = Field(description="exponential decay")
    half_life: float = Field(gt=0, examples=[20.0], description="local steps until the step size is halved")
    warmup: Warmup = 0

    def build(self, step: float) -> Callable[[int], float]:
        """Return :func:`protocols.learning.schedules.exponential`, warmed up."""
        from protocols.learning import schedules

        return schedules.warmed_up(schedules.exponential(step, self.half_life), self.warmup)


class InverseSqrtSchedule(Schedule):
    """One over the square root of local steps."""

    kind: Literal["inverse-sqrt"] = Field(description="as one over the square root of local steps")
    flat: int = Field(
        default=1, ge=1, examples=[10], description="local steps before the step size begins to fall"
    )
    warmup: Warmup = 0

    def build(self, step: float) -> Callable[[int], float]:
        """Return :func:`protocols.learning.schedules.inverse_sqrt`, warmed up."""
        from protocols.learning import schedules

        return schedules.warmed_up(schedules.inverse_sqrt(step, self.flat), self.warmup)
