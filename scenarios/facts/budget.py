"""How much noise a target takes, and how many noised sums a budget allows, each sum charged on its own."""

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
"""How close to the least a noise multiplier for sampled batches is, relative."""
LEAST_PART = 1e-6
"""What part of the noise for full batches is worth looking for."""
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
        """Return noise of a standard deviation, over the shift that neighbouring data make."""
        return sigma / self.clip / shift_factor(self.adjacency)

    def epsilon(self, z: float, sums: int) -> float:
        """Return the epsilon of so many sampled sums, with noise z times the adjacency's shift."""
        factor = shift_factor(self.adjacency)
        charged = {(factor, (z * factor) ** 2): sums}
        return sampled_epsilon(self.rate, charged, factor, self.adjacency, self.delta)


def mechanism_of(scenario: Scenario, privacy: Privacy) -> Mechanism:
    """Return the mechanism of every node; only records, not nodes, are amplified by sampling.

    Args:
        scenario: how often nodes train, and on what.
        privacy: its privacy table.
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
    looked for below :data:`LEAST_PART` of what full batches need: where delta covers the chance that a record is
    taken at all, no noise is needed.

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
    # A budget that is what a number of sums costs is for that number, and both were rounded.
    count = int(exact * (1 + ROUNDED))
    within = count == 0 or epsilon_of(count / (z * z), mechanism.delta) <= budget
    return count if within else int(exact * (1 - ROUNDED))


def _amplify(mechanism: Mechanism, budget: float, sigma: Sequence[float], found: dict[float, int]) -> None:
    """Add what sampling saves, to counts of full batches, for noises in order.

    What some noise allows, more noise allows: where the first and the last allow as much, so do all between.
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
    """Fill in what noises between the ends allow."""
    inner = sigma[1:-1]
    if first == last:
        found.update(dict.fromkeys(inner, first))
    elif inner:
        half = len(sigma) // 2
        middle = found[sigma[half]] = _most(mechanism, budget, sigma[half], first, last)
        _between(mechanism, budget, sigma[: half + 1], found, first, middle)
        _between(mechanism, budget, sigma[half:], found, middle, last)


def _most(mechanism: Mechanism, budget: float, sigma: float, few: int, many: int) -> int:
    """Return how many sums are within the budget, from ``few`` that are known to be to ``many``."""
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
