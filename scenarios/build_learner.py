"""How every node of a run trains: data, model and mechanism, from a scenario."""

from __future__ import annotations

from pathlib import Path

from protocols.aggregation.neighbourhood import minimum_members
from protocols.gossip.learner import Learner
from protocols.learning import data, models
from protocols.learning.evaluate import Evaluator
from protocols.learning.local_update import Bank, operations
from protocols.learning.task import Task
from protocols.privacy.accounting import noise_multiplier_for, shift_factor
from protocols.privacy.lineage import Lineage
from protocols.privacy.mechanism import member_sigma
from scenarios import training_tables
from scenarios.build_data import Shares, build_shares
from scenarios.schema import Scenario
from simulator import streams
from simulator.errors import ConfigurationError
from simulator.overlay import Overlay

NO_CLIP = float("inf")


def build_learner(
    scenario: Scenario, overlay: Overlay, base: Path, sybils: int = 0
) -> tuple[Learner, Evaluator, Bank, Shares]:
    """Data, model and mechanism; the last ``sybils`` nodes hold no data, so that what others hold stays the same."""
    shares = build_shares(scenario, base, overlay.nodes - sybils, sybils)
    dataset, parts = shares.dataset, shares.holdings.train
    task = build_task(scenario.model, dataset)
    privacy, training = scenario.privacy, scenario.training
    divisor = training.divisor or shares.divisor
    clip = None if privacy is None else privacy.clip
    bank = Bank.of(dataset.train_x, dataset.train_y, parts)
    ops = operations(
        task,
        bank,
        step=training.step,
        divisor=divisor,
        clip=clip,
        unit="record" if privacy is None else privacy.unit,
    )
    learner = Learner(
        task=task,
        operations=ops,
        lineage=Lineage(),
        initial=task.init(streams.generator(scenario.seed, "initial model")),
        gain=training.step / divisor,
        sigma=build_sigma(scenario, overlay),
        sensitivity=NO_CLIP if clip is None else clip,
        step_cost_s=training.step_cost,
    )
    return learner, Evaluator(task, dataset), bank, shares


def build_task(spec: training_tables.Model, dataset: data.Dataset) -> Task:
    """The model."""
    if dataset.classes is None:
        raise ConfigurationError(
            f"{spec.kind} tells classes apart, but the labels are numbers to predict", "model.kind"
        )
    match spec:
        case training_tables.SoftmaxModel():
            return models.softmax(dataset.features, dataset.classes)
        case training_tables.MlpModel():
            return models.mlp(dataset.features, spec.hidden, dataset.classes)


def build_sigma(scenario: Scenario, overlay: Overlay) -> list[float]:
    """Per node, the standard deviation of the noise it adds to its clipped sum; zero without a mechanism."""
    privacy = scenario.privacy
    if privacy is None or scenario.protocol.exchange == "plain":
        return [0.0] * overlay.nodes
    shared = privacy.noise == "sum"
    relative = [_share(scenario, node, overlay) if shared else 1.0 for node in range(overlay.nodes)]
    z = privacy.noise_multiplier
    if z is None:
        assert privacy.target_epsilon is not None
        local = noise_multiplier_for(privacy.target_epsilon, privacy.delta, scenario.protocol.rounds)
        z = local * shift_factor(privacy.adjacency) / min(relative)
    return [z * privacy.clip * share for share in relative]


def _share(scenario: Scenario, node: int, overlay: Overlay) -> float:
    """The part of a sum's noise that ``node`` must add, so that any sum it enters has enough."""
    secure = scenario.secure
    assert secure is not None
    return max(
        member_sigma(
            1.0,
            1.0,
            [list(links.weights.values())],
            secure.colluders,
            minimum_members(len(links.sources), secure.colluders, secure.tolerated_dropouts),
        )
        for links in (overlay.links(v, 0) for v in overlay.links(node, 0).to)
    )
