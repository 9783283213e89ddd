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


def groups(scenario: Scenario) -> Found:
    """Check that sums of groups have all members at every position, one list a round, and can go up a tree."""
    secure, protocol = scenario.secure, scenario.protocol
    if secure is None or not protocol.states_are_public:
        return
    aggregation = secure.aggregation
    if not aggregation.sums_whole_vectors:
        yield (
            ("secure", "aggregation", "kind"),
            f"{aggregation.kind} has different members at each position, and the mean of a group needs the same "
            'ones; use kind = "masks" or another kind of aggregation',
        )
    if aggregation.lists_a_round > 1:
        yield (
            ("secure", "aggregation", "on_dropout"),
            "a member of a group answers one list in a round: the same vector in two sums would show more of it than "
            'its group hides; use on_dropout = "skip" or "recover"',
        )
    if protocol.links_sums and not aggregation.adds_on_the_way:
        yield (
            ("secure", "aggregation"),
            f"{aggregation.kind} with these settings cannot add up vectors on their way up a tree; use kind = "
            '"masks" with on_dropout = "skip", or another protocol.schedule',
        )
    if protocol.links_sums and secure.tolerated_dropouts:
        yield (
            ("secure", "tolerated_dropouts"),
            "a sum that goes up a tree needs every member of its group; use tolerated_dropouts = 0",
        )
    if secure.buckets > 1:
        yield BUCKETS, f"buckets = {secure.buckets} has no effect, since a group has one sum; remove this key"
    if scenario.training.optimizer_state == "node":
        yield (
            ("training", "optimizer_state"),
            "a node in groups forgets an update whose sum stays closed, and this state would keep it; use "
            'optimizer_state = "fresh" or "travels"',
        )


def unused_buckets(scenario: Scenario) -> Found:
    """Check that several buckets are used by a robust rule."""
    secure = scenario.secure
    if scenario.protocol.states_are_public:
        return
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


CHECKS = (secure_table, whole_vectors, groups, unused_buckets, bucketed_rules)
