"""Innovations of sights by filtering along the record: no dense rows, so the length of a run is not limited.

The filter carries the covariance P of those states that a later entry still refers to, given all sights so far. A
contribution adds its variance, a mix is one sparse product, and a sight h is an observation: its innovation has
variance S = h P hᵀ, moves by δ = h D when contributions move the states by D, and leaves P − P hᵀ h P / S and
D − P hᵀ δ / S behind. The innovations are independent, so a loss is Σ δ² / S. Memory is quadratic in the states
alive at a time, about one per node and message in transit, instead of states × contributions.

The places of states, S and the gains depend on the observer and not on what moves. :func:`follow` computes them
once, :meth:`Filter.shifts` replays them for as many contributions at a time as memory allows.

Covariances are differences of large numbers. A sight whose variance falls below :data:`TOLERANCE` of what it was
without the others is taken to carry no new noise, and whatever still moves it visibly is exposed. The dense view
(:mod:`protocols.privacy.linear_view`), which works with standard deviations, may yet find a finite loss there.

Source: the innovations form of the Kalman filter (Kailath 1968).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from protocols.privacy.entries import CONTRIBUTE
from protocols.privacy.lineage import ORIGIN
from protocols.privacy.linear_view import Whitened, ancestors
from protocols.privacy.record import Floats, Ints, Record
from protocols.privacy.sessions import Sight

TOLERANCE = 1e-8
"""Variance of a sight, relative to a bound on its prior variance, below which it carries no new noise."""
VISIBLE = 1e-11
"""Shift of a sight without noise, relative to the root of that bound, above which a contribution is exposed."""


@dataclass(frozen=True, eq=False, slots=True)
class _Step:
    """Creation of states: ``mixing`` (new alive × old alive; None if rows keep their places), then injections.

    Args:
        mixing: takes the vector of states alive to the next one.
        rows: places where contributions enter.
        columns: contributions that enter.
        gains: their factors.
    """

    mixing: sparse.csr_array | None
    rows: Ints
    columns: Ints
    gains: Floats


@dataclass(frozen=True, eq=False, slots=True)
class _Look:
    """One sight.

    Args:
        rows: the states in it.
        coefs: their coefficients.
        variance: of its innovation; 0 if it carries no new noise.
        scale: bound on its standard deviation before anything was seen.
        gain: P hᵀ / S, by state.
    """

    rows: Ints
    coefs: Floats
    variance: float
    scale: float
    gain: Floats


@dataclass(eq=False, slots=True)
class Filter:
    """Effect of one observer's sights on the states of a record.

    Args:
        operations: steps and looks, in order.
        width: largest number of states alive at a time.
        count: number of sights.
        owner: node of every column.
    """

    operations: list[_Step | _Look]
    width: int
    count: int
    owner: Ints

    def shifts(self, columns: Ints) -> Whitened:
        """Return how a unit change of each of these contributions moves each innovation.

        Args:
            columns: ascending.
        """
        place = np.full(len(self.owner), -1)
        place[columns] = np.arange(len(columns))
        return self._replay(place, np.ones(len(self.owner)), len(columns))

    def along(self, shift: Floats, nodes: int) -> Whitened:
        """Return how each innovation moves when all of a node's contributions shift in one direction.

        Args:
            shift: of every column; 0 for columns that are not asked about.
            nodes: number of nodes.
        """
        return self._replay(np.where(shift > 0, self.owner, -1), shift, nodes)

    def _replay(self, place: Ints, size: Floats, count: int) -> Whitened:
        moved = np.zeros((0, count))
        found: list[Floats] = []
        when: list[int] = []
        exposed = np.full(count, self.count)
        sight = -1
        for operation in self.operations:
            if isinstance(operation, _Step):
                if operation.mixing is not None:
                    moved = operation.mixing @ moved
                at = place[operation.columns]
                asked = np.flatnonzero(at >= 0)
                if len(asked):
                    gains = operation.gains[asked] * size[operation.columns[asked]]
                    np.add.at(moved, (operation.rows[asked], at[asked]), gains)
                continue
            sight += 1
            change = operation.coefs @ moved[operation.rows]
            if operation.variance > 0:
                found.append(change / np.sqrt(operation.variance))
                when.append(sight)
                moved -= np.outer(operation.gain, change)
            else:
                shown = np.abs(change) > VISIBLE * max(operation.scale, np.abs(change).max(initial=0.0))
                exposed[shown] = np.minimum(exposed[shown], sight)
        shifts = np.stack(found) if found else np.zeros((0, count))
        return Whitened(shifts, np.array(when, dtype=np.int64), exposed)


def follow(record: Record, sights: Sequence[Sight], known: NDArray[np.bool_]) -> Filter:
    """Filter a record along one observer's sights.

    Args:
        record: parsed record of the run.
        sights: in time order.
        known: for every column, whether the observer knows it; such ones have no noise and do not move.
    """
    walk = _Walk(record, sights, known)
    for index, sight in enumerate(sights):
        walk.make(max(sight.parents, default=ORIGIN))
        walk.look(index, sight)
    return Filter(walk.operations, walk.width, len(sights), record.owner)


@dataclass(eq=False)
class _Walk:
    """The state of the filter between two sights."""

    record: Record
    sights: Sequence[Sight]
    known: NDArray[np.bool_]
    operations: list[_Step | _Look] = field(default_factory=list)
    width: int = 0

    def __post_init__(self) -> None:
        record = self.record
        marked = bytearray(len(record.kinds))
        for sight in self.sights:
            ancestors(record, sight.parents, marked)
        self._pending = [state for state in range(1, len(marked)) if marked[state]]
        self._next = 0
        self._uses = np.zeros(len(marked), dtype=np.int64)
        for state in self._pending:
            for parent in record.parents[state]:
                self._uses[parent] += 1
        for sight in self.sights:
            for parent in sight.parents:
                self._uses[parent] += 1
        self._row: dict[int, int] = {}
        self._covariance = np.zeros((0, 0))
        self._bound = np.zeros(0)

    def make(self, last: int) -> None:
        """Make all states up to this one; states that do not depend on one another are made in one step."""
        start = self._next
        while self._next < len(self._pending) and self._pending[self._next] <= last:
            self._next += 1
        levels: dict[int, int] = {}
        layers: list[list[int]] = []
        for state in self._pending[start : self._next]:
            level = 1 + max((levels.get(p, -1) for p in self.record.parents[state]), default=-1)
            levels[state] = level
            if level == len(layers):
                layers.append([])
            layers[level].append(state)
        for layer in layers:
            self._step(layer)

    def look(self, index: int, sight: Sight) -> None:
        """Take in a sight."""
        weights: dict[int, float] = {}
        for parent, coef in zip(sight.parents, sight.coefs, strict=True):
            if parent in self._row:
                weights[self._row[parent]] = weights.get(self._row[parent], 0.0) + coef
        rows = np.fromiter(weights.keys(), np.int64, len(weights))
        coefs = np.fromiter(weights.values(), np.float64, len(weights))
        along = self._covariance[:, rows] @ coefs
        variance = float(coefs @ along[rows])
        scale = float(np.abs(coefs) @ self._bound[rows])
        if variance > TOLERANCE * scale**2:
            gain = along / variance
            self._covariance -= np.outer(gain, along)
        else:
            variance, gain = 0.0, np.zeros(0)
        self.operations.append(_Look(rows, coefs, variance, scale, gain))
        self._used(sight.parents)

    def _step(self, states: list[int]) -> None:
        """Make states that do not depend on one another."""
        record = self.record
        parents = [record.parents[state] for state in states]
        for those in parents:
            self._used(those)
        in_place = len(set(parents)) == len(parents) and all(
            record.kinds[state] == CONTRIBUTE
            and len(those) == 1
            and self._uses[those[0]] == 0
            and those[0] in self._row
            for state, those in zip(states, parents, strict=True)
        )
        mixing = None
        if in_place:
            for state, those in zip(states, parents, strict=True):
                self._row[state] = self._row.pop(those[0])
        else:
            mixing = self._mixing(states, parents)
            self._covariance = mixing @ np.ascontiguousarray((mixing @ self._covariance).T)
            self._bound = abs(mixing) @ self._bound
        self.width = max(self.width, len(self._bound))
        made = [state for state in states if record.kinds[state] == CONTRIBUTE]
        made = [state for state in made if not self.known[record.column[state]]]
        rows = np.fromiter((self._row[state] for state in made), np.int64, len(made))
        columns = record.column[made] if made else np.zeros(0, np.int64)
        gains = np.fromiter((record.coefs[state][0] for state in made), np.float64, len(made))
        added = (gains * record.sigma[columns]) ** 2
        self._covariance[rows, rows] += added
        self._bound[rows] = np.sqrt(self._bound[rows] ** 2 + added)
        self.operations.append(_Step(mixing, rows, columns, gains))

    def _mixing(self, states: list[int], parents: Sequence[Sequence[int]]) -> sparse.csr_array:
        """Return the matrix from the states alive to those still needed and the new ones."""
        record, before = self.record, len(self._row)
        kept = [(state, row) for state, row in self._row.items() if self._uses[state] > 0]
        old = self._row
        self._row = {state: row for row, state in enumerate([*(s for s, _ in kept), *states])}
        above = list(range(len(kept)))
        across = [row for _, row in kept]
        values = [1.0] * len(kept)
        for place, (state, those) in enumerate(zip(states, parents, strict=True), start=len(kept)):
            coefs: Iterable[float] = record.coefs[state]
            if record.kinds[state] == CONTRIBUTE:
                coefs = (1.0, *record.coefs[state][1:])
            for parent, coef in zip(those, coefs, strict=False):  # opaque states have no coefficients
                if parent in old and coef != 0.0:
                    above.append(place)
                    across.append(old[parent])
                    values.append(coef)
        shape = (len(kept) + len(states), before)
        return sparse.csr_array((values, (above, across)), shape=shape)

    def _used(self, states: Iterable[int]) -> None:
        for state in states:
            self._uses[state] -= 1
