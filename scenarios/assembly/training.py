"""How a node trains on its own data, from a scenario."""

from __future__ import annotations

from math import ceil

from protocols.learning import schedules
from protocols.learning.bank import Bank
from protocols.learning.batches import Batches, epoch_steps
from protocols.learning.local_update import Recipe
from protocols.learning.operations import Operations
from protocols.learning.optimisers import Optimiser
from protocols.learning.schedules import Schedule
from protocols.learning.task import Task
from scenarios.facts.training import clips_whole_updates, has_integer_noise, has_mechanism
from scenarios.kinds import training as tables
from scenarios.schema import Scenario


def build_operations(scenario: Scenario, task: Task, bank: Bank, divisor: int) -> Operations:
    """The model mathematics of a run."""
    training, privacy = scenario.training, scenario.privacy
    batches = build_batches(training, bank.counts)
    recipe = Recipe(
        steps=batches.steps,
        optimiser=build_optimiser(training),
        unit=None if privacy is None else privacy.unit,
        whole=clips_whole_updates(scenario),
        noised=has_mechanism(scenario) and not has_integer_noise(scenario),
        sampled=batches.sampling != "all",
        partial=batches.sampling == "shuffle",
        keeps=training.optimizer_state,
        scheduled=training.schedule is not None,
        proximal=training.proximal > 0,
        adapts=privacy is not None and privacy.adaptive_clip is not None,
    )
    return Operations(
        task=task,
        bank=bank,
        recipe=recipe,
        batches=batches,
        rate=training.step,
        divisor=divisor,
        clip=None if privacy is None else privacy.clip,
        pull=training.proximal,
    )


def build_batches(training: tables.Training, counts: list[int]) -> Batches:
    """How samples are chosen."""
    if training.rate is not None:
        return Batches(counts, training.local_steps, "poisson", rate=training.rate)
    if training.batch is None:
        return Batches(counts, training.local_epochs or training.local_steps)
    if training.local_epochs is not None:
        steps = epoch_steps(counts, training.batch, training.local_epochs)
        return Batches(counts, steps, "shuffle", batch=training.batch, epochs=training.local_epochs)
    return Batches(counts, training.local_steps, "uniform", batch=training.batch)


def build_divisor(training: tables.Training, counts: list[int]) -> int:
    """What a sum of gradients is divided by: the expected number of samples in it, from public numbers alone."""
    if training.divisor is not None:
        return training.divisor
    holders = sum(count > 0 for count in counts)
    mean = -(-sum(counts) // max(1, holders))
    if training.rate is not None:
        return max(1, ceil(training.rate * mean))
    return training.batch or mean


def build_optimiser(training: tables.Training) -> Optimiser:
    """What becomes of gradients."""
    decay = training.weight_decay
    match training.optimizer:
        case tables.SgdOptimizer():
            return Optimiser(weight_decay=decay)
        case tables.MomentumOptimizer() as spec:
            return Optimiser("momentum", momentum=spec.momentum, nesterov=spec.nesterov, weight_decay=decay)
        case tables.AdamOptimizer() as spec:
            return Optimiser(
                spec.kind, beta1=spec.beta1, beta2=spec.beta2, epsilon=spec.epsilon, weight_decay=decay
            )


def build_schedule(training: tables.Training) -> Schedule | None:
    """Step sizes over a node's local steps; None where they do not change."""
    step = training.step
    match training.schedule:
        case None:
            return None
        case tables.PiecewiseSchedule() as spec:
            schedule = schedules.piecewise(step, spec.at, spec.factor)
        case tables.CosineSchedule() as spec:
            schedule = schedules.cosine(step, spec.steps, spec.final)
        case tables.ExponentialSchedule() as spec:
            schedule = schedules.exponential(step, spec.half_life)
        case tables.InverseSqrtSchedule() as spec:
            schedule = schedules.inverse_sqrt(step, spec.flat)
    return schedules.warmed_up(schedule, spec.warmup)
