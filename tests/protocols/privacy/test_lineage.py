"""The record of releases, and the linear map read from it."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.privacy.entries import (
    COMBINE,
    CONTRIBUTE,
    OPAQUE,
    Answer,
    Combination,
    Contribution,
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
    columns_of,
    entries_of,
)
from protocols.privacy.lineage import ORIGIN, Lineage, Masked, Revealed, Share, Visible
from protocols.privacy.linear_view import reach, sight_rows, sights_of, state_rows
from protocols.privacy.record import _TAKEN, read_record
from simulator.errors import ContractError


def contribution(lineage: Lineage, node: int, parent: int = ORIGIN, round: int = 0) -> int:
    return lineage.contribute(0.5, node, round, parent, gain=-0.25, sigma=2.0, sensitivity=1.5)


def kinds(lineage: Lineage) -> list[str]:
    return [entry.kind for entry in lineage.entries]


def releases(lineage: Lineage) -> list[Release]:
    return [entry for entry in lineage.entries if isinstance(entry, Release)]


def test_states_are_numbered_as_they_are_made():
    lineage = Lineage()
    first, second = contribution(lineage, 0), contribution(lineage, 1)
    mixed = lineage.combine(1.0, 0, 0, [(0.75, first), (0.25, second)])
    robust = lineage.opaque(2.0, 1, 0, [first, mixed])
    assert [first, second, mixed, robust] == [1, 2, 3, 4]
    assert kinds(lineage) == [CONTRIBUTE, CONTRIBUTE, COMBINE, OPAQUE]
    assert lineage.entries[0] == Contribution(0.5, 0, 0, 1, ORIGIN, -0.25, 2.0, 1.5)
    assert lineage.entries[2] == Combination(1.0, 0, 0, 3, (1, 2), (0.75, 0.25))
    assert lineage.entries[3] == OpaqueStep(2.0, 1, 0, 4, (1, 3))


def test_a_visible_model_is_released_when_it_is_delivered():
    lineage = Lineage()
    state = contribution(lineage, 0)
    lineage.delivered(3.0, 7, 2, Visible(state))
    assert lineage.entries[-1] == Release(3.0, 7, 2, (state,), (1.0,), False)


def test_messages_without_a_tag_release_nothing():
    lineage = Lineage()
    lineage.delivered(1.0, 0, 0, None)
    assert lineage.entries == []


def test_shares_release_their_sum_once_all_have_arrived():
    lineage = Lineage()
    states = {v: contribution(lineage, v) for v in (1, 2, 5)}
    members = frozenset(states)
    for t_s, v in ((1.0, 5), (2.0, 1), (4.0, 2)):
        assert releases(lineage) == []
        lineage.delivered(t_s, 0, 3, Share((0, 3, 0), v, members, states[v], v / 10))
    assert releases(lineage) == [Release(4.0, 0, 3, (states[1], states[2], states[5]), (0.1, 0.2, 0.5), True)]


def test_a_sum_opens_when_its_last_share_arrives_in_whatever_order_they_are_reported():
    lineage = Lineage()
    states = {v: contribution(lineage, v) for v in (1, 2, 5)}
    members = frozenset(states)
    for t_s, v in ((4.0, 5), (2.0, 1), (3.0, 2)):
        lineage.delivered(t_s, 0, 3, Share((0, 3, 0), v, members, states[v], 0.1))
    assert [entry.t_s for entry in releases(lineage)] == [4.0]


def test_a_recovered_sum_opens_when_its_last_term_arrives_in_whatever_order_they_are_reported():
    lineage = Lineage()
    states = {v: contribution(lineage, v) for v in (1, 2)}
    for holder in states:
        lineage.delivered(3.0, 0, 0, Revealed((0, 0, 0), holder, frozenset(states), 2))
    lineage.delivered(5.0, 0, 0, Masked((0, 0, 0), 1, states[1], 1.0))
    lineage.delivered(4.0, 0, 0, Masked((0, 0, 0), 2, states[2], 1.0))
    assert [entry.t_s for entry in releases(lineage)] == [5.0]


def test_shares_of_different_openings_and_observers_do_not_mix():
    lineage = Lineage()
    states = {v: contribution(lineage, v) for v in (1, 2)}
    members = frozenset(states)
    lineage.delivered(1.0, 0, 0, Share((0, 0, 0), 1, members, states[1], 0.5))
    lineage.delivered(2.0, 0, 0, Share((0, 0, 1), 2, members, states[2], 0.5))
    lineage.delivered(3.0, 3, 0, Share((0, 0, 0), 2, members, states[2], 0.5))
    lineage.delivered(4.0, 0, 0, Share((0, 0, 1), 2, members, states[2], 0.5))
    assert releases(lineage) == []


def test_every_share_is_on_record_under_its_opening():
    lineage = Lineage()
    states = {v: contribution(lineage, v) for v in (1, 2)}
    short, long = frozenset({1, 2}), frozenset({1, 2, 4})
    lineage.delivered(1.0, 0, 6, Share((0, 6), 1, short, states[1], 0.5))
    lineage.delivered(2.0, 0, 6, Share((0, 6), 1, short, states[1], 0.5))
    lineage.delivered(3.0, 0, 6, Share((0, 6), 2, long, states[2], 0.25))
    assert lineage.entries[2:] == [
        Opening(1.0, 0, 6, 0, (1, 2)),
        ShareArrival(1.0, 1, 6, 0, states[1], 0.5),
        ShareArrival(2.0, 1, 6, 0, states[1], 0.5),
        Opening(3.0, 0, 6, 1, (1, 2, 4)),
        ShareArrival(3.0, 2, 6, 1, states[2], 0.25),
    ]


def test_rows_carry_gains_and_weights():
    lineage = Lineage()
    first = contribution(lineage, 0)
    mixed = lineage.combine(1.0, 1, 0, [(0.5, first), (0.5, ORIGIN)])
    second = contribution(lineage, 1, parent=mixed, round=1)
    robust = lineage.opaque(1.0, 0, 0, [second])
    record = read_record(lineage.entries)
    assert np.array_equal(state_rows(record), [[0, 0], [-0.25, 0], [-0.125, 0], [-0.125, -0.25], [0, 0]])
    assert record.column.tolist() == [-1, 0, -1, 1, -1]
    assert (record.owner.tolist(), record.round.tolist()) == ([0, 1], [0, 1])
    assert (record.state.tolist(), record.sigma.tolist(), record.sensitivity.tolist()) == (
        [first, second],
        [2.0, 2.0],
        [1.5, 1.5],
    )
    assert robust == 4


def test_sights_come_in_the_order_of_delivery():
    lineage = Lineage()
    states = [contribution(lineage, v) for v in range(3)]
    lineage.delivered(9.0, 4, 0, Visible(states[0]))
    lineage.delivered(5.0, 5, 0, Visible(states[1]))
    lineage.delivered(7.0, 4, 0, Visible(states[2]))
    record = read_record(lineage.entries)
    sights = sights_of(record, frozenset({4, 5}))
    assert [sight.t_s for sight in sights] == [5.0, 7.0, 9.0]
    expected = -0.25 * np.eye(3)[[1, 2, 0]]
    assert np.array_equal(sight_rows(state_rows(record), sights), expected)


def test_influence_is_followed_through_every_state():
    lineage = Lineage()
    first = contribution(lineage, 0)
    cancelled = lineage.combine(1.0, 1, 0, [(0.0, first), (1.0, ORIGIN)])
    second = contribution(lineage, 1, parent=cancelled)
    robust = lineage.opaque(2.0, 2, 0, [second])
    third = contribution(lineage, 2, parent=robust)
    lineage.delivered(3.0, 5, 0, Visible(second))
    lineage.delivered(4.0, 5, 0, Visible(third))
    record = read_record(lineage.entries)
    found = reach(record, sights_of(record, frozenset({5})))
    assert [new.tolist() for new in found.new] == [[0, 1], [2]]
    assert found.first_s.tolist() == [3.0, 3.0, 4.0]
    assert found.opaque_from_s == 4.0
    assert found.below_opaque.tolist() == [True, True, False]


def test_a_colluder_replaces_its_own_share_only():
    lineage = Lineage()
    states = {v: contribution(lineage, v) for v in (1, 2, 3)}
    lineage.delivered(1.0, 0, 0, Share((0, 0), 1, frozenset(states), states[1], 0.5))
    lineage.delivered(2.0, 0, 0, Share((0, 0), 2, frozenset(states), states[2], 0.25))
    record = read_record(lineage.entries)
    assert sights_of(record, frozenset({0})) == sights_of(record, frozenset({0, 2})) == []
    (sight,) = sights_of(record, frozenset({0, 3}))
    assert (sight.t_s, sight.parents, sight.coefs) == (2.0, (states[1], states[2]), (0.5, 0.25))
    assert [sight.t_s for sight in sights_of(record, frozenset({0, 2, 3}))] == [1.0]
    assert sights_of(record, frozenset({1, 3})) == []


GOOD = Contribution(0.0, 0, 0, 1, ORIGIN, 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        Combination(0.0, 0, 0, 2, (3,), (1.0,)),
        Combination(0.0, 0, 0, 2, (-1,), (1.0,)),
        Combination(0.0, 0, 0, 3, (1,), (1.0,)),
        Combination(0.0, 0, 0, 2, (1,), ()),
        Combination(0.0, 0, 0, 2, (1,), (float("inf"),)),
        Contribution(0.0, 0, 0, 2, 7, 1.0, 1.0, 1.0),
        Contribution(0.0, 0, 0, 2, ORIGIN, 1.0, 0.0, 1.0, noise=7, noise_gain=1.0),
        Contribution(0.0, 0, 0, 2, ORIGIN, 1.0, -1.0, 1.0),
        Contribution(0.0, 0, 0, 2, ORIGIN, 1.0, float("nan"), 1.0),
        Contribution(0.0, 0, 0, 2, ORIGIN, 1.0, 1.0, float("nan")),
        OpaqueStep(0.0, 0, 0, 2, (2,)),
        Release(0.0, 0, 0, (2,), (1.0,), False),
        ShareArrival(0.0, 0, 0, 0, 1, 1.0),
        Term(0.0, 0, 0, 0, 1, 1.0),
        Answer(0.0, 0, 0, 0, (1,)),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ContractError, match="entry 1"):
        read_record([GOOD, wrong])


ROWS = [  # as releases.parquet has them
    ("contribute", 1, 0.5, 0, 2, (0,), (-0.25,), 2.0, 1.5),
    ("contribute", 2, 0.5, 0, 2, (0, 1), (-0.25, 0.5), 0.0, 1.5),
    ("combine", 3, 1.0, 0, 2, (1, 2), (0.75, 0.25), 0.0, 0.0),
    ("opaque", 4, 2.0, 1, 2, (1, 3), (), 0.0, 0.0),
    ("release", -1, 3.0, 7, 2, (3,), (1.0,), 0.0, 0.0),
    ("release", -2, 3.0, -2, 2, (1, 3), (0.5, 0.5), 0.0, 0.0),
    ("opening", 0, 1.0, 0, 6, (1, 2), (), 0.0, 0.0),
    ("share", 0, 1.0, 1, 6, (1,), (0.5,), 0.0, 0.0),
    ("tapped share", 0, 1.0, 1, 6, (1,), (0.5,), 0.0, 0.0),
    ("session", 1, 1.0, 0, 6, (), (3.0,), 0.0, 0.0),
    ("term", 1, 1.0, 1, 6, (1,), (0.5,), 0.0, 0.0),
    ("tapped term", 1, 1.0, 1, 6, (1,), (0.5,), 0.0, 0.0),
    ("held", 1, 1.0, 5, 6, (1, 2), (), 0.0, 0.0),
    ("held", 1, 1.0, 5, 6, (1, 2), (1.0,), 0.0, 0.0),
    ("revealed", 1, 1.0, 5, 6, (1, 2), (), 0.0, 0.0),
    ("tapped answer", 1, 1.0, 5, 6, (1, 2), (), 0.0, 0.0),
    ("partners", 1, 1.0, 1, 6, (2,), (), 0.0, 0.0),
    ("repeated", 0, 1.0, 1, 6, (), (), 0.0, 0.0),
]  # fmt: skip
ENTRIES = [
    Contribution(0.5, 0, 2, 1, ORIGIN, -0.25, 2.0, 1.5),
    Contribution(0.5, 0, 2, 2, ORIGIN, -0.25, 0.0, 1.5, 1, 0.5),
    Combination(1.0, 0, 2, 3, (1, 2), (0.75, 0.25)),
    OpaqueStep(2.0, 1, 2, 4, (1, 3)),
    Release(3.0, 7, 2, (3,), (1.0,), False),
    Release(3.0, -2, 2, (1, 3), (0.5, 0.5), True),
    Opening(1.0, 0, 6, 0, (1, 2)),
    ShareArrival(1.0, 1, 6, 0, 1, 0.5),
    TappedShare(1.0, 1, 6, 0, 1, 0.5),
    SessionStart(1.0, 0, 6, 1, 3),
    Term(1.0, 1, 6, 1, 1, 0.5),
    TappedTerm(1.0, 1, 6, 1, 1, 0.5),
    Holding(1.0, 5, 6, 1, (1, 2), False),
    Holding(1.0, 5, 6, 1, (1, 2), True),
    Answer(1.0, 5, 6, 1, (1, 2)),
    TappedAnswer(1.0, 5, 6, 1, (1, 2)),
    Partners(1.0, 1, 6, 1, (2,)),
    Repetition(1.0, 1, 6),
]


def test_entries_and_rows_are_the_same_record():
    assert entries_of(ROWS) == ENTRIES
    assert list(zip(*columns_of(ENTRIES).values(), strict=True)) == ROWS
    assert {type(entry) for entry in ENTRIES} == set(_TAKEN)
    assert [len(column) for column in columns_of([]).values()] == [0] * 9


@pytest.mark.parametrize(
    "wrong",
    [
        ("contribute", 2, 0.0, 0, 0, (0, 1), (1.0,), 1.0, 1.0),
        ("contribute", 2, 0.0, 0, 0, (), (), 1.0, 1.0),
        ("contribute", 2, 0.0, 0, 0, (0, 0, 0), (1.0, 1.0, 1.0), 1.0, 1.0),
        ("combine", 2, 0.0, 0, 0, (0, 1), (1.0,), 0.0, 0.0),
        ("release", -1, 0.0, 0, 0, (0, 1), (1.0,), 0.0, 0.0),
        ("opaque", 2, 0.0, 0, 0, (1,), (1.0,), 0.0, 0.0),
        ("opening", 2, 0.0, 0, 0, (1,), (1.0,), 0.0, 0.0),
        ("repeated", 0, 0.0, 0, 0, (1,), (), 0.0, 0.0),
        ("share", 0, 0.0, 0, 0, (1, 1), (1.0, 1.0), 0.0, 0.0),
        ("term", 0, 0.0, 0, 0, (1,), (), 0.0, 0.0),
        ("session", 0, 0.0, 0, 0, (), (), 0.0, 0.0),
        ("rumour", 2, 0.0, 0, 0, (1,), (1.0,), 0.0, 0.0),
    ],
)
def test_rows_that_are_not_what_their_kind_needs_are_refused(wrong):
    with pytest.raises(ContractError, match="entry 1"):
        entries_of([ROWS[0], wrong])


def test_an_empty_record_is_a_view_of_nothing():
    record = read_record([])
    assert state_rows(record).shape == (1, 0)
    assert sights_of(record, frozenset({0})) == []
