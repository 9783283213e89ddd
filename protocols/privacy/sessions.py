"""Secure sums that open by threshold, as the record has them: who holds what, and what a coalition reads from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from protocols.privacy.lineage import HELD, REVEALED, SESSION, TERM, Entry

__all__ = ["HELD", "REVEALED", "SESSION", "Session", "Sight"]


@dataclass(frozen=True, slots=True)
class Sight:
    """Σ coefs · parents became visible at ``t_s``."""

    t_s: float
    parents: tuple[int, ...]
    coefs: tuple[float, ...]


@dataclass
class Session:
    """One sum.

    Args:
        aggregator: who collects.
        threshold: the smallest number of shares of one secret that may reveal it.
        terms: by member, when its protected vector was there, its state and its weight.
        held: (when, holder, dealers, whether their vectors themselves are shared).
        answers: by members of a sum, when which holder helped to open it.
    """

    aggregator: int
    threshold: int
    terms: dict[int, tuple[float, int, float]] = field(default_factory=dict)
    held: list[tuple[float, int, tuple[int, ...], bool]] = field(default_factory=list)
    answers: dict[tuple[int, ...], dict[int, float]] = field(default_factory=dict)

    def note(self, entry: Entry) -> None:
        """Take in an entry of the record."""
        if entry.kind == TERM:
            self.terms.setdefault(entry.node, (entry.t_s, entry.parents[0], entry.coefs[0]))
        elif entry.kind == HELD:
            self.held.append((entry.t_s, entry.node, entry.parents, bool(entry.coefs)))
        else:
            self.answers.setdefault(entry.parents, {}).setdefault(entry.node, entry.t_s)

    def seen_by(self, coalition: frozenset[int], holders: frozenset[int] | None = None) -> Iterator[Sight]:
        """What a coalition reads by shares and terms of its own; without any, the releases say it all.

        Args:
            coalition: who pools what was delivered.
            holders: those of them whose shares count; the coalition if not given.

        A coalition with enough holders reads every vector whose seed (with the aggregator) or whose elements it
        holds shares of. With fewer, its own shares and the answers that were sent to an aggregator of it together
        may still be enough for a sum.
        """
        inside = [share for share in self.held if share[1] in (coalition if holders is None else holders)]
        if inside:
            yield from self._vectors(inside, coalition)
        # Members in the coalition need not have sent their terms for it to know them.
        if self.aggregator in coalition and (inside or any(coalition & {*of} for of in self.answers)):
            yield from self._sums(inside, coalition)

    def _vectors(
        self, inside: list[tuple[float, int, tuple[int, ...], bool]], coalition: frozenset[int]
    ) -> Iterator[Sight]:
        if len({holder for _, holder, _, _ in inside}) < self.threshold:
            return
        for dealer, (term_s, state, coef) in self.terms.items():
            if dealer in coalition:
                continue
            shares: dict[int, float] = {}
            alone = self.aggregator in coalition
            for t_s, holder, dealers, whole in inside:
                if dealer in dealers:
                    shares.setdefault(holder, t_s)
                    alone |= whole
            if alone and len(shares) >= self.threshold:
                enough_s = sorted(shares.values())[self.threshold - 1]
                yield Sight(max(term_s, enough_s), (state,), (coef,))

    def _sums(
        self, inside: list[tuple[float, int, tuple[int, ...], bool]], coalition: frozenset[int]
    ) -> Iterator[Sight]:
        own: dict[int, float] = {}
        for t_s, holder, _, _ in inside:
            own.setdefault(holder, t_s)
        for members, answers in self.answers.items():
            outside = [member for member in members if member not in coalition]
            when = own | {holder: t_s for holder, t_s in answers.items() if holder not in own}
            if len(when) < self.threshold or not outside or any(m not in self.terms for m in outside):
                continue
            terms = [self.terms[member] for member in outside]
            enough_s = sorted(when.values())[self.threshold - 1]
            t_s = max(enough_s, min(answers.values()), *(term[0] for term in terms))
            yield Sight(t_s, tuple(term[1] for term in terms), tuple(term[2] for term in terms))
