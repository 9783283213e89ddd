"""Cross-checks of models and local training."""

from __future__ import annotations

from itertools import pairwise

from scenarios.checks.topology import Found
from scenarios.facts.training import clips_whole_updates, has_mechanism, is_linear, is_single_step
from scenarios.format.locate import Key
from scenarios.kinds.training import PiecewiseSchedule, SgdOptimizer
from scenarios.schema import Scenario


def one_way_to_count(scenario: Scenario) -> Found:
    """Local work is said once, and so is how samples are chosen."""
    training = scenario.training
    if training.local_epochs is not None and training.local_steps != 1:
        yield (
            ("training", "local_epochs"),
            "local_steps is given as well; say how long a node trains in one way",
        )
    if training.rate is not None:
        if training.batch is not None:
            yield ("training", "rate"), "batch is given as well; choose samples in one way"
        if training.local_epochs is not None:
            yield (
                ("training", "rate"),
                "an epoch takes every sample once, and rate takes samples by chance; use local_steps",
            )


def without_effect(scenario: Scenario) -> Found:
    """Nothing is asked for that would change nothing."""
    training = scenario.training
    if training.optimizer_state != "fresh" and isinstance(training.optimizer, SgdOptimizer):
        yield (
            ("training", "optimizer_state"),
            "sgd has no state to keep; remove this key or use another optimizer",
        )
    if training.proximal and is_single_step(training):
        yield (
            ("training", "proximal"),
            "a single step starts where the pull would go; use more local_steps or remove it",
        )
    if training.optimizer.kind == "adamw" and not training.weight_decay:
        yield ("training", "weight_decay"), "adamw without weight decay is adam; give weight_decay"


def ascending(scenario: Scenario) -> Found:
    """Piecewise schedules ascend."""
    schedule = scenario.training.schedule
    if isinstance(schedule, PiecewiseSchedule) and any(a >= b for a, b in pairwise(schedule.at)):
        yield ("training", "schedule", "at"), "the numbers of local steps do not ascend"


def private_training(scenario: Scenario) -> Found:
    """What is clipped and noised can be accounted."""
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
    if isinstance(training.optimizer, SgdOptimizer):
        name = "weight_decay" if training.weight_decay else "proximal"
        key = ("training", name)
    yield (
        key,
        f"secure sums need a bound on models that is known in advance, and with {name} there is none; use plain sgd, "
        'or unit = "node", which clips whole updates',
    )


CHECKS = (one_way_to_count, without_effect, ascending, private_training)
