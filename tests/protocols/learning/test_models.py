import jax
import jax.numpy as jnp
import numpy as np
import pytest

from protocols.learning import layers, models
from simulator.errors import ConfigurationError

TASKS = [models.softmax(5, 3), models.mlp(5, 4, 3), models.mlp(5, (4, 6), 3, "tanh")]


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
    scores = np.asarray(task.network(params.astype(np.float32), x.astype(np.float32)), dtype=np.float64)
    for i in range(7):
        label = i % 3
        expected = np.log(np.exp(scores[i]).sum()) - scores[i, label]
        got = task.loss(params.astype(np.float32), x[i].astype(np.float32), label)
        assert float(got) == pytest.approx(expected, rel=1e-4)


def test_softmax_logits_are_affine_in_the_inputs():
    task = models.softmax(2, 3)
    params = np.array([1, 2, 3, 4, 5, 6, 0.5, 0, -0.5], dtype=np.float32)
    x = np.array([[1, 10]], dtype=np.float32)
    np.testing.assert_allclose(task.network(params, x), [[41.5, 52, 62.5]])


def test_gradient_agrees_with_finite_differences(task):
    rng = np.random.default_rng(3)
    params = rng.standard_normal(task.size).astype(np.float32)
    x = rng.standard_normal(5).astype(np.float32)
    direction = rng.standard_normal(task.size).astype(np.float32)
    slope = float(np.dot(jax.grad(task.loss)(params, x, 1), direction))
    h = np.float32(1e-2)
    up, down = (float(task.loss(params + s * h * direction, x, 1)) for s in (1, -1))
    assert slope == pytest.approx((up - down) / (2 * float(h)), rel=2e-2, abs=2e-3)


def test_equal_models_are_the_same_functions():
    assert models.softmax(5, 3) == models.softmax(5, 3)
    assert hash(models.mlp(5, 4, 3)) == hash(models.mlp(5, 4, 3))


def test_empty_models_are_refused():
    with pytest.raises(ConfigurationError, match="hidden is 0"):
        models.mlp(5, 0, 3)
    with pytest.raises(ConfigurationError, match="channels is 0"):
        models.cnn((8, 8), 3, channels=(0,))


def test_linear_regression_is_half_the_squared_error():
    task = models.linear(2)
    params = np.array([2.0, -1.0, 0.5], np.float32)
    x, y = np.array([[1.0, 1.0], [0.0, 3.0]], np.float32), np.array([0.0, 1.0], np.float32)
    found = task.evaluate(params, x, y)
    np.testing.assert_allclose(found["loss"], [0.5 * 1.5**2, 0.5 * 3.5**2])
    assert set(found) == {"loss"}
    assert task.classes is None


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_are_those_of_jax(padding, stride):
    rng = np.random.default_rng(1)
    shape, kernel, out = (9, 7, 2), 3, 4
    net = layers.NeuralNetwork(shape, (layers.Conv(out, kernel, stride, padding),))
    params = rng.standard_normal(net.size).astype(np.float32)
    x = rng.standard_normal((3, *shape)).astype(np.float32)
    weights = params[:-out].reshape(kernel, kernel, shape[2], out)
    expected = jax.lax.conv_general_dilated(
        x, weights, (stride, stride), padding.upper(), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(
        net(params, x), (expected + params[-out:]).reshape(3, -1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("by", ["average", "max"])
def test_pooling_drops_what_fills_no_square(by):
    net = layers.NeuralNetwork((5, 4, 1), (layers.Pool(2, by),))
    x = np.arange(20.0).reshape(1, 5, 4, 1)
    expected = [[2.5, 4.5], [10.5, 12.5]] if by == "average" else [[5, 7], [13, 15]]
    np.testing.assert_array_equal(net(jnp.zeros(0), x), np.reshape(expected, (1, -1)))


@pytest.mark.slow
def test_a_small_lenet_has_the_parameters_of_its_layers():
    task = models.cnn((28, 28), 10, channels=(6, 16), kernel=5, hidden=(120, 84))
    sizes = [25 * 6 + 6, 25 * 6 * 16 + 16, 4 * 4 * 16 * 120 + 120, 120 * 84 + 84, 84 * 10 + 10]
    assert task.size == sum(sizes)
    found = task.evaluate(
        task.init(np.random.default_rng(0)), np.zeros((2, 28, 28), np.float32), np.zeros(2, int)
    )
    assert found["prediction"].shape == (2,)


@pytest.mark.parametrize("shape", [(64,), (4, 4)])
def test_a_cnn_needs_images_that_are_large_enough(shape):
    with pytest.raises(ConfigurationError, match=r"needs images|too small"):
        models.cnn(shape, 10)
