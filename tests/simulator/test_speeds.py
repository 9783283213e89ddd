"""Compute speed: exact times through slow periods, factors that depend on their node alone."""

from __future__ import annotations

import cProfile
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from simulator.core.clock import to_s
from simulator.errors import ConfigurationError
from simulator.faults.plan import Slow
from simulator.faults.speeds import Speeds, draw_factors, steps_of, stretched_ns
from simulator.streams import Law

S = 10**9


def between(low: float, high: float) -> Law:
    return lambda u: low + (high - low) * u


def test_a_cost_is_multiplied_by_the_nodes_factor() -> None:
    speeds = Speeds((1.0, 2.5))
    assert [speeds.cost_ns(node, 7, 0.02) for node in (0, 1)] == [20_000_000, 50_000_000]
    assert Speeds().cost_ns(12, 0, 1.5) == 1_500_000_000
    assert Speeds((3.0,)).cost_ns(0, 5, 0.0) == 0


@pytest.mark.parametrize(
    ("at_s", "cost_s", "expected_s"),
    [
        (0, 2, 2),  # over before the slow period
        (0, 10, 10),  # ends as it begins
        (12, 1, 4),  # within it
        (8, 4, 10),  # two seconds before it, two that take four times as long
        (8, 9, 15),  # through all of it: 2 before, 2 in the 8 s of factor 4, 5 after
        (16, 1, 2.5),  # half a second's work in the last two, the rest after
        (18, 1, 1),  # starts as it ends
    ],
)
def test_a_job_is_slow_only_in_the_slow_period(at_s: int, cost_s: int, expected_s: float) -> None:
    """Node 0 takes four times as long from 10 s to 18 s."""
    speeds = Speeds(slow=[Slow(0, 4.0, 10.0, 18.0)])
    assert speeds.cost_ns(0, at_s * S, cost_s) == round(expected_s * S)
    assert speeds.cost_ns(1, at_s * S, cost_s) == cost_s * S


def test_periods_that_overlap_multiply_and_fast_ones_hasten() -> None:
    periods = [Slow(0, 2.0, 1.0, 5.0), Slow(0, 3.0, 3.0), Slow(0, 0.5, 5.0, 6.0)]
    assert steps_of(periods) == ((1 * S, 3 * S, 5 * S, 6 * S), (2, 6, Fraction(3, 2), 3))
    speeds = Speeds((0.5,), periods)
    # 8 s of cost are 4 s of work: 1 s, then 1 in [1,3), 1/3 in [3,5), 2/3 in [5,6), and 1 at a third of the speed
    assert speeds.cost_ns(0, 0, 8.0) == 9 * S


PERIODS = st.lists(
    st.builds(
        lambda factor, at, length: Slow(0, factor, to_s(at), None if length is None else to_s(at + length)),
        st.floats(0.05, 50),
        st.integers(0, 10**10),
        st.none() | st.integers(1, 10**10),
    ),
    max_size=5,
)


@settings(deadline=None)
@given(PERIODS, st.integers(0, 2 * 10**10), st.integers(0, 10**10), st.integers(0, 10**10))
def test_two_halves_of_a_job_take_as_long_as_the_whole(
    periods: list[Slow], at_ns: int, first_ns: int, second_ns: int
) -> None:
    steps = steps_of(periods)
    half = stretched_ns(steps, at_ns, first_ns)
    whole = stretched_ns(steps, at_ns, first_ns + second_ns)
    assert half + stretched_ns(steps, at_ns + half, second_ns) == whole
    # In whole nanoseconds the second half starts up to half a nanosecond off, which a slow period magnifies.
    speeds = Speeds(slow=periods)
    begun = speeds.cost_ns(0, at_ns, to_s(first_ns))
    ended = begun + speeds.cost_ns(0, at_ns + begun, to_s(second_ns))
    factors = [Fraction(1), *steps[1]]
    assert abs(ended - whole) <= Fraction(1, 2) * (max(factors) / min(factors)) + 1


@given(PERIODS, st.integers(0, 10**10), st.integers(1, 10**10), st.integers(1, 10**9))
def test_who_starts_later_ends_no_earlier(
    periods: list[Slow], at_ns: int, work_ns: int, later_ns: int
) -> None:
    steps = steps_of(periods)
    ends = [t + stretched_ns(steps, t, work_ns) for t in (at_ns, at_ns + later_ns)]
    assert ends[0] < ends[1]


@given(PERIODS, st.randoms(), st.integers(0, 2 * 10**10), st.integers(0, 10**10))
def test_the_order_of_periods_does_not_matter(
    periods: list[Slow], random: Random, at_ns: int, work_ns: int
) -> None:
    shuffled = list(periods)
    random.shuffle(shuffled)
    costs = {Speeds(slow=plan).cost_ns(0, at_ns, to_s(work_ns)) for plan in (periods, shuffled)}
    assert len(costs) == 1


def test_other_nodes_slow_periods_cost_a_node_nothing() -> None:
    speeds = Speeds((1.0,) * 1000, [Slow(node, 3.0, 0.0, 1e6) for node in range(1, 1000)])
    speeds.cost_ns(0, 0, 0.02)

    def calls(node: int) -> int:
        profile = cProfile.Profile()
        profile.runcall(speeds.cost_ns, node, 5, 0.02)
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(0) < 20
    assert calls(0) < calls(1)


def test_a_nodes_factor_depends_on_the_seed_and_the_node_alone() -> None:
    few, many = draw_factors(between(1, 3), 10, 4), draw_factors(between(1, 3), 5000, 4)
    assert many[:10] == few
    assert draw_factors(between(1, 3), 10, 5) != few
    # Kolmogorov-Smirnov, fails by chance with probability 1e-6
    assert stats.kstest(np.array(many), stats.uniform(1, 2).cdf).pvalue > 1e-6


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf"), float("nan")])
def test_a_factor_that_cannot_be_is_refused(factor: float) -> None:
    told = "speed of node 1: a factor is finite and above 0"
    with pytest.raises(ConfigurationError, match=told):
        Speeds((1.0, factor))
    with pytest.raises(ConfigurationError, match=told):
        Speeds(slow=[Slow(1, factor)])
    with pytest.raises(ConfigurationError, match="a factor is finite and above 0"):
        draw_factors(lambda u: np.full(np.shape(u), factor), 2, 1)
