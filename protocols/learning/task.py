"""A learning task: pure functions over one flat parameter vector.

Protocols mix, mask and add noise to vectors; only the task knows what the coordinates mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from protocols.learning.layers import NeuralNetwork

Array: TypeAlias = Any  # a JAX array or tracer; this module does not import JAX


@dataclass(frozen=True)
class Task:
    """A model with its loss. Tasks are values: two built with the same arguments compare equal.

    Args:
        name: for messages and profiles, for example ``"softmax(64, 10)"``.
        size: number of parameters d.
        init: ``init(rng) -> (d,) float32``, the public initial parameters.
        loss: ``loss(params (d,), x (*shape,), y ()) -> ()`` of one sample, JAX-differentiable in ``params``.
        evaluate: ``evaluate(params (d,), x (samples, *shape), y (samples,)) -> {name: (samples,)}``, JAX-traceable:
            what is measured of each sample. Always ``loss``; with classes also ``prediction``, a class number.
        classes: number of classes, labels are 0 … classes − 1; None for regression.
        network: the layers behind ``loss``, if that is ``head`` of their outputs: per-sample clipping is then as
            cheap as training without. A task without is clipped sample by sample.
        head: ``head(outputs (samples, units), y (samples,)) -> (samples,)`` losses; goes with ``network``.
    """

    name: str
    size: int
    init: Callable[[np.random.Generator], NDArray[np.float32]]
    loss: Callable[[Array, Array, Array], Array]
    evaluate: Callable[[Array, Array, Array], Mapping[str, Array]]
    classes: int | None = None
    network: NeuralNetwork | None = None
    head: Callable[[Array, Array], Array] | None = None
