"""From the record of a run to the linear map that an observer sees.

A *column* is one contribution (a node's clipped, noised sum of one round), in the order they were made. A
*row* holds the coefficient, gain included, with which every contribution enters a state or a release. The
structure (who can have influenced what) costs memory linear in the record; the dense rows cost states ×
columns and are built once for all observers, up to a stated limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.entries import COMBINE, CONTRIBUTE, OPAQUE, TappedShare
from protocols.privacy.lineage import PUBLIC, WIRE
from protocols.privacy.record import Floats, Ints, Record
from protocols.privacy.sessions import Sight
from simulator.errors import SottovoceError

MAX_CELLS = 60_000_000  # half a gigabyte of float64
TOLERANCE = 1e-11  # innovation of a release, relative to its own norm, below which it carries no new noise


class ViewTooLarge(SottovoceError):
    """Raised when the dense rows would not fit in the stated number of cells."""


def state_rows(record: Record, max_cells: int = MAX_CELLS) -> Floats:
    """Return the coefficients of every contribution in every state; an opaque state has a row of zeros.

    Args:
        record: result of :func:`~protocols.privacy.record.read_record`.
        max_cells: largest allowed states × columns.

    Returns:
        Array [states, columns].

    Raises:
        ViewTooLarge: the array would have more than ``max_cells`` cells.
    """
    states, columns = len(record.kinds), len(record.owner)
    if states * columns > max_cells:
        raise ViewTooLarge(
            f"the linear view needs {states} × {columns} cells, more than the limit of {max_cells}; "
            "account a shorter run or fewer nodes, or raise max_cells"
        )
    rows = np.zeros((states, columns))
    # Columns are numbered in the order of creation, so a state can only hold earlier ones.
    width = 0
    for state in range(1, states):
        parents, kind = record.parents[state], record.kinds[state]
        if kind == CONTRIBUTE:
            rows[state, :width] = rows[parents[0], :width]
            if len(parents) > 1:
                rows[state, :width] += record.coefs[state][1] * rows[parents[1], :width]
            rows[state, width] = record.coefs[state][0]
            width += 1
        elif kind == COMBINE and parents:
            rows[state, :width] = np.asarray(record.coefs[state]) @ rows[list(parents), :width]
    return rows


def sights_of(record: Record, coalition: frozenset[int]) -> list[Sight]:
    """Return everything a coalition saw together, in time order.

    A secure sum opens towards a coalition as soon as all its members *outside* the coalition have delivered: members
    inside know their own term and masks, whether or not their share arrived. The public is told every sum that any
    node opens. A wiretap sees what passes it in the clear, delivered or not. Of sums that open by threshold it is
    assumed, as an upper bound, to see all that is opened; together with an aggregator it has the views of both.
    """
    sights = [sight for node, sight in record.releases if node in coalition]
    if PUBLIC in coalition or (WIRE in coalition and record.sessions):
        own = set(map(id, sights))
        sights += [sight for sight in record.sums if id(sight) not in own]
    wire = WIRE in coalition
    needed: dict[int, set[int]] = {
        opening: set(members - coalition)
        for opening, (aggregator, members) in record.members.items()
        if wire or (aggregator in coalition and members & coalition)
    }
    terms: dict[int, dict[int, tuple[int, float]]] = {opening: {} for opening in needed}
    for share in record.arrivals:
        missing = needed.get(share.number)
        if missing is None or share.node not in missing:
            continue
        if not (wire if isinstance(share, TappedShare) else record.members[share.number][0] in coalition):
            continue
        missing.discard(share.node)
        terms[share.number][share.node] = (share.state, share.coef)
        if not missing:
            states, coefs = zip(*terms[share.number].values(), strict=True)
            sights.append(Sight(share.t_s, states, coefs))
    # At one instant, parts of a sum come before the whole, which then carries nothing new.
    parts = [sight for session in record.sessions for sight in session.seen_by(coalition, wire=wire)]
    return sorted(parts + sights, key=lambda sight: sight.t_s)


@dataclass(frozen=True, eq=False, slots=True)
class Reach:
    """Contributions that can have influenced a sequence of sights, coefficients ignored.

    Args:
        new: for every sight, the columns it shows for the first time, ascending.
        first_s: for every column, when it was first shown; infinite if never.
        opaque_from_s: when an opaque state first had influence; infinite if never.
        below_opaque: for every column, whether it influenced an opaque state that was shown.
        states: for every state, whether a sight was made from it, or from what was made from it.
    """

    new: tuple[Ints, ...]
    first_s: Floats
    opaque_from_s: float
    below_opaque: NDArray[np.bool_]
    states: NDArray[np.bool_]


def reach(record: Record, sights: Sequence[Sight]) -> Reach:
    """Follow every sight back through all states it was made from."""
    seen = bytearray(len(record.kinds))
    first_s = np.full(len(record.owner), np.inf)
    new: list[Ints] = []
    opaque_from_s, opaque = np.inf, []
    for sight in sights:
        fresh = ancestors(record, sight.parents, seen)
        columns = record.column[fresh]
        columns = np.sort(columns[columns >= 0])
        first_s[columns] = sight.t_s
        new.append(columns)
        hidden = [state for state in fresh if record.kinds[state] == OPAQUE]
        if hidden:
            opaque += hidden
            opaque_from_s = min(opaque_from_s, sight.t_s)
    below = np.zeros(len(record.owner), dtype=np.bool_)
    columns = record.column[ancestors(record, opaque, bytearray(len(record.kinds)))]
    below[columns[columns >= 0]] = True
    return Reach(tuple(new), first_s, float(opaque_from_s), below, np.frombuffer(seen, dtype=np.bool_))


def ancestors(record: Record, states: Sequence[int], seen: bytearray) -> list[int]:
    """Return ``states`` and all their ancestors that are not in ``seen`` yet, and mark them."""
    found: list[int] = []
    stack = list(states)
    while stack:
        state = stack.pop()
        if not seen[state]:
            seen[state] = 1
            found.append(state)
            stack.extend(record.parents[state])
    return found


def sight_rows(rows: Floats, sights: Sequence[Sight]) -> Floats:
    """Return the rows of the sights, in time order: array [sights, columns]."""
    seen = np.zeros((len(sights), rows.shape[1]))
    for index, sight in enumerate(sights):
        seen[index] = np.asarray(sight.coefs) @ rows[list(sight.parents)]
    return seen


@dataclass(frozen=True, eq=False, slots=True)
class Whitened:
    """Sights transformed into independent ones of unit variance, in time order.

    Args:
        shifts: array [innovations, columns], how a unit change of each contribution moves each innovation.
        sight: for every innovation, the index of the sight that brought it.
        exposed_from: for every column, the index of the first sight that showed a combination with it without
            noise; the number of sights if none did.
    """

    shifts: Floats
    sight: Ints
    exposed_from: Ints


def whiten(seen: Floats, sigma: Floats, block: int = 48) -> Whitened:
    """Whiten sights sequentially: each innovation is what a sight adds to those before it.

    Rows are scaled by the noise of their columns and orthogonalised in time order (block Gram-Schmidt, every
    projection done twice), so the innovations of the first k sights are a prefix of those of all of them.

    A sight whose innovation is smaller than :data:`TOLERANCE` times its own norm carries no new noise. If the rest,
    after earlier sights are projected out, still moves with some contribution, that contribution is exposed.

    Args:
        seen: array [sights, columns], columns known to the observer left out.
        sigma: noise of every column; zero is allowed.
        block: number of sights projected together.
    """
    count, columns = seen.shape
    noisy, bare = np.flatnonzero(sigma > 0), np.flatnonzero(sigma == 0)
    scaled = seen[:, noisy] * sigma[noisy]
    basis = np.zeros((min(count, len(noisy)), len(noisy)))
    moved = np.zeros((len(basis), len(bare)))
    rank = 0
    sights: list[int] = []
    exposed_from = np.full(columns, count)
    width = 0
    for start in range(0, count, block):
        rows, plain = scaled[start : start + block].copy(), seen[start : start + block][:, bare].copy()
        norms = np.linalg.norm(rows, axis=1)
        used = np.flatnonzero(rows.any(axis=0))
        width = max(width, int(used[-1]) + 1 if len(used) else 0)
        _project(rows, plain, basis[:rank, :width], moved[:rank], width)
        before = rank
        entered = np.linalg.norm(rows, axis=1)
        if len(rows) <= min(width, len(basis) - rank) and (entered > 0.1 * norms).all():
            directions, along = np.linalg.qr(rows[:, :width].T)
            if (np.abs(along.diagonal()) > 0.1 * entered).all():
                # No row nearly repeats an earlier one: take the whole block at once.
                rank += len(rows)
                basis[before:rank, :width] = directions.T
                moved[before:rank] = np.linalg.solve(along.T, plain)
                sights.extend(range(start, start + len(rows)))
                continue
        for index in range(len(rows)):
            row, shift = rows[index : index + 1], plain[index : index + 1]
            _project(row, shift, basis[before:rank, :width], moved[before:rank], width)
            left = float(np.linalg.norm(row))
            if left < 0.1 * entered[index]:
                # Cancellation has amplified the rounding of the projection on earlier blocks.
                _project(row, shift, basis[:rank, :width], moved[:rank], width)
                left = float(np.linalg.norm(row))
            if left > TOLERANCE * norms[index] and rank < len(basis):
                basis[rank], moved[rank] = row[0] / left, shift[0] / left
                sights.append(start + index)
                rank += 1
            else:
                # Columns with far less noise than the others may still move visibly below the tolerance.
                size = float(np.abs(seen[start + index]).max(initial=0.0))
                shown = np.concatenate(
                    (
                        noisy[np.abs(row[0]) > 1e-8 * size * sigma[noisy]],
                        bare[np.abs(shift[0]) > TOLERANCE * size],
                    )
                )
                exposed_from[shown] = np.minimum(exposed_from[shown], start + index)
    shifts = np.zeros((rank, columns))
    shifts[:, noisy] = basis[:rank] / sigma[noisy]
    shifts[:, bare] = moved[:rank]
    return Whitened(shifts, np.array(sights, dtype=np.int64), exposed_from)


def _project(rows: Floats, plain: Floats, basis: Floats, moved: Floats, width: int) -> None:
    """Project the span of ``basis`` out of ``rows``, and the same combinations of ``moved`` out of ``plain``."""
    if len(basis):
        for _ in range(2):
            along = rows[:, :width] @ basis.T
            rows[:, :width] -= along @ basis
            plain -= along @ moved
