"""Cross-checks of secure sums and the protocol that mixes by them."""

from __future__ import annotations

from protocols.aggregation.members import LEAST_HONEST
from scenarios.checks.topology import Found
from scenarios.format.locate import Key
from scenarios.kinds.robust_rules import ClippedGossipRule, RobustRule, least_models
from scenarios.schema import Scenario

BUCKETS: Key = ("secure", "buckets")


def secure_table(scenario: Scenario) -> Found:
    """A [secure] table is used by what is exchanged."""
    if scenario.secure is not None and scenario.protocol.exchange != "secure":
        yield (
            ("secure",),
            f'[secure] has no effect with exchange = "{scenario.protocol.exchange}"; '
            'remove it or set protocol.exchange = "secure"',
        )


def whole_vectors(scenario: Scenario) -> Found:
    """A server's average has one set of members for all positions."""
    secure, protocol = scenario.secure, scenario.protocol
    if secure is None or protocol.exchange != "secure" or not protocol.served:
        return
    if not secure.aggregation.sums_whole_vectors:
        yield (
            ("secure", "aggregation", "kind"),
            f"{secure.aggregation.kind} has other members at every position, and the average of a server has one set "
            'for all; use protocol.kind = "dsgd", or another kind',
        )


def unused_buckets(scenario: Scenario) -> Found:
    """Buckets are for rules."""
    secure = scenario.secure
    if secure is not None and secure.buckets > 1 and scenario.protocol.rule is None:
        yield (
            BUCKETS,
            f"buckets = {secure.buckets} opens several sums of a neighbourhood, which only protocol.robust has a use "
            "for; set it, or remove this key",
        )


def bucketed_rules(scenario: Scenario) -> Found:
    """Behind secure sums a rule has nothing to compare but the sums of buckets, and must have enough of those."""
    protocol, secure, privacy = scenario.protocol, scenario.secure, scenario.privacy
    rule = protocol.rule
    if rule is None or protocol.exchange != "secure" or protocol.served:
        return
    if secure is None or secure.buckets == 1:
        yield (
            ("protocol", "robust"),
            f"{rule.kind} compares single models, and secure sums hide them; split neighbourhoods into several sums "
            '(secure.buckets), use exchange = "plain" or "ldp", or remove this key',
        )
        return
    if not secure.aggregation.splits:
        yield (
            ("secure", "aggregation"),
            'buckets need an aggregation that splits: kind = "masks" with on_dropout = "skip"',
        )
    if rule.kind == "ubar" or (isinstance(rule, ClippedGossipRule) and rule.radius == "oracle"):
        yield (
            ("protocol", "robust"),
            f"{rule.kind} in this form asks more of a bucket than its sum; use another rule",
        )
    if privacy is not None and privacy.noise == "sum":
        yield (
            ("privacy", "noise"),
            'noise = "sum" is that of a whole neighbourhood, and every bucket is opened on its own; use "member"',
        )
    yield from _buckets_enough(scenario, rule)


def _buckets_enough(scenario: Scenario, rule: RobustRule) -> Found:
    secure, degree, least = scenario.secure, scenario.topology.least_degree, least_models(rule)
    if secure is None:
        return
    if secure.buckets + 1 < least:
        yield (
            BUCKETS,
            f"{rule.kind} with this f needs {least} vectors, and there are {secure.buckets} buckets and the own "
            "model; f members spoil up to f buckets, so more than 2 f must be there",
        )
    needed = LEAST_HONEST + secure.colluders
    if degree is not None and degree // secure.buckets - secure.tolerated_dropouts < needed:
        yield (
            BUCKETS,
            f"{secure.buckets} buckets of {degree} neighbours are of {degree // secure.buckets}; each must hide its "
            f"members among {needed} after {secure.tolerated_dropouts} dropped out; use fewer buckets or more links",
        )


CHECKS = (secure_table, whole_vectors, unused_buckets, bucketed_rules)
