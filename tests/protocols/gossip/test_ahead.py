"""Messages of rounds to come: a flood displaces the sender's own messages alone, and memory stays bounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from protocols.gossip.ahead import Ahead

SENDERS, KEPT = 4, 3


@given(st.lists(st.tuples(st.integers(0, SENDERS - 1), st.integers(0, 50))))
def test_of_every_sender_the_newest_rounds_are_kept_and_of_a_round_what_came_first(
    said: list[tuple[int, int]],
) -> None:
    ahead: Ahead[int] = Ahead(KEPT)
    for number, (sender, round) in enumerate(said):
        ahead.put(sender, round, number)
        assert len(ahead) <= SENDERS * KEPT
    for sender in range(SENDERS):
        rounds = {about for by, about in said if by == sender}
        newest = sorted(rounds)[-KEPT:]
        assert [about for about in sorted(rounds) if (sender, about) in ahead] == newest
        for about in newest:
            kept = ahead.get(sender, about)
            assert kept is not None
            assert said[kept] == (sender, about)


def test_what_is_said_first_about_a_round_counts_and_a_flood_displaces_its_own() -> None:
    ahead: Ahead[str] = Ahead(KEPT)
    ahead.put(1, 7, "first")
    ahead.put(1, 7, "second")
    for round in range(10_000):
        ahead.put(2, round, "flood")
    assert ahead.get(1, 7) == "first"
    assert len(ahead) == 1 + KEPT


@given(st.sets(st.tuples(st.integers(0, 3), st.integers(0, 20))), st.integers(0, 20))
def test_old_rounds_are_dropped(said: set[tuple[int, int]], first: int) -> None:
    ahead: Ahead[None] = Ahead(100)
    for sender, round in said:
        ahead.put(sender, round, None)
    ahead.forget_before(first)
    assert {key for key in said if key in ahead} == {key for key in said if key[1] >= first}
    assert len(ahead) == sum(round >= first for _, round in said)
