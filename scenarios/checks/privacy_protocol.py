"""Cross-checks of privacy and protocol: what noise an exchange has, and which protocols can add it."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.facts.training import has_integer_noise
from scenarios.schema import Scenario


def noise_is_given(scenario: Scenario) -> Found:
    """Noised exchanges say how much noise, and plain ones do not pretend to have any."""
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
    """Only an opened sum has sum noise."""
    privacy = scenario.privacy
    if privacy is not None and privacy.noise == "sum" and scenario.protocol.exchange == "ldp":
        yield (
            ("privacy", "noise"),
            'noise = "sum" needs exchange = "secure": with "ldp" every model is seen alone, with its own noise; use '
            'noise = "member"',
        )


def budgets(scenario: Scenario) -> Found:
    """A budget is of noised sums; members of secure sums cannot leave theirs out one by one."""
    privacy, exchange = scenario.privacy, scenario.protocol.exchange
    if privacy is None or privacy.budget is None:
        return
    if exchange == "plain":
        yield (
            ("privacy", "budget"),
            'budget needs noise, and exchange = "plain" adds none; remove this key or use "ldp" or "secure"',
        )
    elif has_integer_noise(scenario):
        yield (
            ("privacy", "budget"),
            f'budget counts Gaussian sums, and law = "{privacy.law}" adds integers; use target_epsilon, or law = '
            '"gaussian"',
        )
    elif exchange == "secure" and privacy.when_spent == "node":
        yield (
            ("privacy", "when_spent"),
            'when_spent must be "run" with exchange = "secure", got "node": a member that stops adding noise would '
            "leave others' sums with too little",
        )


def adaptive_clipping(scenario: Scenario) -> Found:
    """A norm that moves is a server's, of whole updates of clients that all noise on their own."""
    privacy = scenario.privacy
    if privacy is not None and privacy.adaptive_clip is not None and not scenario.protocol.adapts_clip:
        yield (
            ("privacy", "adaptive_clip"),
            'adaptive_clip needs protocol.kind = "fedavg", exchange = "ldp" and inner_train = false; remove it or '
            "use these",
        )


def banded_noise(scenario: Scenario) -> Found:
    """Noise that is correlated across rounds is seen with every model."""
    privacy = scenario.privacy
    if privacy is not None and privacy.bands is not None and scenario.protocol.exchange != "ldp":
        yield (
            ("privacy", "bands"),
            'bands need exchange = "ldp": noise correlated across rounds is accounted for models that are seen one '
            "by one",
        )


def correlated_noise(scenario: Scenario) -> Found:
    """Noise that cancels between neighbours is for models they show each other, on links that stay."""
    privacy, protocol = scenario.privacy, scenario.protocol
    if privacy is None or privacy.correlated is None:
        return
    if not protocol.takes_message_noise or protocol.exchange != "ldp":
        yield (
            ("privacy", "correlated"),
            'correlated needs protocol.kind = "dsgd" and exchange = "ldp": such noise is added to models that '
            "neighbours see; use these, or remove it",
        )
    elif not scenario.topology.is_fixed():
        yield (
            ("privacy", "correlated"),
            f"correlated needs neighbours that stay, and links of {scenario.topology.kind} change; use another "
            "topology, or remove it",
        )


CHECKS = (noise_is_given, noise_placement, budgets, adaptive_clipping, banded_noise, correlated_noise)
