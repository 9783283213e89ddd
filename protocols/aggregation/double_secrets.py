"""Keys, seeds, shares and masks of double masking: real ones, and their ideal counterpart.

All secrets of a member in one sum are made for that sum alone. Two are dealt to its partners in shares: b, from which
its own mask is made, and s, from which its mask key is made. Both are scalars of the share field, 32 bytes each.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocols.aggregation.ideal import Sealed, seal, unseal
from protocols.aggregation.keys import (
    KEY_BYTES,
    PROTOCOL,
    Directory,
    Identity,
    KeyRefused,
    SignedKey,
    agree,
    framed,
    number,
)
from protocols.aggregation.masks import add_keystream, total
from protocols.aggregation.sums import KEPT_ROUNDS, Refused, SumId
from protocols.sharing import scalars
from protocols.sharing.modulus import Modulus, Words
from simulator.contract.node import Node
from simulator.errors import SottovoceError

Greeting: TypeAlias = "tuple[bytes, bytes, bytes, bytes]"
"""Public encryption key, public mask key, commitment to b, signature (empty if greetings are not signed)."""
GREETING_BYTES = 3 * KEY_BYTES
"""A greeting without its signature."""
SHARE_BYTES = scalars.SCALAR_BYTES
TAG_BYTES = 16
SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES
"""Two shares for one partner, encrypted and authenticated."""
NONCE = bytes(12)
"""Nonce of zeros: every key encrypts one message only."""


class WrongShare(SottovoceError):
    """Raised when shares do not give the dealt secret and the wrong share cannot be identified.

    Args:
        dealer: node whose secret was to be recovered.
    """

    def __init__(self, dealer: int) -> None:
        super().__init__(dealer)
        self.dealer = dealer

    def __str__(self) -> str:
        return f"inconsistent share of node {self.dealer}'s secret"


@dataclass(frozen=True)
class Dealings:
    """Aggregator's record of the shares dealt in a sum.

    Args:
        graph: partners of all members.
        dealers: members that dealt shares.
        greetings: public keys of the dealers.
        threshold: number of shares that recover a secret.
    """

    graph: Mapping[int, Sequence[int]]
    dealers: Sequence[int]
    greetings: Mapping[int, Any]
    threshold: int

    def point(self, dealer: int, holder: int) -> int:
        """Return the point at which the dealer's polynomials were evaluated for a holder."""
        return sorted((dealer, *self.graph[dealer])).index(holder) + 1

    def shares_of(self, dealer: int, revealed: Mapping[int, Mapping[int, Any]]) -> dict[int, Any]:
        """Return the revealed shares of a dealer, by point."""
        holders = [holder for holder, shares in revealed.items() if dealer in shares]
        return {self.point(dealer, holder): revealed[holder][dealer] for holder in holders}


class Secrets(ABC):
    """Secrets of one node in all its sums."""

    def __init__(self, node: Node, modulus: Modulus) -> None:
        self.node = node
        self.modulus = modulus
        self._sums: dict[SumId, Any] = {}

    def greeting(self, sum: SumId) -> Any:
        """Make fresh keys and seeds, return the public part, and delete those of old rounds."""
        self._sums = {old: kept for old, kept in self._sums.items() if old.round > sum.round - KEPT_ROUNDS}
        self._sums[sum], public = self._fresh(sum)
        return public

    def deal(self, sum: SumId, greetings: Mapping[int, Any], threshold: int) -> tuple[tuple[int, Any], ...]:
        """Return sealed shares of both seeds for each partner.

        Raises:
            Refused: the node restarted after it made the keys for this sum.
            KeyRefused: a partner's keys are not authentic.
        """
        return self._deal(sum, self._kept(sum), greetings, threshold)

    def _kept(self, sum: SumId) -> Any:
        try:
            return self._sums[sum]
        except KeyError:
            raise Refused("the keys for this sum are lost") from None

    @abstractmethod
    def _fresh(self, sum: SumId) -> tuple[Any, Any]: ...

    @abstractmethod
    def _deal(
        self, sum: SumId, kept: Any, greetings: Mapping[int, Any], threshold: int
    ) -> tuple[tuple[int, Any], ...]: ...

    @abstractmethod
    def take(self, sum: SumId, dealt: Mapping[int, Any]) -> None:
        """Store the shares that were dealt to this node.

        Raises:
            Refused: a share is malformed or was changed in transit.
        """

    @abstractmethod
    def mask(self, sum: SumId, words: Words, dealers: Sequence[int], size_bytes: int) -> Words | Sealed:
        """Return the vector under its own mask and those shared with all partners that dealt."""

    @abstractmethod
    def sign(self, sum: SumId, survivors: tuple[int, ...]) -> bytes:
        """Sign the list of survivors."""

    @abstractmethod
    def agreed(self, sum: SumId, survivors: tuple[int, ...], signatures: Mapping[int, Any]) -> int:
        """Return the number of valid signatures, by their claimed signers, on the same survivors."""

    @abstractmethod
    def reveal(self, sum: SumId, holders: Sequence[int], survivors: frozenset[int]) -> tuple[Any, ...]:
        """Return, for each of ``holders``, one share: of its own mask if it survived, of its mask key if not."""

    @abstractmethod
    def open(
        self,
        sum: SumId,
        masked: Mapping[int, Any],
        dealings: Dealings,
        revealed: Mapping[int, Mapping[int, Any]],
    ) -> tuple[Words, tuple[int, ...]]:
        """Return the sum of the vectors in ``masked``, and the senders of wrong shares.

        Raises:
            WrongShare: shares are wrong and their senders cannot be identified.
        """


@dataclass
class RealKept:
    """Secrets of a member in one sum."""

    encryption: X25519PrivateKey
    own_encryption: SignedKey
    mask_scalar: int
    own_mask: SignedKey
    self_scalar: int
    greetings: dict[int, Greeting] = field(default_factory=dict)
    shares: dict[int, tuple[bytes, bytes]] = field(default_factory=dict)


class RealSecrets(Secrets):
    """Real keys and shares.

    Args:
        node: owner of the secrets.
        modulus: the ring of the words.
        context: names the run.
        identity: the node's signing key; None where greetings are not signed.
        directory: public signing keys of all nodes.
    """

    def __init__(
        self, node: Node, modulus: Modulus, context: bytes, identity: Identity | None, directory: Directory
    ) -> None:
        super().__init__(node, modulus)
        self._context = context
        self._identity = identity
        self._directory = directory

    kept_type = RealKept

    def _name(self, sum: SumId, purpose: bytes, *more: bytes) -> bytes:
        numbers = (number(value, "a part of a sum's name") for value in sum)
        return framed(PROTOCOL, b"double masks", purpose, self._context, *numbers, *more)

    def _fresh(self, sum: SumId) -> tuple[RealKept, Greeting]:
        me = self.node.id
        root = self.node.secret(f"double masks {sum.aggregator} {sum.round} {sum.attempt}", KEY_BYTES)
        encryption = X25519PrivateKey.from_private_bytes(expand(root, b"encryption key"))
        mask_scalar = scalars.scalar_from(expand(root, b"mask key"))
        self_scalar = scalars.scalar_from(expand(root, b"own mask"))
        public = encryption.public_key().public_bytes_raw()
        mask_public = _mask_private(mask_scalar).public_key().public_bytes_raw()
        commitment = _commitment(self_scalar)
        signature = b""
        if self._identity is not None:
            payload = self._greeting_payload(sum, me, (public, mask_public, commitment))
            signature = self._identity.sign(payload)
        kept = self.kept_type(
            encryption,
            SignedKey(me, public, b""),
            mask_scalar,
            SignedKey(me, mask_public, b""),
            self_scalar,
        )
        return kept, (public, mask_public, commitment, signature)

    def _deal(
        self, sum: SumId, kept: RealKept, greetings: Mapping[int, Any], threshold: int
    ) -> tuple[tuple[int, bytes], ...]:
        me = self.node.id
        for peer, greeting in greetings.items():
            self._check(sum, peer, greeting)
        kept.greetings = dict(greetings)
        holders = sorted((me, *greetings))
        root = self.node.secret(f"seed shares {sum.aggregator} {sum.round} {sum.attempt}", KEY_BYTES)
        dealt = []
        for holder, plain in zip(holders, self._split(sum, kept, threshold, holders, root), strict=True):
            if holder == me:
                kept.shares[me] = self._values(plain)
                continue
            key = self._channel(sum, kept, holder, sender=me)
            dealt.append((holder, ChaCha20Poly1305(key).encrypt(NONCE, plain, None)))
        return tuple(dealt)

    def _split(
        self, sum: SumId, kept: Any, threshold: int, holders: Sequence[int], root: bytes
    ) -> list[bytes]:
        """Return, for each holder, its shares of both secrets."""
        points = range(1, len(holders) + 1)
        both = zip(
            scalars.deal(kept.self_scalar, threshold, points, expand(root, b"own mask")),
            scalars.deal(kept.mask_scalar, threshold, points, expand(root, b"mask key")),
            strict=True,
        )
        return [scalars.to_bytes(one) + scalars.to_bytes(other) for one, other in both]

    def _values(self, plain: bytes) -> tuple[bytes, bytes]:
        """Return the share of the own mask's seed, and that of the mask key."""
        return plain[:SHARE_BYTES], plain[SHARE_BYTES:]

    def take(self, sum: SumId, dealt: Mapping[int, Any]) -> None:
        """Decrypt and store the shares."""
        kept: RealKept = self._kept(sum)
        for dealer, sealed in dealt.items():
            key = self._channel(sum, kept, dealer, sender=dealer)
            try:
                plain = ChaCha20Poly1305(key).decrypt(NONCE, sealed, None)
            except (InvalidTag, TypeError) as error:
                raise Refused("shares were changed on their way") from error
            kept.shares[dealer] = self._values(plain)

    def mask(self, sum: SumId, words: Words, dealers: Sequence[int], size_bytes: int) -> Words:
        """Add the own mask and the pair masks."""
        kept: RealKept = self._kept(sum)
        masked = add_keystream(words.copy(), _self_key(kept.self_scalar), 1, self.modulus)
        private = _mask_private(kept.mask_scalar)
        for peer in dealers:
            theirs = SignedKey(peer, kept.greetings[peer][1], b"")
            key = self._pair_key(sum, private, kept.own_mask, theirs)
            add_keystream(masked, key, 1 if self.node.id < peer else -1, self.modulus)
        masked.setflags(write=False)
        return masked

    def sign(self, sum: SumId, survivors: tuple[int, ...]) -> bytes:
        """Sign with Ed25519."""
        if self._identity is None:
            raise Refused("this node has no signing key")
        return self._identity.sign(self._survivors_payload(sum, survivors))

    def agreed(self, sum: SumId, survivors: tuple[int, ...], signatures: Mapping[int, Any]) -> int:
        """Verify each signature; return the number of valid ones."""
        payload = self._survivors_payload(sum, survivors)
        return [
            isinstance(signature, bytes) and self._directory.verify(peer, payload, signature)
            for peer, signature in signatures.items()
        ].count(True)

    def reveal(self, sum: SumId, holders: Sequence[int], survivors: frozenset[int]) -> tuple[bytes, ...]:
        """Return the shares as they were dealt."""
        kept: RealKept = self._kept(sum)
        return tuple(kept.shares[peer][0 if peer in survivors else 1] for peer in holders)

    def open(
        self,
        sum: SumId,
        masked: Mapping[int, Any],
        dealings: Dealings,
        revealed: Mapping[int, Mapping[int, Any]],
    ) -> tuple[Words, tuple[int, ...]]:
        """Recover the needed secrets from shares, check them, and remove the masks."""
        wrong: set[int] = set()
        words = total(masked.values(), self.modulus)
        for peer in masked:
            scalar = self._recover(dealings, peer, revealed, wrong)
            if _commitment(scalar) != dealings.greetings[peer][2]:
                raise WrongShare(peer)
            add_keystream(words, _self_key(scalar), -1, self.modulus)
        for peer in dealings.dealers:
            alive = [v for v in dealings.graph[peer] if v in masked]
            if peer in masked or not alive:
                continue
            private = _mask_private(self._recover(dealings, peer, revealed, wrong))
            own = SignedKey(peer, dealings.greetings[peer][1], b"")
            if private.public_key().public_bytes_raw() != own.public:
                raise WrongShare(peer)
            for v in alive:
                theirs = SignedKey(v, dealings.greetings[v][1], b"")
                key = self._pair_key(sum, private, own, theirs)
                add_keystream(words, key, -1 if v < peer else 1, self.modulus)
        return words, tuple(sorted(wrong))

    def _recover(
        self,
        dealings: Dealings,
        dealer: int,
        revealed: Mapping[int, Mapping[int, Any]],
        wrong: set[int],
    ) -> int:
        """Recover a dealer's secret; add senders of wrong shares to ``wrong``."""
        holders = sorted((dealer, *dealings.graph[dealer]))
        shares = dealings.shares_of(dealer, revealed)
        values = {}
        for point, share in shares.items():
            if isinstance(share, bytes) and len(share) == SHARE_BYTES:
                values[point] = int.from_bytes(share, "big")
            else:
                wrong.add(holders[point - 1])
        try:
            secret, mistaken = scalars.recover_robust(list(values), list(values.values()), dealings.threshold)
        except SottovoceError as error:
            raise WrongShare(dealer) from error
        wrong.update(holders[point - 1] for point in mistaken)
        return secret

    def _check(self, sum: SumId, peer: int, greeting: Any) -> None:
        sizes = (KEY_BYTES, KEY_BYTES, KEY_BYTES)
        parts: tuple[Any, ...] = greeting if isinstance(greeting, tuple) and len(greeting) == 4 else ()
        if not all(isinstance(part, bytes) for part in parts) or tuple(map(len, parts[:3])) != sizes:
            raise KeyRefused(peer, "it is not a greeting")
        if self._identity is not None:
            payload = self._greeting_payload(sum, peer, parts[:3])
            if not self._directory.verify(peer, payload, parts[3]):
                raise KeyRefused(peer, "its signature is not its owner's, or was made for another sum")
        own = self._kept(sum)
        if parts[0] == own.own_encryption.public or parts[1] == own.own_mask.public:
            raise KeyRefused(peer, f"it is the own key of node {self.node.id}, reflected")

    def _channel(self, sum: SumId, kept: RealKept, peer: int, *, sender: int) -> bytes:
        """Derive the key of the one message from ``sender`` between this node and ``peer``."""
        theirs = SignedKey(peer, kept.greetings[peer][0], b"")
        shared = agree(kept.encryption, kept.own_encryption, theirs, b"channel", self._name(sum, b"channel"))
        return expand(shared, framed(b"sender", number(sender, "a node's id")))

    def _pair_key(self, sum: SumId, private: X25519PrivateKey, own: SignedKey, theirs: SignedKey) -> bytes:
        return agree(private, own, theirs, b"pair mask", self._name(sum, b"pair mask"))

    def _greeting_payload(self, sum: SumId, node: int, parts: Iterable[bytes]) -> bytes:
        return self._name(sum, b"greeting", number(node, "a node's id"), *parts)

    def _survivors_payload(self, sum: SumId, survivors: Iterable[int]) -> bytes:
        return self._name(sum, b"survivors", b"".join(number(v, "a node's id") for v in survivors))


class IdealSecrets(Secrets):
    """Ideal functionality: a trusted party receives the vectors, shares are empty, the same thresholds hold."""

    def _fresh(self, sum: SumId) -> tuple[bool, None]:
        return True, None

    def _deal(
        self, sum: SumId, kept: Any, greetings: Mapping[int, Any], threshold: int
    ) -> tuple[tuple[int, None], ...]:
        return tuple((peer, None) for peer in sorted(greetings))

    def take(self, sum: SumId, dealt: Mapping[int, Any]) -> None:
        """Do nothing: ideal shares are empty."""
        self._kept(sum)

    def mask(self, sum: SumId, words: Words, dealers: Sequence[int], size_bytes: int) -> Sealed:
        """Hand the vector to the trusted party."""
        self._kept(sum)
        return seal(words, self.node.id, size_bytes, sum)

    def sign(self, sum: SumId, survivors: tuple[int, ...]) -> bytes:
        """Return an empty signature."""
        self._kept(sum)
        return b""

    def agreed(self, sum: SumId, survivors: tuple[int, ...], signatures: Mapping[int, Any]) -> int:
        """Return the number of signatures: all ideal ones are valid."""
        return len(signatures)

    def reveal(self, sum: SumId, holders: Sequence[int], survivors: frozenset[int]) -> tuple[None, ...]:
        """Return empty shares."""
        self._kept(sum)
        return (None,) * len(holders)

    def open(
        self,
        sum: SumId,
        masked: Mapping[int, Any],
        dealings: Dealings,
        revealed: Mapping[int, Mapping[int, Any]],
    ) -> tuple[Words, tuple[int, ...]]:
        """Add up the vectors held by the trusted party."""
        return total((unseal(token, peer, sum) for peer, token in masked.items()), self.modulus), ()


def expand(secret: bytes, label: bytes) -> bytes:
    """Derive a key by HKDF-Expand with a label."""
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, framed(PROTOCOL, b"double masks", label)).derive(secret)


def _mask_private(scalar: int) -> X25519PrivateKey:
    return X25519PrivateKey.from_private_bytes(expand(scalars.to_bytes(scalar), b"mask key of a scalar"))


def _self_key(scalar: int) -> bytes:
    return expand(scalars.to_bytes(scalar), b"own mask of a scalar")


def _commitment(scalar: int) -> bytes:
    """Commit to a scalar: binding, and hiding as far as SHA-256 of 32 uniform bytes is."""
    return hashlib.sha256(framed(PROTOCOL, b"own mask commitment", scalars.to_bytes(scalar))).digest()
