"""Losses of contributions to sums of groups: the bound, against every coalition and every list."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.privacy.group_losses import group_losses

NODES = 7


def worst(
    rounds: list[list[list[int]]], weights: list[float], noise: list[float], coalition: int, missing: int
) -> list[float]:
    """Return the largest loss over all coalitions and all lists that may be opened."""
    energy = [(w * s) ** 2 for w, s in zip(weights, noise, strict=True)]

    def one_sum(victim: int, members: list[int], known: tuple[int, ...]) -> float:
        others = set(members) - {victim}
        return max(
            weights[victim] ** 2 / sum(energy[u] for u in members if u not in {*known, *away})
            for away in combinations(sorted(others), min(missing, len(members) - 3))
        )

    return [
        max(
            sum(
                one_sum(victim, members, known)
                for groups in rounds
                for members in groups
                if victim in members
            )
            for known in combinations(sorted(set(range(NODES)) - {victim}), coalition)
        )
        for victim in range(NODES)
    ]


@st.composite
def schedules(draw: st.DrawFn) -> list[list[list[int]]]:
    found = []
    for _ in range(draw(st.integers(1, 4))):
        order = draw(st.permutations(range(NODES)))
        cuts = [0, *draw(st.sampled_from([[7], [4, 7], [3, 7], [3, 6], [5]]))]
        found.append([sorted(order[a:b]) for a, b in pairwise(cuts)])
    return found


@given(
    schedules(),
    st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=NODES, max_size=NODES),
    st.lists(st.sampled_from([1.0, 1.5, 4.0]), min_size=NODES, max_size=NODES),
    st.integers(0, 2),
    st.integers(0, 1),
)
def test_no_coalition_has_more_and_a_single_node_can_have_as_much(
    rounds: list[list[list[int]]], weights: list[float], noise: list[float], coalition: int, missing: int
) -> None:
    if missing + coalition > 2:  # of three members, nobody else would be left with noise
        coalition = 1
    bound = group_losses(lambda: rounds, weights, noise, coalition, lambda size: max(3, size - missing))
    true = worst(rounds, weights, noise, coalition, missing)
    assert (bound >= np.multiply(true, 1 - 1e-12)).all()
    if coalition <= 1 and not missing:
        np.testing.assert_allclose(bound, true, rtol=1e-12)


def test_one_group_of_all_costs_what_the_others_hide() -> None:
    bound = group_losses(lambda: [[range(NODES)]] * 3, [1.0] * NODES, [2.0] * NODES, 2, lambda size: size)
    np.testing.assert_allclose(bound, 3 / ((NODES - 2) * 4.0))


def test_victims_in_chunks_have_the_same_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = [[[0, 1, 2], [3, 4, 5, 6]], [[0, 3, 5], [1, 2, 4]]]
    whole = group_losses(lambda: rounds, [1.0] * NODES, [1.0] * NODES, 1, lambda size: size)
    monkeypatch.setattr("protocols.privacy.group_losses.CHUNK", 2)
    np.testing.assert_array_equal(
        group_losses(lambda: rounds, [1.0] * NODES, [1.0] * NODES, 1, lambda size: size), whole
    )


def test_a_sum_that_may_be_left_without_noise_has_no_bound() -> None:
    bound = group_losses(lambda: [[[0, 1, 2]]], [1.0] * NODES, [0.0] * NODES, 1, lambda size: size)
    assert np.isinf(bound[:3]).all()
    assert (bound[3:] == 0).all()
