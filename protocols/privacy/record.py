"""The record of a run, parsed: states, contributions, releases and secure sums, checked against one another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.privacy.entries import (
    Answer,
    Combination,
    Contribution,
    Entry,
    Holding,
    Made,
    OfSession,
    OpaqueStep,
    Opening,
    Partners,
    Release,
    Repetition,
    SessionStart,
    ShareArrival,
    TappedAnswer,
    TappedShare,
    TappedTerm,
    Term,
)
from protocols.privacy.lineage import ORIGIN, WIRE
from protocols.privacy.sessions import Session, Sight
from simulator.errors import ContractError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Record:
    """A parsed record.

    Args:
        kinds: kind of every state; state 0 is the public initial model.
        parents: states each state was made from.
        coefs: their coefficients; the gain for a contribution (and that of its noise, if that is a state),
            empty for an opaque state.
        column: column of the contribution that made a state, −1 for other states.
        owner: node of every column.
        round: round of every column.
        state: state every column's contribution made.
        sigma: standard deviation of every column's noise; 0 where the same noise was used for two contributions,
            whose difference is then shown without any.
        sensitivity: zero-out sensitivity of every column.
        releases: (observer, sight), in time order; openings as whole sums.
        sums: those among them that nodes have opened.
        openers: nodes that have opened any.
        members: for every opening of a secure sum, its aggregator and whose shares it needs.
        arrivals: shares, in time order.
        sessions: secure sums that open by threshold.
        repeated: (node, round) of updates that were made twice with the same noise, and the time of the second.
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
    arrivals: tuple[ShareArrival, ...]
    sessions: tuple[Session, ...]
    repeated: dict[tuple[int, int], float]


def read_record(entries: Iterable[Entry]) -> Record:
    """Parse the entries of a :class:`~protocols.privacy.lineage.Lineage`, in the order they were made.

    Raises:
        ContractError: an entry that refers to a state not made before it, repeats or skips a state number, or
            whose coefficients, noise or sensitivity are not what its kind needs.
    """
    reader, entries = _Reader(), list(entries)
    for entry in entries:  # a session may be reported after an entry that refers to it
        reader.announced(entry)
    for index, entry in enumerate(entries):
        try:
            _TAKEN[type(entry)](reader, entry)
        except ContractError as error:
            raise ContractError(f"entry {index} ({entry.kind}) {error}") from None
    return reader.record()


@dataclass
class _Reader:
    """Parser state while a record is read."""

    kinds: list[str] = field(default_factory=lambda: ["origin"])
    parents: list[tuple[int, ...]] = field(default_factory=lambda: [()])
    coefs: list[tuple[float, ...]] = field(default_factory=lambda: [()])
    column: list[int] = field(default_factory=lambda: [-1])
    columns: list[Contribution] = field(default_factory=list)
    releases: list[tuple[int, Sight]] = field(default_factory=list)
    sums: list[Sight] = field(default_factory=list)
    openers: set[int] = field(default_factory=set)
    members: dict[int, tuple[int, frozenset[int]]] = field(default_factory=dict)
    arrivals: list[ShareArrival] = field(default_factory=list)
    sessions: dict[int, Session] = field(default_factory=dict)
    repeated: dict[tuple[int, int], float] = field(default_factory=dict)

    def announced(self, entry: Entry) -> None:
        """Note the sums and repetitions that other entries refer to, wherever they stand in the record."""
        if isinstance(entry, Opening):
            self.members[entry.number] = (entry.node, frozenset(entry.members))
        elif isinstance(entry, SessionStart):
            self.sessions[entry.number] = Session(entry.node, entry.threshold)
        elif isinstance(entry, Repetition):
            self.repeated.setdefault((entry.node, entry.round), entry.t_s)

    def known(self, entry: Entry) -> None:
        """Add nothing: :meth:`announced` has read this entry."""

    def contribution(self, entry: Contribution) -> None:
        """Add a state and its column."""
        self._refer(entry.parents, entry.coefs)
        self._numbered(entry)
        if not (0 <= entry.sigma < math.inf and entry.sensitivity >= 0):
            raise ContractError(
                f"of node {entry.node} needs a finite sigma ≥ 0 and a sensitivity ≥ 0, got {entry.sigma} and "
                f"{entry.sensitivity}"
            )
        self._add(entry, len(self.columns))
        self.columns.append(entry)

    def combination(self, entry: Combination) -> None:
        """Add a state."""
        self._refer(entry.parents, entry.coefs)
        self._numbered(entry)
        self._add(entry, -1)

    def opaque(self, entry: OpaqueStep) -> None:
        """Add a state that is no linear combination."""
        self._refer(entry.parents, (0.0,) * len(entry.parents))
        self._numbered(entry)
        self._add(entry, -1)

    def release(self, entry: Release) -> None:
        """Add a sight of a node."""
        self._refer(entry.parents, entry.coefs)
        sight = Sight(entry.t_s, entry.parents, entry.coefs)
        self.releases.append((entry.node, sight))
        if entry.of_sum and entry.node != WIRE:
            self.sums.append(sight)
            self.openers.add(entry.node)

    def share(self, entry: ShareArrival) -> None:
        """Add a share of an opening."""
        self._refer((entry.state,), (entry.coef,))
        if entry.number not in self.members:
            raise ContractError(f"is a share of opening {entry.number}, which no entry announces")
        self.arrivals.append(entry)

    def term(self, entry: Term) -> None:
        """Add a protected vector of a session."""
        session = self._session(entry)
        self._refer((entry.state,), (entry.coef,))
        session.note(entry)

    def of_session(self, entry: Holding | Answer | Partners) -> None:
        """Add another entry of a session."""
        self._session(entry).note(entry)

    def record(self) -> Record:
        """Return the parsed record."""
        made = self.columns
        return Record(
            kinds=tuple(self.kinds),
            parents=tuple(self.parents),
            coefs=tuple(self.coefs),
            column=np.array(self.column, dtype=np.int64),
            owner=np.array([one.node for one in made], dtype=np.int64),
            round=np.array([one.round for one in made], dtype=np.int64),
            state=np.array([one.state for one in made], dtype=np.int64),
            sigma=np.array(
                [0.0 if (one.node, one.round) in self.repeated else one.sigma for one in made],
                dtype=np.float64,
            ),
            sensitivity=np.array([one.sensitivity for one in made], dtype=np.float64),
            releases=tuple(sorted(self.releases, key=lambda release: release[1].t_s)),
            sums=tuple(self.sums),
            openers=frozenset(self.openers),
            members=self.members,
            arrivals=tuple(sorted(self.arrivals, key=lambda share: share.t_s)),
            sessions=tuple(self.sessions.values()),
            repeated=self.repeated,
        )

    def _session(self, entry: OfSession) -> Session:
        if entry.number not in self.sessions:
            raise ContractError(f"belongs to session {entry.number}, which no entry announces")
        return self.sessions[entry.number]

    def _refer(self, parents: Sequence[int], coefs: Sequence[float]) -> None:
        if any(not ORIGIN <= parent < len(self.kinds) for parent in parents):
            raise ContractError("refers to a state that no earlier entry made")
        if len(coefs) != len(parents):
            raise ContractError(f"has {len(coefs)} coefficients for {len(parents)} states")
        if not all(map(math.isfinite, coefs)):
            raise ContractError("has a coefficient that is not finite")

    def _numbered(self, entry: Made) -> None:
        if entry.state != len(self.kinds):
            raise ContractError(f"makes state {entry.state}; expected number {len(self.kinds)}")

    def _add(self, entry: Made, column: int) -> None:
        self.kinds.append(entry.kind)
        self.parents.append(entry.parents)
        self.coefs.append(entry.coefs)
        self.column.append(column)


_TAKEN: Mapping[type[Entry], Callable[[_Reader, Any], None]] = {
    Opening: _Reader.known,
    SessionStart: _Reader.known,
    Repetition: _Reader.known,
    Contribution: _Reader.contribution,
    Combination: _Reader.combination,
    OpaqueStep: _Reader.opaque,
    Release: _Reader.release,
    ShareArrival: _Reader.share,
    TappedShare: _Reader.share,
    Term: _Reader.term,
    TappedTerm: _Reader.term,
    Holding: _Reader.of_session,
    Answer: _Reader.of_session,
    TappedAnswer: _Reader.of_session,
    Partners: _Reader.of_session,
}
