"""Exact kernels of rational matrices: combinations of contributions that no row shows.

Candidates are found by elimination modulo a prime and lifted to integers; each is kept only if every row, in exact
arithmetic, is orthogonal to it. So the result is the kernel or a part of it, never more, whatever the prime: a loss
that is computed from it is not below that of the exact kernel.

Source: rational reconstruction, Wang 1981.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from math import gcd, isqrt, lcm
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Row: TypeAlias = Mapping[int, Fraction]
"""Entries by column, without zeros."""
Vector: TypeAlias = Mapping[int, int]
"""Integers by column, without zeros."""

PRIMES = (2**31 - 1, 2**521 - 1)
"""Moduli, tried in turn: the second one lifts numbers of up to 260 bits, with Python's integers."""
MOST_BIG = 40
"""Columns up to which the second one is tried: hundredths of a second."""


def kernel(rows: Sequence[Row], width: int) -> list[Vector]:
    """Return independent integer vectors that every row is orthogonal to.

    Args:
        rows: of a matrix with ``width`` columns.
        width: number of columns.

    Returns:
        A basis of the kernel, or of a part of it where numbers are too large to lift.
    """
    distinct = _distinct(rows)
    found: list[Vector] = []
    for prime in PRIMES if width <= MOST_BIG else PRIMES[:1]:
        reduced, pivots = _reduced(distinct, width, prime)
        missing = width - len(pivots)  # an upper bound of the dimension, for every prime
        unused = sorted(set(range(width)) - set(pivots))
        lifted = (_lifted(reduced, pivots, free, prime) for free in unused)
        found = [vector for vector in lifted if vector is not None and vanishes(distinct, vector)]
        if len(found) == missing:
            break
    return found


def spans(rows: Sequence[Row], targets: Sequence[Row], width: int) -> bool:
    """Return whether every target is a combination of rows, modulo a prime.

    It names a genie and decides no loss; the answer is wrong only if the prime divides a certain determinant.
    """
    prime = PRIMES[0]
    before = len(_reduced(_distinct(rows), width, prime)[1])
    return len(_reduced(_distinct([*rows, *targets]), width, prime)[1]) == before


def vanishes(rows: Iterable[Row], vector: Vector) -> bool:
    """Return whether a vector is orthogonal to every row, in exact arithmetic."""
    return not any(along(row, vector) for row in rows)


def along(row: Row, vector: Vector) -> Fraction:
    """Return the exact product of a row and a vector."""
    short, long = (row, vector) if len(row) <= len(vector) else (vector, row)
    return sum((Fraction(long[c]) * value for c, value in short.items() if c in long), Fraction(0))


def combined(vectors: Sequence[Vector], factors: Vector) -> Vector:
    """Return Σ factors · vectors, divided by its greatest common divisor."""
    total: dict[int, int] = {}
    for index, factor in factors.items():
        for column, value in vectors[index].items():
            total[column] = total.get(column, 0) + factor * value
    common = gcd(*total.values()) or 1
    return {column: value // common for column, value in total.items() if value}


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Drop empty rows and multiples of earlier ones."""
    found: dict[tuple[tuple[int, Fraction], ...], Row] = {}
    for row in rows:
        entries = sorted(row.items())
        if entries:
            first = entries[0][1]
            found.setdefault(tuple((column, value / first) for column, value in entries), row)
    return list(found.values())


def _reduced(rows: Sequence[Row], width: int, prime: int) -> tuple[NDArray[Any], list[int]]:
    """Return the reduced echelon form modulo a prime, and its pivot columns."""
    # Products of two residues of the smaller prime fit in 62 bits.
    matrix = np.zeros((len(rows), width), dtype=np.int64 if prime < 2**31 else object)
    for at, row in enumerate(rows):
        for column, value in row.items():
            matrix[at, column] = value.numerator * pow(value.denominator, -1, prime) % prime
    pivots: list[int] = []
    for column in range(width):
        rank = len(pivots)
        below = np.flatnonzero(matrix[rank:, column])
        if not len(below):
            continue
        chosen = rank + int(below[0])
        matrix[[rank, chosen]] = matrix[[chosen, rank]]
        matrix[rank] = matrix[rank] * pow(int(matrix[rank, column]), -1, prime) % prime
        others = np.flatnonzero(matrix[:, column])
        others = others[others != rank]
        used = np.flatnonzero(matrix[rank])
        place = np.ix_(others, used)
        matrix[place] = (matrix[place] - np.outer(matrix[others, column], matrix[rank, used])) % prime
        pivots.append(column)
        if len(pivots) == len(rows):
            break
    return matrix, pivots


def _lifted(reduced: NDArray[Any], pivots: Sequence[int], free: int, prime: int) -> Vector | None:
    """Return the kernel vector of a free column in integers; None if a residue is no small fraction."""
    entries = {free: Fraction(1)}
    for at, pivot in enumerate(pivots):
        residue = int(-reduced[at, free]) % prime
        if residue:
            lifted = _fraction(residue, prime)
            if lifted is None:
                return None
            entries[pivot] = lifted
    scale = lcm(*(value.denominator for value in entries.values()))
    return {column: int(value * scale) for column, value in entries.items()}


def _fraction(residue: int, prime: int) -> Fraction | None:
    """Return the fraction with a numerator and a denominator below √(prime / 2) that has this residue, if any."""
    limit = isqrt(prime // 2)
    before, now, factor_before, factor = prime, residue, 0, 1
    while now > limit:
        quotient = before // now
        before, now = now, before - quotient * now
        factor_before, factor = factor, factor_before - quotient * factor
    return Fraction(now, factor) if 0 < abs(factor) <= limit else None
