"""Check, by numbers, that a task treats every sample of a batch for itself, as clipping per sample assumes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from protocols.learning.gradient import clipped
from protocols.learning.task import Task
from simulator.errors import ConfigurationError

SAMPLES = 4
"""Samples of the batch that is tried."""
TOLERANCE = 1e-5
"""Relative difference of single-precision vectors that counts as none."""
_CLIPS = (np.float32(1e30), np.float32(1e-2))
"""Clipping norms that are tried: gradients as they are, and clipped."""


def mixing_of(task: Task, x: NDArray[Any], y: NDArray[Any]) -> str | None:
    """Return what of a task depends on other samples of a batch; None if nothing does.

    In a batch of a few samples, all but one are replaced by others, and by numbers that are none (NaN), which spread
    to everything that is computed from them; what belongs to the sample that stays must not change. Batches
    are computed side by side, as those of several nodes are, and must not change each other either.

    Args:
        task: the model.
        x: (samples, *shape) features, at least 1.
        y: (samples,) labels.

    Returns:
        Words for the first that changes: outputs of the network, losses of the head, or clipped gradients.

    Guarantees:
        A task of which this returns None had, for these samples and random parameters near its initial ones, clipped
        gradients that depend on one sample each. A task that mixes samples only for other values is not found.

    Source: batch normalisation, which fails here, is the usual reason (Ioffe and Szegedy 2015, arXiv:1502.03167).
    """
    params, batches = _params(task), _batches(np.asarray(x, np.float32), np.asarray(y))
    parts, measured = _measured(task)
    for name, values in zip(
        parts, jax.jit(jax.vmap(measured, (None, 0, 0, 0, 0)))(params, *batches), strict=True
    ):
        # (clipping norm, batches, sample that stays, values): the first batch is that without other samples
        found = np.asarray(values, np.float64).reshape(len(_CLIPS), -1, SAMPLES, values[0].size)
        own = found[:, :1]
        # not by a comparison that numbers which are none would pass
        if not (np.abs(found - own) <= TOLERANCE * np.abs(own).max((2, 3), keepdims=True)).all():
            return name
    return None


def check_separate(task: Task, x: NDArray[Any], y: NDArray[Any]) -> None:
    """Refuse a task that does not treat every sample for itself (:func:`mixing_of`).

    Raises:
        ConfigurationError: it does not, or cannot be traced.
    """
    try:
        found = mixing_of(task, x, y)
    except ConfigurationError:
        raise
    except Exception as error:  # whatever a function of others raises
        told = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            f"task {task.name}: its gradients cannot be computed: {type(error).__name__}: {told}", "model"
        ) from error
    if found is not None:
        raise ConfigurationError(
            f"task {task.name}: {found} of a sample depend on other samples of its batch, so clipping bounds no "
            'record; compute every sample for itself (no batch normalisation), or protect privacy.unit = "node"',
            "model",
        )


def _params(task: Task) -> NDArray[np.float32]:
    """Return parameters that are not all zero, as initial ones may be, where much does not depend on anything."""
    rng = np.random.default_rng(0)
    start = np.asarray(task.init(rng), np.float32)
    return start + 0.1 * rng.standard_normal(start.shape, np.float32)


def _batches(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Return batches side by side: samples, labels, masks of the sample that stays, and clipping norms.

    The same batch for each of its samples, then others that keep that sample: with other samples, and with none.
    """
    rng = np.random.default_rng(1)
    x, y = (np.resize(part, (2 * SAMPLES, *part.shape[1:])) for part in (x[: 2 * SAMPLES], y[: 2 * SAMPLES]))
    x = x + 0.1 * rng.standard_normal(x.shape).astype(np.float32)  # samples may be equal, or all zero
    stays = np.eye(SAMPLES, dtype=np.bool_)
    own, other = (x[:SAMPLES], y[:SAMPLES]), (x[SAMPLES:], y[SAMPLES:])
    nothing = np.full_like(own[0], np.nan), other[1]
    found = [
        (
            *(np.where(_as(mask, part), part, others) for part, others in zip(own, rest, strict=True)),
            mask,
            clip,
        )
        for clip in _CLIPS
        for rest in (own, other, nothing)
        for mask in stays
    ]
    return tuple(np.stack(parts) for parts in zip(*found, strict=True))


def _as(mask: NDArray[np.bool_], part: NDArray[Any]) -> NDArray[np.bool_]:
    return mask.reshape(-1, *[1] * (part.ndim - 1))


def _measured(task: Task) -> tuple[tuple[str, ...], Callable[..., tuple[jax.Array, ...]]]:
    """Return names of what is compared, and a function to it: of parameters and one of the batches."""
    network, head, gradient = task.network, task.head, clipped(task, "record")

    def gradients(params: jax.Array, *batch: jax.Array) -> tuple[jax.Array, ...]:
        return (gradient(params, *batch),)

    if network is None or head is None:
        return ("gradients",), gradients

    def measured(params: jax.Array, *batch: jax.Array) -> tuple[jax.Array, ...]:
        x, y, mask, _ = batch
        outputs = network(params, x)
        kept = jnp.where(mask[:, None], outputs, 0.0), jnp.where(mask, head(outputs, y), 0.0)
        return (*kept, *gradients(params, *batch))

    return ("outputs of the network", "losses of the head", "gradients"), measured
