"""What follows from how a scenario's sums are secured: sizes of lists, thresholds. Imports no mathematics."""

from __future__ import annotations

from scenarios.kinds import aggregations as tables
from scenarios.kinds.protocols import FedavgProtocol
from scenarios.schema import Scenario

LEAST_HONEST = 3
"""Honest members a sum must cover: with two, each would read the other's model out of it."""


def is_federated(scenario: Scenario) -> bool:
    """Whether one server opens all sums."""
    return isinstance(scenario.protocol, FedavgProtocol)


def asked(scenario: Scenario, neighbourhood: int) -> int:
    """How many members of a neighbourhood are asked to take part in a sum."""
    protocol = scenario.protocol
    part = protocol.participation if isinstance(protocol, FedavgProtocol) else 1.0
    return max(1, int(part * neighbourhood + 0.5))


def shortest(secure: tables.Secure, members: int) -> int:
    """Members in the shortest sum that may be opened, of so many that were asked."""
    return max(LEAST_HONEST + secure.colluders, members - secure.tolerated_dropouts)


def per_position(secure: tables.Secure, members: int) -> int:
    """Members in the shortest sum of one position."""
    if isinstance(secure.aggregation, tables.SparseAggregation):
        return LEAST_HONEST + secure.colluders
    return shortest(secure, members)


def recovering(secure: tables.Secure, holders: int) -> int | None:
    """How many of so many holders' shares recover; None where nothing is shared, or a graph says."""
    aggregation = secure.aggregation
    fraction: float | None
    match aggregation:
        case tables.MasksAggregation() if aggregation.on_dropout != "recover":
            return None
        case (
            tables.MasksAggregation()
            | tables.SharingAggregation()
            | tables.BonawitzAggregation()
            | tables.LightAggregation()
        ):
            fraction = aggregation.threshold
        case _:
            return None
    split_proof = (holders + secure.colluders) // 2 + 1
    return max(split_proof, -int(-(fraction or 0.0) * holders // 1))


def packing(secure: tables.Secure, holders: int) -> int:
    """Elements in one polynomial, among so many holders."""
    match secure.aggregation:
        case tables.SharingAggregation() as spec:
            return spec.packing
        case tables.LightAggregation() as spec:
            threshold = recovering(secure, holders)
            assert threshold is not None
            private = spec.private or max(threshold // 2, secure.colluders, 1)
            return threshold - private
        case _:
            return 1
