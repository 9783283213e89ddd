"""The record of every release: which linear combination of which contributions became visible to whom.

Every model a node holds is a linear combination of *contributions*. Contribution ``c`` enters as
``gain · (g_c + z_c)``: ``g_c`` is the clipped data-dependent sum of one node in one round, ``z_c`` its noise.
States form a directed acyclic graph: a state refers to its parents by number, so the record stays small
however dense the combinations become, and privacy can be accounted again later without running the protocol
again.

State 0 is the public initial model. The ledger (:mod:`protocols.privacy.ledger`) turns the record into
losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

CONTRIBUTE, COMBINE, OPAQUE, RELEASE = "contribute", "combine", "opaque", "release"
OPENING, SHARE = "opening", "share"
ORIGIN = 0


class Entry(NamedTuple):
    """One row of the record.

    ``contribute``: state ``id`` = state ``parents[0]`` + gain · (g + z), with ``gain`` = ``coefs[0]``,
    noise of standard deviation ``sigma`` per coordinate, and ‖g‖ changing by at most ``sensitivity`` between
    zero-out (add/remove) neighbours.
    ``combine``: state ``id`` = Σ coefs · parents.
    ``opaque``: state ``id`` is some other (non-linear, data-dependent) function of its parents.
    ``release``: Σ coefs · parents became visible to ``node`` at ``t_s``; ``id`` is −1.
    ``opening``: ``node`` received the first share of secure sum ``id`` (numbered on its own); ``parents`` are
    the *nodes* whose shares it needs.
    ``share``: the share of member ``node`` in secure sum ``id`` was delivered; ``parents[0]`` is its state
    and ``coefs[0]`` its weight. Alone it reveals nothing, but colluders may do without their own shares.
    """

    kind: str
    id: int
    t_s: float
    node: int
    round: int
    parents: tuple[int, ...]
    coefs: tuple[float, ...]
    sigma: float
    sensitivity: float


@dataclass(frozen=True, slots=True)
class Visible:
    """Attached to a message whose receiver reads state ``state`` itself."""

    state: int


@dataclass(frozen=True, slots=True)
class Share:
    """Attached to a masked message: the shares of all ``members`` reveal Σ of their terms, fewer nothing.

    Args:
        key: names one opening, for example (aggregator, round, attempt).
        member: who sent this share.
        members: everybody whose share is needed.
        state: the member's state in the sum.
        coef: the weight it was multiplied by before it was encoded.
    """

    key: tuple[int, ...]
    member: int
    members: frozenset[int]
    state: int
    coef: float


@dataclass
class Lineage:
    """Collects the record of one run: protocols write states, the world reports deliveries."""

    _rows: list[tuple[Any, ...]] = field(default_factory=list)
    """The entries as plain tuples, which cost a third: there are several for every message."""
    _next: int = 1
    _openings: dict[tuple[int, tuple[int, ...], frozenset[int]], int] = field(default_factory=dict)
    _arrived: dict[tuple[int, tuple[int, ...]], dict[int, Share]] = field(default_factory=dict)

    @property
    def entries(self) -> list[Entry]:
        """All entries in the order in which they were reported."""
        return list(map(Entry._make, self._rows))

    def rows(self) -> list[tuple[Any, ...]]:
        """:meth:`record` as plain tuples."""
        return sorted(self._rows, key=itemgetter(2))

    def record(self) -> list[Entry]:
        """All entries in order of time: deliveries may be reported after what happened later elsewhere."""
        return list(map(Entry._make, self.rows()))

    def contribute(
        self, t_s: float, node: int, round: int, parent: int, *, gain: float, sigma: float, sensitivity: float
    ) -> int:
        """A node adds its clipped, noised contribution of ``round`` to a state; returns the new state."""
        state = self._next
        self._next = state + 1
        self._rows.append((CONTRIBUTE, state, t_s, node, round, (parent,), (gain,), sigma, sensitivity))
        return state

    def combine(self, t_s: float, node: int, round: int, terms: Sequence[tuple[float, int]]) -> int:
        """A node mixes states; returns the new state."""
        state = self._next
        self._next = state + 1
        coefs, parents = tuple([c for c, _ in terms]), tuple([p for _, p in terms])
        self._rows.append((COMBINE, state, t_s, node, round, parents, coefs, 0.0, 0.0))
        return state

    def opaque(self, t_s: float, node: int, round: int, parents: Sequence[int]) -> int:
        """A node computes something non-linear from states; returns the new state."""
        state = self._next
        self._next = state + 1
        self._rows.append((OPAQUE, state, t_s, node, round, tuple(parents), (), 0.0, 0.0))
        return state

    def delivered(self, t_s: float, observer: int, round: int, tag: Any) -> None:
        """A message carrying ``tag``, or a tuple of them, was delivered to ``observer``; charged used or not."""
        if isinstance(tag, Visible):
            self._rows.append((RELEASE, -1, t_s, observer, round, (tag.state,), (1.0,), 0.0, 0.0))
        elif isinstance(tag, tuple):
            for part in tag:
                self.delivered(t_s, observer, round, part)
        elif isinstance(tag, Share):
            arrived = self._arrived.setdefault((observer, tag.key), {})
            arrived[tag.member] = tag
            self._share(t_s, observer, round, tag)
            if tag.members.issubset(arrived):
                del self._arrived[observer, tag.key]
                self._release(
                    t_s,
                    observer,
                    round,
                    tuple((arrived[m].coef, arrived[m].state) for m in sorted(tag.members)),
                )

    def _share(self, t_s: float, observer: int, round: int, tag: Share) -> None:
        # Masks are bound to the member list, so shares for different lists belong to different sums.
        opening = (observer, tag.key, tag.members)
        number = self._openings.get(opening)
        if number is None:
            number = self._openings[opening] = len(self._openings)
            needed = tuple(sorted(tag.members))
            self._rows.append((OPENING, number, t_s, observer, round, needed, (), 0.0, 0.0))
        self._rows.append((SHARE, number, t_s, tag.member, round, (tag.state,), (tag.coef,), 0.0, 0.0))

    def _release(self, t_s: float, observer: int, round: int, terms: tuple[tuple[float, int], ...]) -> None:
        coefs, parents = tuple([c for c, _ in terms]), tuple([p for _, p in terms])
        self._rows.append((RELEASE, -1, t_s, observer, round, parents, coefs, 0.0, 0.0))
