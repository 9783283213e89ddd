"""From the record of a run to the linear map an observer sees.

A *column* is one contribution (a node's clipped, noised sum of one round), in the order they were made. A
*row* holds the coefficient, gain included, with which every contribution enters a state or a release. The
structure (who can have influenced what) costs memory linear in the record; the dense rows cost states ×
columns and are built once for all observers, up to a stated limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.lineage import (
    COMBINE,
    CONTRIBUTE,
    OPAQUE,
    OPENING,
    ORIGIN,
    PUBLIC,
    RELEASE,
    REPEATED,
    SESSION,
    SHARE,
    SUM,
    TAPPED_SHARE,
    TAPPED_TERM,
    TERM,
    WIRE,
    Entry,
)
from protocols.privacy.sessions import PARTS_OF_SESSIONS, Session, Sight
from simulator.errors import ContractError, SottovoceError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_CELLS = 60_000_000  # half a gigabyte of float64
TOLERANCE = 1e-11  # innovation of a release, relative to its own norm, below which it says nothing new


class ViewTooLarge(SottovoceError):
    """The dense rows would not fit in the stated number of cells."""


@dataclass(frozen=True, slots=True)
class _Arrival:
    opening: int
    member: int
    state: int
    coef: float
    tapped: bool


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """A parsed record.

    Args:
        kinds: kind of every state; state 0 is the public initial model.
        parents: states each state was made from.
        coefs: with which coefficients; the gain for a contribution (and that of its noise, if that is a state),
            nothing for an opaque state.
        column: column of the contribution that made a state, −1 for other states.
        owner: node of every column.
        round: round of every column.
        state: state every column's contribution made.
        sigma: standard deviation of every column's noise; 0 where the same noise was used for two contributions,
            whose difference is then shown without any.
        sensitivity: zero-out sensitivity of every column.
        releases: (observer, what it saw), in time order; openings as whole sums.
        sums: those among them that nodes have opened.
        openers: the nodes that have opened any.
        members: for every opening of a secure sum, its aggregator and whose shares it needs.
        arrivals: (time, share), in time order.
        sessions: secure sums that open by threshold.
        repeated: (node, round) of updates that were made twice with the same noise, and when the second time was.
    """

    kinds: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    coefs: tuple[tuple[float, ...], ...]
    column: Ints
    owner: Ints
    round: Ints
    state: Ints
    sigma: Floats
    sensitivity: Floats
    releases: tuple[tuple[int, Sight], ...]
    sums: tuple[Sight, ...]
    openers: frozenset[int]
    members: dict[int, tuple[int, frozenset[int]]]
    arrivals: tuple[tuple[float, _Arrival], ...]
    sessions: tuple[Session, ...]
    repeated: dict[tuple[int, int], float]


def read_record(entries: Iterable[Entry]) -> Record:
    """Parse the entries of a :class:`~protocols.privacy.lineage.Lineage`, in the order they were made.

    Raises:
        ContractError: an entry that refers to a state not made before it, repeats or skips a state number, or
            whose coefficients, noise or sensitivity are not what its kind needs.
    """
    kinds, column = ["origin"], [-1]
    parents: list[tuple[int, ...]] = [()]
    coefs: list[tuple[float, ...]] = [()]
    columns: list[tuple[int, int, int, float, float]] = []
    releases: list[tuple[int, Sight]] = []
    sums: list[Sight] = []
    openers: set[int] = set()
    members: dict[int, tuple[int, frozenset[int]]] = {}
    arrivals: list[tuple[float, _Arrival]] = []
    sessions: dict[int, Session] = {}
    repeated: dict[tuple[int, int], float] = {}
    entries = list(entries)
    for entry in entries:  # announced by what was reported first, which need not be what happened first
        if entry.kind == OPENING:
            members[entry.id] = (entry.node, frozenset(entry.parents))
        elif entry.kind == SESSION:
            sessions[entry.id] = Session(entry.node, int(entry.coefs[0]))
        elif entry.kind == REPEATED:
            repeated.setdefault((entry.node, entry.round), entry.t_s)
    for index, entry in enumerate(entries):
        if entry.kind in (OPENING, SESSION, REPEATED):
            continue
        if entry.kind in PARTS_OF_SESSIONS and entry.id not in sessions:
            raise ContractError(f"entry {index} belongs to session {entry.id}, announced nowhere")
        if entry.kind in PARTS_OF_SESSIONS and entry.kind not in (TERM, TAPPED_TERM):
            sessions[entry.id].note(entry)  # whose parents are nodes
            continue
        expected = 0 if entry.kind == OPAQUE else len(entry.parents)
        if any(not ORIGIN <= parent < len(kinds) for parent in entry.parents):
            raise ContractError(f"entry {index} ({entry.kind}) refers to a state that no earlier entry made")
        most = {CONTRIBUTE: 2, SHARE: 1, TAPPED_SHARE: 1, TERM: 1, TAPPED_TERM: 1}.get(entry.kind)
        wrong = most is not None and not 1 <= len(entry.parents) <= most
        if len(entry.coefs) != expected or wrong:
            raise ContractError(f"entry {index} ({entry.kind}) has {len(entry.coefs)} coefficients")
        if not all(map(math.isfinite, entry.coefs)):
            raise ContractError(f"entry {index} ({entry.kind}) has a coefficient that is not finite")
        if entry.kind == RELEASE:
            releases.append((entry.node, Sight(entry.t_s, entry.parents, entry.coefs)))
            if entry.id == SUM and entry.node != WIRE:
                sums.append(releases[-1][1])
                openers.add(entry.node)
            continue
        if entry.kind in (TERM, TAPPED_TERM):
            sessions[entry.id].note(entry)
            continue
        if entry.kind in (SHARE, TAPPED_SHARE):
            if entry.id not in members:
                raise ContractError(f"entry {index} is a share of opening {entry.id}, announced nowhere")
            tapped = entry.kind == TAPPED_SHARE
            share = _Arrival(entry.id, entry.node, entry.parents[0], entry.coefs[0], tapped)
            arrivals.append((entry.t_s, share))
            continue
        if entry.kind not in (CONTRIBUTE, COMBINE, OPAQUE) or entry.id != len(kinds):
            raise ContractError(
                f"entry {index} has kind {entry.kind!r} and number {entry.id}; expected a state numbered {len(kinds)}"
            )
        if entry.kind == CONTRIBUTE:
            if not (0 <= entry.sigma < np.inf and entry.sensitivity >= 0):
                raise ContractError(
                    f"entry {index} (contribute, node {entry.node}) needs a finite sigma ≥ 0 and a "
                    f"sensitivity ≥ 0, got {entry.sigma} and {entry.sensitivity}"
                )
            column.append(len(columns))
            sigma = 0.0 if (entry.node, entry.round) in repeated else entry.sigma
            columns.append((entry.node, entry.round, entry.id, sigma, entry.sensitivity))
        else:
            column.append(-1)
        kinds.append(entry.kind)
        parents.append(tuple(entry.parents))
        coefs.append(tuple(entry.coefs))
    owner, rounds, states, sigmas, sensitivity = zip(*columns, strict=True) if columns else ((),) * 5
    releases.sort(key=lambda release: release[1].t_s)
    arrivals.sort(key=lambda arrival: arrival[0])
    return Record(
        kinds=tuple(kinds),
        parents=tuple(parents),
        coefs=tuple(coefs),
        column=np.array(column, dtype=np.int64),
        owner=np.array(owner, dtype=np.int64),
        round=np.array(rounds, dtype=np.int64),
        state=np.array(states, dtype=np.int64),
        sigma=np.array(sigmas, dtype=np.float64),
        sensitivity=np.array(sensitivity, dtype=np.float64),
        releases=tuple(releases),
        sums=tuple(sums),
        openers=frozenset(openers),
        members=members,
        arrivals=tuple(arrivals),
        sessions=tuple(sessions.values()),
        repeated=repeated,
    )


def state_rows(record: Record, max_cells: int = MAX_CELLS) -> Floats:
    """Coefficients of every contribution in every state; an opaque state has a row of zeros.

    Args:
        record: what :func:`read_record` made.
        max_cells: largest states × columns to allocate.

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
    # Columns are numbered as they are made, so a state can only hold the ones made before it.
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
    """Everything a coalition saw together, in time order.

    A secure sum opens towards a coalition as soon as all its members *outside* the coalition have delivered:
    members inside know their own term and masks, whether or not their share ever arrived. The public is told every
    sum that any node opens. A wiretap sees what passes it in the clear, delivered or not, and of sums that open by
    threshold, to be on the safe side, all that is opened; with an aggregator it has what either has.
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
    for t_s, share in record.arrivals:
        missing = needed.get(share.opening)
        if missing is None or share.member not in missing:
            continue
        if not (wire if share.tapped else record.members[share.opening][0] in coalition):
            continue
        missing.discard(share.member)
        terms[share.opening][share.member] = (share.state, share.coef)
        if not missing:
            states, coefs = zip(*terms[share.opening].values(), strict=True)
            sights.append(Sight(t_s, states, coefs))
    # At one instant parts of a sum come before the whole, which is then nothing new.
    parts = [sight for session in record.sessions for sight in session.seen_by(coalition, wire=wire)]
    return sorted(parts + sights, key=lambda sight: sight.t_s)


@dataclass(frozen=True, eq=False, slots=True)
class Reach:
    """What can have influenced a sequence of sights, coefficients ignored.

    Args:
        new: for every sight, the columns it shows for the first time, ascending.
        first_s: for every column, when it was first shown; infinite if never.
        opaque_from_s: when an opaque state first had influence; infinite if never.
        below_opaque: for every column, whether it influenced an opaque state that was shown.
    """

    new: tuple[Ints, ...]
    first_s: Floats
    opaque_from_s: float
    below_opaque: NDArray[np.bool_]


def reach(record: Record, sights: Sequence[Sight]) -> Reach:
    """Follow every sight back through all the states it came from."""
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
    return Reach(tuple(new), first_s, float(opaque_from_s), below)


def ancestors(record: Record, states: Sequence[int], seen: bytearray) -> list[int]:
    """``states`` and all their ancestors that are not in ``seen`` yet; marks them."""
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
    """Rows of what was seen, in time order: array [sights, columns]."""
    seen = np.zeros((len(sights), rows.shape[1]))
    for index, sight in enumerate(sights):
        seen[index] = np.asarray(sight.coefs) @ rows[list(sight.parents)]
    return seen


@dataclass(frozen=True, eq=False, slots=True)
class Whitened:
    """Sights turned into independent unit-variance ones, in time order.

    Args:
        shifts: array [innovations, columns], how a unit change of each contribution moves each innovation.
        sight: for every innovation, the index of the sight that brought it.
        exposed_from: for every column, the index of the first sight that showed a combination with it and no
            noise at all; the number of sights if none did.
    """

    shifts: Floats
    sight: Ints
    exposed_from: Ints


def whiten(seen: Floats, sigma: Floats, block: int = 48) -> Whitened:
    """Sequential whitening: what each sight adds to those before it.

    Rows are scaled by the noise of their columns and orthogonalised in time order (block Gram-Schmidt, every
    projection done twice), so the innovations of the first k sights are a prefix of those of all of them.

    A sight whose innovation is smaller than :data:`TOLERANCE` times its own norm carries no new noise. If,
    with what was seen before taken out, it still moves when some contribution does, that contribution is
    exposed.

    Args:
        seen: array [sights, columns], columns known to the observer left out.
        sigma: noise of every column; zero is allowed.
        block: sights projected together.
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
                # Nothing nearly repeats: the whole block at once.
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
    """Take the span of ``basis`` out of ``rows``, and the same combinations of ``moved`` out of ``plain``."""
    if len(basis):
        for _ in range(2):
            along = rows[:, :width] @ basis.T
            rows[:, :width] -= along @ basis
            plain -= along @ moved
