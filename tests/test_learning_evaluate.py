import numpy as np
import pytest

from protocols.learning import data, models
from protocols.learning.evaluate import Evaluator, consensus_distance
from simulator.errors import ConfigurationError

DATASET = data.blobs(80, 3, 4, 1.0, 0.5, np.random.default_rng(0))
TASK = models.softmax(3, 4)


def reference(params):
    scores = DATASET.test_x.astype(float) @ params[:12].reshape(3, 4) + params[12:]
    right = scores.argmax(axis=1) == DATASET.test_y
    own = scores[np.arange(len(scores)), DATASET.test_y]
    return right.mean(), (np.log(np.exp(scores).sum(axis=1)) - own).mean()


@pytest.mark.parametrize("models_count", [1, 8, 9, 300])
def test_every_model_is_measured_as_if_alone(models_count):
    params = np.random.default_rng(1).standard_normal((models_count, TASK.size)).astype(np.float32)
    accuracy, loss, _ = Evaluator(TASK, DATASET).evaluate(params)
    expected = np.array([reference(row.astype(float)) for row in params])
    np.testing.assert_array_equal(accuracy, expected[:, 0])
    np.testing.assert_allclose(loss, expected[:, 1], rtol=1e-5)


def test_divergence_counts_as_chance_and_touches_nobody_else():
    params = np.zeros((6, TASK.size))
    params[1, 0], params[2, 3], params[3], params[4, 0] = np.nan, np.inf, 3e38, 1e300
    result = Evaluator(TASK, DATASET).evaluate(params)
    assert result.diverged.tolist() == [False, True, True, True, True, False]
    assert result.accuracy[result.diverged].tolist() == [0.25] * 4
    assert np.isinf(result.loss[result.diverged]).all()
    np.testing.assert_allclose(result.loss[~result.diverged], np.log(4), rtol=1e-6)


def test_a_dead_unit_does_not_hide_divergence():
    # relu(−∞) is a perfectly finite 0.
    task = models.mlp(3, 2, 4)
    params = task.init(np.random.default_rng(0))
    params[6] = -np.inf
    assert Evaluator(task, DATASET).evaluate(params[None]).diverged.tolist() == [True]


def test_no_models_give_no_rows():
    result = Evaluator(TASK, DATASET).evaluate(np.empty((0, TASK.size)))
    assert [len(column) for column in result] == [0, 0, 0]


def test_parameters_of_another_shape_are_refused():
    with pytest.raises(ConfigurationError, match=r"expected \(n, 16\)"):
        Evaluator(TASK, DATASET).evaluate(np.zeros(TASK.size))
    with pytest.raises(ConfigurationError, match="3 classes, the data 4"):
        Evaluator(models.softmax(3, 3), DATASET)


def test_consensus_distance():
    assert consensus_distance(np.array([[1.0, 1.0], [1.0, 1.0]])) == 0.0
    assert consensus_distance(np.array([[0.0, 0.0], [6.0, 8.0]])) == pytest.approx(5.0)
    assert consensus_distance(np.array([[0.0], [np.nan]])) == np.inf
    # float64 throughout: a small disagreement on top of a large common value survives.
    assert consensus_distance(np.array([[1e8], [1e8 + 2.0]])) == pytest.approx(1.0)
    with pytest.raises(ConfigurationError, match="shape"):
        consensus_distance(np.empty((0, 3)))
