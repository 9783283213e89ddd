"""Build model and local training of all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols.gossip.learner import Learner, Model
from protocols.learning.bank import Bank
from protocols.learning.dataset import Dataset
from protocols.learning.evaluate import Evaluator
from protocols.learning.local_test import LocalEvaluator
from protocols.learning.operations import Operations
from protocols.learning.task import Task
from protocols.privacy.lineage import ORIGIN, Lineage
from scenarios.assembly.data import Shares
from scenarios.assembly.noise import Noise
from scenarios.assembly.training import build_divisor, build_operations, build_schedule
from scenarios.kinds import tasks
from scenarios.kinds.training import Training
from simulator import streams
from simulator.contract.compute import Executor
from simulator.errors import ConfigurationError

NO_CLIP = float("inf")


@dataclass(frozen=True)
class Learning:
    """Data, model and local training of a run.

    Args:
        learner: local training of every node.
        evaluator: measures models on the common test set.
        local: measures models on the nodes' own test samples; None if they keep none.
        shares: the data and the samples that each node holds.
        bank: the training samples of every node, as operations use them.
        initial: the public initial parameters, (d,).
    """

    learner: Learner
    evaluator: Evaluator
    local: LocalEvaluator | None
    shares: Shares
    bank: Bank
    initial: NDArray[np.float32]

    def with_bank(self, bank: Bank) -> Learning:
        """Return a copy with other training samples."""
        operations = replace(self.learner.operations, bank=bank, _built={})
        return replace(self, bank=bank, learner=replace(self.learner, operations=operations))


def build_learning(
    shares: Shares,
    task: Task,
    training: Training,
    noise: Noise,
    seed: int,
    executor: Executor,
    pooled_nodes: int = 0,
) -> Learning:
    """Return data, model and mechanism.

    Args:
        shares: the data and the samples that each node holds.
        task: functions of the model.
        training: the table [training].
        noise: clipping and noise of every node.
        seed: of the run; the initial model is drawn from it.
        executor: carries out model mathematics.
        pooled_nodes: number of nodes, the first ones, on whose samples one node trains; 0: each trains on its own.
    """
    dataset, parts = shares.dataset, list(shares.holdings.train)
    divisor = build_divisor(training, list(map(len, parts)))
    if pooled_nodes:
        training, divisor = pooled(training, parts[:pooled_nodes], divisor)
        parts = [np.sort(np.concatenate(parts))]
    bank = Bank.of(dataset.train_x, dataset.train_y, parts)
    operations = build_operations(training, noise.protection, task, bank, divisor)
    initial = task.init(streams.generator(seed, "initial model"))
    start = Model(executor.constant(_start(operations, initial)), ORIGIN)
    local = None
    if shares.local_test:
        local = LocalEvaluator(task, Bank.of(dataset.train_x, dataset.train_y, shares.holdings.test))
    learner = build_learner(training, noise, operations, start)
    return Learning(learner, Evaluator(task, dataset), local, shares, bank, initial)


def build_learner(training: Training, noise: Noise, operations: Operations, start: Model) -> Learner:
    """Return the local training of every node: its mathematics, noise and budget.

    Args:
        training: the table [training].
        noise: clipping and noise of every node.
        operations: the model mathematics.
        start: the initial model as the executor holds it.
    """
    return Learner(
        operations=operations,
        lineage=Lineage(),
        start=start,
        gain=1.0 if operations.recipe.whole else training.step / operations.divisor,
        sigma=noise.sigma,
        sensitivity=NO_CLIP if noise.protection.clip is None else noise.protection.clip,
        step_cost_s=training.step_cost,
        schedule=build_schedule(training),
        allowance=noise.allowance,
        bands=noise.bands,
        adaptive=noise.adaptive,
    )


def _start(operations: Operations, initial: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the initial parameters, followed by the optimiser's state if it is sent along."""
    recipe = operations.recipe
    if recipe.keeps != "travels":
        return initial
    return np.concatenate([initial, recipe.optimiser.fresh(operations.task.size)])


def pooled(training: Training, parts: Sequence[NDArray[np.int64]], divisor: int) -> tuple[Training, int]:
    """Return training and divisor of one node that trains on the samples of all nodes together.

    The sum of all gradients is divided by the nodes' divisor times their number, which makes it the average of the
    nodes' sums.

    Args:
        training: of a single node.
        parts: indices of the samples of each node.
        divisor: of a single node's sum.
    """
    if training.batch is not None:
        batch = sum(min(training.batch, len(part)) for part in parts)
        training = training.model_copy(update={"batch": batch})
    return training, divisor * len(parts)


def build_task(model: tasks.Model, dataset: Dataset) -> Task:
    """Return the functions of a model for a data set.

    Raises:
        ConfigurationError: the model cannot be trained on such data.
    """
    wrong = model.misfit(dataset.classes is None, "these data")
    if wrong is not None:
        raise ConfigurationError(wrong, "model.kind")
    return model.build(dataset.shape, dataset.classes)
