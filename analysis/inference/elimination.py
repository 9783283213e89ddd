"""Gauss–Jordan elimination without rounding, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

PRIME = 2**61 - 1
"""Prime for residues of fractions: exact unless a numerator is a multiple of the prime."""


class Elimination:
    """Reduced echelon form of the rows added so far.

    Args:
        columns: number of columns.
        prime: compute in the field of that order; None: in fractions, which grow long.
    """

    def __init__(self, columns: int, prime: int | None = None) -> None:
        self._columns = columns
        self._prime = prime
        self._rows: dict[int, list[Fraction | int]] = {}

    @property
    def rank(self) -> int:
        """Return the rank of the rows added so far."""
        return len(self._rows)

    def number(self, value: Fraction) -> Fraction | int:
        """Convert a fraction to the arithmetic of this elimination."""
        if self._prime is None:
            return value
        return value.numerator * pow(value.denominator, -1, self._prime) % self._prime

    def add(self, row: Sequence[Fraction | int]) -> bool:
        """Add a row of :meth:`number` values; return whether it is independent of the earlier ones."""
        left = list(row)
        for pivot, known in self._rows.items():
            if left[pivot]:
                left = self._less(left, left[pivot], known)
        pivot = next((i for i, value in enumerate(left) if value), self._columns)
        if pivot == self._columns:
            return False
        lead = left[pivot]
        inverse = 1 / Fraction(lead) if self._prime is None else pow(int(lead), -1, self._prime)
        left = [self._reduced(value * inverse) for value in left]
        for other, known in self._rows.items():
            if known[pivot]:
                self._rows[other] = self._less(known, known[pivot], left)
        self._rows[pivot] = left
        return True

    def known(self) -> list[int]:
        """Return the columns that are determined: those whose unit vector the rows span."""
        return sorted(pivot for pivot, row in self._rows.items() if sum(map(bool, row)) == 1)

    def _less(
        self, row: list[Fraction | int], times: Fraction | int, other: list[Fraction | int]
    ) -> list[Fraction | int]:
        return [self._reduced(a - times * b) for a, b in zip(row, other, strict=True)]

    def _reduced(self, value: Fraction | int) -> Fraction | int:
        return value if self._prime is None else value % self._prime
