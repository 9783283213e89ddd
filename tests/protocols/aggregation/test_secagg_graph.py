"""SecAgg+: degree and threshold of the graph of partners, and the graph itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.aggregation.secagg_graph import Parameters, parameters, partners
from simulator.errors import ConfigurationError
from tests.support.matrix import covering

H, M = "semi-honest", "semi-malicious"
# google-parfait/federated-compute, graph_parameter_finder_test.cc:
# (n, corrupted, dropouts, adversary, degree, threshold)
PUBLISHED = [
    (100, 0.45, 0.45, H, 92, 46),
    (10, 0.33, 0.33, H, 8, 4),
    (1000, 0.33, 0.33, H, 286, 150),
    (100, 0.3, 0.3, M, 92, 62),
    (10, 0.05, 0.33, H, 4, 2),
    (1000, 0.05, 0.33, H, 72, 24),
    (100, 0.05, 0.33, M, 72, 39),
    (10, 0.33, 0.05, H, 4, 4),
    (1000, 0.33, 0.05, H, 78, 60),
    (100, 0.33, 0.05, M, 42, 37),
    (10, 0.05, 0.05, H, 2, 2),
    (1000, 0.05, 0.05, H, 30, 17),
    (100, 0.05, 0.05, M, 16, 11),
    (100, 0.33, 0.0, H, 26, 25),
    (100, 0.0, 0.33, H, 26, 2),
    (100, 0.0, 0.33, M, 68, 35),
    (1000, 0.0, 0.0, H, 2, 2),
]
# Computed once more by an independent implementation of the same conditions.
OTHERS = [
    (20, 0.1, 0.1, H, 6, 3),
    (20, 0.33, 0.1, H, 10, 7),
    (50, 0.2, 0.2, H, 22, 11),
    (100, 0.1, 0.1, H, 22, 11),
    (100, 0.33, 0.1, H, 42, 32),
    (200, 0.2, 0.2, H, 62, 34),
    (500, 0.1, 0.1, H, 42, 24),
    (500, 0.33, 0.1, H, 90, 64),
    (1000, 0.2, 0.2, H, 98, 54),
]


@pytest.mark.parametrize(
    ("n", "corrupted", "dropouts", "adversary", "degree", "threshold"),
    covering(PUBLISHED + OTHERS, lambda case: case[0] < 1000 or case[2] == 0.0),
)
def test_degrees_and_thresholds(
    n: int, corrupted: float, dropouts: float, adversary: Any, degree: int, threshold: int
) -> None:
    assert parameters(n, corrupted, dropouts, 40, 20, adversary) == Parameters(degree, threshold)


def test_few_members_have_no_sparse_graph() -> None:
    with pytest.raises(ConfigurationError, match="use a complete graph"):
        parameters(10, 0.45, 0.45)
    with pytest.raises(ConfigurationError, match="expected"):
        parameters(2, 0.1, 0.1)


@given(st.integers(3, 60), st.integers(1, 20), st.binary(min_size=4, max_size=4))
def test_partners_are_mutual_connected_and_as_many_as_asked(count: int, half: int, key: bytes) -> None:
    members = tuple(range(5, 5 + 3 * count, 3))
    graph = partners(members, 2 * half, key)
    assert graph.keys() == set(members)
    for one, others in graph.items():
        assert list(others) == sorted(set(others))
        assert one not in others
        assert len(others) == min(2 * half, count - 1)
        assert all(one in graph[other] for other in others)
    reached, todo = {members[0]}, [members[0]]
    while todo:
        todo += [other for other in graph[todo.pop()] if other not in reached and not reached.add(other)]
    assert reached == set(members)
    assert partners(members, 2 * half, key) == graph


def test_an_odd_degree_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="even"):
        partners((1, 2, 3, 4, 5), 3, b"")
