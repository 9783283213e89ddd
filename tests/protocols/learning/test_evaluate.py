import jax.numpy as jnp
import numpy as np
import pytest

from protocols.learning import data, evaluate, models
from protocols.learning.evaluate import Evaluator, consensus_distance
from protocols.learning.task import Task
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
    accuracy, loss = Evaluator(TASK, DATASET).evaluate(params)[:2]
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
    assert [len(column) for column in result[:3]] == [0, 0, 0]


def test_parameters_of_another_shape_are_refused():
    with pytest.raises(ConfigurationError, match=r"expected \(n, 16\)"):
        Evaluator(TASK, DATASET).evaluate(np.zeros(TASK.size))
    with pytest.raises(ConfigurationError, match="is for 3, the data have 4 classes"):
        Evaluator(models.softmax(3, 3), DATASET)


def test_classes_and_disagreement_are_those_counted_by_hand():
    params = np.random.default_rng(5).standard_normal((5, TASK.size)).astype(np.float32)
    result = Evaluator(TASK, DATASET).evaluate(params)
    guesses = np.stack([(DATASET.test_x @ p[:12].reshape(3, 4) + p[12:]).argmax(axis=1) for p in params])
    for label in range(4):
        own = DATASET.test_y == label
        np.testing.assert_allclose(
            result.by_class[:, label], (guesses[:, own] == label).mean(axis=1), rtol=1e-6
        )
    pairs = [(guesses[i] != guesses[j]).mean() for i in range(5) for j in range(5) if i != j]
    assert result.disagreement == pytest.approx(np.mean(pairs))
    assert Evaluator(TASK, DATASET).evaluate(params[[0, 0]]).disagreement == 0
    assert np.isnan(Evaluator(TASK, DATASET).evaluate(params[:1]).disagreement)


def test_long_test_sets_are_taken_in_slices(monkeypatch):
    params = np.random.default_rng(6).standard_normal((30, TASK.size)).astype(np.float32)
    whole = Evaluator(TASK, DATASET).evaluate(params)
    monkeypatch.setattr(evaluate, "_BUDGET_BYTES", 1)
    monkeypatch.setattr(evaluate, "_LEAST_SAMPLES", 7)
    sliced = Evaluator(TASK, DATASET).evaluate(params)
    np.testing.assert_array_equal(sliced.accuracy, whole.accuracy)
    np.testing.assert_allclose(sliced.loss, whole.loss, rtol=1e-5)
    assert sliced.disagreement == pytest.approx(whole.disagreement)


def test_what_a_task_measures_besides_is_averaged():
    def measured(params, x, y):
        return {"loss": jnp.zeros(len(y)), "first": x[:, 0] + params[0]}

    task = Task("own", 1, lambda rng: np.zeros(1, np.float32), lambda p, x, y: p[0], measured, classes=4)
    result = Evaluator(task, DATASET).evaluate(np.array([[0.0], [2.0]]))
    expected = DATASET.test_x[:, 0].mean()
    np.testing.assert_allclose(result.others["first"], [expected, expected + 2], rtol=1e-4, atol=1e-6)


def test_consensus_distance():
    assert consensus_distance(np.array([[1.0, 1.0], [1.0, 1.0]])) == 0.0
    assert consensus_distance(np.array([[0.0, 0.0], [6.0, 8.0]])) == pytest.approx(5.0)
    assert consensus_distance(np.array([[0.0], [np.nan]])) == np.inf
    # float64 throughout: a small disagreement on top of a large common value survives.
    assert consensus_distance(np.array([[1e8], [1e8 + 2.0]])) == pytest.approx(1.0)
    with pytest.raises(ConfigurationError, match="shape"):
        consensus_distance(np.empty((0, 3)))
