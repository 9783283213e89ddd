import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.learning import models
from protocols.learning.bank import Bank, row_class
from protocols.learning.batches import Batches
from protocols.learning.eager import EagerExecutor
from protocols.learning.local_update import PLAIN, Recipe
from protocols.learning.operations import Operations, affine
from protocols.learning.optimisers import Optimiser, adam, momentum
from simulator.errors import ConfigurationError
from tests.support.matrix import covering

FEATURES, CLASSES = 4, 3
TASK = models.mlp(FEATURES, 3, CLASSES)
SIZES = (5, 70, 1, 0)


def samples(seed=0):
    rng = np.random.default_rng(seed)
    total = sum(SIZES)
    x = (3 * rng.standard_normal((total, FEATURES))).astype(np.float32)
    y = rng.integers(CLASSES, size=total).astype(np.int32)
    cuts = np.cumsum(SIZES)[:-1]
    return x, y, np.split(np.arange(total), cuts)


X, Y, PARTS = samples()
BANK = Bank.of(X, Y, PARTS)
PARAMS = np.random.default_rng(9).standard_normal(TASK.size).astype(np.float32)
ZERO = np.zeros(TASK.size, dtype=np.float32)


def gradients(params, node):
    """Per-example gradients in float64, one at a time."""
    grad = jax.grad(TASK.loss)
    rows = [np.asarray(grad(params, X[i], Y[i]), dtype=np.float64) for i in PARTS[node]]
    return np.array(rows).reshape(-1, TASK.size)


def clipped(vector, bound):
    norm = np.linalg.norm(vector)
    return vector * (bound / norm) if norm > bound else vector


def operations(task=TASK, bank=BANK, *, step=1.0, divisor=1, clip=1.0, unit="record", **recipe):
    chosen = Recipe(unit=None if clip is None else unit, noised=True, **recipe)
    return Operations(task, bank, chosen, Batches(bank.counts), step, divisor, clip)


def stepped(params, node, noise=ZERO, bank=BANK, **settings):
    op = operations(bank=bank, **settings).update()
    executor = EagerExecutor()
    return executor.read([executor.submit(op, [params, node, noise], node=node, size=TASK.size)])[0]


def test_bank_rows_come_in_few_sizes_and_padding_is_masked():
    assert BANK.x.shape == (4, 96, FEATURES)
    assert [row_class(n) for n in (0, 1, 8, 9, 13, 16, 17, 25, 70, 97)] == [
        8,
        8,
        8,
        12,
        16,
        16,
        24,
        32,
        96,
        128,
    ]
    assert BANK.counts == list(SIZES)
    assert BANK.mask.sum(axis=1).tolist() == list(SIZES)
    np.testing.assert_array_equal(BANK.x[1, :70], X[PARTS[1]])
    assert not BANK.x[~BANK.mask].any()
    with pytest.raises(ConfigurationError, match="no nodes"):
        Bank.of(X, Y, [])


@pytest.mark.parametrize("node", covering(range(4), {0, 3}))
@pytest.mark.parametrize(("clip", "unit"), [(0.7, "record"), (0.7, "node"), (None, "record"), (None, "node")])
def test_a_step_is_the_formula(node, clip, unit):
    noise = np.random.default_rng(4).standard_normal(TASK.size).astype(np.float32)
    rows = gradients(PARAMS, node)
    if clip is None:
        g = rows.sum(axis=0)
    elif unit == "record":
        g = sum((clipped(row, clip) for row in rows), np.zeros(TASK.size))
    else:
        g = clipped(rows.sum(axis=0), clip)
    got = stepped(PARAMS, node, noise, step=0.5, divisor=20, clip=clip, unit=unit)
    np.testing.assert_allclose(got, PARAMS - 0.5 / 20 * (g + noise), rtol=1e-5, atol=1e-5)


def test_the_divisor_does_not_depend_on_how_many_samples_a_node_has():
    # The node without data moves by its noise alone, by the public constant.
    noise = np.ones(TASK.size, dtype=np.float32)
    got = stepped(PARAMS, 3, noise, step=2.0, divisor=8, clip=1.0)
    np.testing.assert_allclose(got, PARAMS - 0.25, rtol=1e-6)


@pytest.mark.parametrize(("clip", "unit"), [(1.0, "record"), (1.0, "node"), (None, "record")])
def test_padding_contributes_exactly_nothing(clip, unit):
    more = Bank(
        *(
            np.concatenate([a, np.zeros((4, 64, *a.shape[2:]), a.dtype)], axis=1)
            for a in (BANK.x, BANK.y, BANK.mask)
        )
    )
    dirty = Bank(np.where(BANK.mask[..., None], BANK.x, 1e6).astype(np.float32), BANK.y, BANK.mask)
    options = {"step": 1.0, "divisor": 1, "clip": clip, "unit": unit}
    plain = stepped(PARAMS, 0, **options)
    np.testing.assert_allclose(stepped(PARAMS, 0, bank=more, **options), plain, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(stepped(PARAMS, 0, bank=dirty, **options), plain)
    np.testing.assert_array_equal(stepped(PARAMS, 3, **options), PARAMS)


@given(seed=st.integers(0, 500), scale=st.sampled_from([1e-3, 1.0, 1e3, 1e15, 1e30]))
@settings(deadline=None, max_examples=25)
def test_removing_one_record_moves_the_contribution_by_at_most_the_clipping_norm(seed, scale):
    x, y, parts = samples(seed)
    x = (x * np.float32(scale)).astype(np.float32)
    params = np.random.default_rng(seed).standard_normal(TASK.size).astype(np.float32)
    fewer = [parts[0][1:], *parts[1:]]
    with_it, without = (
        stepped(ZERO + params, 0, bank=Bank.of(x, y, p), step=1.0, divisor=1, clip=0.5).astype(float)
        for p in (parts, fewer)
    )
    assert np.linalg.norm(with_it - without) <= 0.5 + 1e-5


@given(scale=st.sampled_from([1e-3, 1.0, 1e3, 1e15, 1e30]))
@settings(deadline=None, max_examples=5)
def test_a_whole_node_moves_the_contribution_by_at_most_the_clipping_norm(scale):
    bank = Bank.of((X * np.float32(scale)).astype(np.float32), Y, PARTS)
    moved = stepped(PARAMS, 1, bank=bank, step=1.0, divisor=1, clip=0.5, unit="node").astype(float) - PARAMS
    assert np.linalg.norm(moved) <= 0.5 + 1e-5


def test_a_record_whose_gradient_is_not_finite_contributes_nothing():
    params = (1e10 * PARAMS).astype(np.float32)
    x = X.copy()
    x[PARTS[0][0]] = 3e38
    assert not np.isfinite(jax.grad(TASK.loss)(params, x[PARTS[0][0]], Y[PARTS[0][0]])).all()
    without = [PARTS[0][1:], *PARTS[1:]]
    options = {"step": 1e10, "divisor": 1, "clip": 1.0}
    got = stepped(params, 0, bank=Bank.of(x, Y, PARTS), **options)
    expected = stepped(params, 0, bank=Bank.of(x, Y, without), **options)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    whole = stepped(params, 0, bank=Bank.of(x, Y, PARTS), unit="node", **options)
    np.testing.assert_array_equal(whole, params)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize(
    ("unit", "optimiser"),
    [
        ("record", PLAIN),
        ("node", PLAIN),
        ("node", Optimiser(momentum())),
        ("node", Optimiser(adam())),
    ],
    ids=["record-sgd", "node-sgd", "node-momentum", "node-adam"],
)
def test_data_that_overflow_move_no_contribution_by_more_than_the_clipping_norm(bad, optimiser, unit):
    """One step, or a whole update of any optimiser: noise is added to something bounded, whatever the data."""
    x = X.copy()
    x[PARTS[0][2]] = bad
    whole = unit == "node"
    options = {"step": 1.0, "divisor": 1, "clip": 0.5, "unit": unit, "optimiser": optimiser, "whole": whole}
    steps = 2 if whole else 1
    noise = 0.1 * np.random.default_rng(4).standard_normal(TASK.size).astype(np.float32)
    moved = stepped(PARAMS, 0, noise=noise, bank=Bank.of(x, Y, PARTS), steps=steps, **options)
    assert np.isfinite(moved).all()
    contribution = PARAMS.astype(float) - moved - noise
    if whole:
        assert np.linalg.norm(contribution) <= 0.5 * (1 + 1e-5)
    else:
        rest = [np.delete(PARTS[0], 2), *PARTS[1:]]
        without = stepped(PARAMS, 0, noise=noise, bank=Bank.of(x, Y, rest), steps=steps, **options)
        assert np.linalg.norm(moved.astype(float) - without) <= 0.5 * (1 + 1e-5)


def test_a_zero_gradient_is_safe_to_clip():
    # A saturated softmax predicts the label with certainty: its gradient is exactly zero.
    task = models.softmax(1, 2)
    bank = Bank.of(np.ones((1, 1), np.float32), np.zeros(1, np.int32), [np.array([0])])
    params = np.array([500, -500, 0, 0], dtype=np.float32)
    executor = EagerExecutor()
    for unit in ("record", "node"):
        op = operations(task, bank, unit=unit).update()
        handle = executor.submit(op, [params, 0, np.zeros(4, np.float32)], node=0, size=4)
        np.testing.assert_array_equal(executor.read([handle])[0], params)


def test_combine_and_scale():
    ops = operations(clip=None)
    executor = EagerExecutor()
    vectors = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    weights = np.array([0.5, 0.25, -1.0], dtype=np.float32)
    mixed = executor.submit(ops.combine(3), [*vectors, weights], node=0, size=6)
    double = executor.submit(ops.scale(-2.0), [mixed], node=0, size=6)
    np.testing.assert_allclose(executor.read([double])[0], -2 * weights @ vectors, rtol=1e-5)


def test_operations_are_built_once_per_run_and_share_functions_between_runs():
    one, two = operations(), operations(step=2.0, divisor=9, clip=3.0)
    assert one.combine(3) is one.combine(3)
    assert one.scale(0.5) is one.scale(0.5)
    assert one.combine(3) is not one.combine(4)
    assert one.scale(0.5) is not one.scale(0.25)
    assert one.update() is one.update()
    assert one.update() is not one.update(2)
    assert one.update() is not two.update()
    assert one.update().fn is two.update().fn
    assert one.update(2).fn is two.update(2).fn
    assert one.combine(3).fn is two.combine(3).fn


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"step": 0.0}, "training.step"),
        ({"divisor": -1}, "training.divisor"),
        ({"clip": 0.0}, "privacy.clip"),
        ({"clip": float("inf")}, "privacy.clip"),
        ({"unit": None}, "privacy.unit"),
    ],
)
def test_parameters_out_of_range_are_refused(change, key):
    options = {"step": 1.0, "divisor": 1, "clip": 1.0, **change}
    with pytest.raises(ConfigurationError) as caught:
        operations(**options)
    assert caught.value.key == key


def test_a_sum_of_no_vectors_is_refused():
    with pytest.raises(ConfigurationError, match="expected at least 1"):
        affine(0)
