"""A learning task: pure functions over one flat float32 parameter vector.

Protocols mix, mask and add noise to vectors; only the task knows what the coordinates mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = Any  # a JAX array or tracer; this module does not import JAX


@dataclass(frozen=True)
class Task:
    """A model with its loss. Tasks are values: two built with the same arguments compare equal.

    Args:
        name: for messages and profiles, for example ``"softmax(64, 10)"``.
        size: number of parameters d.
        classes: number of classes; labels are 0 … classes − 1.
        init: ``init(rng) -> (d,) float32``, the public initial parameters.
        logits: ``logits(params (d,), x (samples, *shape)) -> (samples, classes)``, JAX-traceable.
        example_loss: ``example_loss(params (d,), x (*shape), y ()) -> ()``, JAX-differentiable in
            ``params``.
    """

    name: str
    size: int
    classes: int
    init: Callable[[np.random.Generator], NDArray[np.float32]]
    logits: Callable[[Array, Array], Array]
    example_loss: Callable[[Array, Array, Array], Array]
