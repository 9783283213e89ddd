"""Local updates of several steps: optimisers, schedules, batches, clipping, and what is kept."""

from itertools import product

import jax
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.learning import models, optimisers, schedules
from protocols.learning.bank import Bank
from protocols.learning.batches import NOBODY, Batches, epoch_steps
from protocols.learning.eager import EagerExecutor
from protocols.learning.executor import BatchedExecutor
from protocols.learning.local_update import PLAIN, Recipe
from protocols.learning.operations import Operations
from protocols.learning.optimisers import Optimiser
from simulator.errors import ConfigurationError
from tests.support.matrix import covering

TASK = models.mlp(4, 3, 3)
COUNTS = (9, 20, 1)
RNG = np.random.default_rng(0)
X = RNG.standard_normal((sum(COUNTS), 4)).astype(np.float32)
Y = RNG.integers(3, size=sum(COUNTS)).astype(np.int32)
PARTS = np.split(np.arange(sum(COUNTS)), np.cumsum(COUNTS)[:-1])
BANK = Bank.of(X, Y, PARTS)
START = TASK.init(np.random.default_rng(1)) + 0.1


def decayed(weight_decay, inner):
    return optax.chain(optax.add_decayed_weights(weight_decay), inner)


OPTIMISERS = {
    "sgd": (PLAIN, optax.sgd(0.3)),
    "sgd-decay": (Optimiser(optimisers.sgd(0.01)), decayed(0.01, optax.sgd(0.3))),
    "momentum": (Optimiser(optimisers.momentum(0.8)), optax.sgd(0.3, momentum=0.8)),
    "nesterov-decay": (
        Optimiser(optimisers.momentum(nesterov=True, weight_decay=0.01)),
        decayed(0.01, optax.sgd(0.3, momentum=0.9, nesterov=True)),
    ),
    "adam": (Optimiser(optimisers.adam(beta2=0.99)), optax.adam(0.3, b2=0.99)),
    "adamw": (
        Optimiser(optimisers.adam(weight_decay=0.1, decoupled=True)),
        optax.adamw(0.3, weight_decay=0.1),
    ),
}
"""Ours, and the same by optax's own names, with step size 0.3."""


one_gradient = jax.jit(jax.grad(TASK.loss))


def gradient(params, chosen):
    total = np.zeros(TASK.size)
    for i in chosen:
        total += np.asarray(one_gradient(params, X[i], Y[i]), float)
    return total


def submitted(
    recipe, *inputs, node=0, divisor=10, rate=0.3, clip=None, pull=0.0, batches=None, model=START, size=None
):
    ops = Operations(TASK, BANK, recipe, batches or Batches(COUNTS, recipe.steps), rate, divisor, clip, pull)
    before = [inputs[0]] if recipe.keeps == "node" else []
    rest = inputs[1:] if recipe.keeps == "node" else inputs
    results = []
    for executor in (EagerExecutor(), BatchedExecutor()):
        handle = executor.submit(
            ops.update(), [model, *before, node, *rest], node=node, size=size or TASK.size
        )
        results.append(executor.read([handle])[0])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-5, atol=1e-6)
    return results[0]


@pytest.mark.parametrize("name", covering(OPTIMISERS, {"sgd-decay", "nesterov-decay", "adam", "adamw"}))
@pytest.mark.parametrize("steps", covering([1, 4], {4}))
def test_local_steps_are_those_of_optax(name, steps):
    optimiser, transform = OPTIMISERS[name]
    got = submitted(Recipe(steps=steps, optimiser=optimiser))
    params, state = START.astype(float), transform.init(START)
    for _ in range(steps):
        updates, state = transform.update((gradient(params, PARTS[0]) / 10).astype(np.float32), state, params)
        params = params + np.asarray(updates)
    np.testing.assert_allclose(got, params, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    ("keeps", "name"),
    covering(
        product(["node", "travels"], list(OPTIMISERS)[2:]),
        lambda case: case in (("node", list(OPTIMISERS)[3]), ("travels", list(OPTIMISERS)[4])),
    ),
    ids=str,
)
def test_a_state_that_is_kept_goes_on_where_it_was(name, keeps):
    """Two updates of two steps with the state in between are one update of four."""
    optimiser = OPTIMISERS[name][0]
    recipe = Recipe(steps=2, optimiser=optimiser, keeps=keeps)
    size = TASK.size + optimiser.state_size(TASK.size)
    fresh = optimiser.fresh(TASK.size)
    assert len(fresh) == optimiser.state_size(TASK.size)
    first_state = np.concatenate([np.zeros(TASK.size, np.float32), fresh])
    if keeps == "node":
        first = submitted(recipe, first_state, size=size)
        second = submitted(recipe, first, model=first[: TASK.size], size=size)
    else:
        first = submitted(recipe, model=np.concatenate([START, fresh]).astype(np.float32), size=size)
        second = submitted(recipe, model=first, size=size)
    whole = submitted(Recipe(steps=4, optimiser=optimiser))
    np.testing.assert_allclose(second[: TASK.size], whole, rtol=1e-4, atol=1e-5)
    restarted = submitted(Recipe(steps=2, optimiser=optimiser), model=first[: TASK.size])
    assert np.abs(restarted - whole).max() > 1e-4  # a state made anew is another thing


def test_a_proximal_pull_is_its_formula():
    got = submitted(Recipe(steps=3, proximal=True), pull=0.7)
    params = START.astype(float)
    for _ in range(3):
        params = params - 0.3 * (gradient(params, PARTS[0]) / 10 + 0.7 * (params - START))
    np.testing.assert_allclose(got, params, rtol=1e-4, atol=1e-5)


def test_step_sizes_may_change_from_step_to_step():
    rates = (0.4, 0.1, 0.02)
    got = submitted(Recipe(steps=3, scheduled=True), rates)
    params = START.astype(float)
    for rate in rates:
        params = params - rate * gradient(params, PARTS[0]) / 10
    np.testing.assert_allclose(got, params, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_every_step_has_noise_of_its_own():
    noise = np.random.default_rng(2).standard_normal((2, TASK.size)).astype(np.float32)
    got = submitted(Recipe(steps=2, unit="record", noised=True), noise, clip=0.5)
    params = START.astype(float)
    for drawn in noise:
        total = np.zeros(TASK.size)
        for i in PARTS[0]:
            one = gradient(params, [i])
            total += one * min(1.0, 0.5 / np.linalg.norm(one))
        params = params - 0.3 / 10 * (total + drawn)
    np.testing.assert_allclose(got, params, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", covering(["sgd", "adam"], {"adam"}))
def test_a_whole_update_is_clipped_and_noised_once(name):
    optimiser = OPTIMISERS[name][0]
    noise = np.random.default_rng(3).standard_normal(TASK.size).astype(np.float32)
    recipe = Recipe(steps=3, optimiser=optimiser, unit="node", whole=True, noised=True)
    assert recipe.contributions == 1
    got = submitted(recipe, noise, clip=0.05)
    trained = submitted(Recipe(steps=3, optimiser=optimiser))
    moved = (START - trained).astype(float)
    assert np.linalg.norm(moved) > 0.05
    np.testing.assert_allclose(
        got, START - moved * (0.05 / np.linalg.norm(moved)) - noise, rtol=1e-4, atol=1e-5
    )


def test_batches_are_the_samples_they_name():
    rows = np.array([[0, 3, NOBODY, NOBODY], [8, 1, 2, NOBODY]], np.int32)
    got = submitted(Recipe(steps=2, sampled=True), rows)
    params = START.astype(float)
    for chosen in ([0, 3], [8, 1, 2]):
        params = params - 0.3 * gradient(params, chosen) / 10
    np.testing.assert_allclose(got, params, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", covering(["momentum", "adam"], {"momentum"}))
def test_a_missing_batch_is_no_step(name):
    optimiser = OPTIMISERS[name][0]
    rows = np.array([[0, 1], [2, 3], [NOBODY, NOBODY]], np.int32)
    some = submitted(Recipe(steps=3, optimiser=optimiser, sampled=True, partial=True), rows)
    fewer = submitted(Recipe(steps=2, optimiser=optimiser, sampled=True), rows[:2])
    np.testing.assert_allclose(some, fewer, rtol=1e-6)


@given(batch=st.integers(1, 25), epochs=st.integers(1, 3), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_an_epoch_takes_every_sample_once(batch, epochs, seed):
    steps = epoch_steps(COUNTS, batch, epochs)
    batches = Batches(COUNTS, steps, "shuffle", batch=batch, epochs=epochs)
    for node, count in enumerate(COUNTS):
        rows = batches.draw(node, np.random.default_rng(seed))
        assert rows.shape == (steps, batch)
        taken = rows[rows != NOBODY]
        assert sorted(taken.tolist()) == sorted(list(range(count)) * epochs)
        made = (rows != NOBODY).any(axis=1)
        assert made[: epochs * -(-count // batch)].all()
        assert not made[epochs * -(-count // batch) :].any()


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_uniform_batch_has_its_size_and_nobody_twice(seed):
    batches = Batches(COUNTS, 3, "uniform", batch=6)
    for node, count in enumerate(COUNTS):
        for row in batches.draw(node, np.random.default_rng(seed)):
            taken = row[row != NOBODY].tolist()
            assert len(taken) == len(set(taken)) == min(6, count)
            assert max(taken) < count


def test_poisson_batches_are_never_cut_and_have_the_law_they_should():
    counts, rate, draws = (400,), 0.1, 500
    batches = Batches(counts, draws, "poisson", rate=rate)
    rows = batches.draw(0, np.random.default_rng(5))
    sizes = (rows != NOBODY).sum(axis=1)
    assert rows.shape[1] >= sizes.max() > 1.2 * 400 * rate
    # Mean of 500 binomials: within five standard errors, so wrong with a chance below 1e-6.
    assert abs(sizes.mean() - 40) < 5 * np.sqrt(400 * rate * (1 - rate) / draws)
    hits = np.bincount(rows[rows != NOBODY], minlength=400) / draws
    assert abs(hits - rate).max() < 6.5 * np.sqrt(
        rate * (1 - rate) / draws
    )  # 400 samples: below 1e-6 together


def test_schedules_are_their_formulas():
    at = {
        schedules.constant(2.0): {0: 2.0, 99: 2.0},
        schedules.piecewise(2.0, (10, 20), 0.5): {9: 2.0, 10: 1.0, 20: 0.5},
        schedules.cosine(2.0, 100, 0.1): {0: 2.0, 50: 2.0 * 0.55, 100: 0.2, 500: 0.2},
        schedules.exponential(2.0, 10.0): {0: 2.0, 10: 1.0, 20: 0.5},
        schedules.inverse_sqrt(2.0, 4): {0: 2.0, 4: 2.0, 16: 1.0},
        schedules.warmed_up(schedules.constant(2.0), 4): {0: 0.5, 1: 1.0, 3: 2.0, 9: 2.0},
        schedules.warmed_up(schedules.constant(2.0), 0): {0: 2.0},
    }
    for schedule, values in at.items():
        for made, value in values.items():
            assert schedule(made) == pytest.approx(value)
    with pytest.raises(ConfigurationError, match="do not ascend"):
        schedules.piecewise(1.0, (5, 5), 0.5)


@pytest.mark.parametrize(
    "bad", [{"momentum": 1.0}, {"beta1": -0.1}, {"weight_decay": -1.0}, {"epsilon": 0.0}]
)
def test_optimisers_out_of_range_are_refused(bad):
    build = optimisers.momentum if "momentum" in bad else optimisers.adam
    with pytest.raises(ConfigurationError, match="optimiser: "):
        build(**bad)


@pytest.mark.parametrize(
    ("changes", "pull"),
    [
        ({"optimiser": Optimiser(optimisers.sgd(0.9))}, 0.0),
        ({"optimiser": Optimiser(optimisers.adam(weight_decay=0.9, decoupled=True))}, 0.0),
        ({"optimiser": Optimiser(optimisers.momentum()), "keeps": "node"}, 0.0),
        ({"proximal": True}, 0.8),
    ],
    ids=["decay", "decoupled decay", "kept momentum", "proximal pull"],
)
def test_a_node_without_data_says_nothing(changes, pull):
    """Zeroing out a node's data moves its clipped update by at most C; decay or a pull alone would move the rest."""
    clip = 0.05
    counts = [len(PARTS[0]), 0]
    bank = Bank.of(X, Y, [PARTS[0], PARTS[0][:0]])
    recipe = Recipe(steps=3, unit="node", whole=True, noised=True, **changes)
    operations = Operations(TASK, bank, recipe, Batches(counts, 3), 0.3, 10, clip, pull)
    size = TASK.size
    given = []
    if recipe.keeps == "node":
        size += recipe.optimiser.state_size(TASK.size)
        given = [np.concatenate([np.zeros(TASK.size), np.full(size - TASK.size, 0.5)]).astype(np.float32)]
    noise = np.zeros(TASK.size, np.float32)
    moved = []
    for node in (0, 1):
        executor = BatchedExecutor()
        handle = executor.submit(operations.update(), [START, *given, node, noise], node=node, size=size)
        moved.append(executor.read([handle])[0][: TASK.size] - START)
    assert np.linalg.norm(moved[0]) == pytest.approx(clip, rel=1e-3)
    assert not moved[1].any()
