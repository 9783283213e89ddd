"""Numbers of members that a secure sum needs, and thresholds of shares. Imports no numerical library."""

from __future__ import annotations

LEAST_HONEST = 3
"""Honest members that a sum must cover: with two, each could subtract its own vector and read the other's."""


def participants(participation: float, members: int) -> int:
    """Return the number of members that are asked, at least one.

    Args:
        participation: fraction of the members, above 0 and at most 1.
        members: of the neighbourhood.
    """
    return max(1, int(participation * members + 0.5))


def minimum_members(asked: int, colluders: int, tolerated_dropouts: int) -> int:
    """Return the length of the shortest list that members answer, given the number of members asked."""
    return max(LEAST_HONEST + colluders, asked - tolerated_dropouts)


def split_proof_threshold(holders: int, colluders: int) -> int:
    """Return the smallest number of shares t with which two different survivor lists cannot both be opened.

    With t > (holders + colluders) / 2 an aggregator that announces different survivors to different holders gets t
    answers for at most one of the lists, even with the help of the colluders.
    """
    return (holders + colluders) // 2 + 1
