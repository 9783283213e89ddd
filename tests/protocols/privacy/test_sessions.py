"""Sums that open by threshold: what of them is on record, and who reads what from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.privacy.entries import Release
from protocols.privacy.ledger import account
from protocols.privacy.lineage import ORIGIN, Held, Lineage, Masked, Opened, Revealed
from protocols.privacy.linear_view import sights_of
from protocols.privacy.question import Question
from protocols.privacy.record import read_record
from simulator.errors import ContractError

AGGREGATOR = 0
KEY = (AGGREGATOR, 3, 0)


@dataclass
class Delivery:
    """One delivery of a session."""

    receiver: int
    tag: Any


def contributions(lineage: Lineage, members: int) -> dict[int, int]:
    return {
        m: lineage.contribute(0.0, m, 3, ORIGIN, gain=1.0, sigma=1.0, sensitivity=1.0)
        for m in range(1, members + 1)
    }


def sessions(members: int, threshold: int, whole: bool, states: dict[int, int]) -> list[Delivery]:
    """All deliveries of one undisturbed sum in which everybody is everybody's holder."""
    everybody = tuple(range(1, members + 1))
    found = []
    for m in everybody:
        found.append(Delivery(AGGREGATOR, Masked(KEY, m, states[m], 0.5)))
    for holder in everybody:
        dealers = tuple(m for m in everybody if m != holder)
        terms = tuple((states[m], 0.5) for m in dealers) if whole else None
        found.append(Delivery(holder, Held(KEY, dealers, threshold, terms)))
    for holder in everybody:
        found.append(Delivery(AGGREGATOR, Revealed(KEY, holder, frozenset(everybody), threshold)))
    return found


def seen(deliveries: list[Delivery], coalition: frozenset[int], states: dict[int, int]) -> set[Any]:
    """What a coalition reads, from the definitions alone: a set of sets of states."""
    masked = {d.tag.member for d in deliveries if isinstance(d.tag, Masked)}
    held = [(d.receiver, d.tag) for d in deliveries if isinstance(d.tag, Held)]
    known = masked | {m for _, tag in held if tag.terms is not None for m in tag.dealers}
    found = set()
    for dealer in states:
        if dealer in coalition or dealer not in known:
            continue
        holders = [(h, tag) for h, tag in held if h in coalition and dealer in tag.dealers]
        readable = AGGREGATOR in coalition or any(tag.terms is not None for _, tag in holders)
        if holders and readable and len({h for h, _ in holders}) >= holders[0][1].threshold:
            found.add(frozenset({states[dealer]}))
    if AGGREGATOR in coalition:
        answers: dict[Any, set[int]] = {}
        threshold = 0
        for d in deliveries:
            if isinstance(d.tag, Revealed):
                answers.setdefault(d.tag.members, set()).add(d.tag.holder)
                threshold = d.tag.threshold
        own = {h for h, _ in held if h in coalition}
        for members, holders in answers.items():
            outside = members - coalition
            if len(holders | own) >= threshold and outside and outside <= known:
                found.add(frozenset(states[m] for m in outside))
    return found


@settings(max_examples=400, deadline=None)
@given(
    st.integers(3, 5),
    st.integers(2, 4),
    st.booleans(),
    st.sets(st.integers(0, 5)),
    st.data(),
)
def test_a_coalition_reads_what_the_definitions_say(
    members: int, threshold: int, whole: bool, coalition: set[int], data: st.DataObject
) -> None:
    lineage = Lineage()
    states = contributions(lineage, members)
    every = sessions(members, threshold, whole, states)
    kept = data.draw(st.lists(st.sampled_from(range(len(every))), unique=True))
    order = data.draw(st.permutations(kept + kept[:2]))  # some come twice, in any order
    told = [every[i] for i in order]
    for step, delivery in enumerate(told):
        lineage.delivered(1.0 + step, delivery.receiver, 3, delivery.tag)
    sights = sights_of(read_record(lineage.record()), frozenset(coalition))
    found = {frozenset(p for p in s.parents if p not in own(states, coalition)) for s in sights}
    assert found - {frozenset()} == seen(told, frozenset(coalition), states)


def test_colluders_need_not_send_what_they_know() -> None:
    """The aggregator has one member's masked vector and enough answers; the other two members are its own."""
    lineage = Lineage()
    states = contributions(lineage, 3)
    every = sessions(3, 2, False, states)
    for step, index in enumerate((0, 6, 7)):
        lineage.delivered(1.0 + step, every[index].receiver, 3, every[index].tag)
    record = read_record(lineage.record())
    assert not sights_of(record, frozenset({0}))
    (sight,) = sights_of(record, frozenset({0, 2, 3}))
    assert sight.parents == (states[1],)
    assert sight.t_s == 3.0


def own(states: dict[int, int], coalition: set[int]) -> set[int]:
    return {state for member, state in states.items() if member in coalition}


def test_a_threshold_of_answers_releases_the_sum_once() -> None:
    lineage = Lineage()
    states = contributions(lineage, 4)
    for step, delivery in enumerate(sessions(4, 3, False, states)):
        lineage.delivered(1.0 + step, delivery.receiver, 3, delivery.tag)
    (release,) = [entry for entry in lineage.record() if isinstance(entry, Release)]
    assert release.parents == tuple(states.values())
    assert release.coefs == (0.5,) * 4
    assert release.node == AGGREGATOR


def test_two_stories_are_two_releases() -> None:
    """Whoever gets both can subtract them, and the ledger sees both."""
    lineage = Lineage()
    states = contributions(lineage, 4)
    for delivery in sessions(4, 2, False, states)[:8]:
        lineage.delivered(1.0, delivery.receiver, 3, delivery.tag)
    for holder, story in ((1, (1, 2, 3, 4)), (2, (1, 2, 3, 4)), (3, (1, 2, 3)), (1, (1, 2, 3))):
        lineage.delivered(2.0, AGGREGATOR, 3, Revealed(KEY, holder, frozenset(story), 2))
    claims = account(
        lineage.record(),
        Question(
            victims=[1, 4],
            observers=[(AGGREGATOR,)],
            unit="record",
            adjacency="add-remove",
            delta=1e-5,
            times_s=[3.0],
        ),
    )
    linear = {claim.victim: claim.mu2 for claim in claims if claim.basis == "open-loop"}
    assert linear[4] == pytest.approx(1.0)  # the difference is node 4's vector alone
    assert linear[1] == pytest.approx(1 / 3)


def test_what_happened_first_may_be_reported_last() -> None:
    """A share that arrived before the one that was reported first belongs to the same sum."""
    lineage = Lineage()
    states = contributions(lineage, 3)
    for at, delivery in zip((3.0, 2.0, 1.0), sessions(3, 2, True, states)[3:6], strict=True):
        lineage.delivered(at, delivery.receiver, 3, delivery.tag)
    (session,) = read_record(lineage.record()).sessions
    assert [t_s for t_s, *_ in session.held] == [1.0, 2.0, 3.0]


def test_what_a_trusted_aggregator_opens_is_a_release() -> None:
    lineage = Lineage()
    states = contributions(lineage, 3)
    lineage.delivered(1.0, AGGREGATOR, 3, Opened(tuple((1.0, s) for s in states.values())))
    assert [e.parents for e in lineage.record() if isinstance(e, Release)] == [tuple(states.values())]


@pytest.mark.parametrize("kind", ["term", "held", "revealed"])
def test_a_session_announced_nowhere_is_refused(kind: str) -> None:
    lineage = Lineage()
    states = contributions(lineage, 3)
    for delivery in sessions(3, 2, True, states):
        lineage.delivered(1.0, delivery.receiver, 3, delivery.tag)
    entries = [entry for entry in lineage.record() if entry.kind != "session"]
    with pytest.raises(ContractError, match="which no entry announces"):
        read_record([entry for entry in entries if entry.kind in ("contribute", kind)])
