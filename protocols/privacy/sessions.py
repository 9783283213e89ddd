"""Secure sums that open by threshold, as recorded: their shares, and the sums that a coalition can compute."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from protocols.privacy.entries import Holding, OfSession, Partners, TappedAnswer, TappedTerm, Term

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Sight:
    """Σ coefs · parents became visible at ``t_s``."""

    t_s: float
    parents: tuple[int, ...]
    coefs: tuple[float, ...]


@dataclass
class Session:
    """One sum that opens by threshold.

    Args:
        aggregator: node that collects.
        threshold: the smallest number of shares of one secret that may reveal it.
        terms: by member, when its protected vector arrived, its state and its weight.
        held: (time, holder, dealers, whether their vectors themselves are shared).
        answers: by members of a sum, the time of each holder's answer.
        tapped_terms, tapped_answers: the same, as read by a wiretap.
        partners: by member, the members it shares masks with, where these are not all.
    """

    aggregator: int
    threshold: int
    terms: dict[int, tuple[float, int, float]] = field(default_factory=dict)
    held: list[tuple[float, int, tuple[int, ...], bool]] = field(default_factory=list)
    answers: dict[tuple[int, ...], dict[int, float]] = field(default_factory=dict)
    tapped_terms: dict[int, tuple[float, int, float]] = field(default_factory=dict)
    tapped_answers: dict[tuple[int, ...], dict[int, float]] = field(default_factory=dict)
    partners: dict[int, frozenset[int]] = field(default_factory=dict)

    def note(self, entry: OfSession) -> None:
        """Add an entry of the record."""
        if isinstance(entry, Term):
            terms = self.tapped_terms if isinstance(entry, TappedTerm) else self.terms
            terms.setdefault(entry.node, (entry.t_s, entry.state, entry.coef))
        elif isinstance(entry, Holding):
            self.held.append((entry.t_s, entry.node, entry.dealers, entry.vectors))
        elif isinstance(entry, Partners):
            self.partners.setdefault(entry.node, frozenset(entry.partners))
        else:
            answers = self.tapped_answers if isinstance(entry, TappedAnswer) else self.answers
            answers.setdefault(entry.members, {}).setdefault(entry.node, entry.t_s)

    def seen_by(self, coalition: frozenset[int], *, wire: bool = False) -> Iterator[Sight]:
        """Yield what a coalition reads beyond the sums its nodes opened.

        From shares and terms of its own, masks it knows, and traffic read by a wiretap.

        Args:
            coalition: nodes that pool what was delivered to them.
            wire: whether a wiretap on links in the clear belongs to it. It is assumed to have what the aggregator
                has.

        A coalition with enough holders reads every vector whose seed (with the aggregator) or whose elements it
        holds shares of. With fewer, its own shares and the answers that were sent to an aggregator of it together
        may still be enough for a sum. Where members share masks with some others only, a sum falls into the sums of
        the parts of its members that masks unknown to the coalition hold together.
        """
        collects = wire or self.aggregator in coalition
        terms, answers = self.terms, self.answers
        if wire:
            terms = _earliest(terms, self.tapped_terms, lambda term: term[0])
            answers = {
                members: _earliest(answers.get(members, {}), self.tapped_answers.get(members, {}), float)
                for members in [*answers, *(of for of in self.tapped_answers if of not in answers)]
            }
        inside = [share for share in self.held if share[1] in coalition]
        recovered = self._recovered(inside, coalition)
        for dealer, (enough_s, whole) in recovered.items():
            if dealer in terms and (collects or whole):
                term_s, state, coef = terms[dealer]
                yield Sight(max(term_s, enough_s), (state,), (coef,))
        # The terms of members in the coalition are known to it whether or not they were sent.
        if collects:
            yield from self._sums(inside, coalition, recovered, terms, answers, wire)

    def _recovered(
        self, inside: list[tuple[float, int, tuple[int, ...], bool]], coalition: frozenset[int]
    ) -> dict[int, tuple[float, bool]]:
        """Return, by recoverable dealer, since when its secrets are known and whether they are the vector."""
        if len({holder for _, holder, _, _ in inside}) < self.threshold:
            return {}
        shares: dict[int, dict[int, float]] = {}
        vectors: set[int] = set()
        for t_s, holder, dealers, whole in inside:
            for dealer in dealers:
                shares.setdefault(dealer, {}).setdefault(holder, t_s)
            vectors.update(dealers if whole else ())
        return {
            dealer: (sorted(held.values())[self.threshold - 1], dealer in vectors)
            for dealer, held in shares.items()
            if dealer not in coalition and len(held) >= self.threshold
        }

    def _sums(
        self,
        inside: list[tuple[float, int, tuple[int, ...], bool]],
        coalition: frozenset[int],
        recovered: Mapping[int, tuple[float, bool]],
        terms: Mapping[int, tuple[float, int, float]],
        answers: Mapping[tuple[int, ...], Mapping[int, float]],
        wire: bool,
    ) -> Iterator[Sight]:
        # A mask key recovered from shares exposes all masks of its member, as if it were in the coalition.
        known_s = {dealer: since_s for dealer, (since_s, _) in recovered.items()} if self.partners else {}
        own: dict[int, float] = {}
        for t_s, holder, _, _ in inside:
            own.setdefault(holder, t_s)
        for members, answered in answers.items():
            outside = [member for member in members if member not in coalition]
            since_s = max((known_s[member] for member in outside if member in known_s), default=0.0)
            parts = self._parts([member for member in outside if member not in known_s])
            if not (own or wire or len(outside) < len(members) or len(parts) > 1):
                continue  # only the sum opened by its aggregator, which is recorded as a release
            when = own | {holder: t_s for holder, t_s in answered.items() if holder not in own}
            if len(when) < self.threshold:
                continue
            opened_s = max(sorted(when.values())[self.threshold - 1], min(answered.values()), since_s)
            for part in parts:
                if all(member in terms for member in part):
                    shown = [terms[member] for member in part]
                    t_s = max(opened_s, *(term[0] for term in shown))
                    yield Sight(t_s, tuple(term[1] for term in shown), tuple(term[2] for term in shown))

    def _parts(self, members: Collection[int]) -> list[list[int]]:
        """Group members connected by masks, ascending: only the two members of a mask know it."""
        if not self.partners:
            return [list(members)] if members else []
        left = dict.fromkeys(members)
        parts = []
        while left:
            first = next(iter(left))
            del left[first]
            part, reached = [first], [first]
            while reached:
                member = reached.pop()
                partners = self.partners.get(member, frozenset())
                near = [
                    other for other in left if other in partners or member in self.partners.get(other, ())
                ]
                for other in near:
                    del left[other]
                part += near
                reached += near
            parts.append(sorted(part))
        return parts


def _earliest(
    one: Mapping[_Key, _Value], other: Mapping[_Key, _Value], when: Callable[[_Value], float]
) -> dict[_Key, _Value]:
    """Merge two mappings, keeping the earlier of common entries."""
    merged = dict(one)
    for key, value in other.items():
        if key not in merged or when(value) < when(merged[key]):
            merged[key] = value
    return merged
