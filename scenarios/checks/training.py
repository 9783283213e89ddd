"""Cross-checks of local training and what protects it."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.facts.training import clips_whole_updates, has_mechanism, is_linear
from scenarios.format.locate import Key
from scenarios.schema import Scenario


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


CHECKS = (private_training,)
