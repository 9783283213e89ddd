"""Cross-checks of what Byzantine nodes do: an attack has what it needs of the protocol and of its sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, assert_never

from scenarios.facts.training import has_integer_noise
from scenarios.format.locate import Key
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]

KIND: Key = ("adversary", "byzantine", "attack", "kind")


def needs(scenario: Scenario) -> Found:
    """An attack has what it needs: noise that it can leave out, shares that it can deal."""
    table = scenario.adversary.byzantine
    for need in () if table is None else sorted(table.attack.needs):
        match need:
            case "noise":
                yield from _noise(scenario)
            case "dealt shares":
                yield from _dealing(scenario)
            case _:
                assert_never(need)


def _noise(scenario: Scenario) -> Found:
    if scenario.privacy is None or scenario.protocol.exchange == "plain":
        yield KIND, 'there is no noise to leave out; use exchange = "ldp" or "secure"'
    elif has_integer_noise(scenario):
        yield KIND, 'noise drawn in whole numbers cannot be left out here; use privacy.law = "gaussian"'


def _dealing(scenario: Scenario) -> Found:
    secure = scenario.secure
    shared = secure is not None and secure.aggregation.deals_vectors
    if scenario.protocol.exchange != "secure" or secure is None or not shared or secure.crypto != "real":
        yield (
            KIND,
            'shares of vectors are dealt by secure.aggregation of kind "sharing" or "lightsecagg", crypto = "real"',
        )


CHECKS = (needs,)
