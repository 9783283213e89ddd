"""Cross-checks of secure sums and the protocol that uses them."""

from __future__ import annotations

from protocols.aggregation.members import LEAST_HONEST
from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.kinds.robust_rules import RobustRule
from scenarios.schema import Scenario

BUCKETS: Key = ("secure", "buckets")


def secure_table(scenario: Scenario) -> Found:
    """Check that a [secure] table is used by the exchange."""
    if scenario.secure is not None and scenario.protocol.exchange != "secure":
        yield (
            ("secure",),
            f'[secure] has no effect with exchange = "{scenario.protocol.exchange}"; '
            'remove it or set protocol.exchange = "secure"',
        )


def whole_vectors(scenario: Scenario) -> Found:
    """Check that a server's average has the same members at every position."""
    secure, protocol = scenario.secure, scenario.protocol
    if secure is None or protocol.exchange != "secure" or not protocol.served:
        return
    if not secure.aggregation.sums_whole_vectors:
        yield (
            ("secure", "aggregation", "kind"),
            f"{secure.aggregation.kind} has different members at each position, and a server's average needs the "
            "same "
            'ones; use protocol.kind = "dsgd", or another kind of aggregation',
        )


def unused_buckets(scenario: Scenario) -> Found:
    """Check that several buckets are used by a robust rule."""
    secure = scenario.secure
    if secure is not None and secure.buckets > 1 and scenario.protocol.rule is None:
        yield (
            BUCKETS,
            f"buckets = {secure.buckets} opens several sums of a neighbourhood, which only protocol.robust uses; set "
            "protocol.robust, or remove this key",
        )


def bucketed_rules(scenario: Scenario) -> Found:
    """Check that a robust rule over secure sums has enough buckets, and needs only their sums."""
    protocol, secure, privacy = scenario.protocol, scenario.secure, scenario.privacy
    rule = protocol.rule
    if rule is None or protocol.exchange != "secure" or protocol.served:
        return
    if secure is None or secure.buckets == 1:
        yield (
            ("protocol", "robust"),
            f"{rule.kind} compares single models, which secure sums hide; split neighbourhoods into several sums "
            '(secure.buckets), use exchange = "plain" or "ldp", or remove this key',
        )
        return
    if not secure.aggregation.splits:
        yield (
            ("secure", "aggregation"),
            'buckets need an aggregation that can split neighbourhoods; use kind = "masks" with on_dropout = "skip"',
        )
    if rule.needs:
        yield (
            ("protocol", "robust"),
            f"{rule.kind} with these settings needs more of a bucket than its sum; use another rule",
        )
    if privacy is not None and privacy.noise == "sum":
        yield (
            ("privacy", "noise"),
            'noise = "sum" is sized for a whole neighbourhood, but every bucket is opened on its own; use "member"',
        )
    yield from _buckets_enough(scenario, rule)


def _buckets_enough(scenario: Scenario, rule: RobustRule) -> Found:
    secure, degree, least = scenario.secure, scenario.topology.least_degree, rule.least
    if secure is None:
        return
    if secure.buckets + 1 < least:
        yield (
            BUCKETS,
            f"{rule.kind} with this f needs {least} vectors, got {secure.buckets} buckets and the own model: f "
            "Byzantine members can change up to f buckets; use more buckets or a smaller f",
        )
    needed = LEAST_HONEST + secure.colluders
    if degree is not None and degree // secure.buckets - secure.tolerated_dropouts < needed:
        yield (
            BUCKETS,
            f"{secure.buckets} buckets of {degree} neighbours have {degree // secure.buckets} members each; each "
            f"needs {needed} members after {secure.tolerated_dropouts} dropped out; use fewer buckets or more links",
        )


CHECKS = (secure_table, whole_vectors, unused_buckets, bucketed_rules)
