"""Signed X25519 keys: only an owner's key for this run is accepted; both sides derive one secret."""

from __future__ import annotations

import pickle
import struct
from dataclasses import replace
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from protocols.aggregation.keys import (
    PROTOCOL,
    Directory,
    Identity,
    KeyRefused,
    PairSecrets,
    SignedKey,
    check_key,
    framed,
    make_key,
    number,
)
from simulator.errors import ConfigurationError, SottovoceError

CONTEXT = b"a scenario, seed 1"


def secret_of(node: int, purpose: str) -> bytes:
    return sha256(f"{purpose} {node}".encode()).digest()


IDENTITIES = {node: Identity(secret_of(node, "identity")) for node in range(4)}
DIRECTORY = Directory({node: identity.public for node, identity in IDENTITIES.items()})


def key_of(node: int, context: bytes = CONTEXT) -> tuple[X25519PrivateKey, SignedKey]:
    return make_key(secret_of(node, "key"), IDENTITIES[node], node, context)


def pairs_of(node: int) -> PairSecrets:
    return PairSecrets(*key_of(node), DIRECTORY, CONTEXT)


def oracle_frame(*fields: bytes) -> bytes:
    return b"".join(struct.pack(">Q", len(field)) + field for field in fields)


def test_an_honest_key_is_accepted_and_signed_over_everything_that_matters() -> None:
    _, signed = key_of(2)
    check_key(signed, DIRECTORY, CONTEXT)
    assert (len(signed.public), len(signed.signature)) == (32, 64)
    # Computed without the project: RFC 8032 and RFC 7748 through the library, framing by hand.
    public = X25519PrivateKey.from_private_bytes(secret_of(2, "key")).public_key()
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    payload = oracle_frame(PROTOCOL, b"signed key", CONTEXT, struct.pack(">I", 2), raw)
    signer = Ed25519PrivateKey.from_private_bytes(secret_of(2, "identity"))
    assert signed == SignedKey(2, raw, signer.sign(payload))


@pytest.mark.parametrize("position", [0, 7, 31])
def test_a_substituted_key_is_refused(position: int) -> None:
    _, signed = key_of(2)
    public = bytearray(signed.public)
    public[position] ^= 1
    with pytest.raises(KeyRefused, match="node 2"):
        check_key(replace(signed, public=bytes(public)), DIRECTORY, CONTEXT)


def test_a_relay_cannot_put_its_own_key_in_anothers_name() -> None:
    _, mine = key_of(1)
    with pytest.raises(KeyRefused):
        check_key(replace(mine, node=2), DIRECTORY, CONTEXT)
    _, forged = make_key(secret_of(9, "key"), IDENTITIES[1], 2, CONTEXT)
    with pytest.raises(KeyRefused):
        check_key(forged, DIRECTORY, CONTEXT)


@pytest.mark.parametrize("other", [b"", b"a scenario, seed 2", CONTEXT + b"\0", CONTEXT[:-1]])
def test_a_key_of_another_run_is_refused(other: bytes) -> None:
    _, signed = key_of(2)
    with pytest.raises(KeyRefused, match="another run"):
        check_key(signed, DIRECTORY, other)
    with pytest.raises(KeyRefused):
        check_key(key_of(2, other)[1], DIRECTORY, CONTEXT)


def test_a_broken_signature_is_refused() -> None:
    _, signed = key_of(2)
    for bad in (bytes(64), signed.signature[::-1], signed.signature[:63], b"", signed.signature + b"\0"):
        with pytest.raises(KeyRefused):
            check_key(replace(signed, signature=bad), DIRECTORY, CONTEXT)


def test_an_unknown_owner_and_a_short_key_are_refused() -> None:
    _, signed = key_of(2)
    with pytest.raises(KeyRefused, match="directory"):
        check_key(signed, Directory({0: IDENTITIES[0].public}), CONTEXT)
    with pytest.raises(KeyRefused, match="31"):
        check_key(replace(signed, public=signed.public[:31]), DIRECTORY, CONTEXT)


def test_the_directory_verifies_what_was_signed_by_whom() -> None:
    signature = IDENTITIES[3].sign(b"payload")
    assert DIRECTORY.verify(3, b"payload", signature)
    assert not DIRECTORY.verify(3, b"another", signature)
    assert not DIRECTORY.verify(2, b"payload", signature)
    assert not DIRECTORY.verify(77, b"payload", signature)


def test_two_owners_derive_one_secret_and_every_pair_another() -> None:
    nodes = {node: pairs_of(node) for node in range(4)}
    keys = {node: key_of(node)[1] for node in range(4)}
    secrets = {}
    for i in range(4):
        for j in range(i + 1, 4):
            secrets[i, j] = nodes[i].secret(keys[j])
            assert secrets[i, j] == nodes[j].secret(keys[i])
            assert len(secrets[i, j]) == 32
    assert len(set(secrets.values())) == 6


def test_the_secret_is_hkdf_of_x25519() -> None:
    private, low = key_of(1)
    other, high = key_of(3)
    agreed = private.exchange(other.public_key())
    salt = sha256(
        oracle_frame(
            PROTOCOL,
            b"pair secret",
            CONTEXT,
            struct.pack(">I", 1),
            low.public,
            struct.pack(">I", 3),
            high.public,
        )
    ).digest()
    # Extract and expand in one go must agree with expanding what PairSecrets extracted.
    whole = HKDF(hashes.SHA256(), 64, salt, b"any info").derive(agreed)
    assert HKDFExpand(hashes.SHA256(), 64, b"any info").derive(pairs_of(3).secret(low)) == whole


def test_an_agreement_is_computed_once_per_key() -> None:
    mine = pairs_of(0)
    _, peer = key_of(1)
    assert mine.agreements == 0
    first = mine.secret(peer)
    assert mine.secret(SignedKey(peer.node, peer.public, peer.signature)) is first
    assert mine.agreements == 1
    _, renewed = make_key(secret_of(1, "another key"), IDENTITIES[1], 1, CONTEXT)
    assert mine.secret(renewed) != first
    assert mine.agreements == 2


def test_pair_secrets_check_the_key_themselves() -> None:
    mine = pairs_of(0)
    _, peer = key_of(1)
    with pytest.raises(KeyRefused):
        mine.secret(replace(peer, signature=bytes(64)))
    with pytest.raises(KeyRefused):
        mine.secret(key_of(1, b"another run")[1])
    mine.secret(peer)
    with pytest.raises(KeyRefused):
        mine.secret(replace(peer, signature=bytes(64)))
    assert mine.agreements == 1


# The points of small order that X25519 must not be used with: u = 0, 1 and p − 1 (RFC 7748, section 6.1).
@pytest.mark.parametrize("u", [0, 1, 2**255 - 20])
def test_a_small_order_point_is_refused_though_its_owner_signed_it(u: int) -> None:
    public = u.to_bytes(32, "little")
    payload = oracle_frame(PROTOCOL, b"signed key", CONTEXT, struct.pack(">I", 1), public)
    evil = SignedKey(1, public, IDENTITIES[1].sign(payload))
    check_key(evil, DIRECTORY, CONTEXT)
    with pytest.raises(KeyRefused, match="small-order"):
        pairs_of(0).secret(evil)


def test_ones_own_key_is_refused_under_any_name() -> None:
    private, own = key_of(0)
    mine = PairSecrets(private, own, DIRECTORY, CONTEXT)
    with pytest.raises(KeyRefused, match="own key"):
        mine.secret(own)
    payload = oracle_frame(PROTOCOL, b"signed key", CONTEXT, struct.pack(">I", 1), own.public)
    _, elder = make_key(secret_of(0, "another key"), IDENTITIES[0], 0, CONTEXT)
    with pytest.raises(KeyRefused, match="own key"):
        mine.secret(elder)
    reflected = SignedKey(1, own.public, IDENTITIES[1].sign(payload))
    with pytest.raises(KeyRefused, match="own key"):
        mine.secret(reflected)


def test_pair_secrets_need_a_matching_valid_own_key() -> None:
    private, _ = key_of(0)
    with pytest.raises(KeyRefused, match="public half"):
        PairSecrets(private, key_of(1)[1], DIRECTORY, CONTEXT)
    with pytest.raises(KeyRefused):
        PairSecrets(*key_of(0), DIRECTORY, b"another run")


def test_nothing_secret_is_shown() -> None:
    mine = pairs_of(0)
    shared = mine.secret(key_of(1)[1])
    for text in (repr(IDENTITIES[0]), repr(mine), str(mine)):
        for secret in (secret_of(0, "identity"), secret_of(0, "key"), shared):
            assert repr(secret)[2:-1] not in text
            assert secret.hex() not in text
    assert repr(mine) == "PairSecrets(node=0, peers=1)"


@given(st.lists(st.binary(max_size=12), max_size=5), st.lists(st.binary(max_size=12), max_size=5))
def test_framing_is_unambiguous(one: list[bytes], two: list[bytes]) -> None:
    assert (framed(*one) == framed(*two)) == (one == two)
    assert framed(*one) == oracle_frame(*one)


@pytest.mark.parametrize("value", [-1, 2**32, 1.0, "1", None])
def test_numbers_are_four_bytes(value: object) -> None:
    assert number(2**32 - 1, "x") == b"\xff" * 4
    with pytest.raises(ConfigurationError, match="the round"):
        number(value, "the round")  # type: ignore[arg-type]


def test_wrong_lengths_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="31"):
        Identity(bytes(31))
    with pytest.raises(ConfigurationError, match="33"):
        make_key(bytes(33), IDENTITIES[0], 0, CONTEXT)
    with pytest.raises(ConfigurationError, match="node 5"):
        Directory({5: bytes(31)})


def test_a_refusal_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(KeyRefused(4, "why")))
    assert isinstance(error, KeyRefused)
    assert isinstance(error, SottovoceError)
    assert (error.node, error.reason) == (4, "why")
