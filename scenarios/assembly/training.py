"""Build the local training of nodes."""

from __future__ import annotations

from math import ceil

from protocols.learning.bank import Bank
from protocols.learning.batches import Batches, epoch_steps
from protocols.learning.local_update import Recipe
from protocols.learning.operations import Operations
from protocols.learning.optimisers import Optimiser
from protocols.learning.schedules import Schedule
from protocols.learning.task import Task
from scenarios.facts.training import Protection
from scenarios.kinds.training import Training


def build_operations(
    training: Training, protection: Protection, task: Task, bank: Bank, divisor: int
) -> Operations:
    """Return the model mathematics of a run.

    Args:
        training: the table [training].
        protection: clipping and noise of local updates.
        task: the model.
        bank: the training samples of every node.
        divisor: public constant that sums of gradients are divided by.
    """
    batches = build_batches(training, bank.counts)
    recipe = Recipe(
        steps=batches.steps,
        optimiser=build_optimiser(training),
        unit=protection.unit,
        whole=protection.whole,
        noised=protection.noised,
        sampled=batches.sampling != "all",
        partial=batches.sampling == "shuffle",
        keeps=training.optimizer_state,
        scheduled=training.schedule is not None,
        proximal=training.proximal > 0,
        adapts=protection.adapts,
    )
    return Operations(
        task=task,
        bank=bank,
        recipe=recipe,
        batches=batches,
        rate=training.step,
        divisor=divisor,
        clip=protection.clip,
        pull=training.proximal,
    )


def build_batches(training: Training, counts: list[int]) -> Batches:
    """Return the sampling of batches.

    Args:
        training: the table [training].
        counts: number of training samples of each node.
    """
    if training.rate is not None:
        return Batches(counts, training.local_steps, "poisson", rate=training.rate)
    if training.batch is None:
        return Batches(counts, training.local_epochs or training.local_steps)
    if training.local_epochs is not None:
        steps = epoch_steps(counts, training.batch, training.local_epochs)
        return Batches(counts, steps, "shuffle", batch=training.batch, epochs=training.local_epochs)
    return Batches(counts, training.local_steps, "uniform", batch=training.batch)


def build_divisor(training: Training, counts: list[int]) -> int:
    """Return the divisor of sums of gradients: the expected number of samples in one, from public numbers only.

    Args:
        training: the table [training]; without a divisor it follows from batch or rate.
        counts: number of training samples of each node.
    """
    if training.divisor is not None:
        return training.divisor
    holders = sum(count > 0 for count in counts)
    mean = -(-sum(counts) // max(1, holders))
    if training.rate is not None:
        return max(1, ceil(training.rate * mean))
    return training.batch or mean


def build_optimiser(training: Training) -> Optimiser:
    """Return the optimiser of local steps."""
    decay, optimizer = training.weight_decay, training.optimizer
    return Optimiser(optimizer.build(decay), linear=optimizer.linear and not decay)


def build_schedule(training: Training) -> Schedule | None:
    """Return the schedule of step sizes over a node's local steps; None if the step is constant."""
    return None if training.schedule is None else training.schedule.build(training.step)
