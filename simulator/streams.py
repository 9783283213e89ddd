"""Named streams of randomness: every draw belongs to a key, never to an order of draws.

A key is the run's seed and a path of names and numbers, such as ``("node", 3, "noise", 17)``. Adding a
consumer, an adversary or a plot cannot shift anybody else's numbers, which is what makes what-ifs paired.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TypeAlias

import numpy as np

_UNIT = 2.0**-53
_DIGEST_BYTES = 64


Part: TypeAlias = str | int


class Prefix:
    """The first parts of many keys, hashed once: ``Prefix(seed, a).uniforms(b)`` draws from the key (seed, a, b)."""

    __slots__ = ("_hash",)

    def __init__(self, seed: int, *key: Part) -> None:
        self._hash = blake2b(b"%d" % seed, digest_size=16, person=b"sottovoce")
        _feed(self._hash, key)

    def uniforms(self, *rest: Part) -> tuple[float, float]:
        """Two independent uniforms in the open interval (0, 1), cheap enough for every message."""
        hashed = self._hash.copy()
        _feed(hashed, rest)
        raw = hashed.digest()
        low, high = int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")
        return ((low >> 12) + 0.5) * 2 * _UNIT, ((high >> 12) + 0.5) * 2 * _UNIT


def _feed(hashed: blake2b, key: tuple[Part, ...]) -> None:
    for part in key:
        text = part.encode() if isinstance(part, str) else b"%d" % part
        hashed.update(b"%c%d:%b" % (b"s" if isinstance(part, str) else b"i", len(text), text))


def digest(seed: int, *key: Part, size: int = 16) -> bytes:
    """``size`` bytes that depend on the whole key and nothing else. Parts are typed and length-prefixed."""
    hashed = blake2b(b"%d" % seed, digest_size=size, person=b"sottovoce")
    _feed(hashed, key)
    return hashed.digest()


def long_digest(seed: int, *key: Part, size: int) -> bytes:
    """Like :func:`digest`, for any ``size``: beyond the 64 bytes of one digest, block after block."""
    if size <= _DIGEST_BYTES:
        return digest(seed, *key, size=size)
    blocks = range(-(-size // _DIGEST_BYTES))
    return b"".join(digest(seed, *key, "block", i, size=_DIGEST_BYTES) for i in blocks)[:size]


def generator(seed: int, *key: Part) -> np.random.Generator:
    """A fresh generator at the start of the stream named by the key."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest(seed, *key), "little")))
