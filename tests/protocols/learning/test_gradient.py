from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.learning import models
from protocols.learning.gradient import _layer_norm, clipped, sample_by_sample, summed
from protocols.learning.task import Task
from tests.support.matrix import covering

SHAPE = (9, 8, 2)
TASKS = [
    models.softmax(6, 3),
    models.linear(6),
    models.mlp(6, (5, 4), 3),
    models.cnn(SHAPE, 3, channels=(3,), kernel=3, hidden=(5,)),
    models.cnn((12, 12), 3, channels=(2, 3), kernel=3, hidden=(), activation="tanh"),
]


@lru_cache
def compiled(function, *args):
    """Compiled once for all tests and examples."""
    return jax.jit(function(*args))


def batch(task, rows, seed, scale=1.0):
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal((rows, *task.network.shape))
    y = rng.integers(3, size=rows) if task.classes else rng.standard_normal(rows)
    params = task.init(rng) + 0.3 * rng.standard_normal(task.size)
    return params.astype(np.float32), x.astype(np.float32), y.astype(np.int32 if task.classes else np.float32)


@pytest.mark.parametrize("task", covering(TASKS, TASKS[:-1]), ids=lambda task: task.name)
@given(rows=st.sampled_from([1, 9]), seed=st.integers(0, 10**6), clip=st.sampled_from([1e-3, 0.3, 2.0, 1e9]))
@settings(deadline=None, max_examples=12)
def test_clipping_by_layers_is_clipping_sample_by_sample(task, rows, seed, clip):
    params, x, y = batch(task, rows, seed)
    mask = np.random.default_rng(seed).random(rows) < 0.8
    got = np.asarray(compiled(clipped, task, "record")(params, x, y, mask, clip), np.float64)
    expected = np.asarray(compiled(sample_by_sample, task)(params, x, y, mask, clip), np.float64)
    assert np.linalg.norm(got - expected) <= 1e-5 * np.linalg.norm(expected) + 1e-7 * min(clip, 1)
    if not mask.any():
        assert not got.any()


@pytest.mark.parametrize("task", covering(TASKS, TASKS[:-2]), ids=lambda task: task.name)
def test_in_double_precision_they_agree_to_the_last_digits(task):
    params, x, y = batch(task, 9, 4)
    with jax.enable_x64(True):
        args = (params.astype(float), x.astype(float), y, np.ones(9, bool), 0.7)
        got, expected = (
            np.asarray(fn(*args))
            for fn in (compiled(clipped, task, "record"), compiled(sample_by_sample, task))
        )
    assert got.dtype == np.float64
    assert np.linalg.norm(got - expected) <= 1e-12 * np.linalg.norm(expected)


def test_a_vanishing_derivative_of_a_huge_input_is_clipped_all_the_same():
    task = models.linear(1)  # the target is met up to 1e-23, whose square is no float32
    x, y = np.full((1, 1), 1e18, np.float32), np.full(1, -1e-23, np.float32)
    args = (np.zeros(2, np.float32), x, y, np.ones(1, bool), np.float32(1e-7))
    for way in (clipped, sample_by_sample):
        got = compiled(way, task, *(["record"] if way is clipped else []))(*args)
        np.testing.assert_allclose(got, [1e-7, 0], rtol=1e-5, atol=1e-20)


def test_a_norm_is_never_too_small_where_positions_cancel():
    rng = np.random.default_rng(1)
    a = np.repeat(rng.standard_normal((200, 1, 300)), 6, axis=1) * 10.0 ** rng.uniform(-3, 3, (200, 1, 1))
    b = rng.standard_normal((200, 6, 40))
    b -= b.mean(axis=1, keepdims=True) * (1 - 10.0 ** rng.uniform(-4, 0, (200, 1, 1)))
    a, b = a.astype(np.float32), b.astype(np.float32)
    wide, deep = a.astype(float), b.astype(float)
    exact = (np.einsum("rti,rto->rio", wide, deep) ** 2).sum((1, 2)) + (deep.sum(1) ** 2).sum(1)
    square, gradients = _layer_norm(jnp.asarray(a), jnp.asarray(b))
    # What is clipped is what was computed, so its own norm bounds it whatever the rounding.
    assert (np.asarray(square) >= (np.asarray(gradients, float) ** 2).sum((1, 2)) * (1 - 1e-5)).all()
    assert (np.asarray(square) >= exact * 0.99).all()


@pytest.mark.parametrize("task", covering(TASKS, TASKS[:-2]), ids=lambda task: task.name)
def test_without_a_bound_the_clipped_sum_is_the_sum(task):
    params, x, y = batch(task, 7, 2)
    mask = np.arange(7) != 3
    plain = np.asarray(compiled(summed, task)(params, x, y, mask))
    for unit in ("record", "node"):
        got = np.asarray(compiled(clipped, task, unit)(params, x, y, mask, 1e9))
        np.testing.assert_allclose(got, plain, rtol=1e-4, atol=1e-4 * np.abs(plain).max())


@pytest.mark.parametrize("task", covering(TASKS, TASKS[:-2]), ids=lambda task: task.name)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 3e38])
def test_a_sample_without_a_finite_gradient_contributes_nothing(task, bad):
    params, x, y = batch(task, 5, 3)
    x[2] = bad
    mask, rest = np.ones(5, bool), [0, 1, 3, 4]
    clip = compiled(clipped, task, "record")
    got = np.asarray(clip(params, x, y, mask, 0.5), np.float64)
    expected = np.asarray(clip(params, x[rest], y[rest], mask[rest], 0.5), np.float64)
    assert np.isfinite(got).all()
    # Saturated units may leave a finite gradient of a huge sample: it counts, and is clipped like any other.
    assert np.linalg.norm(got - expected) <= (0.5 if bad == 3e38 else 0) + 1e-5


def test_a_task_without_layers_is_clipped_all_the_same():
    def loss(params, x, y):
        return jnp.sum((params * x - y) ** 2)

    task = Task(
        "own", 3, lambda rng: np.zeros(3, np.float32), loss, lambda p, x, y: {"loss": jnp.zeros(len(y))}
    )
    x, y = np.eye(3, dtype=np.float32), np.array([1.0, 100.0, 0.0], np.float32)
    got = np.asarray(compiled(clipped, task, "record")(np.zeros(3, np.float32), x, y, np.ones(3, bool), 1.0))
    np.testing.assert_allclose(got, [-1.0, -1.0, 0.0])


@pytest.mark.parametrize("task", TASKS[:3], ids=lambda task: task.name)
def test_clipping_is_that_of_optax(task):
    params, x, y = batch(task, 8, 5)
    gradients = jax.vmap(jax.grad(task.loss), (None, 0, 0))(params, x, y)
    (theirs,), clipped_samples = optax.per_example_global_norm_clip([gradients], 0.4)
    assert clipped_samples > 0
    got = np.asarray(compiled(clipped, task, "record")(params, x, y, np.ones(8, bool), 0.4))
    np.testing.assert_allclose(got, np.asarray(theirs), rtol=1e-4, atol=1e-5)
