"""Cross-checks of protocols without messages and what can go wrong in a run."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.schema import Scenario


def silent_protocols(scenario: Scenario) -> Found:
    """A protocol that sends nothing is not attacked on the way, and hears no heartbeats."""
    protocol, adversary = scenario.protocol, scenario.adversary
    if protocol.messages:
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
    """Training at one place has no faults, and no node's data to protect."""
    protocol, privacy = scenario.protocol, scenario.privacy
    if not protocol.pools_data:
        return
    for i, _ in enumerate(scenario.fault):
        yield (
            ("fault", i),
            f'[[fault]] has no effect with protocol.kind = "{protocol.kind}", which trains at one place; remove it',
        )
    if privacy is not None and privacy.unit == "node":
        yield (
            ("privacy", "unit"),
            f'protocol.kind = "{protocol.kind}" pools the data of all nodes, so there is no node\'s sum to clip; use '
            'unit = "record" or remove [privacy]',
        )


CHECKS = (silent_protocols, pooled_data)
