"""Detection of wrong shares: Berlekamp–Welch decoding.

Shares of a polynomial of fewer than k coefficients at r points are a Reed–Solomon codeword; up to (r − k) / 2 wrong
ones can be told from the right ones. For vectors it is done once, on a random combination of their elements: a wrong
share is found unless the combination of its errors vanishes, with probability 1/p. The right shares then recover as
usual.

Source: Berlekamp and Welch 1986 (US patent 4,633,470); the formulation of Gemmell and Sudan 1992.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocols.sharing.field import dot, random_words
from protocols.sharing.modulus import Modulus, Words
from simulator.errors import ConfigurationError, SottovoceError


class TooManyErrors(SottovoceError):
    """Raised when too many shares are wrong to identify them, or when the shares lie on no polynomial."""


def wrong_shares(
    modulus: Modulus, points: Sequence[int], rows: Words, coefficients: int, key: bytes
) -> tuple[int, ...]:
    """Return the rows that are wrong.

    Args:
        modulus: a prime field.
        points: of the shares, distinct.
        rows: (points, d), one share per row.
        coefficients: k, largest number of coefficients of the polynomials; k shares recover.
        key: 32 bytes, unknown to the makers of the shares when they made them.

    Returns:
        Their indices, ascending; empty where all agree.

    Raises:
        TooManyErrors: more than (r − k) / 2 are wrong. (If so many are wrong that another polynomial fits, this is
            not detected.)
        ConfigurationError: fewer shares than needed to recover.
    """
    combined = dot(modulus, rows, random_words(modulus, key, rows.shape[1]))
    return errors_in(modulus.value, points, combined, coefficients)


def errors_in(prime: int, points: Sequence[int], values: Sequence[int], coefficients: int) -> tuple[int, ...]:
    """Return the indices of wrong values of a codeword; arguments and errors as :func:`wrong_shares`."""
    count = len(points)
    if count < coefficients:
        raise ConfigurationError(f"{count} shares are fewer than the {coefficients} that recover")
    most = (count - coefficients) // 2
    polynomial = _polynomial(prime, points, values, coefficients, most)
    if polynomial is None:
        raise TooManyErrors("the shares lie on no polynomial")
    wrong = tuple(
        i
        for i, (point, value) in enumerate(zip(points, values, strict=True))
        if (_at(prime, polynomial, point) - value) % prime
    )
    if len(wrong) > most:
        raise TooManyErrors(f"{len(wrong)} of {count} shares are wrong; {most} could be corrected")
    return wrong


def _polynomial(
    prime: int, points: Sequence[int], values: Sequence[int], coefficients: int, most: int
) -> list[int] | None:
    """Return the polynomial that all but ``most`` values lie on, lowest coefficient first: Q / E of Q(x) = y E(x)."""
    width = coefficients + most
    rows = []
    for point, value in zip(points, values, strict=True):
        powers = [pow(point, power, prime) for power in range(width)]
        right = value * pow(point, most, prime) % prime
        rows.append([*powers, *(-value * power % prime for power in powers[:most]), right])
    solution = _solve(prime, rows, width + most)
    if solution is None:
        return None
    quotient, rest = _divide(prime, solution[:width], [*solution[width:], 1])
    return quotient if not any(rest) else None


def _solve(prime: int, rows: list[list[int]], unknowns: int) -> list[int] | None:
    """Return one solution of a linear system, rows with the right side last; None if there is none."""
    pivots: list[int] = []
    at = 0
    for column in range(unknowns):
        pivot = next((i for i in range(at, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[at], rows[pivot] = rows[pivot], rows[at]
        inverse = pow(rows[at][column], -1, prime)
        rows[at] = [entry * inverse % prime for entry in rows[at]]
        for i, row in enumerate(rows):
            if i != at and row[column]:
                factor = row[column]
                rows[i] = [(entry - factor * lead) % prime for entry, lead in zip(row, rows[at], strict=True)]
        pivots.append(column)
        at += 1
        if at == len(rows):
            break
    if any(row[-1] for row in rows[at:]):
        return None
    solution = [0] * unknowns
    for row, column in zip(rows, pivots, strict=False):
        solution[column] = row[-1]
    return solution


def _divide(prime: int, above: list[int], below: list[int]) -> tuple[list[int], list[int]]:
    """Return quotient and remainder of polynomials, lowest coefficient first; the divisor's highest is 1."""
    rest, degree = list(above), len(below) - 1
    quotient = [0] * (len(above) - degree)
    for shift in range(len(quotient) - 1, -1, -1):
        factor = quotient[shift] = rest[shift + degree]
        for i, entry in enumerate(below):
            rest[shift + i] = (rest[shift + i] - factor * entry) % prime
    return quotient, rest


def _at(prime: int, polynomial: Sequence[int], point: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * point + coefficient) % prime
    return value
