"""Optimisers: from a gradient to the direction of a step."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from scenarios.format.kind import Kind

if TYPE_CHECKING:
    import optax


class Optimizer(Kind):
    """Optimiser of the local steps."""

    group: ClassVar[str] = "sottovoce.optimizers"

    @property
    @abstractmethod
    def linear(self) -> bool:
        """Whether the direction is the gradient itself, before any weight decay: a step is linear in it.

        The ledger follows linear steps exactly and charges all others by the local bound. The transformation of a
        linear optimiser is skipped where nothing is added to the gradient.
        """

    @property
    @abstractmethod
    def stateful(self) -> bool:
        """Whether there is a state that ``optimizer_state`` can keep or send."""

    @property
    def without_decay(self) -> str | None:
        """Why ``weight_decay`` must be given, as the end of a sentence; None, the default, where 0 is sensible."""
        return None

    @abstractmethod
    def build(self, weight_decay: float) -> optax.GradientTransformation:
        """Return optax's form, without the step size.

        Equal tables should give the same object (those of :mod:`protocols.learning.optimisers` are cached), so that
        runs share what was compiled.

        Args:
            weight_decay: at least 0; the decay that the transformation has to add.
        """


class SgdOptimizer(Optimizer):
    """Gradient descent."""

    linear: ClassVar[bool] = True
    stateful: ClassVar[bool] = False

    kind: Literal["sgd"] = Field(default="sgd", description="the gradient itself")

    def build(self, weight_decay: float) -> optax.GradientTransformation:
        """Return :func:`protocols.learning.optimisers.sgd`."""
        from protocols.learning import optimisers

        return optimisers.sgd(weight_decay)


class MomentumOptimizer(Optimizer):
    """Gradient descent with momentum."""

    linear: ClassVar[bool] = False
    stateful: ClassVar[bool] = True

    kind: Literal["momentum"] = Field(description="a running sum of gradients")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="share of the sum that is left after a step")
    nesterov: bool = Field(
        default=False, examples=[True], description="Nesterov momentum: look one step ahead"
    )

    def build(self, weight_decay: float) -> optax.GradientTransformation:
        """Return :func:`protocols.learning.optimisers.momentum`."""
        from protocols.learning import optimisers

        return optimisers.momentum(self.momentum, self.nesterov, weight_decay)


class AdamOptimizer(Optimizer):
    """Adam (Kingma and Ba 2015, arXiv 1412.6980)."""

    linear: ClassVar[bool] = False
    stateful: ClassVar[bool] = True

    kind: Literal["adam", "adamw"] = Field(
        description="adam, or adamw with decoupled weight decay (Loshchilov and Hutter 2019)"
    )
    beta1: float = Field(default=0.9, ge=0, lt=1, description="decay of the mean")
    beta2: float = Field(default=0.999, ge=0, lt=1, examples=[0.99], description="decay of the mean square")
    epsilon: float = Field(default=1e-8, gt=0, description="added to the root of the mean square")

    @property
    def without_decay(self) -> str | None:
        """Decoupled decay is all that sets adamw apart."""
        return "adamw without weight decay is adam" if self.kind == "adamw" else None

    def build(self, weight_decay: float) -> optax.GradientTransformation:
        """Return :func:`protocols.learning.optimisers.adam`."""
        from protocols.learning import optimisers

        decoupled = self.kind == "adamw"
        return optimisers.adam(self.beta1, self.beta2, self.epsilon, weight_decay, decoupled)
