"""Cross-checks of privacy and training: requirements of mechanisms on local updates."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.facts.training import is_linear, sums_per_round
from scenarios.schema import Scenario


def one_sum_a_round(scenario: Scenario) -> Found:
    """Check that noise correlated across rounds is added to one linear sum a round."""
    privacy = scenario.privacy
    if privacy is None or privacy.bands is None:
        return
    if sums_per_round(scenario) != 1 or not is_linear(scenario.training):
        yield (
            ("privacy", "bands"),
            "bands need one noised sum of gradients a round; use one local step of sgd without weight_decay and "
            "proximal",
        )


def fresh_state(scenario: Scenario) -> Found:
    """Check that an adaptive clipping norm clips updates that start from a fresh optimiser."""
    privacy, state = scenario.privacy, scenario.training.optimizer_state
    if privacy is not None and privacy.adaptive_clip is not None and state != "fresh":
        yield (
            ("privacy", "adaptive_clip"),
            f'adaptive_clip needs training.optimizer_state = "fresh", got "{state}"; use "fresh" or remove it',
        )


CHECKS = (one_sum_a_round, fresh_state)
