"""Pedersen-verifiable sharing of scalars: holders can check the shares they were dealt, and learn nothing more.

The dealer commits to its polynomial f and to a second, random one f': C_i = g^{f_i} h^{f'_i} for every coefficient. A
holder at point x gets f(x) and f'(x), and checks g^{f(x)} h^{f'(x)} = Π C_i^{x^i}. If that fails it complains, in
public; the dealer answers by publishing that one share. All members that check it decide the same: a valid answer is
used, an invalid or missing one excludes the dealer, and so do more complaints than the threshold allows to answer.

Shares are elements of the field whose size is the group's order: shares of another field cannot be verified.
Feldman's simpler scheme, g^{f_i} alone, is not offered: it reveals g^secret, from which a secret of low entropy can
be found. Vectors are not shared like this: it would need a commitment of 256 bytes for every coefficient of every
element.

Source: Pedersen 1991 (CRYPTO).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from protocols.sharing.group import ELEMENT_BYTES, ORDER, commit, evaluate, group
from protocols.sharing.scalars import SCALAR_BYTES, check_points, polynomial, scalar_from, values


class Share(NamedTuple):
    """The share of one holder.

    Args:
        value: f(x).
        blinding: f'(x).
    """

    value: int
    blinding: int


@dataclass(frozen=True)
class Dealing:
    """Commitments and shares of one secret.

    Args:
        commitments: one group element for every coefficient; public.
        shares: by point.
    """

    commitments: tuple[int, ...]
    shares: Mapping[int, Share]


def deal(secret: int, threshold: int, points: Sequence[int], key: bytes) -> Dealing:
    """Share a secret, and commit to the shares.

    Args:
        secret: a scalar.
        threshold: t, number of shares that recover.
        points: distinct, not 0.
        key: 32 secret bytes, used for this dealing only.

    Raises:
        ConfigurationError: invalid points or threshold.

    Guarantees:
        Any t − 1 shares and all commitments together are independent of the secret (perfectly, but for HKDF). Two
        holders whose shares pass :func:`verify` hold values of one polynomial, unless the dealer computes discrete
        logarithms.
    """
    check_points(points, threshold)
    f = polynomial(secret, threshold, key)
    blinding = [scalar_from(key, b"blinding %d" % power) for power in range(threshold)]
    commitments = tuple(commit(a, b) for a, b in zip(f, blinding, strict=True))
    pairs = zip(values(f, points), values(blinding, points), strict=True)
    return Dealing(commitments, {x: Share(*pair) for x, pair in zip(points, pairs, strict=True)})


def verify(point: int, share: Share, commitments: Sequence[int]) -> bool:
    """Return whether a share fits the commitments."""
    modulus = group().modulus
    if not all(0 < commitment < modulus for commitment in commitments):
        return False
    if not (0 <= share.value < ORDER and 0 <= share.blinding < ORDER):
        return False
    return commit(*share) == evaluate(commitments, point)


class Verdict(NamedTuple):
    """The decision about one dealer.

    Args:
        excluded: whether the dealer's secret is left out.
        shares: the answers, by point, which the complaining holders use from now on.
    """

    excluded: bool
    shares: Mapping[int, Share]


def resolve(
    commitments: Sequence[int], threshold: int, complaints: Iterable[int], answers: Mapping[int, Share]
) -> Verdict:
    """Decide about one dealer; all members with the same complaints and answers decide the same.

    Args:
        commitments: the dealer's.
        threshold: that of the dealing.
        complaints: points of holders whose shares failed, or did not arrive.
        answers: shares that the dealer has published in reply.

    Returns:
        Excluded if an answer is missing or wrong, if there are more commitments than the threshold (a polynomial of
        too high a degree), or if more shares than ``threshold`` − 1 would have to be public.

    Guarantees:
        An honest dealer is excluded only if at least ``threshold`` holders complain wrongly; its secret stays
        hidden from fewer, as less than ``threshold`` shares become public.
    """
    accused = sorted(set(complaints))
    if len(commitments) != threshold or len(accused) >= threshold:
        return Verdict(True, {})
    published = {point: answers[point] for point in accused if point in answers}
    if len(published) < len(accused):
        return Verdict(True, {})
    if not all(verify(point, share, commitments) for point, share in published.items()):
        return Verdict(True, {})
    return Verdict(False, published)


def commitment_bytes(threshold: int) -> int:
    """Return the size of a dealer's commitments."""
    return ELEMENT_BYTES * threshold


def share_bytes() -> int:
    """Return the size of one verifiable share."""
    return 2 * SCALAR_BYTES
