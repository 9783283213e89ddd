"""ε of mechanisms that fail with a small probability, against numbers found in other ways."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import log_ndtr, ndtr

from protocols.privacy.accounting import epsilon_of
from protocols.privacy.failure import remaining_delta, with_failure_probability
from protocols.privacy.integer_accounting import ORDERS, rdp_epsilon, skellam_rdp
from protocols.privacy.ledger import account
from protocols.privacy.lineage import ORIGIN, Lineage, Share
from protocols.privacy.question import Question, RunFacts
from protocols.privacy.sampling import sampled_epsilon
from simulator.errors import ConfigurationError

DELTA = 1e-5


def gaussian_delta(mu: float, epsilon: float) -> float:
    return float(ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


def total(mu: float, probability: float, epsilon: float) -> float:
    return gaussian_delta(mu, epsilon) + (1 + math.exp(epsilon)) * probability


@settings(deadline=None, max_examples=100)
@given(mu=st.floats(0.05, 4.0), exponent=st.floats(-40, -5.4))
def test_of_gaussian_losses_it_is_where_the_sum_of_both_deltas_is_delta(mu: float, exponent: float) -> None:
    """Oracle: a scan over ε of δ(ε) + (1 + e^ε) p, which is convex in e^ε, then bisection to its left."""
    probability = 10.0**exponent
    found = with_failure_probability(partial(epsilon_of, mu * mu), probability, DELTA)
    grid = np.linspace(0.0, 40.0, 4001)
    enough = [epsilon for epsilon in grid.tolist() if total(mu, probability, epsilon) <= DELTA]
    if not enough:
        # No ε works, or one so near to the best that a grid does not show it.
        best = minimize_scalar(
            lambda epsilon: total(mu, probability, epsilon), bounds=(0.0, 40.0), method="bounded"
        )
        assert math.isinf(found) or best.fun <= DELTA * (1 + 1e-6)
        return
    high = enough[0]
    low = max(0.0, high - 0.01)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if total(mu, probability, middle) <= DELTA else (middle, high)
    assert found == pytest.approx(high, rel=1e-3, abs=1e-9)
    assert found >= high * (1 - 1e-9)
    assert total(mu, probability, found) <= DELTA * (1 + 1e-9)


def test_without_failures_nothing_changes_and_tiny_ones_change_nothing_to_be_seen() -> None:
    alone = epsilon_of(1.0, DELTA)
    assert with_failure_probability(partial(epsilon_of, 1.0), 0.0, DELTA) == alone
    paid = with_failure_probability(partial(epsilon_of, 1.0), 1e-27, DELTA)
    assert alone <= paid <= alone * (1 + 1e-11)
    assert with_failure_probability(partial(epsilon_of, 0.0), 1e-27, DELTA) == 0.0


def test_what_cannot_be_covered_is_infinite() -> None:
    assert math.isinf(with_failure_probability(partial(epsilon_of, 1.0), DELTA / 2, DELTA))
    assert math.isinf(with_failure_probability(partial(epsilon_of, 1.0), 1.0, DELTA))
    assert math.isinf(with_failure_probability(partial(epsilon_of, math.inf), 1e-300, DELTA))
    assert math.isinf(with_failure_probability(partial(epsilon_of, 1e6), 1e-27, DELTA))  # e^ε beyond float64
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        with_failure_probability(partial(epsilon_of, 1.0), 1.5, DELTA)
    with pytest.raises(ConfigurationError, match="strictly between"):
        with_failure_probability(partial(epsilon_of, 1.0), 0.0, 1.0)


@pytest.mark.parametrize("probability", [1e-12, 1e-8, 3e-7])
def test_any_way_of_accounting_will_do(probability: float) -> None:
    """Integer laws and sampled Gaussians: what is returned holds at the δ that is left, and hardly more is asked."""
    curve = 3 * skellam_rdp(ORDERS, 4.0, 9.0, 120.0)
    charged = {(1.0, 4.0): 20}
    for epsilon_at in (
        partial(rdp_epsilon, curve),
        partial(sampled_epsilon, 0.1, charged, 1.0, "add-remove"),
    ):
        found = with_failure_probability(epsilon_at, probability, DELTA)
        left = remaining_delta(DELTA, probability, found)
        assert 0 < left < DELTA
        assert epsilon_at(left) <= found <= epsilon_at(left) * (1 + 1e-4)


def test_the_rule_covers_a_mechanism_that_fails_and_says_so() -> None:
    """Exact: a noised bit that is withheld beyond a range, against the claim for the bit that never is.

    The output is N(b, σ) or, beyond ±r, a mark; the ideal one has the sum's noise, twice as much. Their hockey-stick
    divergence, summed over a fine grid and the mark, must be at most δ(ε) + (1 + e^ε) p.
    """
    sigma, reach = 0.7, 2.6
    edges = np.linspace(-9.0, 10.0, 20_001)

    def law(bit: float) -> np.ndarray:
        ideal = np.diff(ndtr((edges - bit) / sigma))
        # One member's own noise is half of the variance: given the sum, what is its own is still noisy.
        own = sigma / math.sqrt(2)
        middle = (edges[1:] + edges[:-1]) / 2
        mean, spread = bit + (middle - bit) / 2, own / math.sqrt(2)
        kept = ndtr((reach - mean) / spread) - ndtr((-reach - mean) / spread)
        return np.append(ideal * kept, (ideal * (1 - kept)).sum())

    zero, one = law(0.0), law(1.0)
    probability = max(zero[-1], one[-1])
    assert 1e-4 < probability < 1e-2
    for epsilon in (0.0, 0.5, 1.0, 2.0):
        allowed = gaussian_delta(1 / sigma, epsilon) + (1 + math.exp(epsilon)) * probability
        for p, q in ((zero, one), (one, zero)):
            real = np.maximum(p - math.exp(epsilon) * q, 0).sum()
            assert real <= allowed + 1e-6
    # Without the charge the claim would be wrong: the mark alone tells the bits apart better.
    blind = np.maximum(one - math.exp(3.0) * zero, 0).sum()
    assert blind > gaussian_delta(1 / sigma, 3.0)


def sums_of_three(sigma: float, rounds: int) -> Lineage:
    """A server opens sums of three, of which it sees nothing else."""
    lineage = Lineage()
    for round in range(rounds):
        states = [
            lineage.contribute(round, v, round, ORIGIN, gain=1.0, sigma=sigma, sensitivity=1.0)
            for v in (1, 2, 3)
        ]
        for v, state in zip((1, 2, 3), states, strict=True):
            lineage.delivered(
                round + 0.5, 0, round, Share((0, round, 0), v, frozenset((1, 2, 3)), state, 1.0)
            )
    return lineage


QUESTION = Question([1], [(0,)], "node", "zero-out", DELTA, [100.0])


def certified(lineage: Lineage, probability: float) -> float:
    claims = account(lineage.record(), QUESTION, RunFacts(failure_probability=probability))
    return {claim.basis: claim.epsilon for claim in claims}["certified"]


def test_the_ledger_pays_for_failures_and_never_more_than_all_vectors_handed_over() -> None:
    lineage = sums_of_three(2.0, 4)
    alone, local = epsilon_of(4 / 12, DELTA), epsilon_of(4 / 4, DELTA)
    assert certified(lineage, 0.0) == pytest.approx(alone, rel=1e-12)
    assert certified(lineage, 1e-27) == pytest.approx(alone, rel=1e-9)
    paid = certified(lineage, 2e-7)
    expected = with_failure_probability(partial(epsilon_of, 4 / 12), 2e-7, DELTA)
    assert paid == pytest.approx(expected, rel=1e-12)
    assert alone * 1.01 < paid < local
    assert certified(lineage, 1.0) == pytest.approx(local, rel=1e-12)
    assert certified(lineage, 4e-6) == pytest.approx(local, rel=1e-12)


def test_refusals_before_anything_was_opened_are_paid_for_too() -> None:
    """Members that refuse let no sum open: nothing is released, and what they refuse still tells."""
    lineage = Lineage()
    lineage.contribute(0.0, 1, 0, ORIGIN, gain=1.0, sigma=2.0, sensitivity=1.0)
    assert certified(lineage, 0.0) == certified(lineage, 1e-27) == 0.0
    assert certified(lineage, 0.3) == pytest.approx(epsilon_of(1 / 4, DELTA))
