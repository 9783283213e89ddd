"""Tables of the model and of how a node trains it on its own data."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from scenarios.tables import Table, written
from scenarios.units import Duration


class SoftmaxModel(Table):
    """Multinomial logistic regression."""

    kind: Literal["softmax"] = Field(description="multinomial logistic regression")


class MlpModel(Table):
    """One hidden layer."""

    kind: Literal["mlp"] = Field(description="one hidden layer")
    hidden: int = Field(default=32, ge=1, le=100_000, description="hidden units")


Model: TypeAlias = Annotated[
    SoftmaxModel | MlpModel, Field(discriminator="kind", description="what is trained")
]


class Training(Table):
    """The local step: model -= step x (clipped, noised sum of gradients) / divisor."""

    step: float = Field(gt=0, description="step size")
    divisor: int | None = Field(
        default=None,
        ge=1,
        description="public constant that divides the sum of gradients; absent: training samples / nodes, "
        "rounded up",
    )
    step_cost: Duration = Field(
        default=written("20 ms"), ge=0, description='virtual time of one local update: "20 ms"'
    )
