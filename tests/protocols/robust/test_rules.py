"""Robust rules against byzfl 0.0.11 in float64, and by their properties."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.robust import rules
from protocols.robust.ordering import MOST, comparators, sorted_rows
from simulator.errors import ConfigurationError
from tests.support.places import DATA

pytestmark = pytest.mark.usefixtures("wide")

CASES = json.loads((DATA / "robust_rules.json").read_text())["cases"]
ARRAYS = np.load(DATA / "robust_rules.npz")


@cache
def expected_rule(name: str, f: int, size: int) -> Callable[..., Any]:
    """Compile the rule of a case: a function of x, of the numbers it is told, and of a permutation."""
    singles: dict[str, Callable[..., Any]] = {
        "Average": lambda x, told, order: rules.mean(x),
        "Median": lambda x, told, order: rules.median(x),
        "TrMean": lambda x, told, order: rules.trimmed_mean(x, f),
        "Meamed": lambda x, told, order: rules.mean_around_median(x, f),
        "Krum": lambda x, told, order: rules.krum(x, f),
        "MultiKrum": lambda x, told, order: rules.krum(x, f, chosen=len(x) - f),
        "GeometricMedian": lambda x, told, order: rules.smoothed_geometric_median(
            x, told.get("nu", 0.1), told.get("T", 3)
        ),
        "MDA": lambda x, told, order: rules.minimum_diameter_mean(x, f),
        "MoNNA": lambda x, told, order: rules.nearest_mean(x, f, told["idx"]),
        "NNM": lambda x, told, order: rules.nearest_mixed(x, f),
        "ARC": lambda x, told, order: rules.adaptively_clipped(x, f),
        "Clipping": lambda x, told, order: rules.clipped(x, told.get("c", 2.0)),
        "Bucketing": lambda x, told, order: rules.bucketed(x, order, size),
    }

    def twice(x: Any, told: dict[str, Any], order: Any) -> Any:
        first = rules.centred_clipping(x, jnp.zeros_like(x[0]), told["tau"], told["L"])
        return jnp.stack([first, rules.centred_clipping(0.5 * x, first, told["tau"], told["L"])])

    def chain(x: Any, told: dict[str, Any], order: Any) -> Any:
        for single in name.split("+"):
            x = singles[single](x, told, order)
        return x

    return jax.jit(twice if name == "CenteredClipping" else chain)


@pytest.mark.parametrize("name", sorted({case["name"] for case in CASES}))
@pytest.mark.parametrize("most", [4, pytest.param(99, marks=pytest.mark.slow)])
def test_reference_cases(name: str, most: int) -> None:
    """Of as many shapes as are looked at: a rule is compiled for each of them."""
    shapes = list(dict.fromkeys(ARRAYS[case["input"]].shape for case in CASES if case["name"] == name))[:most]
    checked = 0
    for case in CASES:
        if case["name"] != name or ARRAYS[case["input"]].shape not in shapes:
            continue
        x = jnp.asarray(ARRAYS[case["input"]])
        told = case["params"]
        rule = expected_rule(name, told.get("f", 0), told.get("s", 1))
        order = np.asarray(case.get("permutation", ()), np.int32)
        found, wanted = np.asarray(rule(x, told, order)), ARRAYS[case["id"]]
        size = max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9 * size, err_msg=str(case))
        checked += 1
    assert checked > (4 if most < 99 else 10)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7])
def test_networks_sort_all_zeros_and_ones(count: int) -> None:
    """Which is to sort anything."""
    for bits in product((0.0, 1.0), repeat=count):
        found = [float(row) for row in sorted_rows(jnp.asarray(bits))]
        assert found == sorted(bits)


@pytest.mark.parametrize("count", [17, 20, MOST, MOST + 1])
def test_long_networks_sort(count: int) -> None:
    x = np.random.Generator(np.random.PCG64(count)).standard_normal((count, 300))
    np.testing.assert_array_equal(np.stack(sorted_rows(jnp.asarray(x))), np.sort(x, axis=0))
    assert all(i < j < count for i, j in comparators(count))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 9), st.integers(1, 4))
def test_what_wrong_vectors_can_do(seed: int, count: int, size: int) -> None:
    """Trimmed mean and median stay within the honest range of every position, wherever f vectors are."""
    drawn = np.random.Generator(np.random.PCG64(seed))
    f = (count - 1) // 2
    x = drawn.standard_normal((count, size))
    honest = x[f:]
    x[:f] = drawn.choice([-1e9, 1e9, np.inf, -np.inf], (f, size))
    order = drawn.permutation(count)
    for rule in (partial(rules.trimmed_mean, f=f), rules.median):
        found = np.asarray(rule(jnp.asarray(x[order])))
        if rule is rules.median and count % 2 == 0:
            continue  # the mean of the middle two may be of an honest and a wrong one
        assert (found >= honest.min(axis=0) - 1e-12).all()
        assert (found <= honest.max(axis=0) + 1e-12).all()


def test_the_geometric_median_has_the_least_sum_of_distances() -> None:
    x = jnp.asarray(np.random.Generator(np.random.PCG64(1)).standard_normal((9, 5)))
    found = rules.geometric_median(x, 1e-10)

    def total(z: Any) -> Any:
        return jnp.sum(jnp.linalg.norm(x - z, axis=1))

    assert float(jnp.linalg.norm(jax.grad(total)(found))) < 1e-6
    line = jnp.asarray([[0.0], [1.0], [5.0]])
    assert float(rules.geometric_median(line)[0]) == pytest.approx(1.0, abs=1e-4)


def test_both_conventions_of_krum_may_choose_differently() -> None:
    """Two close pairs, one of them with a third point not far: counting one neighbour more turns the choice."""
    x = jnp.asarray([[0.0], [0.1], [5.0], [5.2], [6.0]])
    assert float(rules.krum(x, 2, scores="blanchard")[0]) == 0.0
    assert float(rules.krum(x, 2, scores="others")[0]) == 5.2


def test_a_batch_is_what_its_receivers_are() -> None:
    x = jnp.asarray(np.random.Generator(np.random.PCG64(1)).standard_normal((6, 7, 20)))
    for rule in (
        rules.median,
        partial(rules.trimmed_mean, f=2),
        partial(rules.krum, f=2),
        partial(rules.minimum_diameter_mean, f=2),
        rules.geometric_median,
    ):
        found = rules.batched(rule)(x)
        alone = jax.jit(rule)
        np.testing.assert_allclose(found, np.stack([alone(one) for one in x]), rtol=1e-9)


@pytest.mark.parametrize(
    "rule",
    [
        partial(rules.trimmed_mean, f=2),
        partial(rules.krum, f=3),
        partial(rules.mean_around_median, f=4),
        partial(rules.minimum_diameter_mean, f=-1),
    ],
)
def test_too_many_wrong_ones_are_refused(rule: Any) -> None:
    with pytest.raises(ConfigurationError, match="of n = 4 vectors"):
        rule(jnp.zeros((4, 2)))
