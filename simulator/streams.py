"""Named streams of randomness: every draw belongs to a key, never to an order of draws.

A key is the run's seed and a path of names and numbers, such as ``("node", 3, "noise", 17)``. Adding a
consumer, an adversary or a plot does not change the numbers of others, which makes what-ifs paired.

Draws that are made by the million, one or more a message, take whole arrays of keys at once: ``root`` hashes what
a stream's keys have in common, ``absorb`` one 64-bit word of the key after another, and ``unit`` ends in a number::

    link = absorb(absorb(root(seed, "latency"), src), dst)              # dst an array: one hash a link
    u = unit(absorb(link, rounds[:, None]))                             # (rounds, links) uniforms

``absorb(h, w)`` is output number w of SplitMix64 seeded with h (Steele, Lea and Flood, OOPSLA 2014): add w times the
golden gamma to h, then mix by Stafford's variant 13. All of it is arithmetic modulo 2^64: the same bits anywhere,
whatever the shape of the arrays. It is no cryptography: draws that protect something come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

_UNIT = 2.0**-53
_DIGEST_BYTES = 64

_GAMMA, _MIX_1, _MIX_2 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_LOW_64 = 2**64 - 1
# As numpy scalars once: converting Python ints costs as much as the arithmetic on a few hundred words.
_GAMMA_64, _MIX_1_64, _MIX_2_64 = np.uint64(_GAMMA), np.uint64(_MIX_1), np.uint64(_MIX_2)
_ONE, _11, _27, _30, _31 = (np.uint64(n) for n in (1, 11, 27, 30, 31))

Part: TypeAlias = str | int

Law: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Quantile function of a random quantity: uniforms in (0, 1), any shape, to values of the same shape."""


class Prefix:
    """First parts of many keys, hashed once: ``Prefix(seed, a).uniforms(b)`` draws from the key (seed, a, b)."""

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


def root(seed: int, *key: Part) -> np.uint64:
    """64 bits of the digest of the seed and the first parts of many keys, to absorb the rest of each into."""
    return np.uint64(int.from_bytes(digest(seed, *key, size=8), "little"))


def absorb(h: NDArray[np.uint64] | np.uint64, words: NDArray[np.integer[Any]] | int) -> NDArray[np.uint64]:
    """Return the hashes of keys that are one word longer.

    Args:
        h: hashes so far, from :func:`root` or from this function.
        words: the next word of each key, modulo 2^64: an int, or integers in an array.

    Returns:
        Hashes in the shape that ``h`` and ``words`` broadcast to.
    """
    # ufuncs throughout: operators on numpy scalars would warn when they wrap around.
    word = words if isinstance(words, np.ndarray) else np.asarray(words & _LOW_64, np.uint64)
    if word.dtype != np.uint64:
        word = word.astype(np.uint64)
    mixed = np.asarray(np.add(np.multiply(word, _GAMMA_64), h))
    shifted = np.asarray(np.right_shift(mixed, _30))
    mixed ^= shifted
    mixed *= _MIX_1_64
    np.right_shift(mixed, _27, out=shifted)
    mixed ^= shifted
    mixed *= _MIX_2_64
    np.right_shift(mixed, _31, out=shifted)
    mixed ^= shifted
    return mixed


def unit(h: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Uniforms in the open interval (0, 1): odd multiples of 2^-53, from the upper 52 bits of each hash."""
    odd = np.asarray(np.right_shift(h, _11))
    odd |= _ONE
    drawn: NDArray[np.float64] = np.multiply(odd, _UNIT, dtype=np.float64)
    return drawn


def absorb_one(h: int, word: int) -> int:
    """:func:`absorb` of a single word on Python ints, which for one key is several times faster; the same bits."""
    h = (h + word * _GAMMA) & _LOW_64
    h = ((h ^ (h >> 30)) * _MIX_1) & _LOW_64
    h = ((h ^ (h >> 27)) * _MIX_2) & _LOW_64
    return h ^ (h >> 31)


def unit_of(h: int, words: Sequence[int]) -> float:
    """:func:`unit` of a hash that has absorbed some words, in one go."""
    for word in words:
        h = (h + word * _GAMMA) & _LOW_64
        h = ((h ^ (h >> 30)) * _MIX_1) & _LOW_64
        h = ((h ^ (h >> 27)) * _MIX_2) & _LOW_64
        h ^= h >> 31
    return (h >> 11 | 1) * _UNIT


def unit_one(h: int) -> float:
    """:func:`unit` of a single hash."""
    return (h >> 11 | 1) * _UNIT
