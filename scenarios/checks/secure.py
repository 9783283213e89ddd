"""Cross-checks of secure sums: that there are members enough, thresholds that fit, and keys that have an effect."""

from __future__ import annotations

from scenarios.checks.topology import Found
from scenarios.facts.secure import LEAST_HONEST, asked, is_federated, packing, recovering, shortest
from scenarios.kinds import aggregations as tables
from scenarios.kinds.protocols import FedavgProtocol
from scenarios.schema import Scenario


def secure_table(scenario: Scenario) -> Found:
    """A [secure] table is used by what is exchanged."""
    if scenario.secure is not None and scenario.protocol.exchange != "secure":
        yield (
            ("secure",),
            f'[secure] has no effect with exchange = "{scenario.protocol.exchange}"; '
            'remove it or set protocol.exchange = "secure"',
        )


def neighbourhood_sizes(scenario: Scenario) -> Found:
    """Named topologies give every neighbourhood enough members for secure sums."""
    nodes = scenario.topology.node_count
    least = None if is_federated(scenario) and nodes is None else scenario.topology.least_degree
    if is_federated(scenario) and nodes is not None:
        least = nodes - 1
    if least is not None:
        yield from neighbourhood(scenario, least)


def neighbourhood(scenario: Scenario, members: int) -> Found:
    """The smallest neighbourhood has members enough to open anything, and for its shares."""
    secure, topology = scenario.secure, scenario.topology
    if secure is None or scenario.protocol.exchange != "secure":
        return
    taking = asked(scenario, members)
    needed = LEAST_HONEST + secure.colluders
    who = f"{LEAST_HONEST} honest" + (f" and {secure.colluders} colluders" if secure.colluders else "")
    if is_federated(scenario):
        place, of = f"the server has {taking} clients in a sum", "more clients"
    else:
        place = f"a node of this {topology.kind} graph has only {taking} neighbours"
        of = "a denser topology"
    if taking < needed:
        yield (
            ("topology", topology.larger if is_federated(scenario) else topology.denser),
            f"{place}; a secure sum needs {needed} members ({who}); use {of} or fewer colluders",
        )
        return
    if taking - secure.tolerated_dropouts < needed:
        yield (
            ("secure", "tolerated_dropouts"),
            f"{place.replace('only ', '')}; with {secure.tolerated_dropouts} "
            f"missing, fewer than {needed} are left ({who}); tolerate at most {taking - needed}",
        )
        return
    yield from _thresholds(scenario, secure, taking)


def _thresholds(scenario: Scenario, secure: tables.Secure, members: int) -> Found:
    """Shares recover when as many are missing as are tolerated, and hide something."""
    least = shortest(secure, members)
    for holders in {members, least}:
        threshold = recovering(secure, holders)
        if threshold is None:
            continue
        if threshold > (least if holders == members else holders):
            yield (
                ("secure", "tolerated_dropouts"),
                f"of {holders} holders {threshold} must answer to recover a sum, but {secure.tolerated_dropouts} of "
                f"{members} may be missing; tolerate at most {members - threshold}, or lower the threshold or the "
                "colluders",
            )
            return
        private = threshold - packing(secure, holders)
        if private < max(1, secure.colluders) or packing(secure, holders) < 1:
            key = "packing" if isinstance(secure.aggregation, tables.SharingAggregation) else "private"
            yield (
                ("secure", "aggregation", key),
                f"of {holders} holders any {threshold} recover, so packing and private members have to add up to "
                f"{threshold}; there must be at least 1 element in a polynomial, and {max(1, secure.colluders)} "
                "private",
            )
            return


def used_keys(scenario: Scenario) -> Found:
    """Keys of the protocol of sums that have an effect."""
    secure = scenario.secure
    if secure is None or scenario.protocol.exchange != "secure":
        return
    aggregation = secure.aggregation
    if isinstance(aggregation, tables.MasksAggregation):
        if aggregation.threshold is not None and aggregation.on_dropout != "recover":
            yield (
                ("secure", "aggregation", "threshold"),
                f'on_dropout = "{aggregation.on_dropout}" shares nothing, so it has no threshold; remove it or use '
                '"recover"',
            )
        if aggregation.verifiable and aggregation.on_dropout != "recover":
            yield (
                ("secure", "aggregation", "verifiable"),
                f'on_dropout = "{aggregation.on_dropout}" shares nothing, so there is nothing to verify; remove it '
                'or use "recover"',
            )
    elif isinstance(aggregation, tables.SparseAggregation) and isinstance(scenario.protocol, FedavgProtocol):
        yield (
            ("secure", "aggregation", "kind"),
            "sparsified sums have other members at every position, and a server's average has one for all; use "
            'protocol.kind = "dsgd", or another kind',
        )
    if (
        isinstance(aggregation, tables.SharingAggregation | tables.LightAggregation)
        and secure.modulus_bits != 32
    ):
        yield (
            ("secure", "modulus_bits"),
            f"words of {aggregation.kind} are elements of a prime field; remove this key",
        )


CHECKS = (secure_table, neighbourhood_sizes, used_keys)
