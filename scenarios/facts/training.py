"""Facts about local training that checks, noise and accounting need. Imports no numerical library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from scenarios.kinds.training import Training
from scenarios.schema import Scenario


@dataclass(frozen=True)
class Protection:
    """How local updates are clipped and noised.

    Args:
        unit: what is clipped: the gradient of each record in every step, or that of the node; None without clipping.
        clip: clipping norm in the L2 norm, > 0; None without clipping.
        whole: whether the difference made by a whole update is clipped, and noised once.
        noised: whether real-valued noise is added to what nodes compute.
        adapts: whether the clipping norm follows the norms of updates.
    """

    unit: Literal["record", "node"] | None
    clip: float | None
    whole: bool
    noised: bool
    adapts: bool


def protection_of(scenario: Scenario) -> Protection:
    """Return the clipping and noise of local updates of a scenario."""
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
    """Return whether nodes add noise."""
    return scenario.privacy is not None and scenario.protocol.exchange != "plain"


def has_integer_noise(scenario: Scenario) -> bool:
    """Return whether integer noise is added to the words of a sum, in place of noise on updates."""
    return has_mechanism(scenario) and scenario.privacy is not None and scenario.privacy.law != "gaussian"


def is_linear(training: Training) -> bool:
    """Return whether a step is just the step size times a clipped, noised sum."""
    return training.optimizer.linear and not training.weight_decay and not training.proximal


def is_full_batch(training: Training) -> bool:
    """Return whether every step uses all of a node's samples."""
    return training.batch is None and training.rate is None


def sampling_rate(training: Training) -> float:
    """Return the probability with which each sample takes part in a step; 1 without Poisson sampling."""
    return 1.0 if training.rate is None else training.rate


def clips_whole_updates(scenario: Scenario) -> bool:
    """Return whether the difference made by a whole local update is clipped, with unit ``node``.

    A single plain step clips its sum of gradients instead, which is the same up to a public factor.
    """
    privacy, training = scenario.privacy, scenario.training
    if privacy is None or privacy.unit != "node":
        return False
    return privacy.adaptive_clip is not None or not (is_linear(training) and training.single_step)


def sums_per_round(scenario: Scenario) -> int:
    """Return the number of clipped, noised sums of one node in one round, each of which is charged."""
    training = scenario.training
    if scenario.privacy is None or scenario.privacy.unit == "node":
        return 1
    return training.local_epochs or training.local_steps


def sums_in_all(scenario: Scenario) -> int:
    """Return the number of clipped, noised sums of one node in the whole run."""
    return scenario.protocol.rounds * sums_per_round(scenario)
