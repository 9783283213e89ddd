"""Cross-checks of privacy and secure sums: integer noise, surplus noise, and whether a target is met."""

from __future__ import annotations

from protocols.aggregation.members import LEAST_HONEST
from scenarios.checks.topology import Found
from scenarios.facts.training import has_integer_noise, sums_in_all, sums_per_round
from scenarios.schema import Scenario


def surplus_noise(scenario: Scenario) -> Found:
    """Check that surplus noise is removed only if dropouts are tolerated."""
    privacy, secure = scenario.privacy, scenario.secure
    if privacy is None or privacy.surplus == "keep" or secure is None:
        return
    if secure.tolerated_dropouts == 0:
        yield (
            ("privacy", "surplus"),
            'surplus = "remove" has no effect with tolerated_dropouts = 0: no noise is surplus; remove this key',
        )


def integer_noise(scenario: Scenario) -> Found:
    """Check that integer noise is used with integer sums that are all that is released."""
    if not has_integer_noise(scenario):
        return
    privacy, protocol, secure = scenario.privacy, scenario.protocol, scenario.secure
    assert privacy is not None
    law, key = str(privacy.law), ("privacy", "law")
    if protocol.exchange != "secure" or secure is None:
        yield (
            key,
            f'law = "{law}" needs exchange = "secure", since its noise is added to the words of a secure sum; use '
            'law = "gaussian"',
        )
    elif not protocol.served:
        yield (
            key,
            f'law = "{law}" needs protocol.kind = "fedavg", where only integer sums are released; gossip sums models '
            'that hold earlier noise, so opened sums must be accounted together; use law = "gaussian"',
        )
    elif not secure.aggregation.sums_integers:
        yield (
            key,
            f'law = "{law}" needs integer sums, and {secure.aggregation.kind} sums real numbers; use law = '
            '"gaussian"',
        )
    elif (wrong := next(protocol.integer_noise_problems(law), None)) is not None:
        yield ("protocol", *wrong[0]), wrong[1]
    elif privacy.unit == "record" and sums_per_round(scenario) > 1:
        yield (
            key,
            f'law = "{law}" adds noise once to a whole update, and here each of several steps is clipped; use unit = '
            '"node", one local step, or law = "gaussian"',
        )


def target_is_met(scenario: Scenario) -> Found:
    """Check that a noise multiplier meets a target given with it, if all neighbourhoods have the same size."""
    privacy, protocol = scenario.privacy, scenario.protocol
    if privacy is None or privacy.noise_multiplier is None or privacy.target_epsilon is None:
        return
    if has_integer_noise(scenario):
        return
    share: float | None = 1.0
    whole = protocol.states_are_public and sums_per_round(scenario) == 1
    if protocol.exchange == "secure" and privacy.noise == "sum" and not whole:
        share = _share(scenario)
    if share is not None and protocol.exchange != "plain":
        yield from target(scenario, share * privacy.noise_multiplier)


def _share(scenario: Scenario) -> float | None:
    """Return a member's part of the noise of a sum over equal weights; None if no sum can be opened."""
    secure, protocol, topology = scenario.secure, scenario.protocol, scenario.topology
    members = protocol.members_at_least(topology.least_degree, topology.node_count)
    if members is None or secure is None:
        return None
    members = protocol.asked(members)
    least = secure.per_position(members)
    if members < least or least - secure.colluders < LEAST_HONEST:
        return None
    from protocols.privacy.mechanism import member_sigma  # not at import: it imports scipy

    return member_sigma(1.0, 1.0, [[1.0] * members], secure.colluders, least)


def target(scenario: Scenario, multiplier: float) -> Found:
    """Check that local noise of this multiplier meets the target; mu^2 adds up over rounds (Dong et al. 2022).

    Args:
        scenario: whose noised sums are counted.
        multiplier: standard deviation of a node's noise / clip.
    """
    from protocols.privacy.accounting import epsilon_of, shift_factor  # not at import: it imports scipy

    privacy, sums = scenario.privacy, sums_in_all(scenario)
    if privacy is None or privacy.target_epsilon is None:
        return
    epsilon = epsilon_of(sums * (shift_factor(privacy.adjacency) / multiplier) ** 2, privacy.delta)
    if epsilon > privacy.target_epsilon * (1 + 1e-9):  # a noise calibrated to the target may miss by rounding
        yield (
            ("privacy", "target_epsilon"),
            f"noise of {multiplier:.4g} x clip on every local step gives a certified epsilon of {epsilon:.4g} "
            f"over {scenario.protocol.rounds} rounds ({privacy.adjacency}, delta {privacy.delta:g}), above the "
            f"target {privacy.target_epsilon:g}; remove noise_multiplier to have it computed, lower rounds or raise "
            "the target",
        )


CHECKS = (integer_noise, surplus_noise, target_is_met)
