"""Membership inference: deciding which samples a model was trained on.

Sources: Yeom et al. 2018 (losses); Carlini et al. 2022 (LiRA); Pasquini, Raynal, Troncoso 2023 (marginalised
updates and echoes in decentralised learning).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from protocols.learning.task import Task

Floats: TypeAlias = NDArray[np.float64]
FEW = 64
"""Number of shadow models below which variances are pooled over samples."""
CLEAR = 1e-30


class Success(NamedTuple):
    """Separation of members from other samples by their scores.

    Args:
        auc: probability that a member's score is above another's; 0.5 is guessing.
        tpr: true positive rate at the requested false positive rate.
        fpr: the requested false positive rate.
        advantage: largest true minus false positive rate over thresholds.
    """

    auc: float
    tpr: float
    fpr: float
    advantage: float


def success(members: Floats, others: Floats, fpr: float = 0.01) -> Success:
    """Measure the separation by scores, larger for members.

    The true positive rate is that of the lowest threshold whose false positive rate is at most ``fpr``: with fewer
    than 1 / ``fpr`` others, that is a threshold above all of them.
    """
    every = np.unique(np.concatenate([members, others]))
    thresholds = np.concatenate([every, [np.inf]])
    hits = 1 - np.searchsorted(np.sort(members), thresholds, side="left") / len(members)
    alarms = 1 - np.searchsorted(np.sort(others), thresholds, side="left") / len(others)
    below = np.searchsorted(np.sort(others), members, side="left")
    ties = np.searchsorted(np.sort(others), members, side="right") - below
    auc = float((below + 0.5 * ties).mean() / len(others))
    allowed = alarms <= fpr
    return Success(auc, float(hits[allowed].max()), fpr, float((hits - alarms).max()))


def losses(task: Task, params: Floats, x: NDArray[Any], y: NDArray[Any]) -> Floats:
    """Return losses (models, samples) of models (models, d)."""
    return np.asarray(_losses(task)(jnp.asarray(params, jnp.float32), x, y), np.float64)


def confidence(loss: Floats) -> Floats:
    """Return the logit of the true class's probability, from cross-entropies: closer to normal than either."""
    likelihood = np.exp(-loss)
    logit: Floats = -loss - np.log(np.maximum(-np.expm1(-loss), CLEAR)) * (likelihood < 1)
    return logit


def yeom(loss: Floats) -> Floats:
    """Score samples by their losses on one model: members have small losses."""
    return -loss


def offline(observed: Floats, out: Floats) -> Floats:
    """Score by LiRA without models that had the sample: confidence relative to models trained without it.

    Args:
        observed: (samples,), confidence of the attacked model.
        out: (shadows, samples), confidences of models trained without each sample; NaN for models that had it.
    """
    away: Floats = (observed - np.nanmean(out, axis=0)) / _spread(out)
    return away


def online(observed: Floats, inside: Floats, out: Floats) -> Floats:
    """Score by LiRA with both kinds of models: the log-likelihood ratio of a confidence with and without the sample.

    Args:
        observed: (samples,).
        inside: (shadows, samples), confidences of models that had each sample; NaN elsewhere.
        out: (shadows, samples), of those that had not; NaN elsewhere.
    """
    found: Floats = norm.logpdf(observed, np.nanmean(inside, axis=0), _spread(inside)) - norm.logpdf(
        observed, np.nanmean(out, axis=0), _spread(out)
    )
    return found


def _spread(shadows: Floats) -> Floats:
    """Return standard deviations per sample; pooled over all samples where shadows are few."""
    if (~np.isnan(shadows)).sum(axis=0).min() >= FEW:
        deviations = np.nanstd(shadows, axis=0)
    else:
        centred = shadows - np.nanmean(shadows, axis=0)
        deviations = np.full(shadows.shape[1], np.nanstd(centred))
    floored: Floats = np.maximum(deviations, 1e-6)
    return floored


def shadows(
    task: Task,
    x: NDArray[Any],
    y: NDArray[Any],
    kept: NDArray[np.bool_],
    steps: int,
    rate: float,
    starts: Floats,
) -> Floats:
    """Train models on parts of a pool by full-batch gradient descent, all at once.

    Args:
        task: the model.
        x, y: the pool, (samples, …).
        kept: (models, samples), whether a model is trained on a sample.
        steps: number of gradient steps on the mean loss.
        rate: step size.
        starts: (models, d), initial parameters.

    Returns:
        (models, d).
    """
    weights = jnp.asarray(kept, jnp.float32)
    found = _trained(task, steps)(jnp.asarray(starts, jnp.float32), x, y, weights, rate)
    return np.asarray(found, np.float64)


def halves(models: int, samples: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Assign every sample to exactly half of the models (one more or less for an odd number)."""
    order = rng.permuted(np.tile(np.arange(models)[:, None], (1, samples)), axis=0)
    kept: NDArray[np.bool_] = order < models // 2
    return kept


def exposed(neighbors: Mapping[int, Collection[int]], coalition: Collection[int]) -> dict[int, bool]:
    """Return, for every other node, whether a coalition sees all models that it mixes, its own included."""
    inside = set(coalition)
    seen = inside | {v for a in inside for v in neighbors[a]}
    return {v: v in seen and set(neighbors[v]) <= seen for v in neighbors if v not in inside}


def marginalised(
    weights: Floats, victim: int, sent: Mapping[tuple[int, int], Floats], round: int
) -> Floats | None:
    """Return a node's local update: what it sent minus what it had mixed, Δ = z(t) − Σ_j W_vj z_j(t − 1).

    Args:
        weights: (n, n) mixing matrix.
        victim: v, the node.
        sent: (node, round) -> the model a coalition saw it send, the coalition's own included.
        round: t.

    Returns:
        None if not all of it is known.
    """
    near = [int(j) for j in np.flatnonzero(weights[victim])]
    if (victim, round) not in sent or any((j, round - 1) not in sent for j in near):
        return None
    update: Floats = sent[victim, round] - sum(weights[victim, j] * sent[j, round - 1] for j in near)
    return update


@lru_cache(maxsize=32)
def _losses(task: Task) -> Any:
    each = jax.vmap(task.loss, (None, 0, 0))
    return jax.jit(jax.vmap(each, (0, None, None)))


@lru_cache(maxsize=32)
def _trained(task: Task, steps: int) -> Any:
    each = jax.vmap(task.loss, (None, 0, 0))

    def train(start: jax.Array, x: jax.Array, y: jax.Array, kept: jax.Array, rate: jax.Array) -> jax.Array:
        share = kept / jnp.maximum(jnp.sum(kept), 1.0)
        slope = jax.grad(lambda p: each(p, x, y) @ share)
        found: jax.Array = jax.lax.fori_loop(0, steps, lambda _, p: p - rate * slope(p), start)
        return found

    return jax.jit(jax.vmap(train, (0, None, None, 0, None)))
