"""Vectors in Shamir or packed shares, sealed for their holders and relayed by an aggregator.

Common to neighbourhood sharing (shares of updates) and LightSecAgg (shares of masks).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocols.aggregation.ideal import Sealed, seal, unseal
from protocols.aggregation.keyring import Keyring
from protocols.aggregation.keys import ID_BYTES, KEY_BYTES, PROTOCOL, framed, number
from protocols.aggregation.masks import total
from protocols.aggregation.sums import Refused, SumId
from protocols.sharing import decoding, packed
from protocols.sharing.modulus import Modulus, Words
from simulator.contract.node import Node
from simulator.errors import SottovoceError

TAG_BYTES = 16
_NONCE = bytes(12)  # every key encrypts one message only


class TooManyWrong(SottovoceError):
    """Raised when the available shares do not determine the shared vector."""


@dataclass(frozen=True)
class SharingPlan:
    """Parameters of vector sharing.

    Args:
        modulus: a prime field.
        threshold: number of holders -> number of shares that recover.
        packing: number of holders -> secrets in one polynomial, at least 1; every share is shorter than the vector by
            this factor, and ``threshold − packing`` colluding holders learn nothing.
    """

    modulus: Modulus
    threshold: Callable[[int], int]
    packing: Callable[[int], int] = lambda holders: 1

    def privacy(self, holders: int) -> int:
        """Return the number of shares that reveal nothing."""
        return self.threshold(holders) - self.packing(holders)

    def share_size(self, size: int, holders: int) -> int:
        """Return the elements of one share of a vector of that size, for a number of holders."""
        return -(-size // self.packing(holders))

    def share_bytes(self, size: int, holders: int) -> int:
        """Return the bytes of one share."""
        return self.modulus.size_bytes(self.share_size(size, holders))

    def sealed_bytes(self, size: int, holders: int) -> int:
        """Return the bytes of one sealed share, with the holder's (or the dealer's) id."""
        return ID_BYTES + self.share_bytes(size, holders) + TAG_BYTES


class VectorShares(ABC):
    """Shares of one node in all its sums, real or ideal."""

    def __init__(self, node: Node, plan: SharingPlan) -> None:
        self.node = node
        self.plan = plan

    @abstractmethod
    def deal(
        self, sum: SumId, words: Words, holders: Sequence[int]
    ) -> tuple[Any, tuple[tuple[int, Any], ...]]:
        """Share a vector among ``holders``, this node included; return its own share, and the others' sealed."""

    @abstractmethod
    def take(self, sum: SumId, dealer: int, sealed: Any) -> Any:
        """Open a share that a dealer sealed for this node.

        Raises:
            Refused: it was changed in transit, or is not a share.
        """

    @abstractmethod
    def add(self, sum: SumId, shares: Sequence[Any], size: int, holders: int) -> Any:
        """Add up shares: this node's share of the sum."""

    @abstractmethod
    def sound(self, payload: Any) -> bool:
        """Return whether a payload can be a share of a sum."""

    @abstractmethod
    def recover(
        self, sum: SumId, dealt: Mapping[int, Any], holders: Sequence[int], said: Mapping[int, Any], size: int
    ) -> tuple[Words, tuple[int, ...]]:
        """Return the sum of the dealers' vectors, and the senders of wrong shares of it.

        Args:
            sum: name of the sum.
            dealt: by dealer in the sum, what it sealed for its holders.
            holders: all holders of shares, ascending.
            said: by holder, its share of the sum; at least as many as the threshold.
            size: words of a vector.

        Raises:
            TooManyWrong: too many shares are wrong to identify them.
        """


class RealShares(VectorShares):
    """Real shares, each encrypted under a key of one dealer, one holder and one sum."""

    def __init__(self, node: Node, plan: SharingPlan, keyring: Keyring, context: bytes) -> None:
        super().__init__(node, plan)
        self._keys = keyring
        self._context = context

    def deal(
        self, sum: SumId, words: Words, holders: Sequence[int]
    ) -> tuple[Words, tuple[tuple[int, bytes], ...]]:
        """Share and encrypt a vector."""
        me, rows = self.node.id, self.rows(sum, words, holders)
        sealed = tuple(
            (
                holder,
                AESGCM(self._channel(sum, holder, sender=me)).encrypt(
                    _NONCE, row.astype(row.dtype.newbyteorder("<"), copy=False).tobytes(), None
                ),
            )
            for holder, row in zip(holders, rows, strict=True)
            if holder != me
        )
        return rows[list(holders).index(me)], sealed

    def rows(self, sum: SumId, words: Words, holders: Sequence[int]) -> Words:
        """Return the share of every holder, (holders, words of a share)."""
        plan = self.plan
        return packed.deal(
            plan.modulus,
            words,
            plan.packing(len(holders)),
            plan.privacy(len(holders)),
            range(1, len(holders) + 1),
            self.node.secret(f"vector shares {sum.aggregator} {sum.round} {sum.attempt}", KEY_BYTES),
        )

    def take(self, sum: SumId, dealer: int, sealed: Any) -> Words:
        """Decrypt a share."""
        try:
            plain = AESGCM(self._channel(sum, dealer, sender=dealer)).decrypt(_NONCE, sealed, None)
            dtype = self.plan.modulus.dtype
            share = np.frombuffer(plain, dtype.newbyteorder("<")).astype(dtype, copy=False)
        except (InvalidTag, TypeError, ValueError) as error:
            raise Refused("shares were changed on their way") from error
        if not self.plan.modulus.holds(share):
            raise Refused("what was dealt is no share")
        return share

    def add(self, sum: SumId, shares: Sequence[Any], size: int, holders: int) -> Words:
        """Add the shares modulo the prime."""
        if any(share.size != self.plan.share_size(size, holders) for share in shares):
            raise Refused("what was dealt is no share")
        added = total(shares, self.plan.modulus)
        added.setflags(write=False)
        return added

    def sound(self, payload: Any) -> bool:
        """Return whether a payload is words of the field."""
        return self.plan.modulus.holds(payload)

    def recover(
        self, sum: SumId, dealt: Mapping[int, Any], holders: Sequence[int], said: Mapping[int, Any], size: int
    ) -> tuple[Words, tuple[int, ...]]:
        """Look for wrong shares, then interpolate."""
        plan = self.plan
        threshold = plan.threshold(len(holders))
        length = plan.share_size(size, len(holders))
        fitting = [peer for peer in said if said[peer].size == length]
        misfits = tuple(peer for peer in said if said[peer].size != length)
        if len(fitting) < threshold:
            raise TooManyWrong("fewer shares than the threshold")
        points = [list(holders).index(peer) + 1 for peer in fitting]
        rows = np.stack([said[peer] for peer in fitting])
        wrong: tuple[int, ...] = ()
        if len(fitting) > threshold:
            challenge = self.node.secret(f"share check {sum.aggregator} {sum.round} {sum.attempt}", KEY_BYTES)
            try:
                wrong = decoding.wrong_shares(plan.modulus, points, rows, threshold, challenge)
            except decoding.TooManyErrors as error:
                raise TooManyWrong("shares contradict each other") from error
        right = [i for i in range(len(fitting)) if i not in wrong]
        words = packed.recover(
            plan.modulus,
            [points[i] for i in right],
            rows[right],
            plan.packing(len(holders)),
            plan.privacy(len(holders)),
            size,
        )
        return words, tuple(sorted((*misfits, *(fitting[i] for i in wrong))))

    def _channel(self, sum: SumId, peer: int, *, sender: int) -> bytes:
        info = framed(
            PROTOCOL,
            b"vector share",
            self._context,
            *(number(value, "a part of a sum's name") for value in sum),
            number(sender, "a node's id"),
        )
        return HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(self._keys.secret(peer))


class IdealShares(VectorShares):
    """Ideal functionality: a trusted party receives the vectors, shares are empty."""

    def deal(
        self, sum: SumId, words: Words, holders: Sequence[int]
    ) -> tuple[None, tuple[tuple[int, Any], ...]]:
        """Hand the vector to the trusted party."""
        token = seal(words, self.node.id, self.plan.share_bytes(words.size, len(holders)) + TAG_BYTES, sum)
        return None, tuple((holder, token) for holder in holders if holder != self.node.id)

    def take(self, sum: SumId, dealer: int, sealed: Any) -> None:
        """Return None: ideal shares are empty."""
        return None

    def add(self, sum: SumId, shares: Sequence[Any], size: int, holders: int) -> Sealed:
        """Return a token in place of the share of the sum."""
        return Sealed(self.node.id, self.plan.share_bytes(size, holders))

    def sound(self, payload: Any) -> bool:
        """Return whether a payload is a sealed token."""
        return isinstance(payload, Sealed)

    def recover(
        self, sum: SumId, dealt: Mapping[int, Any], holders: Sequence[int], said: Mapping[int, Any], size: int
    ) -> tuple[Words, tuple[int, ...]]:
        """Add up the vectors held by the trusted party."""
        tokens = {dealer: boxes[0][1] for dealer, boxes in dealt.items()}
        return total((unseal(token, dealer, sum) for dealer, token in tokens.items()), self.plan.modulus), ()
