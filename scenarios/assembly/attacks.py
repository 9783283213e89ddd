"""Build what Byzantine nodes train on and what they send from the table of their attack."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from protocols.attacks.byzantine import Stage
from protocols.attacks.poison import Training
from protocols.gossip.robust_mix import Rule
from protocols.learning.evaluate import Evaluator
from scenarios.assembly.adversary import Cast
from scenarios.assembly.learner import Learning
from scenarios.kinds.adversaries import Adversary
from scenarios.kinds.attacks import Attack
from simulator.adversary.coalition import Substitution
from simulator.contract.compute import Executor
from simulator.contract.node import Links
from simulator.core.clock import to_ns
from simulator.topology.overlays import Overlay


def attack_of(adversary: Adversary) -> Attack | None:
    """Return the attack of the Byzantine nodes; None if there are none, or they are switched off."""
    table = adversary.byzantine
    return None if table is None or not table.enabled else table.attack


def poisoned(adversary: Adversary, cast: Cast, learning: Learning) -> Learning:
    """Return the learning parts with the data and noise of Byzantine nodes changed by their attack.

    Raises:
        ConfigurationError: the attack does not work on these data.
    """
    attack = attack_of(adversary)
    if attack is None:
        return learning
    before = _training(learning)
    after = attack.poison(before, cast.byzantine)
    if after.bank is not before.bank:
        learning = learning.with_bank(after.bank)
    if after.sigma is not before.sigma:
        learning = replace(learning, learner=replace(learning.learner, sigma=after.sigma))
    return learning


def build_probe(adversary: Adversary, learning: Learning) -> Evaluator | None:
    """Return the evaluator that measures how often an attack succeeds; None if the attack has no such measure."""
    attack = attack_of(adversary)
    data = None if attack is None else attack.probe(_training(learning))
    return None if data is None else Evaluator(learning.evaluator.task, data)


def build_substitutions(
    adversary: Adversary,
    cast: Cast,
    learning: Learning,
    overlay: Overlay,
    executor: Executor,
    rule: Rule | None,
) -> dict[int, Substitution]:
    """Return, by Byzantine node, the substitution of the models it sends.

    Args:
        adversary: the adversary tables.
        cast: roles of nodes.
        learning: data, model and local training.
        overlay: links of the nodes.
        executor: carries out model mathematics.
        rule: robust rule that receivers mix with; None for a weighted sum.
    """
    attack, table = attack_of(adversary), adversary.byzantine
    if attack is None or table is None or not cast.byzantine or attack.part != "messages":
        return {}

    def links(node: int, round: int, now_s: float) -> Links:
        return overlay.links(node, overlay.epoch(to_ns(now_s), round))

    stage = Stage(
        learner=learning.learner,
        executor=executor,
        links=links,
        byzantine=cast.byzantine,
        rule=rule,
        honest=sorted(frozenset(range(overlay.nodes)) - cast.corrupt),
    )
    until_s = inf if table.until is None else table.until
    substitution = stage.substitution(attack.content(stage), table.at or 0.0, until_s)
    return dict.fromkeys(sorted(cast.byzantine), substitution)


def _training(learning: Learning) -> Training:
    classes = learning.evaluator.task.classes
    return Training(learning.bank, learning.shares.dataset, classes, learning.learner.sigma)
