"""Models: what is trained, with its loss."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise
from math import prod
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from scenarios.format.kind import Kind
from scenarios.format.tables import is_count
from simulator.errors import ConfigurationError

if TYPE_CHECKING:
    from protocols.learning.task import Task


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
    WithJsonSchema(
        {
            "anyOf": [_UNITS, {"type": "array", "items": _UNITS, "minItems": 1}],
            "title": "whole number or list of whole numbers",
        }
    ),
]
Sizes: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)]
Predicts: TypeAlias = Literal["classes", "numbers", "either"]


class Model(Kind):
    """Model to train, with its loss.

    Packages may add models of their own, see [extending.md](extending.md).
    """

    group: ClassVar[str] = "sottovoce.tasks"

    @property
    @abstractmethod
    def predicts(self) -> Predicts:
        """Which labels the model is for: classes, numbers (regression) or either."""

    @property
    def needs_images(self) -> bool:
        """Whether samples must be images; False, the default: :meth:`build` may still refuse their shape."""
        return False

    def misfit(self, regression: bool, data: str) -> str | None:
        """Return why the model cannot be trained on such labels; None if it can.

        Args:
            regression: whether labels are numbers to predict, not classes.
            data: what the message calls the data.
        """
        if self.predicts == "classes" and regression:
            return (
                f"{self.kind} predicts classes, but the labels of {data} are numbers to predict; choose a "
                "model for "
                "numbers, such as linear, or data with classes"
            )
        if self.predicts == "numbers" and not regression:
            return (
                f"{self.kind} predicts numbers, but the labels of {data} are classes; choose a model for "
                "classes, "
                "such as softmax, or data with numbers to predict"
            )
        return None

    def parameters(self, features: int, classes: int | None) -> int | None:
        """Return how many parameters the model has; None, the default, where only :meth:`build` tells.

        Args:
            features: numbers of one sample, whatever their shape, at least 1.
            classes: of the labels; None for numbers to predict.
        """
        return None

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int | None) -> Task:
        """Return the model's functions.

        Equal tables should give equal tasks (models of :mod:`protocols.learning.models` are cached), so that runs
        share what was compiled.

        Args:
            shape: of one sample; images have shape (height, width) or (height, width, channels).
            classes: labels are 0 … classes - 1; None for numbers to predict.

        Raises:
            ConfigurationError: the model cannot take such samples or labels.
        """


class _Classifier(Model):
    """A model of classes."""

    predicts: ClassVar[Predicts] = "classes"

    def build(self, shape: tuple[int, ...], classes: int | None) -> Task:
        if classes is None:
            raise ConfigurationError(f"{self.misfit(True, 'these data')}", "model.kind")
        return self.classifier(shape, classes)

    @abstractmethod
    def classifier(self, shape: tuple[int, ...], classes: int) -> Task:
        """Return the model's functions, see :meth:`build`."""


class SoftmaxModel(_Classifier):
    """Multinomial logistic regression."""

    kind: Literal["softmax"] = Field(description="multinomial logistic regression")

    def parameters(self, features: int, classes: int | None) -> int | None:
        """One weight for each feature and class, and one bias for each class."""
        return None if classes is None else _dense(features, classes)

    def classifier(self, shape: tuple[int, ...], classes: int) -> Task:
        """Return :func:`protocols.learning.models.softmax`."""
        from protocols.learning import models

        return models.softmax(prod(shape), classes)


class LinearModel(Model):
    """Linear regression."""

    predicts: ClassVar[Predicts] = "numbers"

    kind: Literal["linear"] = Field(description="linear regression, loss half the squared error")

    def parameters(self, features: int, classes: int | None) -> int | None:
        """One weight for each feature, and a bias."""
        return _dense(features, 1)

    def build(self, shape: tuple[int, ...], classes: int | None) -> Task:
        """Return :func:`protocols.learning.models.linear`."""
        from protocols.learning import models

        return models.linear(prod(shape))


class MlpModel(_Classifier):
    """Dense hidden layers."""

    kind: Literal["mlp"] = Field(description="dense hidden layers")
    hidden: Units = Field(
        default=32,
        examples=[[64, 32]],
        description="units of the hidden layers: 32 for one, [64, 32] for several",
    )
    activation: Literal["relu", "tanh"] = Field(
        default="relu", examples=["tanh"], description="after every hidden layer"
    )

    def parameters(self, features: int, classes: int | None) -> int | None:
        """Those of all dense layers."""
        hidden = (self.hidden,) if isinstance(self.hidden, int) else self.hidden
        return None if classes is None else _dense(features, *hidden, classes)

    def classifier(self, shape: tuple[int, ...], classes: int) -> Task:
        """Return :func:`protocols.learning.models.mlp`."""
        from protocols.learning import models

        return models.mlp(prod(shape), self.hidden, classes, self.activation)


class CnnModel(_Classifier):
    """A small convolutional network in the manner of LeNet (LeCun et al. 1998)."""

    needs_images: ClassVar[bool] = True

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

    def classifier(self, shape: tuple[int, ...], classes: int) -> Task:
        """Return :func:`protocols.learning.models.cnn`."""
        from protocols.learning import models

        return models.cnn(
            shape, classes, self.channels, self.kernel, self.hidden, self.activation, self.padding
        )


def _dense(*widths: int) -> int:
    """Return how many parameters dense layers have, from input to output, biases included."""
    return sum((a + 1) * b for a, b in pairwise(widths))
