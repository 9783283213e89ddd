"""Additive n-of-n sharing: all shares together are the secret, any fewer are uniformly random.

Threat model and proof are those of the one-time pad. A missing share loses the secret, and a wrong one shifts it
undetected; Shamir's scheme (:mod:`protocols.sharing.shamir`) handles both.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.sharing.modulus import Modulus, Words
from protocols.sharing.streams import uniform_words
from simulator.errors import ConfigurationError


def deal(modulus: Modulus, secret: Words, holders: int, key: bytes) -> Words:
    """Split a secret into shares.

    Args:
        modulus: any ring or field.
        holders: n, number of shares, at least 2.
        holders: n, at least 2.
        key: 32 secret bytes, used for this dealing only.

    Returns:
        (n, d): the first n − 1 uniform, the last the remainder.

    Raises:
        ConfigurationError: fewer than two holders.

    Guarantees:
        Any n − 1 shares are independent of the secret, as far as AES-256-CTR is uniform.
    """
    if holders < 2:
        raise ConfigurationError(f"additive sharing needs at least 2 holders, not {holders}")
    shares = np.empty((holders, secret.size), modulus.dtype)
    shares[:-1] = uniform_words(modulus, key, (holders - 1) * secret.size).reshape(holders - 1, secret.size)
    rest = secret.copy()
    for share in shares[:-1]:
        modulus.subtract(rest, share)
    shares[-1] = rest
    return shares


def recover(modulus: Modulus, shares: Sequence[Words]) -> Words:
    """Return the secret, or the sum of secrets if shares were added up holder by holder.

    Args:
        modulus: that of the dealing.
        shares: all of them.

    Raises:
        ConfigurationError: fewer than two, or of different sizes.
    """
    if len(shares) < 2 or any(share.shape != shares[0].shape for share in shares):
        raise ConfigurationError("recovering needs all shares, at least two and of one size")
    total = shares[0].copy()
    for share in shares[1:]:
        modulus.add(total, share)
    return total
