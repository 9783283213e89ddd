"""Decentralised robust rules against their authors' code in float64, and by what they promise."""

from __future__ import annotations

import json
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.robust import rules, weighted
from simulator.errors import ConfigurationError
from tests.support.compiling import compiled
from tests.support.places import DATA

pytestmark = pytest.mark.usefixtures("wide")

CASES = json.loads((DATA / "gossip_rules.json").read_text())["cases"]
ARRAYS = np.load(DATA / "gossip_rules.npz")


shapes = pytest.mark.parametrize("most", [4, pytest.param(99, marks=pytest.mark.slow)])
"""How many shapes of arrays are looked at: a rule is compiled for each of them."""


def cases(source: str, name: str, most: int = 99) -> list[dict[str, Any]]:
    """Return the cases of a rule that have one of its first ``most`` shapes."""
    found = [case for case in CASES if (case["source"], case["name"]) == (source, name)]
    assert found
    known = list(dict.fromkeys(map(shape_of, found)))[:most]
    return [case for case in found if shape_of(case) in known]


def shape_of(case: dict[str, Any]) -> tuple[int, ...]:
    """Return how many rows the rule compares, and the shape of all."""
    if "neighbors" in case:
        return len(case["neighbors"]), *ARRAYS[case["X"]].shape[1:]
    if "weights_vec" in case:
        return int(np.count_nonzero(ARRAYS[case["weights_vec"]] > 0)), *ARRAYS[case["X"]].shape
    return tuple(ARRAYS[case["X"]].shape)


def close(found: Any, case: dict[str, Any]) -> bool:
    wanted = ARRAYS[case["id"]]
    size = max(1.0, float(np.abs(wanted).max()))
    return np.allclose(np.asarray(found), wanted, rtol=1e-6, atol=1e-8 * size)


def around(case: dict[str, Any]) -> tuple[Any, Any]:
    """A receiver's rows, own first, and their weights: cases of clipped gossip."""
    x, w, node = ARRAYS[case["X"]], ARRAYS[case["W"]], case["node"]
    rows = [node, *case["neighbors"]]
    return jnp.asarray(x[rows]), jnp.asarray(w[node][rows])


def seen(case: dict[str, Any]) -> tuple[Any, Any, float]:
    """The same for cases of F-RG, where the last rows are one Byzantine message, and the Byzantine weight.

    Their step η scales all weights; the own one is what is left, so that rows sum to 1.
    """
    honest, node = ARRAYS[case["X"]], case["node"]
    weights = ARRAYS[case["weights_vec"]]
    wrong = len(weights) - len(honest)
    rows = np.vstack([honest, np.tile(ARRAYS[case["byz_message"]], (wrong, 1))])
    others = [i for i in range(len(weights)) if i != node and weights[i] > 0]
    step = case["params"].get("eta", 1.0)
    w = step * weights[others]
    return (
        jnp.asarray(rows[[node, *others]]),
        jnp.asarray([1.0 - w.sum(), *w]),
        float(step * weights[len(honest) :].sum()),
    )


@shapes
def test_clipped_gossip(most: int) -> None:
    told = 0
    for case in cases("epfml", "SelfCenteredClipping", most):
        x, w = around(case)
        radius = case["params"]["tau"]
        told += radius is not None
        if radius is None:
            radius = compiled(weighted.second_furthest)(x)
        assert close(compiled(weighted.clipped_gossip)(x, w, radius), case)
    assert told > (20 if most < 99 else 100)


@shapes
def test_rules_of_the_neighbourhood(most: int) -> None:
    """Median, trimmed mean with f lowered until something is left, smoothed geometric median, plain gossip."""
    for case in cases("epfml", "DeCM", most):
        assert close(compiled(rules.median)(around(case)[0]), case)
    for case in cases("epfml", "DeTM", most):
        x, _ = around(case)
        f = min(case["params"]["b"], (len(x) - 1) // 2)
        assert close(compiled(rules.trimmed_mean, f=f)(x), case)
    for case in cases("epfml", "DeRFA", most):
        x, _ = around(case)
        found = compiled(rules.smoothed_geometric_median)(x, case["params"]["nu"], case["params"]["T"])
        assert close(found, case)


@shapes
def test_iterative_outlier_scissor(most: int) -> None:
    for case in cases("brg", "IOS", most):
        x, w, _ = seen(case)  # with unit weights nothing is left for the own row
        w = jnp.maximum(w, 0.0)
        assert close(compiled(weighted.outliers_cut, f=case["params"]["f"])(x, w), case)


@shapes
def test_clipped_sum(most: int) -> None:
    """Nine cases with unequal weights are left: the published code cuts at a length between two distances."""
    passed = [
        close(compiled(weighted.clipped_sum)(*seen(case)), case) for case in cases("brg", "CSplus_RG", most)
    ]
    assert passed.count(False) <= 9
    assert most < 99 or (sum(passed), len(passed)) == (181, 190)


@shapes
def test_radius_from_a_budget(most: int) -> None:
    for case in cases("brg", "CShe_RG", most):
        x, w, budget = seen(case)
        # Their radius belongs to the weights before the step; it does not depend on a common factor of them.
        radius = compiled(weighted.budget_radius)(x, w, budget)
        assert close(compiled(weighted.clipped_gossip)(x, w, radius), case)


@shapes
def test_trimmed_sum(most: int) -> None:
    """Of the row that the budget cuts in two, the published code keeps the part to be dropped; where the budget is
    met exactly, it drops the next row too. Both are undone here."""
    exact, trimmed_sum = 0, compiled(weighted.trimmed_sum)
    for case in cases("brg", "GTS_RG", most):
        x, w, budget = seen(case)
        away = np.linalg.norm(x[1:] - x[0], axis=1)
        order = 1 + np.argsort(-away, kind="stable")
        total = np.cumsum(np.asarray(w)[order])
        met = int(np.searchsorted(total, budget * (1 - 1e-9)))
        if abs(total[met] - budget) < 1e-9:
            exact += 1
            assert close(trimmed_sum(x, w, float(total[met + 1])), case)
        else:
            dropped = budget - (total[met - 1] if met else 0.0)
            exchanged = (dropped - (total[met] - budget)) * (x[order[met]] - x[0])
            assert close(trimmed_sum(x, w, budget) + exchanged, case)
    assert exact > (20 if most < 99 else 200)


@shapes
def test_rules_of_flower(most: int) -> None:
    for case in cases("flwr", "trimmed_fraction", most):
        x = jnp.asarray(ARRAYS[case["X"]])
        f = int(case["params"]["proportiontocut"] * len(x))
        assert close(compiled(rules.trimmed_mean, f=f)(x), case)
    for case in cases("flwr", "Median", most):
        assert close(compiled(rules.median)(jnp.asarray(ARRAYS[case["X"]])), case)
    for name in ("Krum_blanchard", "MultiKrum_blanchard"):
        for case in cases("flwr", name, most):
            told = case["params"]
            x = jnp.asarray(ARRAYS[case["X"]])
            krum = compiled(rules.krum, f=told["f"], chosen=told.get("m", 1), scores="blanchard")
            assert close(krum(x), case)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 9), st.integers(1, 3))
def test_what_a_wrong_row_can_do(seed: int, count: int, f: int) -> None:
    """However far f rows are, clipping moves by at most their weight times the radius, and trimming drops them."""
    drawn = np.random.Generator(np.random.PCG64(seed))
    f = min(f, (count - 1) // 2)
    x = drawn.standard_normal((count, 4))
    w = np.full(count, 1.0 / count)
    wrong = x.copy()
    wrong[-f:] += 1e6 * drawn.standard_normal((f, 4))
    clipped_gossip = compiled(weighted.clipped_gossip)
    clean, moved = (np.asarray(clipped_gossip(rows, w, 0.5)) for rows in (x, wrong))
    assert np.linalg.norm(moved - clean) <= 2 * f * 0.5 / count + 1e-12
    without = x[0] + w[1:-f] @ (x[1:-f] - x[0])
    for found in (
        compiled(weighted.trimmed_sum)(wrong, w, f / count),
        compiled(weighted.without_furthest, f=f)(wrong, w),
    ):
        np.testing.assert_allclose(np.asarray(found), without, atol=1e-9)


def test_part_of_a_row_is_kept() -> None:
    x, w = jnp.asarray([[0.0], [1.0], [10.0]]), jnp.asarray([0.5, 0.25, 0.25])
    assert float(weighted.trimmed_sum(x, w, 0.15)[0]) == pytest.approx(0.25 + 0.1 * 10.0)
    assert float(weighted.trimmed_sum(x, w, 0.25)[0]) == pytest.approx(0.25)
    assert float(weighted.trimmed_sum(x, w, 0.0)[0]) == pytest.approx(0.25 + 2.5)


def test_the_oracle_radius() -> None:
    x, w = jnp.asarray([[0.0], [2.0], [90.0]]), jnp.asarray([0.5, 0.25, 0.25])
    honest = jnp.asarray([1.0, 1.0, 0.0])
    assert float(weighted.oracle_radius(x, w, honest)) == pytest.approx(2.0)
    assert float(weighted.oracle_radius(x, w, jnp.ones(3))) == float("inf")
    assert float(weighted.clipped_gossip(x, w, jnp.inf)[0]) == pytest.approx(23.0)


def test_useful_means() -> None:
    x = jnp.asarray([[0.0], [1.0], [2.0], [3.0]])
    assert float(weighted.useful_mean(x, jnp.asarray([1.0, 0.5, 2.0, 0.1]), 2, 0.5)[0]) == 0.5
    assert float(weighted.useful_mean(x, jnp.asarray([1.0, 0.5, 2.0, 0.1]), 3, 0.5)[0]) == 1.0
    assert float(weighted.useful_mean(x, jnp.asarray([0.0, 0.5, 2.0, 0.1]), 3, 0.0)[0]) == 1.0
    with pytest.raises(ConfigurationError, match="to keep"):
        weighted.useful_mean(x, jnp.zeros(4), 4, 0.5)


def test_too_many_wrong_rows_are_refused() -> None:
    x, w = jnp.zeros((3, 2)), jnp.full(3, 1 / 3)
    for rule in (weighted.without_furthest, weighted.outliers_cut):
        with pytest.raises(ConfigurationError, match="f = 3 of 2 neighbours"):
            rule(x, w, 3)
