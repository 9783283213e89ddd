"""A group in which discrete logarithms are hard: prime order q just below 2^256, inside the integers modulo p.

Nothing in it was chosen to please anybody: q is the largest prime below 2^256; p = k q + 1 has 2048 bits, its
cofactor k is read off SHA-256 of a public label and counted up to the first prime; both generators are read off
the same label, so that nobody knows the logarithm of one to the other.

Arithmetic is that of Python integers: right, and not hardened against who measures its time. For simulations.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

ORDER = 2**256 - 189
"""q, the order of the group and the size of the field of scalars."""
ELEMENT_BYTES = 256
_LABEL = b"sottovoce Schnorr group 1"
_COFACTOR_BYTES = 224
_STEPS = 298
"""How often 2 was added to the even number read off the label until k q + 1 was prime."""


class Group(NamedTuple):
    """The group.

    Args:
        modulus: p.
        g: a generator.
        h: another, of which nobody knows the logarithm.
    """

    modulus: int
    g: int
    h: int


@lru_cache(maxsize=1)
def group() -> Group:
    """The group, made on first use."""
    cofactor = (_read(b" cofactor", _COFACTOR_BYTES) | 1 << (8 * _COFACTOR_BYTES - 1)) & ~1
    cofactor += 2 * _STEPS
    modulus = cofactor * ORDER + 1
    # Powers of the cofactor are in the subgroup of order q.
    g, h = (pow(_read(b" generator " + name, ELEMENT_BYTES + 8), cofactor, modulus) for name in (b"g", b"h"))
    return Group(modulus, g, h)


def _read(purpose: bytes, size: int) -> int:
    stream = b""
    while len(stream) < size:
        block = (len(stream) // 32).to_bytes(4, "big")
        stream += hashlib.sha256(_LABEL + purpose + block).digest()
    return int.from_bytes(stream[:size], "big")
