"""Uniform words of any modulus from a key."""

from __future__ import annotations

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocols.sharing.field import KEY_BYTES, random_words
from protocols.sharing.modulus import Modulus, Words
from simulator.errors import ConfigurationError


def uniform_words(modulus: Modulus, key: bytes, count: int) -> Words:
    """Return words that are pseudorandom without the key.

    Args:
        modulus: a ring, whose low bits of a keystream are uniform, or a field
            (:func:`~protocols.sharing.field.random_words`).
        key: 32 bytes, used for this stream only.
        count: number of words.

    Raises:
        ConfigurationError: the key has another length.
    """
    if modulus.prime:
        return random_words(modulus, key, count)
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"the key of a stream is {KEY_BYTES} bytes, not {len(key)}")
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    little = modulus.dtype.newbyteorder("<")
    words = np.frombuffer(stream.update(bytes(modulus.dtype.itemsize * count)), little)
    kept: Words = words.astype(modulus.dtype) & modulus.dtype.type(modulus.value - 1)
    return kept
