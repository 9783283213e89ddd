"""Noise needed for a target epsilon, and noised sums allowed by a budget, with each sum charged on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.optimize import brentq

from protocols.privacy.accounting import epsilon_of, mu2_of, noise_multiplier_for, shift_factor
from protocols.privacy.sampling import sampled_epsilon
from scenarios.facts.training import sampling_rate, sums_in_all
from scenarios.kinds.privacy import Privacy
from scenarios.schema import Scenario

DIGITS = 1e-4
"""Relative accuracy of a noise multiplier for sampled batches."""
LEAST_PART = 1e-6
"""Least noise that is searched for sampled batches, as a part of the noise for full batches."""
ROUNDED = 1e-12
TINY, HUGE = 1e-300, 1e300


@dataclass(frozen=True)
class Mechanism:
    """The noised sums that a node contributes in a run.

    Args:
        clip: clipping norm of one unit in a sum.
        adjacency: which data sets are neighbours.
        delta: of (epsilon, delta).
        rate: probability with which a record takes part in a sum, for records that are drawn one by one; else 1.
        sums: of a node in the whole run.
    """

    clip: float
    adjacency: str
    delta: float
    rate: float
    sums: int

    def relative(self, sigma: float) -> float:
        """Return a standard deviation of noise divided by the shift between neighbouring data sets."""
        return sigma / self.clip / shift_factor(self.adjacency)

    def epsilon(self, z: float, sums: int) -> float:
        """Return the epsilon of ``sums`` sampled sums, with noise of z times the adjacency's shift."""
        factor = shift_factor(self.adjacency)
        charged = {(factor, (z * factor) ** 2): sums}
        return sampled_epsilon(self.rate, charged, factor, self.adjacency, self.delta)


def mechanism_of(scenario: Scenario, privacy: Privacy) -> Mechanism:
    """Return the mechanism of every node; only records, not nodes, are amplified by sampling.

    Args:
        scenario: the scenario.
        privacy: its table [privacy].
    """
    rate = sampling_rate(scenario.training) if privacy.unit == "record" else 1.0
    return Mechanism(privacy.clip, privacy.adjacency, privacy.delta, rate, sums_in_all(scenario))


def allowances(mechanism: Mechanism, budget: float, sigma: Sequence[float]) -> list[int]:
    """Return, by node, the number of sums whose local bound stays within a budget.

    Args:
        mechanism: of all nodes.
        budget: epsilon, above 0.
        sigma: by node, the standard deviation of the noise of a clipped sum.
    """
    found = {own: _full(mechanism, budget, own) for own in set(sigma)}
    if mechanism.rate < 1:
        _amplify(mechanism, budget, sorted(found), found)
    return [found[own] for own in sigma]


def local_multiplier(mechanism: Mechanism, epsilon: float) -> float:
    """Return the least noise multiplier, over the adjacency's shift, with which a node's sums cost at most epsilon.

    Each sum is charged on its own. With sampled batches the multiplier is found to four digits, rounded up, and not
    searched below :data:`LEAST_PART` of the noise for full batches: if delta covers the probability that a record is
    sampled at all, no noise is needed.

    Args:
        mechanism: whose sums.
        epsilon: of all of them together, above 0.
    """
    full = noise_multiplier_for(epsilon, mechanism.delta, mechanism.sums)
    if mechanism.rate == 1:
        return full
    enough = {full: epsilon}  # full batches cost no less than samples

    def excess(log_z: float) -> float:
        z = math.exp(log_z)
        found = mechanism.epsilon(z, mechanism.sums)
        if found <= epsilon:
            enough[z] = found
        return math.log(min(max(found, TINY), HUGE) / epsilon)

    high, low = math.log(full), math.log(full) - 1
    floor = math.log(full * LEAST_PART)
    while excess(low) <= 0:
        if low <= floor:
            return min(enough)
        high, low = low, max(low - 2 * (high - low), floor)
    root = brentq(excess, low, high, xtol=DIGITS / 4)
    while not math.exp(root) * (1 - DIGITS) <= min(enough) <= math.exp(root) * (1 + DIGITS):
        root += DIGITS / 2
        excess(root)
    return min(enough)


def _full(mechanism: Mechanism, budget: float, sigma: float) -> int:
    """Return how many sums over full batches are within the budget."""
    z = mechanism.relative(sigma)
    exact = mu2_of(budget, mechanism.delta) * z * z
    # A budget computed as the cost of a number of sums must allow that number, although both were rounded.
    count = int(exact * (1 + ROUNDED))
    within = count == 0 or epsilon_of(count / (z * z), mechanism.delta) <= budget
    return count if within else int(exact * (1 - ROUNDED))


def _amplify(mechanism: Mechanism, budget: float, sigma: Sequence[float], found: dict[float, int]) -> None:
    """Add the sums that sampling saves to the counts of full batches, for standard deviations in ascending order.

    More noise allows at least as many sums: if the first and the last allow the same number, so do all between.
    """
    few, many = found[sigma[0]], mechanism.sums
    first = found[sigma[0]] = _most(mechanism, budget, sigma[0], min(few, many), many)
    if len(sigma) == 1:
        return
    last = found[sigma[-1]] = _most(mechanism, budget, sigma[-1], first, many)
    _between(mechanism, budget, sigma, found, first, last)


def _between(
    mechanism: Mechanism,
    budget: float,
    sigma: Sequence[float],
    found: dict[float, int],
    first: int,
    last: int,
) -> None:
    """Fill in the counts of the standard deviations between two ends."""
    inner = sigma[1:-1]
    if first == last:
        found.update(dict.fromkeys(inner, first))
    elif inner:
        half = len(sigma) // 2
        middle = found[sigma[half]] = _most(mechanism, budget, sigma[half], first, last)
        _between(mechanism, budget, sigma[: half + 1], found, first, middle)
        _between(mechanism, budget, sigma[half:], found, middle, last)


def _most(mechanism: Mechanism, budget: float, sigma: float, few: int, many: int) -> int:
    """Return the largest number of sums within the budget, between ``few``, known to be within it, and ``many``."""
    if sigma == 0:
        return 0
    z = mechanism.relative(sigma)
    while few < many:
        middle = (few + many + 1) // 2
        if mechanism.epsilon(z, middle) <= budget:
            few = middle
        else:
            many = middle - 1
    return few
