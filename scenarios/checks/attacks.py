"""Cross-checks of attacks of Byzantine nodes with the protocol and its secure sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias, assert_never

from scenarios.facts.training import has_integer_noise
from scenarios.format.locate import Key
from scenarios.schema import Scenario

Found: TypeAlias = Iterator[tuple[Key, str]]

KIND: Key = ("adversary", "byzantine", "attack", "kind")


def needs(scenario: Scenario) -> Found:
    """Check that an attack has the noise that it leaves out, or the shares that it deals."""
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
        yield KIND, 'the attack needs noise to leave out, and there is none; use exchange = "ldp" or "secure"'
    elif has_integer_noise(scenario):
        yield KIND, 'the attack needs Gaussian noise to leave out, not integers; use privacy.law = "gaussian"'


def _dealing(scenario: Scenario) -> Found:
    secure = scenario.secure
    shared = secure is not None and secure.aggregation.deals_vectors
    if scenario.protocol.exchange != "secure" or secure is None or not shared or secure.crypto != "real":
        yield (
            KIND,
            'the attack needs shares of vectors; use secure.aggregation.kind = "sharing" or "lightsecagg" with '
            'secure.crypto = "real"',
        )


CHECKS = (needs,)
