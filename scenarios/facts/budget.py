"""How many noised sums a node may contribute before its budget is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.optimize import brentq

from protocols.privacy.accounting import epsilon_of, mu2_of, noise_multiplier_for, shift_factor
from protocols.privacy.sampling import sampled_epsilon
from scenarios.facts.training import sampling_rate, sums_in_all
from scenarios.schema import Scenario

DIGITS = 1e-4
"""How close to the least a noise multiplier for sampled batches is, relative."""
LEAST_PART = 1e-6
"""What part of the noise for full batches is worth looking for."""
ROUNDED = 1e-12
TINY, HUGE = 1e-300, 1e300


def allowances(scenario: Scenario, sigma: Sequence[float]) -> list[int] | None:
    """By node, the sums whose local bound stays within the budget; None without a budget.

    Args:
        scenario: with a mechanism.
        sigma: by node, the standard deviation of the noise of a clipped sum.
    """
    privacy = scenario.privacy
    if privacy is None or privacy.budget is None:
        return None
    found = {own: _full(scenario, own) for own in set(sigma)}
    if _rate(scenario) < 1:
        _amplify(scenario, sorted(found), found)
    return [found[own] for own in sigma]


def local_multiplier(scenario: Scenario, epsilon: float) -> float:
    """The least noise multiplier, over the adjacency's shift, with which a node's sums cost at most ε together.

    Each sum is charged on its own. With sampled batches the multiplier is found to four digits, rounded up, and not
    looked for below :data:`LEAST_PART` of what full batches need: where δ covers the chance that a record is taken
    at all, no noise is needed.
    """
    privacy, sums = scenario.privacy, sums_in_all(scenario)
    assert privacy is not None
    full = noise_multiplier_for(epsilon, privacy.delta, sums)
    if _rate(scenario) == 1:
        return full
    enough = {full: epsilon}  # full batches cost no less than samples

    def excess(log_z: float) -> float:
        z = math.exp(log_z)
        found = _sampled(scenario, z, sums)
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


def _full(scenario: Scenario, sigma: float) -> int:
    """How many sums over full batches are within the budget."""
    privacy = scenario.privacy
    assert privacy is not None
    assert privacy.budget is not None
    z = sigma / privacy.clip / shift_factor(privacy.adjacency)
    exact = mu2_of(privacy.budget, privacy.delta) * z * z
    # A budget that is what a number of sums costs is for that number, and both were rounded.
    count = int(exact * (1 + ROUNDED))
    within = count == 0 or epsilon_of(count / (z * z), privacy.delta) <= privacy.budget
    return count if within else int(exact * (1 - ROUNDED))


def _amplify(scenario: Scenario, sigma: Sequence[float], found: dict[float, int]) -> None:
    """Add what sampling saves, to counts of full batches, for noises in order.

    What some noise allows, more noise allows: where the first and the last allow as much, so do all between.
    """
    few, many = found[sigma[0]], sums_in_all(scenario)
    first = found[sigma[0]] = _most(scenario, sigma[0], min(few, many), many)
    if len(sigma) == 1:
        return
    last = found[sigma[-1]] = _most(scenario, sigma[-1], first, many)
    _between(scenario, sigma, found, first, last)


def _between(
    scenario: Scenario, sigma: Sequence[float], found: dict[float, int], first: int, last: int
) -> None:
    """Fill in what noises between the ends allow."""
    inner = sigma[1:-1]
    if first == last:
        found.update(dict.fromkeys(inner, first))
    elif inner:
        half = len(sigma) // 2
        middle = found[sigma[half]] = _most(scenario, sigma[half], first, last)
        _between(scenario, sigma[: half + 1], found, first, middle)
        _between(scenario, sigma[half:], found, middle, last)


def _most(scenario: Scenario, sigma: float, few: int, many: int) -> int:
    """How many sums are within the budget, from ``few`` that are known to be to ``many``."""
    privacy = scenario.privacy
    assert privacy is not None
    assert privacy.budget is not None
    if sigma == 0:
        return 0
    z = sigma / privacy.clip / shift_factor(privacy.adjacency)
    while few < many:
        middle = (few + many + 1) // 2
        if _sampled(scenario, z, middle) <= privacy.budget:
            few = middle
        else:
            many = middle - 1
    return few


def _sampled(scenario: Scenario, z: float, sums: int) -> float:
    """ε of sampled sums with noise z times the adjacency's shift."""
    privacy = scenario.privacy
    assert privacy is not None
    factor = shift_factor(privacy.adjacency)
    charged = {(factor, (z * factor) ** 2): sums}
    return sampled_epsilon(_rate(scenario), charged, factor, privacy.adjacency, privacy.delta)


def _rate(scenario: Scenario) -> float:
    """Records alone are amplified."""
    assert scenario.privacy is not None
    return sampling_rate(scenario.training) if scenario.privacy.unit == "record" else 1.0
