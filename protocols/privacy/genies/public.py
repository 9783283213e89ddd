"""States at which gradients were computed, reduced by earlier ones: what all observers of a record have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.correlated import correlated_columns
from protocols.privacy.entries import COMBINE, CONTRIBUTE, OPAQUE
from protocols.privacy.genies.kernel import Row, Vector, kernel
from protocols.privacy.genies.sums import shared_noise
from protocols.privacy.record import Floats, Ints, Record

MAX_TERMS = 3_000_000
"""Largest number of coefficients of all public states together; longer records have no figure of this genie."""
ONE = Fraction(1)


@dataclass(frozen=True, eq=False, slots=True)
class Component:
    """Contributions connected by public states.

    Args:
        columns: ascending.
        rows: by public state, its reduced row over places in ``columns``.
        shape: number that components with equal owners, noises, shifts and rows share.
    """

    columns: Ints
    rows: Mapping[int, Row]
    shape: int


@dataclass(frozen=True, eq=False)
class PublicStates:
    """Reduced rows of one record, for all observers.

    Args:
        fresh: by state, the contributions in it since the last public states, as multiples of ``gain · (g + z)``;
            empty for public ones.
        hidden_by_opaque: by column, whether an opaque state was made from it directly.
        noise: by column, the standard deviation of what it adds.
        component: by column, the number of its component.
        place: by column, its place there.
        components: all of them.
        component_of: by public state, the number of its component; without those that add nothing to earlier ones.
        used: by state, the first state made from it, or the number of states.
        shared: columns of noise that a node beside its owner knows.
        kernels: of components whose rows are all public, by shape, as they are asked for.
    """

    fresh: Sequence[Row]
    hidden_by_opaque: NDArray[np.bool_]
    noise: Floats
    component: Ints
    place: Ints
    components: Sequence[Component]
    component_of: Mapping[int, int]
    used: Ints
    shared: Ints
    kernels: dict[int, list[Vector]] = field(default_factory=dict)

    def kernel(self, number: int) -> list[Vector]:
        """Return the kernel of all rows of a component."""
        component = self.components[number]
        if component.shape not in self.kernels:
            rows = list(component.rows.values())
            self.kernels[component.shape] = kernel(rows, len(component.columns))
        return self.kernels[component.shape]


def public_states(record: Record) -> PublicStates | None:
    """Reduce the rows of all states at which a gradient was computed.

    Returns:
        None if this genie says nothing about the record: noise is correlated across contributions, a clipping norm
        changes during the run (what it follows is not in the record), or there are more than :data:`MAX_TERMS`
        coefficients.
    """
    if len(correlated_columns(record)) or _norm_changes(record):
        return None
    columns = len(record.owner)
    reduced = _reduced(record, frozenset(record.parents[s][0] for s in record.state.tolist()))
    if reduced is None:
        return None
    fresh, rows, hidden = reduced
    gain = np.fromiter((abs(record.coefs[s][0]) for s in record.state.tolist()), np.float64, columns)
    noise = gain * record.sigma
    component, place, components = _components(record, rows, noise)
    component_of = {state: number for number, one in enumerate(components) for state in one.rows}
    used, shared = _first_uses(record), shared_noise(record)
    return PublicStates(fresh, hidden, noise, component, place, components, component_of, used, shared)


def _first_uses(record: Record) -> Ints:
    """Return the first state made from each, or the number of states."""
    count = len(record.kinds)
    used = np.full(count, count)
    for state in range(count - 1, 0, -1):
        used[list(record.parents[state])] = state
    return used


def _norm_changes(record: Record) -> bool:
    """Return whether some node's contributions have different sensitivities."""
    order = np.lexsort((record.sensitivity, record.owner))
    order = order[record.sensitivity[order] > 0]
    same_owner = record.owner[order[1:]] == record.owner[order[:-1]]
    return bool((same_owner & (record.sensitivity[order[1:]] != record.sensitivity[order[:-1]])).any())


def _reduced(
    record: Record, public: frozenset[int]
) -> tuple[list[Row], dict[int, Row], NDArray[np.bool_]] | None:
    """Return fresh contributions by state, rows by public state, and columns below opaque states."""
    fresh: list[Row] = [{}]
    rows: dict[int, Row] = {}
    hidden = np.zeros(len(record.owner), dtype=np.bool_)
    terms = 0
    for state in range(1, len(record.kinds)):
        kind, parents = record.kinds[state], record.parents[state]
        row: Row = {}
        if kind == CONTRIBUTE:
            row = {int(record.column[state]): ONE}  # the state it was added to is public
        elif kind == COMBINE:
            row = mixed([fresh[parent] for parent in parents], record.coefs[state])
        elif kind == OPAQUE:
            hidden[[column for parent in parents for column in fresh[parent]]] = True
        terms += len(row)
        if terms > MAX_TERMS:
            return None
        if state in public:
            if row:
                rows[state] = row
            row = {}
        fresh.append(row)
    return fresh, rows, hidden


def mixed(rows: Sequence[Row], coefs: Sequence[float]) -> Row:
    """Return Σ coefs · rows, exactly."""
    total: dict[int, Fraction] = {}
    for found, coef in zip(rows, coefs, strict=True):
        if not found or coef == 0.0:
            continue
        factor = _exact(coef)
        for column, value in found.items():
            part = factor if value is ONE else factor * value
            total[column] = total[column] + part if column in total else part
    return {column: value for column, value in total.items() if value}


@lru_cache(maxsize=4096)
def _exact(value: float) -> Fraction:
    return Fraction(value)


def _components(record: Record, rows: Mapping[int, Row], noise: Floats) -> tuple[Ints, Ints, list[Component]]:
    """Group contributions that occur in one row."""
    columns = len(record.owner)
    leader = list(range(columns))
    for row in rows.values():
        join(leader, row)
    component = np.array([leader_of(leader, c) for c in range(columns)], dtype=np.int64)
    _, component = np.unique(component, return_inverse=True)
    order = np.argsort(component, kind="stable")
    starts = np.flatnonzero(np.diff(component[order], prepend=-1))
    place = np.empty(columns, dtype=np.int64)
    members = np.split(order, starts[1:]) if columns else []
    for those in members:
        place[those] = np.arange(len(those))
    owned: list[dict[int, Row]] = [{} for _ in members]
    for state, row in rows.items():
        local = {int(place[c]): value for c, value in row.items()}
        owned[int(component[next(iter(row))])][state] = local
    shapes: dict[tuple[object, ...], int] = {}
    found = []
    for those, mine in zip(members, owned, strict=True):
        key = (
            record.owner[those].tobytes(),
            (noise[those] / (noise[those].max() or 1.0)).tobytes(),
            record.sigma[those].tobytes(),
            record.sensitivity[those].tobytes(),
            tuple(tuple(row.items()) for row in mine.values()),
        )
        found.append(Component(those, mine, shapes.setdefault(key, len(shapes))))
    return component, place, found


def leader_of(leader: list[int], one: int) -> int:
    """Return the one that stands for a set of joined numbers, and shorten the way to it."""
    while leader[one] != one:
        leader[one] = leader[leader[one]]
        one = leader[one]
    return one


def join(leader: list[int], those: Iterable[int]) -> None:
    """Join sets that hold any of these."""
    roots = [leader_of(leader, one) for one in those]
    for root in roots:
        leader[root] = roots[0]
