"""Packed Shamir sharing: several secrets in one polynomial, and shares shorter by that factor.

A vector is cut into ``packing`` blocks. Position by position they are the values of one polynomial at −1, −2, …; its
values at ``privacy`` further points are uniformly random, and shares are its values at the holders' points. So any
``packing + privacy`` shares recover, any ``privacy`` reveal nothing, and numbers in between reveal partial
information.

Sources: Franklin and Yung 1992; as a code for masks, So et al. 2022 (LightSecAgg, MLSys).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.sharing.field import combine, lagrange, random_words
from protocols.sharing.modulus import Modulus, Words
from protocols.sharing.shamir import check_points
from simulator.errors import ConfigurationError


def deal(
    modulus: Modulus, secret: Words, packing: int, privacy: int, points: Sequence[int], key: bytes
) -> Words:
    """Return one share for every point.

    Args:
        modulus: a prime field.
        secret: (d,) elements; the last block is filled up with zeros.
        packing: secrets in one polynomial, at least 1.
        privacy: number of shares that reveal nothing, at least 1.
        points: of the holders, positive and distinct.
        key: 32 secret bytes, used for this dealing only.

    Returns:
        (points, ceil(d / packing)) elements.

    Raises:
        ConfigurationError: an argument outside its range, or fewer points than shares needed to recover.

    Guarantees:
        Any ``privacy`` shares are independent of the secret, as far as AES-256-CTR is uniform: the values that are
        not secrets are uniformly random, never zero.
    """
    _check(modulus, points, packing, privacy)
    length = -(-secret.size // packing)
    values = np.zeros((packing + privacy, length), modulus.dtype)
    values[:packing].reshape(-1)[: secret.size] = secret
    values[packing:] = random_words(modulus, key, privacy * length).reshape(privacy, length)
    # Below the places of all secrets, so distinct from all holders' points.
    places = [-1 - i for i in range(packing + privacy)]
    return combine(modulus, lagrange(modulus.value, places, points), values)


def recover(
    modulus: Modulus, points: Sequence[int], shares: Words, packing: int, privacy: int, size: int
) -> Words:
    """Return the secret, or the sum of secrets.

    Args:
        modulus: that of the dealing.
        points: of the shares.
        shares: (points, ceil(d / packing)), at least ``packing + privacy``; further ones are ignored.
        packing: that of the dealing.
        privacy: that of the dealing.
        size: d.

    Raises:
        ConfigurationError: too few shares, or invalid points.
    """
    _check(modulus, points, packing, privacy)
    needed = packing + privacy
    weights = lagrange(modulus.value, points[:needed], [-1 - i for i in range(packing)])
    return combine(modulus, weights, shares[:needed]).reshape(-1)[:size]


def _check(modulus: Modulus, points: Sequence[int], packing: int, privacy: int) -> None:
    if packing < 1 or privacy < 1:
        raise ConfigurationError(
            f"packing needs at least 1 secret and 1 private share, not {packing} and {privacy}"
        )
    places = [-1 - i for i in range(packing + privacy)]
    check_points(modulus, points, packing + privacy, places)
