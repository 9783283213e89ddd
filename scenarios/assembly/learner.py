"""How every node of a run trains: data, model and mechanism, from a scenario."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocols.gossip.learner import Learner, Model
from protocols.learning import data, models
from protocols.learning.bank import Bank
from protocols.learning.evaluate import Evaluator
from protocols.learning.local_test import LocalEvaluator
from protocols.learning.task import Task
from protocols.privacy.accounting import shift_factor
from protocols.privacy.adaptive_clip import AdaptiveClip
from protocols.privacy.bands import normalised, square_root_bands
from protocols.privacy.lineage import ORIGIN, Lineage
from protocols.privacy.mechanism import member_sigma
from scenarios.assembly.data import Shares, build_shares
from scenarios.assembly.training import build_divisor, build_operations, build_schedule
from scenarios.facts.budget import allowances, local_multiplier
from scenarios.facts.secure import asked, per_position
from scenarios.facts.training import has_integer_noise
from scenarios.kinds import protocols as protocol_tables
from scenarios.kinds import training as training_tables
from scenarios.kinds.tasks import task_named
from scenarios.objects import NOTHING, Objects
from scenarios.schema import Scenario
from simulator import streams
from simulator.contract.compute import Executor
from simulator.errors import ConfigurationError
from simulator.topology.overlays import Overlay

NO_CLIP = float("inf")


@dataclass(frozen=True)
class Learning:
    """What there is to learn, and how.

    Args:
        learner: how every node trains.
        evaluator: how good models are.
        local: how good they are on what nodes keep for testing; None if they keep nothing.
        shares: the data, and who holds what of them.
        bank: the training samples of every node, as operations see them.
        initial: the public initial parameters, (d,).
    """

    learner: Learner
    evaluator: Evaluator
    local: LocalEvaluator | None
    shares: Shares
    bank: Bank
    initial: NDArray[np.float32]

    def with_bank(self, bank: Bank) -> Learning:
        """The same with other training samples."""
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
    """Data, model and mechanism; the last ``sybils`` nodes hold no data, so that what others hold stays the same."""
    nodes = overlay.nodes - sybils
    shares = build_shares(scenario, base, nodes, sybils, objects.dataset(scenario.seed))
    dataset, parts = shares.dataset, list(shares.holdings.train)
    divisor = build_divisor(scenario.training, list(map(len, parts)))
    if isinstance(scenario.protocol, protocol_tables.CentralisedProtocol):
        scenario, divisor = pooled(scenario, parts[:nodes], divisor)
        parts = [np.sort(np.concatenate(parts))]
    task = objects.task_for(dataset) or build_task(scenario.model, dataset)
    privacy, training = scenario.privacy, scenario.training
    bank = Bank.of(dataset.train_x, dataset.train_y, parts)
    operations = build_operations(scenario, task, bank, divisor)
    initial = task.init(streams.generator(scenario.seed, "initial model"))
    recipe, start = operations.recipe, initial
    if recipe.keeps == "travels":
        start = np.concatenate([initial, recipe.optimiser.fresh(task.size)])
    sigma = [0.0] * overlay.nodes
    if not has_integer_noise(scenario):
        sigma = build_sigma(scenario, overlay, bank.counts)
    learner = Learner(
        operations=operations,
        lineage=Lineage(),
        start=Model(executor.constant(start), ORIGIN),
        gain=1.0 if recipe.whole else training.step / operations.divisor,
        sigma=sigma,
        sensitivity=NO_CLIP if privacy is None else privacy.clip,
        step_cost_s=training.step_cost,
        schedule=build_schedule(training),
        allowance=allowances(scenario, sigma),
        bands=build_bands(scenario),
        adaptive=build_adaptive(scenario, sigma),
    )
    local = None
    if shares.local_test:
        local = LocalEvaluator(task, Bank.of(dataset.train_x, dataset.train_y, shares.holdings.test))
    return Learning(learner, Evaluator(task, dataset), local, shares, bank, initial)


def pooled(scenario: Scenario, parts: Sequence[NDArray[np.int64]], divisor: int) -> tuple[Scenario, int]:
    """How one place trains in the stead of all nodes: a step takes as many samples as theirs together.

    The sum of everybody's gradients stands for their average, so it is divided by the nodes' divisor times their
    number.

    Args:
        scenario: of the run.
        parts: what each node holds.
        divisor: of a single node's sum.
    """
    training = scenario.training
    if training.batch is not None:
        batch = sum(min(training.batch, len(part)) for part in parts)
        scenario = scenario.model_copy(update={"training": training.model_copy(update={"batch": batch})})
    return scenario, divisor * len(parts)


def build_bands(scenario: Scenario) -> tuple[float, ...] | None:
    """Coefficients of noise that is correlated over rounds."""
    bands = None if scenario.privacy is None else scenario.privacy.bands
    if bands is None:
        return None
    return square_root_bands(bands) if isinstance(bands, int) else normalised(bands)


def build_adaptive(scenario: Scenario, sigma: Sequence[float]) -> AdaptiveClip | None:
    """How the clipping norm follows the norms of updates."""
    privacy = scenario.privacy
    if privacy is None or privacy.adaptive_clip is None:
        return None
    spec = privacy.adaptive_clip
    return AdaptiveClip(privacy.clip, spec.quantile, spec.rate, max(sigma) / privacy.clip, spec.bit_noise)


def build_task(spec: training_tables.Model, dataset: data.Dataset) -> Task:
    """The model."""
    shape, classes = dataset.train_x.shape[1:], dataset.classes
    if isinstance(spec, training_tables.TaskModel):
        return task_named(spec.name)(shape=shape, classes=classes, **spec.options)
    if isinstance(spec, training_tables.LinearModel):
        if classes is not None:
            raise ConfigurationError(
                f"linear regression predicts numbers, and these data have {classes} classes; use softmax",
                "model.kind",
            )
        return models.linear(dataset.features)
    if classes is None:
        raise ConfigurationError(
            f"{spec.kind} tells classes apart, and these data have numbers to predict; use linear",
            "model.kind",
        )
    match spec:
        case training_tables.SoftmaxModel():
            return models.softmax(dataset.features, classes)
        case training_tables.MlpModel():
            return models.mlp(dataset.features, spec.hidden, classes, spec.activation)
        case training_tables.CnnModel():
            return models.cnn(
                shape, classes, spec.channels, spec.kernel, spec.hidden, spec.activation, spec.padding
            )


def build_sigma(scenario: Scenario, overlay: Overlay, samples: Sequence[int]) -> list[float]:
    """Per node, the standard deviation of the noise it adds to its clipped sum; zero without a mechanism."""
    privacy = scenario.privacy
    if privacy is None or scenario.protocol.exchange == "plain":
        return [0.0] * overlay.nodes
    shared = privacy.noise == "sum"
    relative = [_share(scenario, node, overlay, samples) if shared else 1.0 for node in range(overlay.nodes)]
    z = privacy.noise_multiplier
    if z is None:
        assert privacy.target_epsilon is not None
        local = local_multiplier(scenario, privacy.target_epsilon)
        z = local * shift_factor(privacy.adjacency) / min(relative)
    return [z * privacy.clip * share for share in relative]


def _share(scenario: Scenario, node: int, overlay: Overlay, samples: Sequence[int]) -> float:
    """The part of a sum's noise that ``node`` must add, so that any sum it enters has enough."""
    secure = scenario.secure
    assert secure is not None
    if isinstance(scenario.protocol, protocol_tables.FedavgProtocol):
        neighbourhoods = [update_weights(scenario.protocol, samples)[1:]]
    else:
        links = (overlay.links(v, 0) for v in overlay.links(node, 0).to)
        neighbourhoods = [list(around.weights.values()) for around in links]
    return max(
        member_sigma(
            1.0, 1.0, [weights], secure.colluders, per_position(secure, asked(scenario, len(weights)))
        )
        for weights in neighbourhoods
    )


def update_weights(spec: protocol_tables.FederatedProtocol, samples: Sequence[int]) -> list[float]:
    """The public weight of each node's result in a server's average."""
    return [float(count) for count in samples] if spec.weights == "samples" else [1.0] * len(samples)
