"""Bursts of loss, by the theory of the two-state Markov chain; a path depends on its link alone."""

from __future__ import annotations

import random
from itertools import groupby
from math import exp, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from simulator.errors import ConfigurationError
from simulator.network.packet_loss import BurstPath, Bursts

NS = 1_000_000_000
BAD, GOOD = 1.0, 0.0


def sampled(bursts: Bursts, step_s: float, times: int, src: int = 0) -> list[float]:
    path, step_ns = BurstPath(bursts, 11, src, 1), round(step_s * NS)
    return [path.loss_at(i * step_ns) for i in range(times)]


def test_loss_has_its_stationary_probability_from_the_start_and_ever_after() -> None:
    """20,000 links at three times each: 5.5 deviations of the binomial, together an error below 1e-6."""
    bursts = Bursts(3.0, 1.0)
    paths = [BurstPath(bursts, 5, src, 1) for src in range(20_000)]
    for t_s in (0.0, 1.0, 300.0):
        bad = sum(path.loss_at(round(t_s * NS)) == BAD for path in paths)
        assert abs(bad - 5000) < 5.5 * sqrt(20_000 * 0.25 * 0.75)


def test_loss_outside_and_inside_of_bursts_adds_up() -> None:
    """
    One link over 400,000 s. The mean of the state over T has variance near 2 p (1 - p) tau / T, with relaxation
    time tau = 1/(1/3 + 1/1) s: tolerance 5.5 deviations, an error probability below 1e-7.
    """
    bursts = Bursts(3.0, 1.0, loss_good=0.02, loss_bad=0.6)
    stationary_loss = (3 * 0.02 + 1 * 0.6) / 4
    losses = sampled(bursts, 0.5, 800_000)
    assert set(losses) == {0.02, 0.6}
    # Seen every half second, the states' correlation is summed instead of integrated: coth(step / 2 tau) is exact.
    summed = 0.5 / np.tanh(0.5 / (2 * 0.75))
    deviation = (0.6 - 0.02) * sqrt(0.25 * 0.75 * summed / 400_000)
    assert abs(np.mean(losses) - stationary_loss) < 5.5 * deviation


def test_bursts_have_their_mean_length_and_their_law() -> None:
    """
    Seen every step, the state is a Markov chain in discrete time that leaves the bad state with probability
    q = (1 - p)(1 - exp(-step/tau)), so the bursts seen are geometric with mean 1/q steps. About 38,000 of them:
    5.5 deviations for the mean; chi-square at 1e-7 for the law.
    """
    bursts, step_s = Bursts(4.0, 0.8), 0.1
    runs = [(state, len(list(run))) for state, run in groupby(sampled(bursts, step_s, 2_000_000))]
    seen = np.array([length for state, length in runs[1:-1] if state == BAD])
    p, tau = 0.8 / 4.8, 1 / (1 / 4.0 + 1 / 0.8)
    q = (1 - p) * (1 - exp(-step_s / tau))
    assert len(seen) > 35_000
    tolerance = 5.5 * sqrt(1 - q) / q / sqrt(len(seen))
    assert abs(seen.mean() - 1 / q) < tolerance
    longest = 40
    law = stats.geom(q)
    expected = np.append(law.pmf(np.arange(1, longest)), law.sf(longest - 1)) * len(seen)
    counts = np.bincount(np.minimum(seen, longest), minlength=longest + 1)[1:]
    assert stats.chisquare(counts, expected).pvalue > 1e-7
    # The mean length for which q is one over the measured mean; 5.5 deviations are below 3 %.
    bad_s = -step_s / ((1 - p) * np.log(1 - 1 / seen.mean() / (1 - p)))
    assert bad_s == pytest.approx(0.8, rel=0.03)


def test_a_link_is_bad_a_moment_later_as_the_chain_says() -> None:
    """P(bad at t + d | bad at t) = p + (1 - p) exp(-d/tau), on 40,000 links: 5.5 deviations of the binomial."""
    bursts, p, tau = Bursts(0.03, 0.01), 0.25, 0.0075
    paths = [BurstPath(bursts, 6, 3, dst) for dst in range(40_000)]
    bad = [path for path in paths if path.loss_at(NS) == BAD]
    for delay_s in (0.001, 0.01):
        still = sum(path.loss_at(NS + round(delay_s * NS)) == BAD for path in bad)
        expected = p + (1 - p) * exp(-delay_s / tau)
        assert abs(still - expected * len(bad)) < 5.5 * sqrt(len(bad) * expected * (1 - expected))


def test_links_and_directions_do_not_share_their_bursts() -> None:
    """Correlation of 20,000 pairs of independent states: below 0.04 but for a probability of 2e-8."""
    bursts = Bursts(1.0, 1.0)
    there = [BurstPath(bursts, 5, i, i + 1).loss_at(NS) for i in range(20_000)]
    back = [BurstPath(bursts, 5, i + 1, i).loss_at(NS) for i in range(20_000)]
    assert abs(np.corrcoef(there, back)[0, 1]) < 0.04
    assert abs(np.corrcoef(there[1:], there[:-1])[0, 1]) < 0.04


@given(
    times_ms=st.lists(st.integers(0, 1_000_000), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_the_answers_depend_on_no_order_of_the_questions(times_ms: list[int], order: random.Random) -> None:
    bursts = Bursts(0.02, 0.01)
    alone = {ms: BurstPath(bursts, 1, 2, 3).loss_at(ms * 1_000_000) for ms in times_ms}
    mixed = list(times_ms)
    order.shuffle(mixed)
    for asked in (sorted(times_ms), sorted(times_ms, reverse=True), mixed):
        path = BurstPath(bursts, 1, 2, 3)
        assert {ms: path.loss_at(ms * 1_000_000) for ms in asked} == alone


def test_steps_jumps_and_going_back_see_one_path() -> None:
    """Blocks drawn one after another, many at once, and again on the way back, change at the same nanoseconds."""
    bursts = Bursts(2e-6, 1e-6)
    forwards, backwards, far = (BurstPath(bursts, 1, 2, 3) for _ in range(3))
    far.loss_at(10**9)
    times = range(0, 1_000_000, 7)
    states = [forwards.loss_at(t) for t in times]
    assert states == [backwards.loss_at(t) for t in reversed(times)][::-1]
    assert states == [far.loss_at(t) for t in times]
    assert {GOOD, BAD} == set(states)


@pytest.mark.parametrize("bursts", [Bursts(1e7, 1e7), Bursts(1e7, 1e-9), Bursts(1e-9, 1e-9)])
def test_extreme_dwell_times_stay_in_range(bursts: Bursts) -> None:
    path = BurstPath(bursts, 1, 2, 3)
    assert {path.loss_at(t) for t in (0, 1, 1000, 10**6)} <= {GOOD, BAD}
    if bursts.good_s > 1:
        assert path.loss_at(10**18) in (GOOD, BAD)


@pytest.mark.parametrize(
    ("arguments", "key", "message"),
    [
        ((0.0, 1.0), "good", "bursts: good must be above 0 and at most 1e+07 seconds, got 0"),
        ((1.0, float("nan")), "bad", "bursts: bad must be above 0 and at most 1e+07 seconds, got nan"),
        ((float("inf"), 1.0), "good", "bursts: good must be above 0 and at most 1e+07 seconds, got inf"),
        ((1.0, 1.0, -0.1), "loss_good", "bursts: loss_good must be from 0 to 1, got -0.1"),
        ((1.0, 1.0, 0.0, 1.5), "loss_bad", "bursts: loss_bad must be from 0 to 1, got 1.5"),
    ],
)
def test_bursts_that_cannot_be_are_refused(arguments: tuple[float, ...], key: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Bursts(*arguments)
    assert str(caught.value) == message
    assert caught.value.key == f"network.bursts.{key}"
