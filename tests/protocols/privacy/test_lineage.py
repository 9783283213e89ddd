"""The record of releases, and the linear map read from it."""

from __future__ import annotations

import numpy as np
import pytest

from protocols.privacy.lineage import COMBINE, CONTRIBUTE, OPAQUE, ORIGIN, Entry, Lineage, Share, Visible
from protocols.privacy.linear_view import reach, read_record, sight_rows, sights_of, state_rows
from simulator.errors import ContractError


def contribution(lineage: Lineage, node: int, parent: int = ORIGIN, round: int = 0) -> int:
    return lineage.contribute(0.5, node, round, parent, gain=-0.25, sigma=2.0, sensitivity=1.5)


def kinds(lineage: Lineage) -> list[str]:
    return [entry.kind for entry in lineage.entries]


def releases(lineage: Lineage) -> list[Entry]:
    return [entry for entry in lineage.entries if entry.kind == "release"]


def test_states_are_numbered_as_they_are_made():
    lineage = Lineage()
    first, second = contribution(lineage, 0), contribution(lineage, 1)
    mixed = lineage.combine(1.0, 0, 0, [(0.75, first), (0.25, second)])
    robust = lineage.opaque(2.0, 1, 0, [first, mixed])
    assert [first, second, mixed, robust] == [1, 2, 3, 4]
    assert kinds(lineage) == [CONTRIBUTE, CONTRIBUTE, COMBINE, OPAQUE]
    assert lineage.entries[0] == Entry("contribute", 1, 0.5, 0, 0, (0,), (-0.25,), 2.0, 1.5)
    assert lineage.entries[2] == Entry("combine", 3, 1.0, 0, 0, (1, 2), (0.75, 0.25), 0.0, 0.0)
    assert lineage.entries[3] == Entry("opaque", 4, 2.0, 1, 0, (1, 3), (), 0.0, 0.0)


def test_a_visible_model_is_released_when_it_is_delivered():
    lineage = Lineage()
    state = contribution(lineage, 0)
    lineage.delivered(3.0, 7, 2, Visible(state))
    assert lineage.entries[-1] == Entry("release", -1, 3.0, 7, 2, (state,), (1.0,), 0.0, 0.0)


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
    assert releases(lineage) == [
        Entry("release", -2, 4.0, 0, 3, (states[1], states[2], states[5]), (0.1, 0.2, 0.5), 0.0, 0.0)
    ]


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
        Entry("opening", 0, 1.0, 0, 6, (1, 2), (), 0.0, 0.0),
        Entry("share", 0, 1.0, 1, 6, (states[1],), (0.5,), 0.0, 0.0),
        Entry("share", 0, 2.0, 1, 6, (states[1],), (0.5,), 0.0, 0.0),
        Entry("opening", 1, 3.0, 0, 6, (1, 2, 4), (), 0.0, 0.0),
        Entry("share", 1, 3.0, 2, 6, (states[2],), (0.25,), 0.0, 0.0),
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


GOOD = Entry("contribute", 1, 0.0, 0, 0, (0,), (1.0,), 1.0, 1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        Entry("combine", 2, 0.0, 0, 0, (3,), (1.0,), 0.0, 0.0),
        Entry("combine", 2, 0.0, 0, 0, (-1,), (1.0,), 0.0, 0.0),
        Entry("combine", 3, 0.0, 0, 0, (1,), (1.0,), 0.0, 0.0),
        Entry("combine", 2, 0.0, 0, 0, (1,), (), 0.0, 0.0),
        Entry("combine", 2, 0.0, 0, 0, (1,), (float("inf"),), 0.0, 0.0),
        Entry("contribute", 2, 0.0, 0, 0, (0, 1), (1.0,), 1.0, 1.0),
        Entry("contribute", 2, 0.0, 0, 0, (0,), (1.0,), -1.0, 1.0),
        Entry("contribute", 2, 0.0, 0, 0, (0,), (1.0,), float("nan"), 1.0),
        Entry("contribute", 2, 0.0, 0, 0, (0,), (1.0,), 1.0, float("nan")),
        Entry("opaque", 2, 0.0, 0, 0, (1,), (1.0,), 0.0, 0.0),
        Entry("release", -1, 0.0, 0, 0, (2,), (1.0,), 0.0, 0.0),
        Entry("share", 0, 0.0, 0, 0, (1,), (1.0,), 0.0, 0.0),
        Entry("rumour", 2, 0.0, 0, 0, (1,), (1.0,), 0.0, 0.0),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(wrong):
    with pytest.raises(ContractError, match="entry 1"):
        read_record([GOOD, wrong])


def test_an_empty_record_is_a_view_of_nothing():
    record = read_record([])
    assert state_rows(record).shape == (1, 0)
    assert sights_of(record, frozenset({0})) == []
