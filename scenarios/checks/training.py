"""Cross-checks of models and local training."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.facts.training import clips_whole_updates, has_mechanism, is_linear, is_single_step
from scenarios.format.locate import Key
from scenarios.schema import Scenario


def one_way_to_count(scenario: Scenario) -> Found:
    """The length of local training is given in one way, and so is how samples are chosen."""
    training = scenario.training
    if training.local_epochs is not None and training.local_steps != 1:
        yield (
            ("training", "local_epochs"),
            "local_steps is given as well; remove one of the two",
        )
    if training.rate is not None:
        if training.batch is not None:
            yield ("training", "rate"), "batch is given as well; remove one of the two"
        if training.local_epochs is not None:
            yield (
                ("training", "rate"),
                "local_epochs takes every sample once an epoch, rate takes some at random; use local_steps",
            )


def without_effect(scenario: Scenario) -> Found:
    """Every key that is given changes something."""
    training, optimizer = scenario.training, scenario.training.optimizer
    if training.optimizer_state != "fresh" and not optimizer.stateful:
        yield (
            ("training", "optimizer_state"),
            f"{optimizer.kind} has no state to keep; remove this key or use another optimizer",
        )
    if training.proximal and is_single_step(training):
        yield (
            ("training", "proximal"),
            "has no effect with one local step; use more local_steps or remove it",
        )
    if optimizer.without_decay is not None and not training.weight_decay:
        yield ("training", "weight_decay"), f"{optimizer.without_decay}; give weight_decay, greater than 0"


def private_training(scenario: Scenario) -> Found:
    """Clipped and noised training can be accounted."""
    if not has_mechanism(scenario):
        return
    training, privacy = scenario.training, scenario.privacy
    assert privacy is not None
    if privacy.unit == "record" and training.batch is not None:
        if training.local_epochs is not None:
            yield (
                ("training", "local_epochs"),
                "the number of noised steps would depend on how many samples a node has; use local_steps",
            )
        elif privacy.adjacency == "add-remove":
            yield (
                ("training", "batch"),
                "with batches of fixed size a record that is added takes another one's place, which changes a sum by "
                'twice the clipping norm; use rate (Poisson sampling), or adjacency = "replace" or "zero-out"',
            )
    if training.optimizer_state == "travels" and clips_whole_updates(scenario):
        yield (
            ("training", "optimizer_state"),
            'with unit = "node" the optimiser works on gradients without noise, so its state may not be sent; use '
            '"fresh" or "node"',
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
        f"secure sums need a bound on models that is known in advance, and with {name} there is none; use plain sgd, "
        'or unit = "node", which clips whole updates',
    )


CHECKS = (one_way_to_count, without_effect, private_training)
