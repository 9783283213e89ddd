"""Named streams of randomness: every draw belongs to a key, never to an order of draws.

A key is the run's seed and a path of names and numbers, such as ``("node", 3, "noise", 17)``. Adding a
consumer, an adversary or a plot cannot shift anybody else's numbers, which is what makes what-ifs paired.
"""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

_UNIT = 2.0**-53


def digest(seed: int, *key: str | int, size: int = 16) -> bytes:
    """``size`` bytes that depend on the whole key and nothing else. Parts are typed and length-prefixed."""
    h = blake2b(b"%d" % seed, digest_size=size, person=b"sottovoce")
    for part in key:
        text = part.encode() if isinstance(part, str) else b"%d" % part
        h.update(b"%c%d:" % (b"s" if isinstance(part, str) else b"i", len(text)))
        h.update(text)
    return h.digest()


def generator(seed: int, *key: str | int) -> np.random.Generator:
    """A fresh generator at the start of the stream named by the key."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest(seed, *key), "little")))


def uniforms(seed: int, *key: str | int) -> tuple[float, float]:
    """Two independent uniforms in the open interval (0, 1), cheap enough for every message."""
    raw = digest(seed, *key)
    low, high = int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little")
    return ((low >> 12) + 0.5) * 2 * _UNIT, ((high >> 12) + 0.5) * 2 * _UNIT
