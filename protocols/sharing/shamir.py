"""Shamir's scheme for vectors: any ``threshold`` shares recover, fewer reveal nothing.

Every element of the secret is the value at 0 of a polynomial of its own, of degree below the threshold; a share is
all polynomials' values at one point. Shares of different secrets at one point add up to a share of their sum.

Source: Shamir 1979.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from protocols.sharing.field import check_field, combine, lagrange, random_words
from protocols.sharing.modulus import Modulus, Words
from simulator.errors import ConfigurationError


def check_points(
    modulus: Modulus, points: Sequence[int], threshold: int, taken: Sequence[int] = (0,)
) -> None:
    """Check that no point is the secret's or occurs twice.

    Raises:
        ConfigurationError: a point is taken or occurs twice, or the threshold is not 1 … number of points.
    """
    check_field(modulus)
    places = [point % modulus.value for point in points]
    if len(set(places)) < len(places) or {place % modulus.value for place in taken} & set(places):
        raise ConfigurationError(
            f"the points of shares must be distinct, and none of {list(taken)}: {list(points)}"
        )
    if not 1 <= threshold <= len(places):
        raise ConfigurationError(f"a threshold must be from 1 to {len(places)} shares, not {threshold}")


def deal(modulus: Modulus, secret: Words, threshold: int, points: Sequence[int], key: bytes) -> Words:
    """Return one share for every point.

    Args:
        modulus: a prime field.
        secret: (d,) elements.
        threshold: t, number of shares that recover.
        points: places where the polynomials are evaluated; distinct, not 0.
        key: 32 secret bytes, used for this dealing only.

    Returns:
        (points, d) elements.

    Raises:
        ConfigurationError: a modulus that is not prime, or invalid points or threshold.

    Guarantees:
        Any t − 1 shares are independent of the secret, as far as AES-256-CTR is uniform.
    """
    check_points(modulus, points, threshold)
    coefficients = np.empty((threshold, secret.size), modulus.dtype)
    coefficients[0] = secret
    coefficients[1:] = random_words(modulus, key, (threshold - 1) * secret.size).reshape(
        threshold - 1, secret.size
    )
    powers = [[pow(point, power, modulus.value) for power in range(threshold)] for point in points]
    return combine(modulus, powers, coefficients)


def recover(modulus: Modulus, points: Sequence[int], shares: Words, threshold: int) -> Words:
    """Return the secret, or the sum of secrets.

    Args:
        modulus: that of the dealing.
        points: of the shares.
        shares: (points, d), at least ``threshold``; further ones are ignored
            (:mod:`protocols.sharing.decoding` checks them).
        threshold: that of the dealing.

    Raises:
        ConfigurationError: too few shares, or invalid points.
    """
    check_points(modulus, points, threshold)
    weights = lagrange(modulus.value, points[:threshold], [0])
    secret: Words = combine(modulus, weights, shares[:threshold])[0]
    return secret
