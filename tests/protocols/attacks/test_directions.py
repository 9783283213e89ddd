"""What Byzantine nodes say, against published code in float64, and exact identities."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.attacks import directions
from protocols.learning import models
from protocols.robust import rules, weighted
from simulator.errors import ConfigurationError
from tests.support.matrix import covering
from tests.support.places import DATA

pytestmark = pytest.mark.usefixtures("wide")

RECORD = json.loads((DATA / "attacks.json").read_text())
ARRAYS = dict(np.load(DATA / "robust_rules.npz")) | dict(np.load(DATA / "attacks.npz"))
GOSSIP = json.loads((DATA / "gossip_rules.json").read_text())["cases"]
GRAPHS = np.load(DATA / "gossip_rules.npz")


def cases(name: str) -> list[dict[str, Any]]:
    return [case for case in RECORD["attacks"] if case["name"] == name]


@pytest.mark.parametrize(
    ("name", "said", "least"),
    [
        ("SignFlipping", lambda x, told: directions.inner_product(x, 1.0), 30),
        ("InnerProductManipulation", lambda x, told: directions.inner_product(x, told.get("tau", 2.0)), 60),
        ("ALittleIsEnough", lambda x, told: directions.little(x, told.get("tau", 1.5)), 60),
        ("Mimic", lambda x, told: x[told["epsilon"]], 60),
    ],
)
def test_what_is_said(name: str, said: Callable[..., Any], least: int) -> None:
    for case in cases(name):
        found = said(jnp.asarray(ARRAYS[case["input"]]), case["params"])
        np.testing.assert_allclose(np.asarray(found), ARRAYS[case["id"]], rtol=1e-6, atol=1e-9)
    assert len(cases(name)) > least


def defence(case: dict[str, Any]) -> Callable[[Any], Any]:
    f = case["f"]
    rule: dict[str, Callable[[Any], Any]] = {
        "TrMean": partial(rules.trimmed_mean, f=f),
        "Median": rules.median,
        "Average": rules.mean,
        "Krum": partial(rules.krum, f=f),
        "GeometricMedian": lambda x: rules.smoothed_geometric_median(x, 0.1, 3),
        "Meamed": partial(rules.mean_around_median, f=f),
        "MultiKrum": lambda x: rules.krum(x, f, chosen=len(x) - f),
        "MDA": partial(rules.minimum_diameter_mean, f=f),
    }
    first: dict[str, Callable[[Any], Any]] = {
        "NNM": partial(rules.nearest_mixed, f=f),
        "ARC": partial(rules.adaptively_clipped, f=f),
    }

    def defend(x: Any) -> Any:
        for name in case["params"]["pre"]:
            x = first[name](x)
        return rule[case["params"]["agg"]](x)

    return defend


@pytest.mark.parametrize(
    ("name", "say"),
    [
        ("Optimal_ALittleIsEnough", directions.little),
        ("Optimal_InnerProductManipulation", directions.inner_product),
    ],
)
@pytest.mark.parametrize("every", [27, pytest.param(1, marks=pytest.mark.slow)])
def test_a_search_does_at_least_as_much_harm(name: str, say: Callable[..., Any], every: int) -> None:
    """Within a percent of the published search in every case, and more in sum."""
    found, published = [], []
    for case in cases(name)[::every]:
        x = jnp.asarray(ARRAYS[case["input"]][: case["honest_rows"]])
        rule = defence(case)

        def outcome(sent: Any, x: Any = x, rule: Any = rule, f: int = case["f"]) -> Any:
            return rule(jnp.concatenate([x, jnp.tile(sent, (f, 1))]))

        search = jax.jit(
            lambda x, o=outcome: o(directions.suited(lambda k: say(x, k), o, jnp.mean(x, axis=0)))
        )
        found.append(float(jnp.linalg.norm(search(x) - jnp.mean(x, axis=0))))
        published.append(case["deviation"])
        assert found[-1] > 0.99 * published[-1] - 1e-9, case
    assert len(found) > 40 // every
    assert sum(found) > sum(published)


@pytest.mark.slow
def test_dissensus() -> None:
    checked = 0
    for case in GOSSIP:
        x, node = GRAPHS[case["X"]], case.get("node")
        if case["name"] == "dissensus_message":
            w, wrong = GRAPHS[case["W"]][node], case["params"]["byz"]
            honest = [j for j in case["neighbors"] if j not in wrong]
            found = directions.dissensus(
                jnp.asarray(x[node]),
                jnp.asarray(x[honest]),
                jnp.asarray(w[honest]),
                float(w[wrong].sum()),
                case["params"]["eps"],
            )
        elif case["name"] == "dissensus_direction":
            w = -GRAPHS[case["L"]][node]
            w[node] = 0.0
            found = (
                directions.dissensus(jnp.asarray(x[node]), jnp.asarray(x), jnp.asarray(w), 1.0, 1.0) - x[node]
            )
        else:
            continue
        np.testing.assert_allclose(np.asarray(found), GRAPHS[case["id"]], rtol=1e-6, atol=1e-9)
        checked += 1
    assert checked > 400


def test_the_spectral_direction() -> None:
    checked = 0
    for case in GOSSIP:
        if case["name"] != "spectral_direction":
            continue
        x, node = GRAPHS[case["X"]], case["node"]
        mode = directions.fiedler(-GRAPHS[case["L"]])
        if np.isclose(*np.linalg.eigvalsh(GRAPHS[case["L"]])[1:3]):
            continue  # several slowest modes: which one is an accident
        zero = jnp.zeros(x.shape[1])
        found = directions.spectral(zero, mode[node], jnp.asarray(x), jnp.asarray(mode), 1.0)
        np.testing.assert_allclose(np.asarray(found), GRAPHS[case["id"]], rtol=1e-6, atol=1e-8)
        checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    "case",
    covering(RECORD["toy"], lambda case: case["attack"] == "dissensus"),
    ids=lambda c: f"{c['defense']}-{c['attack']}-{c['beta']}",
)
def test_toy_consensus(case: dict[str, Any]) -> None:
    """Four nodes in a row, with 0 and 200 at its ends, and a Byzantine neighbour of each of the two between: all 100
    steps are as published."""
    beta, delta = case["beta"], case["delta_max"]
    weights = np.zeros((4, 4))
    for i, j, w in ((0, 1, 1 / 3), (2, 3, 1 / 3), (1, 2, beta)):
        weights[i, j] = weights[j, i] = w
    start = np.array([0.0, 0.0, 200.0, 200.0])
    x, errors = start.copy(), [10_000.0]
    for _ in range(100):
        after = x.copy()
        for i in range(4):
            near = np.flatnonzero(weights[i])
            rows, w, honest = [x[i], *x[near]], [*weights[i, near]], [1.0] * (1 + len(near))
            if i in (1, 2):
                sent: Any = start[i]
                if case["attack"] == "dissensus":
                    sent = directions.dissensus(
                        jnp.asarray(x[i : i + 1]),
                        jnp.asarray(x[near, None]),
                        jnp.asarray(weights[i, near]),
                        delta,
                        case["eps"],
                    )[0]
                rows, w, honest = [*rows, float(sent)], [*w, delta], [*honest, 0.0]
            seen, mix = jnp.asarray(rows)[:, None], jnp.asarray([1.0 - sum(w), *w])
            match case["defense"]:
                case "mean":
                    found = mix @ seen
                case "clip":
                    radius = weighted.oracle_radius(seen, mix, jnp.asarray(honest))
                    found = weighted.clipped_gossip(seen, mix, radius)
                case "median":
                    found = rules.median(seen)
                case _:
                    found = rules.trimmed_mean(seen, 1 if i in (1, 2) else 0)
            after[i] = float(found[0])
        x = after
        errors.append(float(np.mean((x - 100.0) ** 2)))
    np.testing.assert_allclose(errors, case["err"], rtol=1e-7, atol=1e-17)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_identities(seed: int, count: int) -> None:
    """Dissensus 1 freezes its target, an override puts it anywhere, and clipping bounds how far."""
    drawn = np.random.Generator(np.random.PCG64(seed))
    rows, weights = drawn.standard_normal((count + 1, 3)), drawn.dirichlet(np.ones(count + 2))
    target, near = jnp.asarray(rows[0]), jnp.asarray(rows[1:])
    own, w, wrong = weights[0], jnp.asarray(weights[1:-1]), float(weights[-1])

    def gossip(sent: Any) -> Any:
        return own * target + w @ near + wrong * sent

    sent = directions.dissensus(target, near, w, wrong, 1.0)
    np.testing.assert_allclose(np.asarray(gossip(sent)), rows[0], atol=1e-9)
    aim = jnp.asarray([7.0, -7.0, 7.0])
    forced = directions.override(target, near, w, wrong, aim)
    np.testing.assert_allclose(np.asarray(gossip(forced)), aim, atol=1e-7)
    seen = jnp.concatenate([target[None], near, forced[None]])
    mix = jnp.asarray([own, *weights[1:-1], wrong])
    with_lie = weighted.clipped_gossip(seen, mix, 0.5)
    without = weighted.clipped_gossip(seen.at[-1].set(target), mix, 0.5)
    assert float(jnp.linalg.norm(with_lie - without)) <= wrong * 0.5 + 1e-12


def test_inner_products_turn_the_mean_around_above_a_known_factor() -> None:
    x = jnp.asarray(np.random.Generator(np.random.PCG64(3)).standard_normal((6, 4)) + 5.0)
    for factor in (1.0, 3.9, 4.1):
        rows = jnp.concatenate([x, jnp.tile(directions.inner_product(x, factor), (1, 1)), x[:0]])
        found = jnp.mean(
            jnp.concatenate([rows[:4], jnp.tile(directions.inner_product(x[:4], factor), (1, 1))]), axis=0
        )
        expected = (4 - factor) / 5 * jnp.mean(x[:4], axis=0)
        np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-9)


def test_mimicking_takes_the_row_furthest_along_the_widest_direction() -> None:
    x = jnp.asarray([[0.0, 0.1], [1.0, -0.1], [-1.0, 0.0], [9.0, 0.2]])
    np.testing.assert_array_equal(np.asarray(directions.mimicked(x)), [9.0, 0.2])


def test_one_vector_has_no_spread() -> None:
    x = jnp.asarray([[1.0, 2.0]])
    np.testing.assert_array_equal(np.asarray(directions.little(x, 3.0)), [1.0, 2.0])


@pytest.mark.slow
def test_a_dead_model_has_no_gradient_before_its_output_layer() -> None:
    """Of honest data: zero for all but the output layer's biases, which see the labels."""
    task, drawn = models.mlp(12, 8, 3), np.random.Generator(np.random.PCG64(1))
    start = task.init(drawn)
    dead = directions.dead(task, start)
    x, y = drawn.standard_normal((20, 12)).astype(np.float32), drawn.integers(0, 3, 20)

    def total(params: Any) -> Any:
        return jnp.sum(jax.vmap(task.loss, (None, 0, 0))(params, x, y))

    gradient = np.asarray(jax.grad(total)(jnp.asarray(dead)))
    assert (gradient[:-3] == 0).all()
    assert (np.abs(gradient[-3:]) > 0).any()
    assert np.abs(np.asarray(jax.grad(total)(jnp.asarray(start))))[: 12 * 8].max() > 0.1
    np.testing.assert_array_equal(dead[13 * 8 :], start[13 * 8 :])
    for other in (models.softmax(12, 3), models.mlp(12, 8, 3, "tanh")):
        with pytest.raises(ConfigurationError, match="no hidden layer of rectified units"):
            directions.dead(other, np.zeros(other.size))
