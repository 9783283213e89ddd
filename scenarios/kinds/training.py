"""How a node trains the model on its own data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from scenarios.format.tables import Problems, Table, written
from scenarios.format.units import Duration, Fraction
from scenarios.kinds.optimizers import Optimizer, SgdOptimizer
from scenarios.kinds.schedules import Schedule


class Training(Table):
    """Local updates: steps of an optimiser on a node's own samples.

    Each step is ``model -= step * direction((clipped, noised sum of gradients) / divisor)``. ``step_cost`` is the
    time of the whole update.
    """

    step: float = Field(gt=0, examples=[2.0], description="step size")
    divisor: int | None = Field(
        default=None,
        ge=1,
        examples=[90],
        description="public constant that divides the sum of gradients; absent: batch, or rate x "
        "(training samples "
        "/ nodes), or training samples / nodes, rounded up",
    )
    step_cost: Duration = Field(
        default=written("20 ms"), ge=0, description='virtual time of one local update: "20 ms"'
    )
    local_steps: int = Field(
        default=1, ge=1, le=10_000, examples=[5], description="optimiser steps of a local update"
    )
    local_epochs: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        examples=[2],
        description="passes over the own samples instead of local_steps",
    )
    batch: int | None = Field(
        default=None,
        ge=1,
        examples=[16],
        description="samples of a step, drawn without replacement (in epochs: in random order); absent: all",
    )
    rate: Fraction | None = Field(
        default=None,
        gt=0,
        le=1,
        examples=["10 %"],
        description="each sample is in a step with this probability (Poisson sampling)",
    )
    optimizer: Optimizer = SgdOptimizer()
    optimizer_state: Literal["fresh", "node", "travels"] = Field(
        default="fresh",
        examples=["node"],
        description="fresh (made anew for every local update), node (kept by the node) or travels (part "
        "of the "
        "model: sent, averaged)",
    )
    weight_decay: float = Field(
        default=0.0, ge=0, examples=[0.0001], description="weight_decay x model is added to the gradient"
    )
    proximal: float = Field(
        default=0.0,
        ge=0,
        examples=[0.1],
        description="proximal x (model - model at the start of the update) is added (FedProx)",
    )
    schedule: Schedule | None = Field(
        default=None, description="schedule of the step size; absent: it is constant"
    )

    @property
    def single_step(self) -> bool:
        """Whether a local update is one step, whatever data a node has."""
        if self.local_epochs is None:
            return self.local_steps == 1
        return self.local_epochs == 1 and self.batch is None

    def problems(self) -> Problems:
        """Local work and samples are chosen in one way, and every key that is given changes something."""
        yield from self._two_ways()
        if self.optimizer_state != "fresh" and not self.optimizer.stateful:
            yield (
                ("optimizer_state",),
                f"{self.optimizer.kind} has no state to keep; remove this key or use another optimizer",
            )
        if self.proximal and self.single_step:
            yield (
                ("proximal",),
                f"proximal = {self.proximal:g} has no effect with one local step; use more local_steps, or "
                "remove it",
            )
        if self.optimizer.without_decay is not None and not self.weight_decay:
            yield ("weight_decay",), f"{self.optimizer.without_decay}; give weight_decay, greater than 0"

    def _two_ways(self) -> Problems:
        if self.local_epochs is not None and self.local_steps != 1:
            yield ("local_epochs",), "local_epochs and local_steps are both given; remove one of them"
        if self.rate is not None and self.batch is not None:
            yield ("rate",), "rate and batch are both given; remove one of them"
        if self.rate is not None and self.local_epochs is not None:
            yield (
                ("rate",),
                "rate cannot be used with local_epochs, which takes every sample once an epoch; use "
                "local_steps",
            )
