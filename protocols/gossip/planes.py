"""Affine planes over finite fields: lines of q² points, of which any two points share exactly one."""

from __future__ import annotations

from functools import cache
from itertools import product

Line = tuple[int, ...]


def prime_power(q: int) -> tuple[int, int] | None:
    """Return (p, k) with p prime and p^k = q; None if q is no prime power."""
    if q < 2:
        return None
    p = next(d for d in range(2, q + 1) if q % d == 0)
    k = 0
    while q % p == 0:
        q //= p
        k += 1
    return (p, k) if q == 1 else None


@cache
def parallel_classes(q: int) -> tuple[tuple[Line, ...], ...]:
    """Return the q + 1 parallel classes of the affine plane of order q; each has q disjoint lines of q points.

    Points are numbered x·q + y for x, y in the field of q elements; a class has the lines y = a·x + b of one slope a,
    and the last one the lines x = b.

    Args:
        q: a prime power.

    Raises:
        ValueError: q is no prime power.
    """
    add, multiply = _field(q)
    field = range(q)
    classes = [tuple(tuple(x * q + add[multiply[a][x]][b] for x in field) for b in field) for a in field]
    return (*classes, tuple(tuple(b * q + y for y in field) for b in field))


def _field(q: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return the tables of addition and multiplication of the field of q elements, numbered by their coefficients."""
    found = prime_power(q)
    if found is None:
        raise ValueError(f"there is a field of q elements only for prime powers q, got {q}")
    p, k = found
    modulus = next(low for low in product(range(p), repeat=k) if _irreducible(low, p))
    elements = list(product(range(p), repeat=k))
    number = {element: i for i, element in enumerate(elements)}
    add = [
        [number[tuple((a + b) % p for a, b in zip(one, other, strict=True))] for other in elements]
        for one in elements
    ]
    multiply = [[number[_product(one, other, modulus, p)] for other in elements] for one in elements]
    return add, multiply


def _product(one: Line, other: Line, modulus: Line, p: int) -> Line:
    """Multiply polynomials, lowest coefficient first, modulo x^k + modulus."""
    k = len(modulus)
    full = [0] * (2 * k - 1)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            full[i + j] = (full[i + j] + a * b) % p
    for degree in range(2 * k - 2, k - 1, -1):
        for i, m in enumerate(modulus):
            full[degree - k + i] = (full[degree - k + i] - full[degree] * m) % p
    return tuple(full[:k])


def _irreducible(low: Line, p: int) -> bool:
    """Return whether x^k + low has no factor: products modulo it of two polynomials that are not 0 are never 0."""
    zero = (0,) * len(low)
    others = [element for element in product(range(p), repeat=len(low)) if element != zero]
    return all(_product(one, other, low, p) != zero for one in others for other in others)
