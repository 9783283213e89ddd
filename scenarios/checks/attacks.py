"""Cross-checks of what Byzantine nodes do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from scenarios.facts.training import has_integer_noise
from scenarios.format.locate import Key
from scenarios.kinds.attacks import (
    InconsistentSharesAttack,
    NoiseFreeRiderAttack,
    knowledge_needed,
    poisons,
)
from scenarios.schema import Scenario
from simulator.contract.knowledge import LEVELS

Found: TypeAlias = Iterator[tuple[Key, str]]


def knowledge(scenario: Scenario) -> Found:
    """An attack is given what it has to know."""
    table = scenario.adversary.byzantine
    if table is None:
        return
    level, needed = scenario.adversary.knowledge, knowledge_needed(table.attack)
    if LEVELS.index(level) < LEVELS.index(needed):
        yield (
            ("adversary", "byzantine", "attack", "kind"),
            f'{table.attack.kind} in this form takes adversary.knowledge = "{needed}" or more, and it is "{level}"',
        )


def window(scenario: Scenario) -> Found:
    """What nodes say has its time; what they train on or add has none."""
    table = scenario.adversary.byzantine
    if table is None:
        return
    if table.at is not None and table.until is not None and table.until <= table.at:
        yield ("adversary", "byzantine", "until"), "until must be later than at"
    if poisons(table.attack) and (table.at is not None or table.until is not None):
        yield (
            ("adversary", "byzantine", "at" if table.at is not None else "until"),
            f"{table.attack.kind} lies in what a node trains on, adds or deals, from start to end: no window",
        )


def noise(scenario: Scenario) -> Found:
    """Only who has to add noise can leave it out."""
    table = scenario.adversary.byzantine
    if table is None or not isinstance(table.attack, NoiseFreeRiderAttack):
        return
    key: Key = ("adversary", "byzantine", "attack", "kind")
    if scenario.privacy is None or scenario.protocol.exchange == "plain":
        yield key, 'there is no noise to leave out; use exchange = "ldp" or "secure"'
    elif has_integer_noise(scenario):
        yield key, 'noise drawn in whole numbers cannot be left out here; use privacy.law = "gaussian"'


def dealing(scenario: Scenario) -> Found:
    """Only who deals shares can deal wrong ones."""
    table, secure = scenario.adversary.byzantine, scenario.secure
    if table is None or not isinstance(table.attack, InconsistentSharesAttack):
        return
    shared = secure is not None and secure.aggregation.deals_vectors
    if scenario.protocol.exchange != "secure" or secure is None or not shared or secure.crypto != "real":
        yield (
            ("adversary", "byzantine", "attack", "kind"),
            'shares of vectors are dealt by secure.aggregation of kind "sharing" or "lightsecagg", crypto = "real"',
        )


CHECKS = (knowledge, window, noise, dealing)
