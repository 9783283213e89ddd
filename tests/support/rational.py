"""References in exact rational arithmetic: mixing matrices, and losses of one release per node in small cases."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import networkx as nx

from protocols.privacy.entries import COMBINE, CONTRIBUTE
from protocols.privacy.exposure import expose
from protocols.privacy.record import Record

Coefficients = list[Fraction]


def rational_weights(graph: nx.Graph, rule: Literal["metropolis", "max-degree"]) -> list[list[Fraction]]:
    """Return the mixing matrix of a graph on 0 … n − 1 in fractions: 1 / (1 + larger degree), or 1 / max degree."""
    count = len(graph)
    largest = max(degree for _, degree in graph.degree)
    weights = [[Fraction(0)] * count for _ in range(count)]
    for i, j in graph.edges:
        beside = 1 + max(graph.degree[i], graph.degree[j]) if rule == "metropolis" else largest
        weights[i][j] = weights[j][i] = Fraction(1, beside)
    for i in range(count):
        weights[i][i] = 1 - sum(weights[i], Fraction(0))
    return weights


def exact_losses(
    record: Record, coalition: frozenset[int], denominator: int | None = None
) -> dict[int, Fraction | None]:
    """Return Σ of a node's losses when all its contributions shift in one direction; None where it is infinite.

    Orthogonalises the sights one after another, without rounding. Costs the square of sights times contributions in
    big integers: suitable for some dozens of each.

    Args:
        record: coefficients, noises and sensitivities are taken as the rational numbers that the floats are.
        coalition: nodes that pool their views.
        denominator: largest denominator; each coefficient is replaced by the nearest such fraction, so that a third
            is exact. None takes floats as they are.

    Returns:
        By node outside the coalition.
    """
    exposure = expose(record, coalition, 1.0)
    hidden = [i for i, owner in enumerate(record.owner.tolist()) if owner not in coalition]
    place = {column: at for at, column in enumerate(hidden)}
    states = _states(record, place, denominator)
    variance = [Fraction(float(record.sigma[i])) ** 2 for i in hidden]
    owners = [int(record.owner[i]) for i in hidden]
    nodes = sorted(set(owners))
    shift = {
        node: [Fraction(float(exposure.shift[i])) * (record.owner[i] == node) for i in hidden]
        for node in nodes
    }
    basis: list[tuple[Coefficients, Fraction]] = []
    losses: dict[int, Fraction | None] = dict.fromkeys(nodes, Fraction(0))
    for sight in exposure.sights:
        row = _combined(
            [(_fraction(c, denominator), states[p]) for c, p in zip(sight.coefs, sight.parents, strict=True)]
        )
        for other, size in basis:
            along = sum((a * b * v for a, b, v in zip(row, other, variance, strict=True)), Fraction(0)) / size
            row = [a - along * b for a, b in zip(row, other, strict=True)]
        size = sum((a * a * v for a, v in zip(row, variance, strict=True)), Fraction(0))
        for node in nodes:
            moved = sum((a * s for a, s in zip(row, shift[node], strict=True)), Fraction(0))
            lost = losses[node]
            if moved and lost is not None:
                losses[node] = lost + moved**2 / size if size else None
        if size:
            basis.append((row, size))
    return losses


def _states(record: Record, place: dict[int, int], denominator: int | None) -> list[Coefficients]:
    states: list[Coefficients] = [[Fraction(0)] * len(place)]
    for state in range(1, len(record.kinds)):
        parents, coefs = record.parents[state], record.coefs[state]
        if record.kinds[state] == CONTRIBUTE:
            row = list(states[parents[0]])
            if len(parents) > 1:
                noise = _fraction(coefs[1], denominator)
                row = [a + noise * b for a, b in zip(row, states[parents[1]], strict=True)]
            column = int(record.column[state])
            if column in place:
                row[place[column]] += _fraction(coefs[0], denominator)
        elif record.kinds[state] == COMBINE:
            row = _combined(
                [(_fraction(c, denominator), states[p]) for c, p in zip(coefs, parents, strict=True)]
            )
            row = row or [Fraction(0)] * len(place)
        else:
            row = [Fraction(0)] * len(place)
        states.append(row)
    return states


def _combined(terms: list[tuple[Fraction, Coefficients]]) -> Coefficients:
    return [
        sum((c * entry for c, entry in zip([c for c, _ in terms], column, strict=True)), Fraction(0))
        for column in zip(*[row for _, row in terms], strict=True)
    ]


def _fraction(value: float, denominator: int | None) -> Fraction:
    exact = Fraction(value)
    return exact if denominator is None else exact.limit_denominator(denominator)
