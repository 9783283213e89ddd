"""Build data, model, mechanism and local training of all nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.aggregation.members import minimum_members
from protocols.gossip.learner import Learner, Model
from protocols.learning.bank import Bank
from protocols.learning.dataset import Dataset
from protocols.learning.evaluate import Evaluator
from protocols.learning.local_test import LocalEvaluator
from protocols.learning.operations import Operations
from protocols.learning.task import Task
from protocols.privacy.accounting import shift_factor
from protocols.privacy.adaptive_clip import AdaptiveClip
from protocols.privacy.bands import normalised, square_root_bands
from protocols.privacy.lineage import ORIGIN, Lineage
from protocols.privacy.mechanism import member_sigma
from scenarios.assembly.data import Shares, build_data, build_shares
from scenarios.assembly.training import build_divisor, build_operations, build_schedule
from scenarios.facts.budget import allowances, local_multiplier, mechanism_of
from scenarios.facts.training import has_integer_noise, protection_of
from scenarios.kinds import tasks
from scenarios.kinds.privacy import Privacy
from scenarios.kinds.training import Training
from scenarios.objects import NOTHING, Objects
from scenarios.schema import Scenario
from simulator import streams
from simulator.contract.compute import Executor
from simulator.errors import ConfigurationError
from simulator.topology.overlays import Overlay

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
    scenario: Scenario,
    overlay: Overlay,
    base: Path,
    executor: Executor,
    sybils: int = 0,
    objects: Objects = NOTHING,
) -> Learning:
    """Return data, model and mechanism.

    Args:
        scenario: of the run.
        overlay: nodes and their links.
        base: folder that relative file names start at.
        executor: carries out model mathematics.
        sybils: number of Sybil identities; they are the last nodes and hold no data, so other nodes' data do not
            change.
        objects: data and model in memory, in place of those of the scenario.

    Raises:
        ConfigurationError: data, partition and model do not fit each other, or files are broken.
    """
    nodes, training = overlay.nodes - sybils, scenario.training
    dataset = objects.dataset(scenario.seed) or build_data(scenario.data, base, scenario.seed)
    shares = build_shares(dataset, scenario.partition, scenario.seed, nodes, sybils)
    dataset, parts = shares.dataset, list(shares.holdings.train)
    divisor = build_divisor(training, list(map(len, parts)))
    if scenario.protocol.pools_data:
        training, divisor = pooled(training, parts[:nodes], divisor)
        parts = [np.sort(np.concatenate(parts))]
    task = objects.task_for(dataset) or build_task(scenario.model, dataset)
    bank = Bank.of(dataset.train_x, dataset.train_y, parts)
    operations = build_operations(training, protection_of(scenario), task, bank, divisor)
    initial = task.init(streams.generator(scenario.seed, "initial model"))
    learner = build_learner(scenario, overlay, operations, executor.constant(_start(operations, initial)))
    local = None
    if shares.local_test:
        local = LocalEvaluator(task, Bank.of(dataset.train_x, dataset.train_y, shares.holdings.test))
    return Learning(learner, Evaluator(task, dataset), local, shares, bank, initial)


def build_learner(scenario: Scenario, overlay: Overlay, operations: Operations, start: Any) -> Learner:
    """Return the local training of every node: its mathematics, noise and budget.

    Args:
        scenario: of the run.
        overlay: nodes and their links.
        operations: the model mathematics.
        start: the initial model as the executor holds it.
    """
    privacy, training = scenario.privacy, scenario.training
    sigma = [0.0] * overlay.nodes
    if not has_integer_noise(scenario):
        sigma = build_sigma(scenario, overlay, operations.bank.counts)
    return Learner(
        operations=operations,
        lineage=Lineage(),
        start=Model(start, ORIGIN),
        gain=1.0 if operations.recipe.whole else training.step / operations.divisor,
        sigma=sigma,
        sensitivity=NO_CLIP if privacy is None else privacy.clip,
        step_cost_s=training.step_cost,
        schedule=build_schedule(training),
        allowance=build_allowance(scenario, sigma),
        bands=None if privacy is None else build_bands(privacy),
        adaptive=None if privacy is None else build_adaptive(privacy, sigma),
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


def build_bands(privacy: Privacy) -> tuple[float, ...] | None:
    """Return the coefficients of noise correlated across rounds (banded); None without."""
    bands = privacy.bands
    if bands is None:
        return None
    return square_root_bands(bands) if isinstance(bands, int) else normalised(bands)


def build_allowance(scenario: Scenario, sigma: Sequence[float]) -> list[int] | None:
    """Return the number of noised sums that each node's budget allows; None without a budget."""
    privacy = scenario.privacy
    if privacy is None or privacy.budget is None:
        return None
    return allowances(mechanism_of(scenario, privacy), privacy.budget, sigma)


def build_adaptive(privacy: Privacy, sigma: Sequence[float]) -> AdaptiveClip | None:
    """Return the adaptation of the clipping norm to the norms of updates; None if the norm is fixed.

    Args:
        privacy: the table [privacy].
        sigma: standard deviation of each node's noise at the initial clipping norm.
    """
    spec = privacy.adaptive_clip
    if spec is None:
        return None
    return AdaptiveClip(privacy.clip, spec.quantile, spec.rate, max(sigma) / privacy.clip, spec.bit_noise)


def build_task(model: tasks.Model, dataset: Dataset) -> Task:
    """Return the functions of a model for a data set.

    Raises:
        ConfigurationError: the model cannot be trained on such data.
    """
    wrong = model.misfit(dataset.classes is None, "these data")
    if wrong is not None:
        raise ConfigurationError(wrong, "model.kind")
    return model.build(dataset.shape, dataset.classes)


def build_sigma(scenario: Scenario, overlay: Overlay, samples: Sequence[int]) -> list[float]:
    """Return the standard deviation of the noise that each node adds to its clipped sum; zero without a mechanism."""
    privacy = scenario.privacy
    if privacy is None or scenario.protocol.exchange == "plain":
        return [0.0] * overlay.nodes
    shared = privacy.noise == "sum"
    relative = [_share(scenario, node, overlay, samples) if shared else 1.0 for node in range(overlay.nodes)]
    z = privacy.noise_multiplier
    if z is None:
        assert privacy.target_epsilon is not None
        local = local_multiplier(mechanism_of(scenario, privacy), privacy.target_epsilon)
        z = local * shift_factor(privacy.adjacency) / min(relative)
    return [z * privacy.clip * share for share in relative]


def _share(scenario: Scenario, node: int, overlay: Overlay, samples: Sequence[int]) -> float:
    """Return the part of a sum's noise that ``node`` must add so that every sum it enters has enough."""
    secure, protocol = scenario.secure, scenario.protocol
    assert secure is not None
    least = minimum_members(0, secure.colluders, 0)
    sums = protocol.sums(overlay, samples, scenario.seed, least, node)
    # Where nodes train from opened sums, whoever looks at one is a member of it, and knows its own noise.
    knowing = secure.colluders + protocol.states_are_public
    return max(
        (
            member_sigma(1.0, 1.0, [weights], knowing, secure.per_position(protocol.asked(len(weights))))
            for weights in sums
        ),
        default=1.0,  # a node in no sum contributes nothing
    )
