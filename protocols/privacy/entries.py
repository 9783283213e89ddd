"""Entries of the record of releases: one class a kind, and their codec to the columns of releases.parquet.

A *state* is a model, numbered in the order of creation; state 0 is the public initial model. Secure sums (openings
and sessions) have numbers of their own. An entry describes an event at ``t_s``, in ``round`` of ``node``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self, TypeAlias

import msgspec

from simulator.errors import ContractError

CONTRIBUTE, COMBINE, OPAQUE = "contribute", "combine", "opaque"
"""Words of the entries that make a state."""
_PLAIN, _SUM = -1, -2
_COMMON = 3
"""Fields that all kinds of entry begin with."""


class Row(NamedTuple):
    """One row of releases.parquet; what ``id``, ``parents`` and ``coefs`` hold depends on ``kind``."""

    kind: str
    id: int
    t_s: float
    node: int
    round: int
    parents: tuple[int, ...]
    coefs: tuple[float, ...]
    sigma: float
    sensitivity: float


Holds: TypeAlias = tuple[str, str, str, str]
"""Meaning of id, node, parents and coefs of a row; "" where a kind does not use one."""


class _Entry(msgspec.Struct, frozen=True, gc=False):
    """Fields common to all kinds of entry.

    Structs without garbage collection, since a run has several entries a message.

    Args:
        t_s: seconds.
        node: node that acted or received.
        round: of that node.
    """

    kind: ClassVar[str]
    holds: ClassVar[Holds]

    t_s: float
    node: int
    round: int

    def row(self) -> Row:
        """Return the columns; the fields of a kind are id, parents and coefs unless it says otherwise."""
        return self._row(*msgspec.structs.astuple(self)[_COMMON:])

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read the columns.

        Raises:
            ContractError: the row has parents or coefficients that its kind does not use, or lacks some.
        """
        held: tuple[Any, ...] = (row.id, row.parents, row.coefs)
        count = len(cls.__struct_fields__) - _COMMON
        if any(held[max(count, 1) :]):
            raise _malformed(row, "no coefficients" if count > 1 else "no parents and no coefficients")
        if count > 2:
            _check_paired(row)
        return cls(row.t_s, row.node, row.round, *held[:count])

    def _row(self, id: int = 0, parents: tuple[int, ...] = (), coefs: tuple[float, ...] = ()) -> Row:
        return Row(self.kind, id, self.t_s, self.node, self.round, parents, coefs, 0.0, 0.0)


class Contribution(_Entry, frozen=True, gc=False):
    """A node adds a clipped, noised contribution to a state: ``state`` = ``parent`` + gain · (g + z);
    z has standard deviation ``sigma`` in every coordinate, or is another state; ‖g‖ moves by at most ``sensitivity``.

    Args:
        state: number of the new state.
        parent: the state it is added to.
        gain: factor.
        sigma: standard deviation of z per coordinate; 0 if the noise is a state.
        sensitivity: largest change of ‖g‖ between zero-out (add/remove) neighbours.
        noise: a state that is added ``noise_gain`` times: noise that depends on earlier rounds.
        noise_gain: 0 without such a state.
    """

    kind: ClassVar[str] = CONTRIBUTE
    holds: ClassVar[Holds] = (
        "new state",
        "who contributes",
        "state, and a state that is its noise",
        "gain, and that of the noise",
    )

    state: int
    parent: int
    gain: float
    sigma: float
    sensitivity: float
    noise: int | None = None
    noise_gain: float = 0.0

    @property
    def parents(self) -> tuple[int, ...]:
        """Return the states it is made from."""
        return (self.parent,) if self.noise is None else (self.parent, self.noise)

    @property
    def coefs(self) -> tuple[float, ...]:
        """Return the gain, and that of the noise if it is a state."""
        return (self.gain,) if self.noise is None else (self.gain, self.noise_gain)

    def row(self) -> Row:
        """Return the columns."""
        made = self._row(self.state, self.parents, self.coefs)
        return made._replace(sigma=self.sigma, sensitivity=self.sensitivity)

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read the columns."""
        if not 1 <= len(row.parents) == len(row.coefs) <= 2:
            raise _malformed(row, "one or two parents with a coefficient each")
        noise, noise_gain = (None, 0.0) if len(row.parents) == 1 else (row.parents[1], row.coefs[1])
        first = row.parents[0], row.coefs[0]
        return cls(
            row.t_s, row.node, row.round, row.id, *first, row.sigma, row.sensitivity, noise, noise_gain
        )


class Combination(_Entry, frozen=True, gc=False):
    """A node mixes states: ``state`` = Σ coefs · parents."""

    kind: ClassVar[str] = COMBINE
    holds: ClassVar[Holds] = ("new state", "who mixes", "states", "weights")

    state: int
    parents: tuple[int, ...]
    coefs: tuple[float, ...]


class OpaqueStep(_Entry, frozen=True, gc=False):
    """A node makes ``state`` from its parents in a way that is not linear or depends on data."""

    kind: ClassVar[str] = OPAQUE
    holds: ClassVar[Holds] = ("new state", "who computes", "states", "")

    state: int
    parents: tuple[int, ...]

    @property
    def coefs(self) -> tuple[float, ...]:
        """Return no coefficients: the step is not linear."""
        return ()


class Release(_Entry, frozen=True, gc=False):
    """Σ coefs · parents became visible to ``node``.

    Args:
        parents: states.
        coefs: their factors.
        of_sum: whether it is an opened sum rather than a single state.
    """

    kind: ClassVar[str] = "release"
    holds: ClassVar[Holds] = ("−2: an opened sum, −1: a state", "who sees it", "states", "weights")

    parents: tuple[int, ...]
    coefs: tuple[float, ...]
    of_sum: bool

    def row(self) -> Row:
        """Return the columns."""
        return self._row(_SUM if self.of_sum else _PLAIN, self.parents, self.coefs)

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read the columns."""
        _check_paired(row)
        return cls(row.t_s, row.node, row.round, row.parents, row.coefs, row.id == _SUM)


class Opening(_Entry, frozen=True, gc=False):
    """Aggregator ``node`` received the first share of a sum that opens with the shares of all ``members``."""

    kind: ClassVar[str] = "opening"
    holds: ClassVar[Holds] = ("sum", "aggregator", "nodes", "")

    number: int
    members: tuple[int, ...]


class _Vector(_Entry, frozen=True, gc=False):
    number: int
    state: int
    coef: float

    def row(self) -> Row:
        """Return the columns."""
        return self._row(self.number, (self.state,), (self.coef,))

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read the columns."""
        if not len(row.parents) == len(row.coefs) == 1:
            raise _malformed(row, "one parent with one coefficient")
        return cls(row.t_s, row.node, row.round, row.id, row.parents[0], row.coefs[0])


class ShareArrival(_Vector, frozen=True, gc=False):
    """The share of member ``node`` in opening ``number`` arrived: its ``state``, weighted by ``coef``.

    Alone it reveals nothing; colluders may do without their own shares.
    """

    kind: ClassVar[str] = "share"
    holds: ClassVar[Holds] = ("sum", "member", "its state", "its weight")


class TappedShare(ShareArrival, frozen=True, gc=False):
    """A wiretap read a share off a link, whether or not it arrived."""

    kind: ClassVar[str] = "tapped share"


class SessionStart(_Entry, frozen=True, gc=False):
    """``node`` aggregates sum ``number``, in which ``threshold`` shares of one secret reveal it."""

    kind: ClassVar[str] = "session"
    holds: ClassVar[Holds] = ("sum", "aggregator", "", "threshold")

    number: int
    threshold: int

    def row(self) -> Row:
        """Return the columns."""
        return self._row(self.number, coefs=(float(self.threshold),))

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read the columns."""
        if len(row.coefs) != 1:
            raise _malformed(row, "the threshold as its one coefficient")
        return cls(row.t_s, row.node, row.round, row.id, int(row.coefs[0]))


class Term(_Vector, frozen=True, gc=False):
    """The protected vector of member ``node`` in session ``number`` arrived: ``state``, weighted by ``coef``."""

    kind: ClassVar[str] = "term"
    holds: ClassVar[Holds] = ("sum", "member", "its state", "its weight")


class TappedTerm(Term, frozen=True, gc=False):
    """A wiretap read a protected vector off a link, whether or not it arrived."""

    kind: ClassVar[str] = "tapped term"


class Holding(_Entry, frozen=True, gc=False):
    """``node`` received shares in session ``number`` of secrets of the nodes in ``dealers``.

    Args:
        number: of the session.
        dealers: nodes.
        vectors: whether the secrets are their vectors, not the seeds of their masks.
    """

    kind: ClassVar[str] = "held"
    holds: ClassVar[Holds] = ("sum", "holder", "nodes", "none: seeds; (1,): vectors")

    number: int
    dealers: tuple[int, ...]
    vectors: bool

    def row(self) -> Row:
        """Return the columns."""
        return self._row(self.number, self.dealers, (1.0,) if self.vectors else ())

    @classmethod
    def of(cls, row: Row) -> Self:
        """Read the columns."""
        return cls(row.t_s, row.node, row.round, row.id, row.parents, bool(row.coefs))


class Answer(_Entry, frozen=True, gc=False):
    """The aggregator of session ``number`` received the answer of ``node`` for the sum over ``members``."""

    kind: ClassVar[str] = "revealed"
    holds: ClassVar[Holds] = ("sum", "holder", "nodes", "")

    number: int
    members: tuple[int, ...]


class TappedAnswer(Answer, frozen=True, gc=False):
    """A wiretap read an answer off a link, whether or not it arrived."""

    kind: ClassVar[str] = "tapped answer"


class Partners(_Entry, frozen=True, gc=False):
    """The vector of member ``node`` in session ``number`` is masked towards ``partners`` alone, not all members."""

    kind: ClassVar[str] = "partners"
    holds: ClassVar[Holds] = ("sum", "member", "nodes", "")

    number: int
    partners: tuple[int, ...]


class Repetition(_Entry, frozen=True, gc=False):
    """``node`` makes its update of ``round`` once more, with the noise that the first one had."""

    kind: ClassVar[str] = "repeated"
    holds: ClassVar[Holds] = ("0", "who", "", "")


Made: TypeAlias = Contribution | Combination | OpaqueStep
"""Entries that make a state."""
OfSession: TypeAlias = Term | Holding | Answer | Partners
"""Entries that belong to a session, those of a wiretap included."""
Entry: TypeAlias = Made | Release | Opening | ShareArrival | SessionStart | OfSession | Repetition

KINDS: tuple[type[Entry], ...] = (
    Contribution, Combination, OpaqueStep, Release, Opening, ShareArrival, TappedShare, SessionStart, Term,
    TappedTerm, Holding, Answer, TappedAnswer, Partners, Repetition,
)  # fmt: skip
"""Classes of all kinds of entries."""

_READERS: Mapping[str, Callable[[Row], Entry]] = {kind.kind: kind.of for kind in KINDS}


def columns_of(entries: Iterable[Entry]) -> dict[str, list[Any]]:
    """Return the columns of releases.parquet, by the names in :class:`Row`."""
    rows = [entry.row() for entry in entries]
    return {name: [row[at] for row in rows] for at, name in enumerate(Row._fields)}


def entries_of(rows: Iterable[Sequence[Any]]) -> list[Entry]:
    """Read entries from rows with the columns of :class:`Row`, in their order; lists stand for tuples.

    Raises:
        ContractError: a row of no known kind, or whose parents and coefficients are not what its kind needs.
    """
    found = []
    for index, (kind, id, t_s, node, round, parents, coefs, sigma, sensitivity) in enumerate(rows):
        row = Row(kind, id, t_s, node, round, tuple(parents), tuple(coefs), sigma, sensitivity)
        reader = _READERS.get(kind)
        if reader is None:
            raise ContractError(
                f"entry {index} has kind {kind!r}; expected one of {', '.join(sorted(_READERS))}"
            )
        try:
            found.append(reader(row))
        except ContractError as error:
            raise ContractError(f"entry {index} {error}") from None
    return found


def record_end_s(entries: Sequence[Entry], end_s: float) -> float:
    """Return the time by which everything in a record has happened, seconds: no release is later.

    Figures about a whole run are up to this time: messages may arrive after the last program has ended.

    Args:
        entries: of the record, in any order.
        end_s: when the run ended, seconds.
    """
    return max([end_s, *(entry.t_s for entry in entries)])


def _check_paired(row: Row) -> None:
    if len(row.parents) != len(row.coefs):
        raise _malformed(row, "a coefficient for each parent")


def _malformed(row: Row, needs: str) -> ContractError:
    return ContractError(
        f"({row.kind}) has {len(row.parents)} parents and {len(row.coefs)} coefficients; it needs {needs}"
    )
