"""How many noised sums a node may contribute before its budget is spent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from protocols.privacy.accounting import mu2_of, noise_multiplier_for, shift_factor
from protocols.privacy.sampling import sampled_epsilon
from scenarios.schema import Scenario
from scenarios.training_facts import sampling_rate, sums_in_all


def allowances(scenario: Scenario, sigma: Sequence[float]) -> list[int] | None:
    """By node, the sums whose local bound stays within the budget; None without a budget.

    Args:
        scenario: with a mechanism.
        sigma: by node, the standard deviation of the noise of a clipped sum.
    """
    privacy = scenario.privacy
    if privacy is None or privacy.budget is None:
        return None
    return [_most(scenario, own) for own in sigma]


def local_multiplier(scenario: Scenario, epsilon: float) -> float:
    """The least noise multiplier, over the adjacency's shift, with which a node's sums cost ε, each on its own."""
    privacy, sums = scenario.privacy, sums_in_all(scenario)
    assert privacy is not None
    z = noise_multiplier_for(epsilon, privacy.delta, sums)
    rate = _rate(scenario)
    if rate == 1:
        return z
    low, high = z * rate / 4, z  # full batches cost more than samples
    for _ in range(24):
        middle = math.sqrt(low * high)
        if _sampled(scenario, middle, sums) <= epsilon:
            high = middle
        else:
            low = middle
        if high < low * (1 + 1e-4):
            break
    return high


def _most(scenario: Scenario, sigma: float) -> int:
    privacy = scenario.privacy
    assert privacy is not None
    assert privacy.budget is not None
    if sigma == 0:
        return 0
    z = sigma / privacy.clip / shift_factor(privacy.adjacency)
    full = int(mu2_of(privacy.budget, privacy.delta) * z * z * (1 + 1e-12))
    if _rate(scenario) == 1:
        return full
    few, many = min(full, sums_in_all(scenario)), sums_in_all(scenario)
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
