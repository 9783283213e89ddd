"""Shamir's scheme for single secrets of 32 bytes: seeds and keys, as scalars that can be committed to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocols.sharing.decoding import TooManyErrors, errors_in
from protocols.sharing.field import KEY_BYTES, lagrange
from protocols.sharing.group import ORDER
from simulator.errors import ConfigurationError

SCALAR_BYTES = 32
_WIDE_BYTES = 64
"""Bytes that are reduced modulo q, twice those of a scalar: the result is uniform up to 2^-256."""


def scalar_from(key: bytes, label: bytes = b"scalar") -> int:
    """Derive a pseudorandom scalar from a key.

    Args:
        key: 32 bytes.
        label: distinguishes scalars of one key.

    Raises:
        ConfigurationError: the key has another length.
    """
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"the key of a scalar is {KEY_BYTES} bytes, not {len(key)}")
    return int.from_bytes(HKDFExpand(hashes.SHA256(), _WIDE_BYTES, label).derive(key), "big") % ORDER


def to_bytes(scalar: int) -> bytes:
    """Encode as 32 bytes, big-endian."""
    return scalar.to_bytes(SCALAR_BYTES, "big")


def polynomial(secret: int, threshold: int, key: bytes) -> list[int]:
    """Draw a random polynomial with the secret as its value at 0, lowest coefficient first.

    Raises:
        ConfigurationError: a threshold below 1, or a secret that is not a scalar.
    """
    if threshold < 1 or not 0 <= secret < ORDER:
        raise ConfigurationError(
            f"expected a scalar and a threshold of at least 1, got a threshold of {threshold}"
        )
    return [secret, *(scalar_from(key, b"coefficient %d" % power) for power in range(1, threshold))]


def values(coefficients: Sequence[int], points: Iterable[int]) -> list[int]:
    """Return a polynomial's values."""
    found = []
    for point in points:
        value = 0
        for coefficient in reversed(coefficients):
            value = (value * point + coefficient) % ORDER
        found.append(value)
    return found


def check_points(points: Sequence[int], threshold: int) -> None:
    """Check the points at which shares of a secret are values.

    Raises:
        ConfigurationError: a point that is 0 or not distinct from the others, or fewer points than the threshold.
    """
    places = {point % ORDER for point in points}
    if 0 in places or len(places) < len(points) or threshold > len(places):
        raise ConfigurationError(
            f"the points of shares must be distinct and not 0, and at least as many as the threshold {threshold}"
        )


def deal(secret: int, threshold: int, points: Sequence[int], key: bytes) -> list[int]:
    """Return one share for every point.

    Args:
        secret: a scalar.
        threshold: t, number of shares that recover.
        points: distinct, not 0.
        key: 32 secret bytes, used for this dealing only.

    Raises:
        ConfigurationError: invalid points or threshold.

    Guarantees:
        Any t − 1 shares are independent of the secret, as far as HKDF-SHA256 is pseudorandom.
    """
    check_points(points, threshold)
    return values(polynomial(secret, threshold, key), points)


def recover(points: Sequence[int], shares: Sequence[int]) -> int:
    """Return the secret from as many shares as its threshold, all of them right."""
    weights = _weights(tuple(points))
    return sum(weight * share for weight, share in zip(weights, shares, strict=True)) % ORDER


def recover_robust(
    points: Sequence[int], shares: Sequence[int], threshold: int
) -> tuple[int, tuple[int, ...]]:
    """Return the secret, and the points at which shares are wrong.

    Args:
        points: of the shares, distinct.
        shares: at least ``threshold``; with r of them up to (r − threshold) / 2 may be wrong.
        threshold: that of the dealing.

    Raises:
        TooManyErrors: more are wrong.
        ConfigurationError: fewer shares than the threshold.
    """
    if len(points) < threshold:
        raise ConfigurationError(f"{len(points)} shares are fewer than the threshold {threshold}")
    first, rest = tuple(points[:threshold]), points[threshold:]
    secret = recover(first, shares[:threshold])
    if all(
        sum(w * s for w, s in zip(_weights(first, point), shares, strict=False)) % ORDER == share % ORDER
        for point, share in zip(rest, shares[threshold:], strict=True)
    ):
        return secret, ()
    wrong = errors_in(ORDER, points, shares, threshold)
    right = [i for i in range(len(points)) if i not in wrong][:threshold]
    secret = recover([points[i] for i in right], [shares[i] for i in right])
    return secret, tuple(points[i] for i in wrong)


# A sum is opened with one set of holders, and its secrets all have the same weights.
@lru_cache(maxsize=2**12)
def _weights(points: tuple[int, ...], at: int = 0) -> tuple[int, ...]:
    return tuple(lagrange(ORDER, points, [at])[0])


__all__ = [
    "ORDER",
    "SCALAR_BYTES",
    "TooManyErrors",
    "deal",
    "recover",
    "recover_robust",
    "scalar_from",
    "to_bytes",
]
