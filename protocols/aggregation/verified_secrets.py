"""Secrets of double masking, dealt in shares that holders can check: real ones, and their ideal counterpart."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocols.aggregation.double_secrets import (
    NONCE,
    TAG_BYTES,
    IdealSecrets,
    RealKept,
    RealSecrets,
    Secrets,
    expand,
)
from protocols.aggregation.sums import SumId
from protocols.sharing import verifiable
from protocols.sharing.group import ELEMENT_BYTES
from protocols.sharing.scalars import SCALAR_BYTES
from protocols.sharing.verifiable import Share, resolve, verify

Blobs: TypeAlias = bytes
"""The verifiable shares of one holder: of the own mask's seed, then of the mask key."""
BLOB_BYTES = 2 * verifiable.share_bytes()


def sealed_bytes() -> int:
    """Return the size of the shares for one partner, encrypted and authenticated."""
    return BLOB_BYTES + TAG_BYTES


def commitments_bytes(threshold: int) -> int:
    """Return the size of a dealer's commitments to both polynomials."""
    return 2 * verifiable.commitment_bytes(threshold)


def judged(commitments: Any, threshold: int, points: Mapping[int, int], answers: Mapping[int, Blobs]) -> bool:
    """Return whether a dealer is excluded.

    Args:
        commitments: the dealer's, to both polynomials.
        threshold: number of shares that recover.
        points: evaluation points of the complaining members.
        answers: shares it published for each of them.
    """
    if not isinstance(commitments, bytes) or len(commitments) != commitments_bytes(threshold):
        return True
    parsed = {one: _shares(answers.get(one)) for one in points}
    if any(shares is None for shares in parsed.values()):
        return True
    for which, committed in enumerate(_elements(commitments, threshold)):
        published = {points[one]: shares[which] for one, shares in parsed.items() if shares is not None}
        if resolve(committed, threshold, points.values(), published).excluded:
            return True
    return False


class VerifiedSecrets(Secrets):
    """Secrets of one node in all its sums, dealt verifiably."""

    @abstractmethod
    def commitments(self, sum: SumId) -> Any:
        """Return this node's commitments, made when it dealt."""

    @abstractmethod
    def check(
        self, sum: SumId, dealt: Mapping[int, Any], points: Mapping[int, int], threshold: int
    ) -> tuple[int, ...]:
        """Store (sealed shares, commitments) of each dealer; return the dealers of wrong ones."""

    @abstractmethod
    def complained(self, sum: SumId) -> frozenset[int]:
        """Return the dealers that this node complained about."""

    @abstractmethod
    def received(self, sum: SumId, dealer: int) -> Any:
        """Return a dealer's commitments."""

    @abstractmethod
    def publish(self, sum: SumId, accusers: Sequence[int]) -> tuple[tuple[int, Any], ...]:
        """Return the shares of the members that complained."""

    @abstractmethod
    def accept(self, sum: SumId, dealer: int, blobs: Any) -> None:
        """Use a published share from now on in place of the wrong one."""


@dataclass
class _VerifiedKept(RealKept):
    """Secrets of a member in one sum, and the commitments and complaints it knows."""

    commitments: bytes = b""
    dealt: dict[int, Blobs] = field(default_factory=dict)
    received: dict[int, Any] = field(default_factory=dict)
    complained: frozenset[int] = frozenset()


class RealVerifiedSecrets(RealSecrets, VerifiedSecrets):
    """Real secrets, shared by Pedersen's scheme in place of Shamir's."""

    kept_type = _VerifiedKept

    def _split(
        self, sum: SumId, kept: Any, threshold: int, holders: Sequence[int], root: bytes
    ) -> list[bytes]:
        points = range(1, len(holders) + 1)
        dealings = [
            verifiable.deal(kept.self_scalar, threshold, points, expand(root, b"own mask")),
            verifiable.deal(kept.mask_scalar, threshold, points, expand(root, b"mask key")),
        ]
        kept.commitments = b"".join(
            element.to_bytes(ELEMENT_BYTES, "big") for dealing in dealings for element in dealing.commitments
        )
        blobs = [
            b"".join(
                number.to_bytes(SCALAR_BYTES, "big")
                for dealing in dealings
                for number in dealing.shares[point]
            )
            for point in points
        ]
        kept.dealt = dict(zip(holders, blobs, strict=True))
        return blobs

    def _values(self, plain: bytes) -> tuple[bytes, bytes]:
        return plain[:SCALAR_BYTES], plain[2 * SCALAR_BYTES : 3 * SCALAR_BYTES]

    def commitments(self, sum: SumId) -> bytes:
        """Return the commitments to both polynomials, one after the other."""
        kept: _VerifiedKept = self._kept(sum)
        return kept.commitments

    def check(
        self, sum: SumId, dealt: Mapping[int, Any], points: Mapping[int, int], threshold: int
    ) -> tuple[int, ...]:
        """Decrypt and verify; a share that cannot be decrypted is wrong, too."""
        kept: _VerifiedKept = self._kept(sum)
        wrong = []
        for dealer, (sealed, commitments) in dealt.items():
            kept.received[dealer] = commitments
            try:
                key = self._channel(sum, kept, dealer, sender=dealer)
                blobs: Any = ChaCha20Poly1305(key).decrypt(NONCE, sealed, None)
            except (InvalidTag, TypeError):
                blobs = None
            if _fits(blobs, commitments, points[dealer], threshold):
                kept.shares[dealer] = self._values(blobs)
            else:
                wrong.append(dealer)
        kept.complained = frozenset(wrong)
        return tuple(wrong)

    def complained(self, sum: SumId) -> frozenset[int]:
        """Return the dealers that ``check`` found wrong."""
        kept: _VerifiedKept = self._kept(sum)
        return kept.complained

    def received(self, sum: SumId, dealer: int) -> Any:
        """Return a dealer's commitments, unchanged."""
        return self._kept(sum).received.get(dealer)

    def publish(self, sum: SumId, accusers: Sequence[int]) -> tuple[tuple[int, Blobs], ...]:
        """Return the shares as they were dealt."""
        kept: _VerifiedKept = self._kept(sum)
        return tuple((one, kept.dealt[one]) for one in accusers)

    def accept(self, sum: SumId, dealer: int, blobs: Blobs) -> None:
        """Replace the wrong share by the published one."""
        kept: _VerifiedKept = self._kept(sum)
        kept.shares[dealer] = self._values(blobs)


class IdealVerifiedSecrets(IdealSecrets, VerifiedSecrets):
    """The ideal functionality deals no wrong shares, so no node complains."""

    def commitments(self, sum: SumId) -> None:
        """Return None: ideal dealings need no commitments."""

    def check(
        self, sum: SumId, dealt: Mapping[int, Any], points: Mapping[int, int], threshold: int
    ) -> tuple[int, ...]:
        """Return no dealer: all ideal dealings are right."""
        self._kept(sum)
        return ()

    def complained(self, sum: SumId) -> frozenset[int]:
        """Return no dealer."""
        return frozenset()

    def received(self, sum: SumId, dealer: int) -> None:
        """Return None: ideal dealings need no commitments."""

    def publish(self, sum: SumId, accusers: Sequence[int]) -> tuple[tuple[int, Any], ...]:
        """Return no share: no node complains."""
        self._kept(sum)
        return ()

    def accept(self, sum: SumId, dealer: int, blobs: Any) -> None:
        """Do nothing: no share is ever published."""


def _elements(commitments: bytes, threshold: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    numbers = [
        int.from_bytes(commitments[start : start + ELEMENT_BYTES], "big")
        for start in range(0, len(commitments), ELEMENT_BYTES)
    ]
    return tuple(numbers[:threshold]), tuple(numbers[threshold:])


def _shares(blobs: Any) -> tuple[Share, Share] | None:
    if not isinstance(blobs, bytes) or len(blobs) != BLOB_BYTES:
        return None
    a, b, c, d = (
        int.from_bytes(blobs[start : start + SCALAR_BYTES], "big")
        for start in range(0, BLOB_BYTES, SCALAR_BYTES)
    )
    return Share(a, b), Share(c, d)


def _fits(blobs: Any, commitments: Any, point: int, threshold: int) -> bool:
    shares = _shares(blobs)
    if shares is None or not isinstance(commitments, bytes):
        return False
    if len(commitments) != commitments_bytes(threshold):
        return False
    pairs = zip(shares, _elements(commitments, threshold), strict=True)
    return all(verify(point, share, committed) for share, committed in pairs)
