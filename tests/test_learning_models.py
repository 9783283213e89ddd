import jax
import numpy as np
import pytest

from protocols.learning import models
from simulator.errors import ConfigurationError

TASKS = [models.softmax(5, 3), models.mlp(5, 4, 3)]


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request):
    return request.param


def test_sizes():
    assert models.softmax(64, 10).size == 650
    assert models.mlp(64, 32, 10).size == 64 * 32 + 32 + 32 * 10 + 10


def test_initial_parameters_are_finite_float32_and_follow_the_generator(task):
    params = task.init(np.random.default_rng(1))
    assert params.shape == (task.size,)
    assert params.dtype == np.float32
    assert np.isfinite(params).all()
    np.testing.assert_array_equal(params, task.init(np.random.default_rng(1)))


def test_he_initialisation_has_the_published_variance():
    # 2 / fan-in, He et al. 2015; 40 000 weights put the estimate within 5 % (7 standard errors).
    params = models.mlp(200, 200, 2).init(np.random.default_rng(0))[:40_000]
    assert params.var() == pytest.approx(2 / 200, rel=0.05)


def test_loss_is_the_cross_entropy_of_the_logits(task):
    rng = np.random.default_rng(2)
    params, x = rng.standard_normal(task.size), rng.standard_normal((7, 5))
    scores = np.asarray(task.logits(params.astype(np.float32), x.astype(np.float32)), dtype=np.float64)
    for i in range(7):
        label = i % 3
        expected = np.log(np.exp(scores[i]).sum()) - scores[i, label]
        got = task.example_loss(params.astype(np.float32), x[i].astype(np.float32), label)
        assert float(got) == pytest.approx(expected, rel=1e-4)


def test_softmax_logits_are_affine_in_the_inputs():
    task = models.softmax(2, 3)
    params = np.array([1, 2, 3, 4, 5, 6, 0.5, 0, -0.5], dtype=np.float32)
    x = np.array([[1, 10]], dtype=np.float32)
    np.testing.assert_allclose(task.logits(params, x), [[41.5, 52, 62.5]])


def test_gradient_agrees_with_finite_differences(task):
    rng = np.random.default_rng(3)
    params = rng.standard_normal(task.size).astype(np.float32)
    x = rng.standard_normal(5).astype(np.float32)
    direction = rng.standard_normal(task.size).astype(np.float32)
    slope = float(np.dot(jax.grad(task.example_loss)(params, x, 1), direction))
    h = np.float32(1e-2)
    up, down = (float(task.example_loss(params + s * h * direction, x, 1)) for s in (1, -1))
    assert slope == pytest.approx((up - down) / (2 * float(h)), rel=2e-2, abs=2e-3)


def test_equal_models_are_the_same_functions():
    assert models.softmax(5, 3) == models.softmax(5, 3)
    assert hash(models.mlp(5, 4, 3)) == hash(models.mlp(5, 4, 3))


def test_empty_models_are_refused():
    with pytest.raises(ConfigurationError, match="hidden is 0"):
        models.mlp(5, 0, 3)
