"""What follows from how a scenario trains: for its checks, its noise and its accounting. Imports no mathematics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scenarios.kinds.training import Training
from scenarios.schema import Scenario


@dataclass(frozen=True)
class Protection:
    """How local updates are clipped and noised.

    Args:
        unit: whose contribution is clipped, a record's in every step or a node's; None without clipping.
        clip: clipping norm in the L2 norm, > 0; None without clipping.
        whole: whether the difference that a whole update makes is clipped, and noised once.
        noised: whether real-valued noise is added to what nodes compute.
        adapts: whether the clipping norm follows the norms of updates.
    """

    unit: Literal["record", "node"] | None
    clip: float | None
    whole: bool
    noised: bool
    adapts: bool


def protection_of(scenario: Scenario) -> Protection:
    """Return how local updates of a scenario are clipped and noised."""
    privacy = scenario.privacy
    if privacy is None:
        return Protection(unit=None, clip=None, whole=False, noised=False, adapts=False)
    return Protection(
        unit=privacy.unit,
        clip=privacy.clip,
        whole=clips_whole_updates(scenario),
        noised=has_mechanism(scenario) and not has_integer_noise(scenario),
        adapts=privacy.adaptive_clip is not None,
    )


def has_mechanism(scenario: Scenario) -> bool:
    """Whether nodes add noise."""
    return scenario.privacy is not None and scenario.protocol.exchange != "plain"


def has_integer_noise(scenario: Scenario) -> bool:
    """Whether noise is added to the words of a sum, and not to what nodes compute."""
    return has_mechanism(scenario) and scenario.privacy is not None and scenario.privacy.law != "gaussian"


def is_linear(training: Training) -> bool:
    """Whether a step is the step size times a clipped, noised sum and nothing else."""
    return training.optimizer.linear and not training.weight_decay and not training.proximal


def is_full_batch(training: Training) -> bool:
    """Whether every step takes all of a node's samples."""
    return training.batch is None and training.rate is None


def sampling_rate(training: Training) -> float:
    """The probability with which a sample takes part in a step, drawn for each alone; 1 where none is drawn."""
    return 1.0 if training.rate is None else training.rate


def clips_whole_updates(scenario: Scenario) -> bool:
    """Whether the difference that a whole local update makes is clipped, where a node is what is protected.

    A single plain step is left to clip its sum of gradients: the same but for a public factor.
    """
    privacy, training = scenario.privacy, scenario.training
    if privacy is None or privacy.unit != "node":
        return False
    return privacy.adaptive_clip is not None or not (is_linear(training) and training.single_step)


def sums_per_round(scenario: Scenario) -> int:
    """Clipped, noised sums of one node in one round, each of which is charged."""
    training = scenario.training
    if scenario.privacy is None or scenario.privacy.unit == "node":
        return 1
    return training.local_epochs or training.local_steps


def sums_in_all(scenario: Scenario) -> int:
    """Clipped, noised sums of one node in the whole run."""
    return scenario.protocol.rounds * sums_per_round(scenario)
