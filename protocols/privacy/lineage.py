"""The record of every release: which linear combination of which contributions became visible to whom.

Every model a node holds is a linear combination of *contributions*. Contribution ``c`` enters as
``gain · (g_c + z_c)``: ``g_c`` is the clipped data-dependent sum of one node in one round, ``z_c`` its noise.
States form a directed acyclic graph: a state refers to its parents by number, so the size of the record does not grow
with the density of the combinations, and privacy can be accounted again later without running the protocol again.

State 0 is the public initial model. The ledger (:mod:`protocols.privacy.ledger`) turns the record into
losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from protocols.privacy.entries import (
    Answer,
    Combination,
    Contribution,
    Entry,
    Holding,
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
from simulator.errors import ContractError

ORIGIN = 0
PUBLIC, WIRE = -1, -2
"""Observers that are not nodes: the public, which is told all opened sums, and a wiretap on links in the clear."""
NAMES = {PUBLIC: "public", WIRE: "wire"}


@dataclass(frozen=True, slots=True)
class Visible:
    """Tag of a message whose receiver reads state ``state`` itself."""

    state: int


@dataclass(frozen=True, slots=True)
class Share:
    """Tag of a masked message: the shares of all ``members`` reveal Σ of their terms; fewer reveal nothing.

    Args:
        key: names one opening, for example (aggregator, round, attempt).
        member: sender of this share.
        members: all nodes whose share is needed.
        state: the member's state in the sum.
        coef: its weight before encoding.
    """

    key: tuple[int, ...]
    member: int
    members: frozenset[int]
    state: int
    coef: float


@dataclass(frozen=True, slots=True)
class Masked:
    """Tag of a vector that only reconstruction opens: masked by seeds that are shared, or shared itself.

    Args:
        key: names the sum, its aggregator first.
        member: owner of the vector.
        state: its number in the lineage.
        coef: its weight in the sum.
        partners: members with which it shares masks, where these are not all members: an observer that knows all
            masks between two parts of the members opens the sums of the parts, not only that of all.
    """

    key: tuple[int, ...]
    member: int
    state: int
    coef: float
    partners: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Entrusted:
    """Tag of an unprotected vector, for an aggregator that is trusted not to look at it.

    Byzantine aggregators do look at it, and so does a wiretap on a link in the clear.

    Args:
        state: its number in the lineage.
        coef: its weight in the sum.
    """

    state: int
    coef: float


@dataclass(frozen=True, slots=True)
class Held:
    """Tag of a message that carries shares to their holder.

    Args:
        key: names the sum, its aggregator first.
        dealers: nodes of whose secrets the receiver now holds a share.
        threshold: the smallest number of shares of one secret that may reveal anything.
        terms: (state, coef) of every dealer if its vector is shared, so that enough holders can read it without the
            aggregator; None if the seed of its mask is shared, which also needs the masked vector.
    """

    key: tuple[int, ...]
    dealers: tuple[int, ...]
    threshold: int
    terms: tuple[tuple[int, float], ...] | None


@dataclass(frozen=True, slots=True)
class Revealed:
    """Tag of a holder's answer, which helps to open the sum over ``members`` and nothing else.

    Args:
        key: names the sum, its aggregator first.
        holder: sender of the answer.
        members: nodes whose vectors are in the sum.
        threshold: the smallest number of answers that may reveal anything.
    """

    key: tuple[int, ...]
    holder: int
    members: frozenset[int]
    threshold: int


@dataclass(frozen=True, slots=True)
class Opened:
    """Tag of a message that tells its receiver a sum.

    Args:
        terms: (coefficient, state) of each of its terms.
    """

    terms: tuple[tuple[float, int], ...]


def is_tag(release: Any) -> bool:
    """Return whether a release is a tag that the ledger knows, or a tuple of them."""
    if isinstance(release, tuple):
        return all(map(is_tag, release))
    return isinstance(release, Visible | Share | Masked | Entrusted | Held | Revealed | Opened)


@dataclass
class _Session:
    """State of a sum that opens by threshold: what was delivered, or read off a link; ``early``: what came before
    its threshold was known."""

    number: int
    threshold: int = 0
    terms: dict[int, tuple[float, int]] = field(default_factory=dict)
    arrived_s: dict[int, float] = field(default_factory=dict)
    tapped: set[int | tuple[int, frozenset[int]]] = field(default_factory=set)
    early: list[tuple[type[Term], float, int, Masked]] = field(default_factory=list)
    held: set[tuple[int, tuple[int, ...]]] = field(default_factory=set)
    answers: dict[frozenset[int], set[int]] = field(default_factory=dict)
    opened: set[frozenset[int]] = field(default_factory=set)


@dataclass
class Lineage:
    """Collector of the record of one run: protocols write states, the world reports deliveries."""

    distrusted: frozenset[int] = frozenset()
    """Byzantine nodes, which see vectors entrusted to them."""
    entries: list[Entry] = field(default_factory=list)
    """All entries in the order in which they were reported."""
    _next: int = 1
    _numbered: int = 0
    _openings: dict[tuple[tuple[int, ...], frozenset[int]], int] = field(default_factory=dict)
    _arrived: dict[tuple[int, tuple[int, ...]], dict[int, tuple[float, Share]]] = field(default_factory=dict)
    _sessions: dict[tuple[int, ...], _Session] = field(default_factory=dict)
    _begun: set[tuple[int, int]] = field(default_factory=set)

    def record(self) -> list[Entry]:
        """Return all entries in order of time: a delivery may be reported after a later event elsewhere."""
        return sorted(self.entries, key=attrgetter("t_s"))

    def contribute(
        self,
        t_s: float,
        node: int,
        round: int,
        parent: int,
        *,
        gain: float,
        sigma: float,
        sensitivity: float,
        noise: int | None = None,
    ) -> int:
        """Record the clipped, noised contribution of ``round`` that a node adds to a state; return the new state.

        Args:
            noise: state that is added as its noise, in place of ``sigma``.
        """
        state = self._next
        self._next = state + 1
        noise_gain = 0.0 if noise is None else gain
        self.entries.append(
            Contribution(t_s, node, round, state, parent, gain, sigma, sensitivity, noise, noise_gain)
        )
        return state

    def begin(self, t_s: float, node: int, round: int) -> None:
        """Note that a node starts its update of ``round``; a repetition, after a lost disk, has the same noise.

        Raises:
            ContractError: ``round`` is no whole number of at least 0, so that it would not name noise of its own.
        """
        if isinstance(round, bool) or not hasattr(round, "__index__") or round < 0:
            raise ContractError(f"round of an update must be a whole number, at least 0, got {round!r}")
        if (node, round) in self._begun:
            self.entries.append(Repetition(t_s, node, round))
        self._begun.add((node, round))

    def combine(self, t_s: float, node: int, round: int, terms: Sequence[tuple[float, int]]) -> int:
        """Record that a node mixes states; return the new state."""
        state = self._next
        self._next = state + 1
        coefs, parents = tuple([c for c, _ in terms]), tuple([p for _, p in terms])
        self.entries.append(Combination(t_s, node, round, state, parents, coefs))
        return state

    def opaque(self, t_s: float, node: int, round: int, parents: Sequence[int]) -> int:
        """Record that a node computes something non-linear from states; return the new state."""
        state = self._next
        self._next = state + 1
        self.entries.append(OpaqueStep(t_s, node, round, state, tuple(parents)))
        return state

    def delivered(self, t_s: float, observer: int, round: int, tag: Any) -> None:
        """Record that a message with ``tag``, or a tuple of tags, reached ``observer``; charged used or not."""
        if isinstance(tag, Visible):
            if type(tag.state) is not int or not 0 <= tag.state < self._next:
                raise ContractError(
                    f"a message of round {round} shows state {tag.state!r:.60}, which no model of this run has; "
                    "send models that the learner returned"
                )
            self.entries.append(Release(t_s, observer, round, (tag.state,), (1.0,), False))
        elif isinstance(tag, tuple):
            for part in tag:
                self.delivered(t_s, observer, round, part)
        elif isinstance(tag, Share):
            arrived = self._arrived.setdefault((observer, tag.key), {})
            arrived[tag.member] = t_s, tag
            self._share(t_s, observer, round, tag)
            if tag.members.issubset(arrived):
                del self._arrived[observer, tag.key]
                shares = [arrived[member] for member in sorted(tag.members)]
                opened_s = max(then_s for then_s, _ in shares)  # deliveries are not reported in order of time
                self._release(
                    opened_s, observer, round, tuple((share.coef, share.state) for _, share in shares)
                )
        elif isinstance(tag, Opened):
            self._release(t_s, observer, round, tag.terms)
        elif isinstance(tag, Entrusted):
            if observer == WIRE or observer in self.distrusted:
                self.delivered(t_s, observer, round, Visible(tag.state))
        elif isinstance(tag, Masked | Held | Revealed):
            self._threshold(t_s, observer, round, tag)
        elif tag is not None:
            raise ContractError(
                f"release of a message must be a tag of protocols.privacy.lineage or a tuple of tags, got {tag!r:.80}"
            )

    def overheard(self, t_s: float, round: int, tag: Any) -> None:
        """Record that a message with ``tag`` passed a wiretap on a link in the clear.

        What is sealed for its receiver stays hidden. Of sums that open by threshold the wiretap is assumed to see
        what their aggregator sees, and also what was sent to the aggregator and lost
        (:func:`~protocols.privacy.linear_view.sights_of`).
        """
        if isinstance(tag, tuple):
            for part in tag:
                self.overheard(t_s, round, part)
        elif isinstance(tag, Visible | Share | Opened | Entrusted):
            self.delivered(t_s, WIRE, round, tag)
        elif isinstance(tag, Masked):
            self._term(TappedTerm, t_s, round, self._session(t_s, round, tag.key, 0), tag)
        elif isinstance(tag, Revealed):
            session = self._session(t_s, round, tag.key, tag.threshold)
            if (tag.holder, tag.members) not in session.tapped:
                session.tapped.add((tag.holder, tag.members))
                self._answer(TappedAnswer, t_s, round, session, tag)

    def _threshold(self, t_s: float, observer: int, round: int, tag: Masked | Held | Revealed) -> None:
        """Record deliveries of sums that open by threshold; a repeated delivery counts once."""
        if isinstance(tag, Masked):
            session = self._session(t_s, round, tag.key, 0)
            self._term(Term, t_s, round, session, tag)
            for answered_for in session.answers:
                self._open(t_s, tag.key[0], round, session, answered_for)
            return
        session = self._session(t_s, round, tag.key, tag.threshold)
        if isinstance(tag, Held):
            if (observer, tag.dealers) not in session.held:
                session.held.add((observer, tag.dealers))
                if tag.terms is not None:
                    for dealer, (state, coef) in zip(tag.dealers, tag.terms, strict=True):
                        self._term(Term, t_s, round, session, Masked(tag.key, dealer, state, coef))
                    for answered_for in session.answers:  # answers may arrive before the vectors were shared
                        self._open(t_s, tag.key[0], round, session, answered_for)
                vectors = tag.terms is not None
                self.entries.append(Holding(t_s, observer, round, session.number, tag.dealers, vectors))
            return
        answered = session.answers.setdefault(tag.members, set())
        if tag.holder in answered:
            return
        answered.add(tag.holder)
        self._answer(Answer, t_s, round, session, tag)
        self._open(t_s, tag.key[0], round, session, tag.members)

    def _answer(self, kind: type[Answer], t_s: float, round: int, session: _Session, tag: Revealed) -> None:
        members = tuple(sorted(tag.members))
        self.entries.append(kind(t_s, tag.holder, round, session.number, members))

    def _open(
        self, t_s: float, observer: int, round: int, session: _Session, members: frozenset[int]
    ) -> None:
        """Release a sum as soon as all of its terms and enough answers have arrived."""
        enough = len(session.answers[members]) >= session.threshold
        if enough and members not in session.opened and members <= session.terms.keys():
            session.opened.add(members)
            opened_s = max(t_s, *(session.arrived_s[member] for member in members))
            self._release(opened_s, observer, round, tuple(session.terms[m] for m in sorted(members)))

    def _session(self, t_s: float, round: int, key: tuple[int, ...], threshold: int) -> _Session:
        """Return the session of a sum; it enters the record once its threshold is known."""
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session(-1)
        if session.number < 0 and threshold:
            session.number, session.threshold = self._numbered, threshold
            self._numbered += 1
            self.entries.append(SessionStart(t_s, key[0], round, session.number, threshold))
            early, session.early = session.early, []
            for kind, then_s, then, tag in early:
                self._write_term(kind, then_s, then, session, tag)
        return session

    def _term(self, kind: type[Term], t_s: float, round: int, session: _Session, tag: Masked) -> None:
        """Record a protected vector that arrived or was read off a link; the first of each member counts."""
        if kind is TappedTerm:
            if tag.member in session.tapped:
                return
            session.tapped.add(tag.member)
        elif tag.member in session.terms:
            return
        else:
            session.terms[tag.member] = (tag.coef, tag.state)
            session.arrived_s[tag.member] = t_s
        if session.number < 0:
            session.early.append((kind, t_s, round, tag))
        else:
            self._write_term(kind, t_s, round, session, tag)

    def _write_term(self, kind: type[Term], t_s: float, round: int, session: _Session, tag: Masked) -> None:
        self.entries.append(kind(t_s, tag.member, round, session.number, tag.state, tag.coef))
        if tag.partners is not None:
            self.entries.append(Partners(t_s, tag.member, round, session.number, tag.partners))

    def _share(self, t_s: float, observer: int, round: int, tag: Share) -> None:
        # Masks are bound to the member list, so shares for different lists belong to different sums. The reader of a
        # share does not matter: a share that a wiretap lacks may have been received by a node that colludes with it.
        opening = (tag.key, tag.members)
        number = self._openings.get(opening)
        if number is None:
            number = self._openings[opening] = self._numbered
            self._numbered += 1
            needed = tuple(sorted(tag.members))
            self.entries.append(Opening(t_s, tag.key[0], round, number, needed))
        kind = TappedShare if observer == WIRE else ShareArrival
        self.entries.append(kind(t_s, tag.member, round, number, tag.state, tag.coef))

    def _release(self, t_s: float, observer: int, round: int, terms: tuple[tuple[float, int], ...]) -> None:
        coefs, parents = tuple([c for c, _ in terms]), tuple([p for _, p in terms])
        self.entries.append(Release(t_s, observer, round, parents, coefs, True))
