"""Cross-checks of protocols without messages with the adversary, the detector and faults."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.schema import Scenario


def silent_protocols(scenario: Scenario) -> Found:
    """Check that a protocol without messages has no adversary on links and no failure detector."""
    protocol, adversary = scenario.protocol, scenario.adversary
    if protocol.messages or protocol.exchange == "secure":
        return
    sends_nothing = (
        f'has no effect with protocol.kind = "{protocol.kind}", which sends no messages; remove it'
    )
    for name in ("byzantine", "curious", "wiretap", "sybil", "eclipse"):
        table = getattr(adversary, name)
        if table is not None and table.enabled:
            yield ("adversary", name), f"adversary.{name} {sends_nothing}"
    for i, table in enumerate(adversary.tamper):
        if table.enabled:
            yield ("adversary", "tamper", i), f"adversary.tamper {sends_nothing}"
    if scenario.detector is not None:
        yield ("detector",), f"[detector] {sends_nothing}"


def pooled_data(scenario: Scenario) -> Found:
    """Check that training on pooled data has no faults and no protection of single nodes."""
    protocol, privacy = scenario.protocol, scenario.privacy
    if not protocol.pools_data:
        return
    for i, _ in enumerate(scenario.fault):
        yield (
            ("fault", i),
            f'[[fault]] has no effect with protocol.kind = "{protocol.kind}", which trains at one node; remove it',
        )
    if privacy is not None and privacy.unit == "node":
        yield (
            ("privacy", "unit"),
            f'unit = "node" needs a sum for each node, and protocol.kind = "{protocol.kind}" pools all data; use '
            'unit = "record" or remove [privacy]',
        )


CHECKS = (silent_protocols, pooled_data)
