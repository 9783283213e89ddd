"""From the table of an attack to what Byzantine nodes train on and what they say."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np

from protocols.attacks import byzantine, directions, poison
from protocols.learning.dataset import Dataset
from protocols.learning.evaluate import Evaluator
from scenarios.assembly.adversary import Cast
from scenarios.assembly.learner import Learning
from scenarios.assembly.robust import build_rule
from scenarios.kinds import attacks as tables
from scenarios.schema import Scenario
from simulator.adversary.coalition import Claim
from simulator.contract.compute import Executor
from simulator.contract.node import Links
from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.topology.overlays import Overlay


def attack_of(scenario: Scenario) -> tables.Attack | None:
    """What Byzantine nodes do; None if there are none, or they are switched off."""
    table = scenario.adversary.byzantine
    return None if table is None or not table.enabled else table.attack


def poisoned(scenario: Scenario, cast: Cast, learning: Learning) -> Learning:
    """What there is to learn when Byzantine nodes train on other data, or leave out their noise.

    Raises:
        ConfigurationError: the data have no such class or so few features, or none at all.
    """
    attack = attack_of(scenario)
    match attack:
        case tables.LabelFlipAttack():
            classes = _classes(learning)
            return learning.with_bank(poison.mislabelled(learning.bank, cast.byzantine, classes))
        case tables.BackdoorAttack(fraction=fraction):
            trigger = build_trigger(attack, learning.shares.dataset, _classes(learning))
            bank = poison.triggered(learning.bank, cast.byzantine, trigger, fraction)
            return learning.with_bank(bank)
        case tables.NoiseFreeRiderAttack():
            sigma = [0.0 if node in cast.byzantine else s for node, s in enumerate(learning.learner.sigma)]
            return replace(learning, learner=replace(learning.learner, sigma=sigma))
        case _:
            return learning


def build_probe(scenario: Scenario, learning: Learning) -> Evaluator | None:
    """What measures how often a backdoor works; None without one."""
    attack = attack_of(scenario)
    if not isinstance(attack, tables.BackdoorAttack):
        return None
    trigger = build_trigger(attack, learning.shares.dataset, _classes(learning))
    return Evaluator(learning.evaluator.task, trigger.probe(learning.shares.dataset))


def build_trigger(attack: tables.BackdoorAttack, dataset: Dataset, classes: int) -> poison.Trigger:
    """What a backdoor reacts to.

    Raises:
        ConfigurationError: no such class, or fewer features.
    """
    if attack.target >= classes:
        raise ConfigurationError(
            f"class {attack.target} is none of the {classes} classes of these data",
            "adversary.byzantine.attack.target",
        )
    if attack.features >= dataset.features:
        raise ConfigurationError(
            f"a trigger of {attack.features} features leaves nothing of samples that have {dataset.features}",
            "adversary.byzantine.attack.features",
        )
    return poison.Trigger(attack.features, float(dataset.train_x.max()), attack.target)


def build_claims(
    scenario: Scenario, cast: Cast, learning: Learning, overlay: Overlay, executor: Executor
) -> dict[int, Claim]:
    """What Byzantine nodes say in place of their models, by node."""
    attack, table = attack_of(scenario), scenario.adversary.byzantine
    if attack is None or table is None or not cast.byzantine or not tables.speaks(attack):
        return {}

    def links(node: int, round: int, now_s: float) -> Links:
        return overlay.links(node, overlay.epoch(to_ns(now_s), round))

    robust = None if scenario.protocol.links.tree_levels else scenario.protocol.rule
    stage = byzantine.Stage(
        learner=learning.learner,
        executor=executor,
        links=links,
        speakers=cast.byzantine,
        rule=None if robust is None else build_rule(robust),
    )
    claim = stage.claim(
        _attack(attack, stage, _fiedler(overlay, cast) if attack.kind == "spectral" else {}),
        table.at or 0.0,
        inf if table.until is None else table.until,
    )
    return dict.fromkeys(sorted(cast.byzantine), claim)


def _attack(attack: tables.Attack, stage: byzantine.Stage, mode: dict[int, float]) -> byzantine.Attack:
    match attack:
        case tables.SignFlipAttack(scale=scale):
            return byzantine.sign_flip(stage, scale)
        case tables.TwoFacedAttack(scale=scale):
            return byzantine.two_faced(stage, scale)
        case tables.GaussianAttack(sigma=sigma):
            return byzantine.gaussian(stage, sigma)
        case tables.NotFiniteAttack(value=value):
            return byzantine.not_finite(stage, value)
        case tables.FreeRiderAttack():
            return byzantine.stale(stage)
        case tables.BackdoorAttack(boost=boost):
            return byzantine.boosted(stage, boost)
        case tables.AlieAttack(z=z):
            return byzantine.little(stage, None if isinstance(z, str) else z)
        case tables.IpmAttack(factor=factor):
            return byzantine.inner_product(stage, None if isinstance(factor, str) else factor)
        case tables.MimicAttack(victim=victim):
            return byzantine.mimic(stage, victim)
        case tables.EchoAttack():
            return byzantine.echo(stage)
        case tables.DissensusAttack(factor=factor):
            return byzantine.dissensus(stage, factor)
        case tables.SpectralAttack(factor=factor):
            return byzantine.spectral(stage, factor, mode)
        case tables.OverrideAttack(aim=aim, spare=spare):
            return byzantine.override(stage, aim, spare)
        case (
            tables.NoAttack()
            | tables.LabelFlipAttack()
            | tables.NoiseFreeRiderAttack()
            | tables.InconsistentSharesAttack()
        ):
            raise AssertionError("an attack that is not in what nodes say")


def _fiedler(overlay: Overlay, cast: Cast) -> dict[int, float]:
    honest = sorted(frozenset(range(overlay.nodes)) - cast.dishonest)
    place = {node: i for i, node in enumerate(honest)}
    weights = np.zeros((len(honest), len(honest)))
    for node in honest:
        for peer, weight in overlay.links(node, 0).weights.items():
            if peer in place:
                weights[place[node], place[peer]] = weight
    return dict(zip(honest, directions.fiedler((weights + weights.T) / 2).tolist(), strict=True))


def _classes(learning: Learning) -> int:
    classes = learning.evaluator.task.classes
    if classes is None:
        raise ConfigurationError(
            "these data have numbers to predict, no classes to confuse", "adversary.byzantine.attack.kind"
        )
    return classes
