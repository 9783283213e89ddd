"""Authenticated key agreement between co-members: X25519 public keys signed under a known Ed25519 directory.

Co-members of a neighbourhood need not be neighbours of each other, so the aggregator relays their public
keys. It must not be able to swap them: each key travels with a signature by its owner over (protocol,
context, node, key), checked against a directory of long-term keys that the scenario distributes out of
band.

Sources: X25519 (RFC 7748), Ed25519 (RFC 8032), HKDF (RFC 5869); signed keys as in the active-adversary
setting of Bonawitz et al. 2017 (Practical Secure Aggregation, CCS), without its server.
"""

from __future__ import annotations

import hashlib
import hmac
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from simulator.errors import ConfigurationError, SottovoceError

PROTOCOL = b"sottovoce neighbourhood masks 1"
ID_BYTES, KEY_BYTES, SIGNATURE_BYTES = 4, 32, 64


class KeyRefused(SottovoceError):
    """Raised for a public key that must not be used.

    Args:
        node: claimed owner of the key.
        reason: what is wrong with the key.
    """

    def __init__(self, node: int, reason: str) -> None:
        super().__init__(node, reason)
        self.node = node
        self.reason = reason

    def __str__(self) -> str:
        return f"the key of node {self.node} was refused: {self.reason}"


def number(value: int, name: str) -> bytes:
    """Encode ``value`` as four bytes, big-endian.

    Raises:
        ConfigurationError: it does not fit, or is not a whole number.
    """
    try:
        return operator.index(value).to_bytes(4, "big")
    except (TypeError, OverflowError) as error:
        raise ConfigurationError(f"{name} must be an integer from 0 to 2^32 − 1, not {value!r}") from error


def framed(*fields: bytes) -> bytes:
    """Join fields with their lengths in front: different lists of fields never give the same bytes."""
    return b"".join(len(part).to_bytes(8, "big") + part for part in fields)


def _exactly(size: int, value: bytes, name: str) -> bytes:
    if len(value) != size:
        raise ConfigurationError(f"{name} must be {size} bytes, not {len(value)}")
    return value


@dataclass(frozen=True, eq=False)
class Identity:
    """A node's long-term signing key.

    Args:
        secret: the 32 secret bytes of Ed25519; not shown in the repr.

    Raises:
        ConfigurationError: the secret has another length.
    """

    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _exactly(KEY_BYTES, self.secret, "the secret of an identity")

    @cached_property
    def _key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret)

    @cached_property
    def public(self) -> bytes:
        """Return the 32 public bytes, for the :class:`Directory`."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, payload: bytes) -> bytes:
        """Return the 64-byte Ed25519 signature of ``payload``; deterministic."""
        return self._key.sign(payload)


@dataclass(frozen=True, eq=False)
class Directory:
    """Long-term public keys of all nodes.

    Args:
        public: node -> 32 bytes of an Ed25519 public key. Not to be changed afterwards.

    Raises:
        ConfigurationError: a key has another length.

    Guarantees:
        None of its own: the directory is *trusted*. A party that can write it can impersonate every node.
    """

    public: Mapping[int, bytes]

    def __post_init__(self) -> None:
        for node, key in self.public.items():
            _exactly(KEY_BYTES, key, f"the public key of node {node} in the directory")

    def verify(self, node: int, payload: bytes, signature: bytes) -> bool:
        """Return whether ``node`` signed ``payload``; False for a node that is not listed."""
        key = self.public.get(node)
        return key is not None and _verified(key, payload, signature)


# All co-members of a node check the same key: in a simulation the arithmetic is done once per process.
@lru_cache(maxsize=2**14)
def _verified(public: bytes, payload: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, payload)
    except InvalidSignature:
        return False
    return True


@dataclass(frozen=True, slots=True)
class SignedKey:
    """Signed public key, as sent to the co-members of its owner.

    Args:
        node: the owner.
        public: 32 bytes of an X25519 public key.
        signature: 64 bytes, by the owner's identity over (protocol, context, node, public).
    """

    node: int
    public: bytes
    signature: bytes


def _payload(node: int, public: bytes, context: bytes) -> bytes:
    return framed(PROTOCOL, b"signed key", context, number(node, "a node's id"), public)


def make_key(
    secret: bytes, identity: Identity, node: int, context: bytes
) -> tuple[X25519PrivateKey, SignedKey]:
    """Make a key-agreement key and its signed public half.

    Args:
        secret: 32 secret bytes, drawn for this purpose only.
        identity: the owner's long-term key.
        node: the owner.
        context: name of the run (scenario and seed, for example); a key signed for one run is refused in
            another.

    Returns:
        The private key, to be kept, and the signed key, to be sent.

    Raises:
        ConfigurationError: the secret or the id has the wrong size.
    """
    private = X25519PrivateKey.from_private_bytes(_exactly(KEY_BYTES, secret, "the secret of a key"))
    public = private.public_key().public_bytes_raw()
    return private, SignedKey(node, public, identity.sign(_payload(node, public, context)))


def check_key(signed: SignedKey, directory: Directory, context: bytes) -> None:
    """Accept a key only from its owner and only for this run.

    Args:
        signed: the key as it arrived.
        directory: the long-term keys.
        context: name of the run.

    Raises:
        KeyRefused: wrong sizes, an unknown owner, or no valid signature by the owner for this context.

    Guarantees:
        Against an active relay: an accepted key was signed by ``signed.node`` for ``context``
        (unforgeability of Ed25519, honest directory). Not covered: freshness within a run, and an owner that
        signs several keys.
    """
    if len(signed.public) != KEY_BYTES or len(signed.signature) != SIGNATURE_BYTES:
        raise KeyRefused(
            signed.node,
            f"expected {KEY_BYTES} bytes of key and {SIGNATURE_BYTES} of signature, "
            f"got {len(signed.public)} and {len(signed.signature)}",
        )
    if signed.node not in directory.public:
        raise KeyRefused(signed.node, "the directory does not list its owner")
    if not directory.verify(signed.node, _payload(signed.node, signed.public, context), signed.signature):
        raise KeyRefused(signed.node, "its signature is not its owner's, or was made for another run")


def agree(
    private: X25519PrivateKey, own: SignedKey, peer: SignedKey, purpose: bytes, context: bytes
) -> bytes:
    """Derive the 32 bytes that two owners of X25519 keys share for one purpose; the same on both sides.

    Args:
        private: the secret half of ``own``.
        own: this side's public key; its signature is not checked.
        peer: the other side's; its authenticity must have been checked before.
        purpose: use of the secret.
        context: further data it is bound to, besides both owners and both keys.

    Returns:
        An extracted HKDF key (RFC 5869, section 2.2).

    Raises:
        KeyRefused: the agreement is all zero, or the key has another length.
    """
    try:
        agreed = private.exchange(X25519PublicKey.from_public_bytes(peer.public))
    except ValueError as error:
        raise KeyRefused(peer.node, "it is a small-order point: the agreement would be zero") from error
    low, high = sorted((own, peer), key=lambda signed: signed.node)
    salt = framed(
        PROTOCOL,
        purpose,
        context,
        number(low.node, "a node's id"),
        low.public,
        number(high.node, "a node's id"),
        high.public,
    )
    return hmac.digest(hashlib.sha256(salt).digest(), agreed, "sha256")


class PairSecrets:
    """Secrets that one node shares with each of its co-members; every key agreement is computed once.

    Args:
        private: this node's private key.
        own: its signed public half, from the same :func:`make_key`.
        directory: the long-term keys against which peers' keys are checked.
        context: name of the run; the same bytes the keys were signed for.

    Raises:
        KeyRefused: ``own`` is not the public half of ``private``, or not valid in this context.

    Guarantees:
        A secret is known to the two owners only (gap Diffie–Hellman on Curve25519, HKDF as a random
        oracle), against an aggregator that relays, drops, replays or replaces keys, and any number of other
        colluding nodes. It is bound to both ids, both public keys and the context. Unsigned or foreign
        keys, small-order points and this node's own key are refused before any secret exists. There is no
        forward secrecy within a run: a party that later learns ``private`` can recompute every mask of this node.
        In a simulation keys are derived from the seed and are known to anyone with the seed.
    """

    def __init__(
        self, private: X25519PrivateKey, own: SignedKey, directory: Directory, context: bytes
    ) -> None:
        if private.public_key().public_bytes_raw() != own.public:
            raise KeyRefused(own.node, "it is not the public half of this node's private key")
        check_key(own, directory, context)
        self._private = private
        self._own = own
        self._directory = directory
        self._context = context
        self._secrets: dict[SignedKey, bytes] = {}

    def __repr__(self) -> str:
        return f"PairSecrets(node={self._own.node}, peers={len(self._secrets)})"

    @property
    def agreements(self) -> int:
        """Return the number of key agreements computed so far, which cost models charge."""
        return len(self._secrets)

    def secret(self, peer: SignedKey) -> bytes:
        """Return the 32-byte secret shared with the owner of ``peer``, checked and computed on first use.

        Args:
            peer: a co-member's signed key.

        Returns:
            An extracted HKDF key (RFC 5869, section 2.2), the same on both sides; the input of mask keys.

        Raises:
            KeyRefused: the key is not authentic, is this node's own, or gives an all-zero agreement.
        """
        known = self._secrets.get(peer)
        if known is not None:
            return known
        if peer.node == self._own.node or peer.public == self._own.public:
            raise KeyRefused(peer.node, f"it is the own key of node {self._own.node}, reflected")
        check_key(peer, self._directory, self._context)
        secret = agree(self._private, self._own, peer, b"pair secret", self._context)
        self._secrets[peer] = secret
        return secret


def key_size_bytes() -> int:
    """Return the bytes of one signed key, relayed or not: owner's id, public key, signature."""
    return ID_BYTES + KEY_BYTES + SIGNATURE_BYTES
