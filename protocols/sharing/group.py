"""A Schnorr group: prime order q just below 2^256, inside the multiplicative group modulo a 2048-bit prime p.

No constant is chosen freely: q is the largest prime below 2^256; p = k q + 1, where the cofactor k is derived from
SHA-256 of a public label and increased up to the first prime; both generators are derived from the same label, so
that the discrete logarithm of one to the other is unknown.

Powers of the generators are products of precomputed powers, in the arithmetic of GMP. It is not constant-time: for
simulations only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from gmpy2 import mpz, powmod

ORDER = 2**256 - 189
"""q, the order of the group and the size of the field of scalars."""
ELEMENT_BYTES = 256
_LABEL = b"sottovoce Schnorr group 1"
_COFACTOR_BYTES = 224
_SCALAR_BYTES = 32
_STEPS = 298
"""Number of times 2 was added to the even number derived from the label until k q + 1 was prime."""

_Powers: TypeAlias = list[list[Any]]


class Group(NamedTuple):
    """Modulus and generators.

    Args:
        modulus: p.
        g: a generator.
        h: another generator, whose discrete logarithm to g is unknown.
    """

    modulus: int
    g: int
    h: int


@lru_cache(maxsize=1)
def group() -> Group:
    """Return the group; it is computed on first use."""
    cofactor = (_read(b" cofactor", _COFACTOR_BYTES) | 1 << (8 * _COFACTOR_BYTES - 1)) & ~1
    cofactor += 2 * _STEPS
    modulus = cofactor * ORDER + 1
    # Powers of the cofactor are in the subgroup of order q.
    g, h = (pow(_read(b" generator " + name, ELEMENT_BYTES + 8), cofactor, modulus) for name in (b"g", b"h"))
    return Group(modulus, g, h)


def commit(value: int, blinding: int) -> int:
    """Return the Pedersen commitment g^value h^blinding.

    Args:
        value: a scalar, at least 0 and below ``ORDER``.
        blinding: another.

    Raises:
        OverflowError: a scalar is negative, or 2^256 or more.
    """
    modulus, powers_of_g, powers_of_h = _powers()
    product = mpz(1)
    for powers, scalar in ((powers_of_g, value), (powers_of_h, blinding)):
        for row, digit in zip(powers, scalar.to_bytes(_SCALAR_BYTES, "little"), strict=True):
            if digit:
                product = product * row[digit] % modulus
    return int(product)


def evaluate(commitments: Sequence[int], point: int) -> int:
    """Return Π C_i^{x^i}: the commitment to the value at x of the polynomial whose coefficients are committed to.

    Args:
        commitments: elements C_i, lowest coefficient first.
        point: x, at least 0.
    """
    modulus = mpz(group().modulus)
    product = mpz(1)
    for commitment in reversed(commitments):  # Horner's rule in the exponent
        product = powmod(product, point, modulus) * commitment % modulus
    return int(product)


@lru_cache(maxsize=1)
def _powers() -> tuple[Any, _Powers, _Powers]:
    """Return the modulus, and for g and h one row a byte of a scalar: the powers for all values of that byte."""
    made = group()
    modulus = mpz(made.modulus)
    tables = []
    for generator in (made.g, made.h):
        base, rows = mpz(generator), []
        for _ in range(_SCALAR_BYTES):
            row = [mpz(1)]
            for _ in range(256):
                row.append(row[-1] * base % modulus)
            base = row.pop()
            rows.append(row)
        tables.append(rows)
    return modulus, tables[0], tables[1]


def _read(purpose: bytes, size: int) -> int:
    stream = b""
    while len(stream) < size:
        block = (len(stream) // 32).to_bytes(4, "big")
        stream += hashlib.sha256(_LABEL + purpose + block).digest()
    return int.from_bytes(stream[:size], "big")
