"""A learning task: pure functions over one flat parameter vector.

Protocols mix, mask and add noise to vectors; only the task knows the meaning of the coordinates.
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
        name: used in messages and profiles, for example ``"softmax(64, 10)"``.
        size: number of parameters d.
        init: ``init(rng) -> (d,) float32``, the public initial parameters.
        loss: ``loss(params (d,), x (*shape,), y ()) -> ()`` of one sample, JAX-differentiable in ``params``.
        evaluate: ``evaluate(params (d,), x (samples, *shape), y (samples,)) -> {name: (samples,)}``, JAX-traceable:
            measurements of each sample. Always ``loss``; with classes also ``prediction``, a class number.
        classes: number of classes, labels are 0 … classes − 1; None for regression.
        network: the layers behind ``loss``, if that is ``head`` of their outputs: per-sample clipping then costs
            little more than training without it. Other tasks are clipped sample by sample.
        head: ``head(outputs (samples, units), y (samples,)) -> (samples,)`` losses; goes with ``network``.

    Example:
        Logistic regression in a notebook, on data with 5 features and 2 classes:

        >>> import jax.numpy as jnp, numpy as np
        >>> def score(params, x):
        ...     return x @ params[:5] + params[5]
        >>> def loss(params, x, y):
        ...     return jnp.logaddexp(0.0, (1 - 2 * y) * score(params, x))
        >>> def evaluate(params, x, y):
        ...     return {"loss": loss(params, x, y), "prediction": (score(params, x) > 0).astype(int)}
        >>> def init(rng):
        ...     return np.zeros(6, np.float32)
        >>> task = sv.Task("logistic", 6, init, loss, evaluate, classes=2)
        >>> x = np.random.default_rng(0).normal(size=(400, 5))
        >>> few = {"protocol.rounds": 5, "partition": {"kind": "iid"}}
        >>> sv.run("quickstart", changes=few, data=(x, x[:, 0] > 0), task=task).accuracy_mean > 0.6
        True
    """

    name: str
    size: int
    init: Callable[[np.random.Generator], NDArray[np.float32]]
    loss: Callable[[Array, Array, Array], Array]
    evaluate: Callable[[Array, Array, Array], Mapping[str, Array]]
    classes: int | None = None
    network: NeuralNetwork | None = None
    head: Callable[[Array, Array], Array] | None = None
