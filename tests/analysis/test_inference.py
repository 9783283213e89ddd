"""Gradient inversion and membership inference on what their authors say they do."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from analysis.inference import inversion, membership
from protocols.learning import models

DIGITS = load_digits()
X, Y = (DIGITS.data / 16.0).astype(np.float32), DIGITS.target.astype(np.int32)


def summed_gradient(task, params, x, y):  # type: ignore[no-untyped-def]
    import jax

    return np.asarray(
        jax.grad(lambda p: jax.numpy.sum(jax.vmap(task.loss, (None, 0, 0))(p, x, y)))(params), float
    )


def layer(task, gradient):  # type: ignore[no-untyped-def]
    """The gradient of a softmax model as weights (features, classes) and biases."""
    return gradient[: 64 * 10].reshape(64, 10), gradient[64 * 10 :]


@pytest.mark.slow
def test_one_sample_is_found_exactly() -> None:
    task = models.softmax(64, 10)
    params = np.random.default_rng(1).standard_normal(task.size).astype(np.float32) * 0.1
    for i in range(20):
        weights, bias = layer(task, summed_gradient(task, params, X[i : i + 1], Y[i : i + 1]))
        best = inversion.first_layer(weights, bias)[0]
        assert inversion.psnr(best.x, X[i], 1.0) > 80


def found_in_batches(box: inversion.Box | None) -> dict[int, float]:
    """Fractions of samples found above 20 dB in sums of gradients at the first model, by size of the batch."""
    task, drawn = models.softmax(64, 10), np.random.default_rng(2)
    found = {}
    for batch in (1, 2, 3, 5, 8, 20):
        hits = []
        for _ in range(60):
            chosen = drawn.choice(len(X), batch, replace=False)
            gradient = summed_gradient(task, np.zeros(task.size, np.float32), X[chosen], Y[chosen])
            candidates = inversion.first_layer(*layer(task, gradient), box=box)
            hits += (inversion.best_psnr(candidates, X[chosen], 1.0) > 20).tolist()
        found[batch] = float(np.mean(hits))
    return found


@pytest.mark.slow
def test_larger_batches_hide_their_samples_less_from_who_knows_pixels() -> None:
    """Cutting to [0, 1] doubles what is found of three samples, and finds some of eight; draws are the same."""
    cut, uncut = found_in_batches((0.0, 1.0)), found_in_batches(None)
    for found in (cut, uncut):
        assert list(found.values()) == sorted(found.values(), reverse=True)
        assert found[1] == 1.0
        assert found[2] > 0.8
        assert found[20] < 0.02
    assert all(cut[batch] >= uncut[batch] for batch in cut)
    assert cut[3] > 0.75
    assert uncut[3] < 0.5
    assert cut[5] > 0.2
    assert uncut[5] < 0.1


def test_success() -> None:
    perfect = membership.success(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    assert perfect == membership.Success(1.0, 1.0, 0.01, 1.0)
    chance = membership.success(np.zeros(10), np.zeros(10))
    assert (chance.auc, chance.tpr, chance.advantage) == (0.5, 0.0, 0.0)
    drawn = np.random.default_rng(0)
    shifted = membership.success(drawn.normal(1, 1, 20_000), drawn.normal(0, 1, 20_000))
    assert shifted.auc == pytest.approx(0.760, abs=0.01)  # Φ(1/√2)
    assert shifted.tpr == pytest.approx(0.0924, abs=0.015)  # Φ(1 − 2.326)


def test_likelihood_ratios_beat_losses() -> None:
    """A pool of 400 digits with 30 % of labels drawn anew, 64 shadow models, two targets."""
    drawn = np.random.default_rng(7)
    task = models.softmax(64, 10)
    pool = drawn.choice(len(X), 400, replace=False)
    x, y = X[pool], Y[pool].copy()
    noisy = drawn.random(400) < 0.3
    y[noisy] = drawn.integers(0, 10, noisy.sum())
    kept = membership.halves(66, 400, drawn)
    trained = membership.shadows(task, x, y, kept, 400, 2.0, np.zeros((66, task.size)))
    phi = membership.confidence(membership.losses(task, trained, x, y))
    found: dict[str, list[membership.Success]] = {"yeom": [], "offline": [], "online": []}
    for target in (0, 1):
        inside = np.where(kept[2:], phi[2:], np.nan)
        out = np.where(kept[2:], np.nan, phi[2:])
        scores = {
            "yeom": membership.yeom(-phi[target]),
            "offline": membership.offline(phi[target], out),
            "online": membership.online(phi[target], inside, out),
        }
        for name, score in scores.items():
            found[name].append(membership.success(score[kept[target]], score[~kept[target]]))
    aucs = {name: np.mean([s.auc for s in results]) for name, results in found.items()}
    assert 0.6 < aucs["yeom"] < aucs["offline"] < aucs["online"]
    assert np.mean([s.tpr for s in found["online"]]) > 3 * np.mean([s.tpr for s in found["yeom"]])


def test_halves_are_balanced() -> None:
    kept = membership.halves(64, 100, np.random.default_rng(1))
    assert (kept.sum(axis=0) == 32).all()


def test_marginalised_updates_are_exact_where_they_exist() -> None:
    weights = np.array([[0.5, 0.5, 0.0], [0.25, 0.5, 0.25], [0.0, 0.5, 0.5]])
    drawn = np.random.default_rng(5)
    updates, model = drawn.standard_normal((3, 3, 4)), np.zeros((3, 4))
    sent = {}
    for t in range(3):
        moved = model + updates[t]
        sent |= {(v, t): moved[v] for v in range(3)}
        model = weights @ moved
    for t in (1, 2):
        for v in range(3):
            np.testing.assert_allclose(
                membership.marginalised(weights, v, sent, t), updates[t, v], atol=1e-12
            )
    del sent[2, 0]
    assert membership.marginalised(weights, 1, sent, 1) is None
    assert membership.marginalised(weights, 0, sent, 1) is not None
    around = {0: (1,), 1: (0, 2), 2: (1,)}
    assert membership.exposed(around, {1}) == {0: True, 2: True}
    assert membership.exposed({0: (1, 2), 1: (0, 2, 3), 2: (0, 1, 3), 3: (1, 2)}, {0}) == {
        1: False,
        2: False,
        3: False,
    }
