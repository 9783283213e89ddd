"""Tables of the model and of how a node trains it on its own data."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.format.kind import Kind
from scenarios.format.tables import Table, is_count, written
from scenarios.format.units import Duration, Fraction


def _units(value: Any) -> Any:
    if is_count(value, 1):
        return value
    if isinstance(value, list | tuple) and value and all(is_count(units, 1) for units in value):
        return tuple(value)
    raise PydanticCustomError(
        "choice", "expected a number of units, like 32, or a list of them, like [64, 32]"
    )


_UNITS = {"type": "integer", "minimum": 1}
Units: TypeAlias = Annotated[
    int | tuple[int, ...],
    BeforeValidator(_units),
    WithJsonSchema({"anyOf": [_UNITS, {"type": "array", "items": _UNITS, "minItems": 1}]}),
]
Sizes: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]


class Model(Kind):
    """What is trained."""

    group: ClassVar[str] = "sottovoce.tasks"


class SoftmaxModel(Model):
    """Multinomial logistic regression."""

    kind: Literal["softmax"] = Field(description="multinomial logistic regression")


class LinearModel(Model):
    """Linear regression."""

    kind: Literal["linear"] = Field(description="linear regression, loss half the squared error")


class MlpModel(Model):
    """Dense hidden layers."""

    kind: Literal["mlp"] = Field(description="dense hidden layers")
    hidden: Units = Field(
        default=32, examples=[[64, 32]], description="hidden units: 32, or of several layers [64, 32]"
    )
    activation: Literal["relu", "tanh"] = Field(
        default="relu", examples=["tanh"], description="after every hidden layer"
    )


class CnnModel(Model):
    """A small convolutional network in the manner of LeNet (LeCun et al. 1998)."""

    kind: Literal["cnn"] = Field(description="convolutions with average pooling, then dense layers")
    channels: Sizes = Field(default=(8, 16), examples=[[6, 16]], description="kernels of each convolution")
    kernel: int = Field(
        default=5, ge=1, le=99, examples=[3], description="width and height of the kernels in pixels"
    )
    padding: Literal["valid", "same"] = Field(
        default="valid",
        examples=["same"],
        description="same keeps the size of images, valid cuts their borders",
    )
    hidden: Sizes = Field(
        default=(64,), examples=[[120, 84]], description="units of the dense layers before the last"
    )
    activation: Literal["relu", "tanh"] = Field(
        default="relu", examples=["tanh"], description="after every layer but the last"
    )


class TaskModel(Model):
    """A model from an installed package, by entry point."""

    kind: Literal["task"] = Field(
        description="a model of an installed package (entry points sottovoce.tasks)"
    )
    name: str = Field(
        min_length=1, examples=["logistic-with-rejection"], description="the entry point's name"
    )
    options: dict[str, Any] = Field(default={}, examples=[{"width": 3}], description="handed to it")


# ---------------------------------------------------------------- optimisers


class Optimizer(Kind):
    """What becomes of a gradient before it is applied."""

    group: ClassVar[str] = "sottovoce.optimizers"


class SgdOptimizer(Optimizer):
    """Gradient descent."""

    kind: Literal["sgd"] = Field(default="sgd", description="the gradient itself")


class MomentumOptimizer(Optimizer):
    """Gradient descent with momentum."""

    kind: Literal["momentum"] = Field(description="a running sum of gradients")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="what is left of it after a step")
    nesterov: bool = Field(default=False, examples=[True], description="look one step ahead")


class AdamOptimizer(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980)."""

    kind: Literal["adam", "adamw"] = Field(
        description="adam, or adamw with decoupled weight decay (Loshchilov and Hutter 2019)"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean")
    beta2: float = Field(default=0.999, ge=0, lt=1, examples=[0.99], description="decay of the mean square")
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of the mean square")


class Schedule(Kind):
    """How the step size changes with a node's local steps."""

    group: ClassVar[str] = "sottovoce.schedules"


class PiecewiseSchedule(Schedule):
    """Steps."""

    kind: Literal["piecewise"] = Field(description="times factor after each of some numbers of local steps")
    at: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        strict=False, min_length=1, examples=[[50, 80]], description="numbers of local steps, ascending"
    )
    factor: float = Field(
        default=0.1, gt=0, le=1, examples=[0.5], description="what the step size is multiplied by"
    )
    warmup: int = Field(default=0, ge=0, examples=[10], description="local steps over which it first rises")


class CosineSchedule(Schedule):
    """Half a cosine (Loshchilov and Hutter 2017, arXiv 1608.03983)."""

    kind: Literal["cosine"] = Field(description="down along half a cosine")
    steps: int = Field(ge=1, examples=[100], description="local steps until the end of it")
    final: Fraction = Field(
        default=0.0, ge=0, le=1, examples=["10 %"], description="what is left then, as a share of step"
    )
    warmup: int = Field(default=0, ge=0, examples=[10], description="local steps over which it first rises")


class ExponentialSchedule(Schedule):
    """Exponential decay."""

    kind: Literal["exponential"] = Field(description="halved again and again")
    half_life: float = Field(gt=0, examples=[20.0], description="local steps until it is halved")
    warmup: int = Field(default=0, ge=0, examples=[10], description="local steps over which it first rises")


class InverseSqrtSchedule(Schedule):
    """One over the square root."""

    kind: Literal["inverse-sqrt"] = Field(description="as one over the square root of local steps")
    flat: int = Field(default=1, ge=1, examples=[10], description="local steps before it begins to fall")
    warmup: int = Field(default=0, ge=0, examples=[10], description="local steps over which it first rises")


class Training(Table):
    """A local update. Its steps are: model -= step x direction((clipped, noised sum of gradients) / divisor)."""

    step: float = Field(gt=0, examples=[2.0], description="step size")
    divisor: int | None = Field(
        default=None,
        ge=1,
        examples=[90],
        description="public constant that divides the sum of gradients; absent: batch, or rate x (training samples "
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
        description="fresh (made anew for every local update), node (kept by the node) or travels (part of the "
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
    schedule: Schedule | None = Field(default=None, description="absent: the step size is constant")
