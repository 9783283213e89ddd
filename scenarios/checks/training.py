"""Cross-checks of local training and its privacy mechanism."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.facts.training import clips_whole_updates, has_mechanism, is_linear
from scenarios.format.locate import Key
from scenarios.schema import Scenario


def private_training(scenario: Scenario) -> Found:
    """Check that clipped and noised training can be accounted."""
    if not has_mechanism(scenario):
        return
    training, privacy = scenario.training, scenario.privacy
    assert privacy is not None
    if privacy.unit == "record" and training.batch is not None:
        if training.local_epochs is not None:
            yield (
                ("training", "local_epochs"),
                'must be absent with unit = "record": the number of noised steps would depend on how many samples a '
                "node has; use local_steps",
            )
        elif privacy.adjacency == "add-remove":
            yield (
                ("training", "batch"),
                "in a batch of fixed size an added record replaces another one, which changes a sum by twice the "
                'clipping norm; use rate (Poisson sampling), or adjacency = "replace" or "zero-out"',
            )
    if training.optimizer_state == "travels" and clips_whole_updates(scenario):
        yield (
            ("training", "optimizer_state"),
            'must be "fresh" or "node" with unit = "node", got "travels": the state follows from gradients without '
            "noise, so it must not be sent",
        )
    if scenario.protocol.exchange == "secure":
        yield from _bounded(scenario)


def _bounded(scenario: Scenario) -> Found:
    training = scenario.training
    if is_linear(training) or clips_whole_updates(scenario):
        return
    key: Key = ("training", "optimizer", "kind")
    name: str = training.optimizer.kind
    if training.optimizer.linear:
        name = "weight_decay" if training.weight_decay else "proximal"
        key = ("training", name)
    yield (
        key,
        f'secure sums need a public bound on models, and {name} has none; use plain sgd, or unit = "node", which '
        "clips "
        "whole updates",
    )


CHECKS = (private_training,)
