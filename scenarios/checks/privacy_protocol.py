"""Cross-checks of privacy and protocol: the noise of an exchange, and the protocols that can add it."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.facts.training import has_integer_noise
from scenarios.schema import Scenario


def noise_is_given(scenario: Scenario) -> Found:
    """Check that noised exchanges say how much noise they add, and that plain ones say nothing."""
    exchange, privacy = scenario.protocol.exchange, scenario.privacy
    if exchange == "plain":
        for name in ("noise_multiplier", "target_epsilon", "noise", "law"):
            if privacy is not None and getattr(privacy, name) is not None:
                yield (
                    ("privacy", name),
                    f'{name} has no effect with exchange = "plain", which adds no noise; remove this key or use '
                    '"ldp" or "secure"',
                )
    elif privacy is None:
        yield (
            ("privacy",),
            f'exchange = "{exchange}" adds noise: a [privacy] table with clip and noise is required',
        )
    elif privacy.noise_multiplier is None and privacy.target_epsilon is None:
        yield (
            ("privacy",),
            "give noise_multiplier (how much noise) or target_epsilon (how much is needed), or both to check "
            "one against the other",
        )


def noise_placement(scenario: Scenario) -> Found:
    """Check that noise of sums is used with secure sums."""
    privacy = scenario.privacy
    if privacy is not None and privacy.noise == "sum" and scenario.protocol.exchange == "ldp":
        yield (
            ("privacy", "noise"),
            'noise = "sum" needs exchange = "secure", since with "ldp" each model is seen alone; use '
            'noise = "member"',
        )


def budgets(scenario: Scenario) -> Found:
    """Check that a budget has Gaussian sums to count, and that members of secure sums stop together."""
    privacy, exchange = scenario.privacy, scenario.protocol.exchange
    if privacy is None or privacy.budget is None:
        return
    if exchange == "plain":
        yield (
            ("privacy", "budget"),
            'has no effect with exchange = "plain", which adds no noise; remove this key or use "ldp" or "secure"',
        )
    elif has_integer_noise(scenario):
        yield (
            ("privacy", "budget"),
            f'budget needs law = "gaussian", got "{privacy.law}"; use that law, or target_epsilon in place of budget',
        )
    elif exchange == "secure" and privacy.when_spent == "node":
        yield (
            ("privacy", "when_spent"),
            'when_spent must be "run" with exchange = "secure", got "node": a member that stops adding noise would '
            "leave others' sums with too little",
        )


def adaptive_clipping(scenario: Scenario) -> Found:
    """Check that an adaptive clipping norm is used by a server on whole updates with local noise."""
    privacy = scenario.privacy
    if privacy is not None and privacy.adaptive_clip is not None and not scenario.protocol.adapts_clip:
        yield (
            ("privacy", "adaptive_clip"),
            'adaptive_clip needs protocol.kind = "fedavg", exchange = "ldp" and inner_train = false; remove it or '
            "use these",
        )


def banded_noise(scenario: Scenario) -> Found:
    """Check that noise correlated across rounds is used with local noise."""
    privacy = scenario.privacy
    if privacy is not None and privacy.bands is not None and scenario.protocol.exchange != "ldp":
        yield (
            ("privacy", "bands"),
            'bands need exchange = "ldp", since noise correlated across rounds is accounted for models '
            'that are seen one by one; use "ldp", or remove bands',
        )


def correlated_noise(scenario: Scenario) -> Found:
    """Check that noise that cancels between neighbours is used by dsgd with local noise and fixed links."""
    privacy, protocol = scenario.privacy, scenario.protocol
    if privacy is None or privacy.correlated is None:
        return
    if not protocol.takes_message_noise or protocol.exchange != "ldp":
        yield (
            ("privacy", "correlated"),
            'correlated needs protocol.kind = "dsgd" and exchange = "ldp", since it is added to models that '
            "neighbours see; use these, or remove it",
        )
    elif not scenario.topology.is_fixed():
        yield (
            ("privacy", "correlated"),
            f"correlated needs fixed links, and those of {scenario.topology.kind} change; use another topology, or "
            "remove it",
        )


CHECKS = (noise_is_given, noise_placement, budgets, adaptive_clipping, banded_noise, correlated_noise)
