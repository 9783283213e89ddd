"""How many members a secure sum has to have, and how many of them recover a secret. Imports no mathematics."""

from __future__ import annotations

LEAST_HONEST = 3
"""Honest members that a sum must cover: with two, each would read the other's vector out of it."""


def participants(participation: float, members: int) -> int:
    """Return how many of so many members are asked, at least one.

    Args:
        participation: fraction of the members, above 0 and at most 1.
        members: of the neighbourhood.
    """
    return max(1, int(participation * members + 0.5))


def minimum_members(asked: int, colluders: int, tolerated_dropouts: int) -> int:
    """Return the length of the shortest list that members answer, if so many were asked."""
    return max(LEAST_HONEST + colluders, asked - tolerated_dropouts)


def split_proof_threshold(holders: int, colluders: int) -> int:
    """Return the smallest number of shares t with which only one story can be opened.

    With t > (holders + colluders) / 2 an aggregator that tells some holders one thing and the others another, with
    the help of the colluders, gets t answers to one of them at most.
    """
    return (holders + colluders) // 2 + 1
