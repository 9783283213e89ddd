"""Masks: they cancel for the whole list, hide everything less, and belong to one list of one round."""

from __future__ import annotations

import copy
import gc
import hmac
import pickle
import struct
from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import chdtri

from protocols.aggregation import ideal as trusted_party
from protocols.aggregation.ideal import Sealed, SumSealed, seal
from protocols.aggregation.keys import PROTOCOL, key_size_bytes
from protocols.aggregation.masks import MaskRefused, keystream, mask, mask_key, total
from protocols.aggregation.single_masks import open_shares
from protocols.aggregation.sums import HELLO_BYTES, SUM_BYTES, SumId, ids_bytes
from protocols.sharing.modulus import P31, Z32, Z64, Modulus
from simulator.errors import SottovoceError

CONTEXT = b"a scenario, seed 1"
AGGREGATOR = 1000
M = 2**32

member_sets = st.sets(st.integers(0, 999), min_size=2, max_size=7).map(sorted)


def pair_secret(i: int, j: int) -> bytes:
    return sha256(b"pair %d %d" % (min(i, j), max(i, j))).digest()


def keys_of(me: int, members: Sequence[int], round: int = 3, attempt: int = 0) -> Callable[[int], bytes]:
    def key(other: int) -> bytes:
        return mask_key(
            pair_secret(me, other),
            context=CONTEXT,
            aggregator=AGGREGATOR,
            round=round,
            attempt=attempt,
            members=members,
            pair=(min(me, other), max(me, other)),
        )

    return key


def words(seed: int, count: int) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(seed)).integers(0, M, count, dtype=np.uint32)


def masked(vectors: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    members = sorted(vectors)
    return {me: mask(vectors[me], me, members, keys_of(me, members)) for me in members}


def hand_in(vector: np.ndarray, me: int, members: Sequence[int], round: int = 0) -> Sealed:
    """What a member sends with ideal cryptography."""
    return seal(vector, me, vector.nbytes, (SumId(AGGREGATOR, round, 0), tuple(members)))


def opened(shares: dict[int, Any], members: Sequence[int], round: int = 0) -> np.ndarray:
    return open_shares(shares, tuple(members), SumId(AGGREGATOR, round, 0), Z32)


def python_sum(vectors: Sequence[np.ndarray]) -> list[int]:
    return [sum(int(word) for word in column) % M for column in zip(*vectors, strict=True)]


@settings(deadline=None)
@given(member_sets, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_masks_cancel_and_ideal_shares_give_the_same_bits(members: list[int], count: int, seed: int) -> None:
    vectors = {me: words(seed + k, count) for k, me in enumerate(members)}
    shares = masked(vectors)
    expected = python_sum(list(vectors.values()))
    assert total(shares.values()).tolist() == expected
    real = opened(shares, members)
    sealed = {me: hand_in(vectors[me], me, members, 3) for me in members}
    ideal = opened(sealed, members, 3)
    assert real.dtype == ideal.dtype == np.uint32
    assert real.tobytes() == ideal.tobytes()
    assert real.tolist() == expected
    for me in members:
        assert sealed[me].size_bytes == 4 * count


def test_the_lower_member_adds_and_the_higher_subtracts() -> None:
    members = [3, 8, 20]
    zero = np.zeros(16, np.uint32)
    stream = {
        pair: keystream(keys_of(pair[0], members)(pair[1]), 16).astype(object)
        for pair in combinations(members, 2)
    }
    shares = {me: mask(zero, me, members, keys_of(me, members)).astype(object) for me in members}
    assert list(shares[3]) == list((stream[3, 8] + stream[3, 20]) % M)
    assert list(shares[8]) == list((-stream[3, 8] + stream[8, 20]) % M)
    assert list(shares[20]) == list((-stream[3, 20] - stream[8, 20]) % M)


def chi_square_of_bytes(sample: np.ndarray, byte: int) -> float:
    counts = np.bincount((sample >> np.uint32(8 * byte)) & np.uint32(255), minlength=256)
    expected = sample.size / 256
    return float(np.sum((counts - expected) ** 2) / expected)


def test_every_proper_subset_is_uniform_and_tells_nothing() -> None:
    # 30 proper subsets × 4 bytes, each at level 2e-9 (both tails): wrong with probability at most 2.4e-7.
    # Keys are fixed, so the outcome is too.
    members = [2, 5, 11, 17, 40]
    count = 1 << 16
    vectors = {me: np.full(count, me, np.uint32) for me in members}  # as far from uniform as can be
    shares = masked(vectors)
    low, high = chdtri(255, 1 - 1e-9), chdtri(255, 1e-9)
    for size in range(1, len(members)):
        for subset in combinations(members, size):
            got = total(shares[me] for me in subset)
            plain = total(vectors[me] for me in subset)
            # A uniform word equals the plain one with probability 2^-32: 3 of 65536 do so below 1e-14.
            assert np.count_nonzero(got == plain) < 3
            for byte in range(4):
                assert low < chi_square_of_bytes(got, byte) < high
    assert np.array_equal(total(shares.values()), total(vectors.values()))


def base() -> dict[str, Any]:
    return {
        "context": CONTEXT,
        "aggregator": AGGREGATOR,
        "round": 3,
        "attempt": 0,
        "members": (1, 2, 3, 4),
        "pair": (1, 3),
    }


CHANGES: list[dict[str, Any]] = [
    {"context": b"a scenario, seed 2"},
    {"aggregator": 1001},
    {"round": 4},
    {"attempt": 1},
    {"round": 0, "attempt": 3},
    {"members": (1, 2, 3)},
    {"members": (1, 3)},
    {"members": (1, 2, 3, 4, 5)},
    {"members": (0, 1, 2, 3, 4)},
    {"members": (1, 3, 4, 258)},
    {"pair": (1, 2)},
    {"pair": (2, 3)},
    {"pair": (3, 4)},
]


def test_every_part_of_its_name_changes_the_keystream() -> None:
    streams = [keystream(mask_key(bytes(32), **(base() | change)), 64).tobytes() for change in [{}, *CHANGES]]
    streams.append(keystream(mask_key(b"\1" + bytes(31), **base()), 64).tobytes())
    assert len(set(streams)) == len(CHANGES) + 2
    # Not even a shifted copy: no 16-byte block of one stream appears in another.
    blocks = [stream[k : k + 16] for stream in streams for k in range(0, 256, 16)]
    assert len(set(blocks)) == len(blocks)


def test_members_shown_different_lists_do_not_cancel() -> None:
    vectors = {me: np.zeros(64, np.uint32) for me in (1, 2, 3)}
    shares = {me: mask(vectors[me], me, (1, 2, 3), keys_of(me, (1, 2, 3))) for me in (1, 2)}
    shares[3] = mask(vectors[3], 3, (1, 2, 3, 4), keys_of(3, (1, 2, 3, 4)))
    # Each word would be 0 by chance with probability 2^-32.
    assert np.all(opened(shares, (1, 2, 3)) != 0)


def oracle_info(members: Sequence[int], pair: tuple[int, int]) -> bytes:
    four = struct.Struct(">I").pack
    fields = [
        PROTOCOL,
        b"mask key",
        CONTEXT,
        four(AGGREGATOR),
        four(3),
        four(0),
        struct.pack(f">{len(members)}I", *members),
        four(pair[0]),
        four(pair[1]),
    ]
    return b"".join(struct.pack(">Q", len(field)) + field for field in fields)


def test_known_answers_of_hkdf_and_aes_ctr() -> None:
    agreed, salt = sha256(b"agreed").digest(), sha256(b"salt").digest()
    info = oracle_info((1, 2, 3, 4), (1, 3))
    # RFC 5869: HKDF = expand(extract(salt, agreed), info); a pair secret is what extract returned.
    secret = hmac.new(salt, agreed, "sha256").digest()
    key = mask_key(secret, **base())
    assert key == HKDF(hashes.SHA256(), 32, salt, info).derive(agreed)
    assert key == HKDFExpand(hashes.SHA256(), 32, info).derive(secret)
    # CTR by hand: encrypt the counters one block at a time in ECB.
    block = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    raw = b"".join(block.update(counter.to_bytes(16, "big")) for counter in range(8))
    assert keystream(key, 30).tolist() == list(struct.unpack("<30I", raw[:120]))


def test_aes_256_vector_of_the_standard() -> None:
    # The first block is AES-256 of the zero block under the zero key: the hash key H of test case 13 of
    # "The Galois/Counter Mode of Operation" (McGrew and Viega).
    assert keystream(bytes(32), 4).astype("<u4").tobytes().hex() == "dc95c078a2408989ad48a21492842087"


def test_a_keystream_takes_the_largest_word() -> None:
    # Found by searching the streams of the keys 0, 1, 2, …: 2^32 − 1 is a value like any other.
    stream = keystream((31818).to_bytes(32, "big"), 44113)
    assert int(stream[44112]) == M - 1
    # Of 2^22 uniform words the top 2^-10 part holds 4096 ± 64; ±7 sigmas, Chernoff: below 1e-9.
    stream = keystream(sha256(b"top").digest(), 1 << 22)
    assert abs(np.count_nonzero(stream >= M - 2**22) - 4096) < 7 * 64


def test_a_longer_stream_continues_a_shorter_one() -> None:
    key = sha256(b"key").digest()
    assert np.array_equal(keystream(key, 7), keystream(key, 1000)[:7])
    assert keystream(key, 0).shape == (0,)
    assert keystream(key, 5).dtype == np.uint32


def test_masking_leaves_the_vector_as_it_was() -> None:
    vector = words(1, 50)
    kept = vector.copy()
    assert not np.array_equal(mask(vector, 2, (1, 2, 3), keys_of(2, (1, 2, 3))), kept)
    assert np.array_equal(vector, kept)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([Z32, Z64, Modulus(2**26), Modulus(2**40), Modulus(2**8)]),
    st.integers(1, 70_000),
    st.integers(0, 2**32 - 1),
)
def test_masks_cancel_in_every_ring(modulus: Modulus, count: int, seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    members = (2, 5, 9)
    vectors = {
        me: rng.integers(0, modulus.value, count, dtype=np.uint64).astype(modulus.dtype) for me in members
    }
    shares = [mask(vectors[me], me, members, keys_of(me, members), modulus) for me in members]
    assert all(modulus.holds(share) for share in shares)
    expected = [sum(map(int, column)) % modulus.value for column in zip(*vectors.values(), strict=True)]
    assert total(shares, modulus).tolist() == expected


def test_a_prime_field_has_other_masks() -> None:
    with pytest.raises(MaskRefused, match="rings"):
        keystream(bytes(32), 4, P31)


def no_keys(other: int) -> bytes:
    raise AssertionError(f"no key may be asked for, yet {other}'s was")


@pytest.mark.parametrize(
    ("me", "members"),
    [(1, (1,)), (1, ()), (1, (2, 3)), (1, (2, 1)), (1, (1, 1, 2)), (1, (1, 2, 2))],
)
def test_lists_that_protect_nothing_are_refused(me: int, members: tuple[int, ...]) -> None:
    vector = np.zeros(4, np.uint32)
    with pytest.raises(MaskRefused):
        mask(vector, me, members, no_keys)


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros(4, np.int32), np.zeros((2, 2), np.uint32)])
def test_only_words_are_masked_and_summed(bad: np.ndarray) -> None:
    with pytest.raises(MaskRefused, match="uint32"):
        mask(bad, 1, (1, 2), no_keys)
    with pytest.raises(SumSealed, match="uint32"):
        total([bad])


@pytest.mark.parametrize(
    "change",
    [
        {"members": (1,)},
        {"members": (3, 2, 1)},
        {"pair": (3, 1)},
        {"pair": (1, 1)},
        {"pair": (1, 7)},
    ],
)
def test_mask_keys_that_make_no_sense_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MaskRefused):
        mask_key(bytes(32), **(base() | change))


@pytest.mark.parametrize("size", [0, 16, 24, 31, 33])
def test_short_keys_are_refused(size: int) -> None:
    with pytest.raises(MaskRefused):
        mask_key(bytes(size), **base())
    with pytest.raises(MaskRefused):
        keystream(bytes(size), 4)


def ideal(members: Sequence[int], round: int = 0) -> dict[int, Sealed]:
    return {me: hand_in(words(me, 8), me, members, round) for me in members}


def test_an_ideal_share_refuses_early_opening() -> None:
    shares = ideal((1, 2, 3))
    early = {me: shares[me] for me in (1, 3)}
    with pytest.raises(SumSealed, match="sealed") as sealed:
        opened(early, (1, 2, 3))
    assert (sealed.value.missing, sealed.value.unexpected) == ((2,), ())
    # Nor by claiming that a shorter list had been announced.
    with pytest.raises(SumSealed):
        opened(early, (1, 3))
    with pytest.raises(SumSealed):
        opened({1: shares[1]}, (1,))
    with pytest.raises(SumSealed):
        opened({}, ())
    with pytest.raises(SumSealed) as sealed:
        opened(shares, (1, 2))
    assert sealed.value.unexpected == (3,)
    assert opened(shares, (1, 2, 3)).tolist() == python_sum([words(me, 8) for me in (1, 2, 3)])


def test_ideal_shares_of_different_sums_or_kinds_do_not_mix() -> None:
    members = (1, 2, 3)
    shares = ideal((1, 2, 3))
    with pytest.raises(SumSealed, match="this sum"):
        opened(shares | {2: ideal((1, 2, 3), round=1)[2]}, members)
    with pytest.raises(SumSealed, match="this sum"):
        opened(shares | {2: ideal((1, 2, 3, 4))[2]}, members)
    with pytest.raises(SumSealed, match="this sum"):
        opened(shares | {2: shares[3]}, members)
    with pytest.raises(SumSealed, match="this sum"):
        opened(shares | {2: Sealed(2, 32)}, members)
    with pytest.raises(SumSealed, match="mixed"):
        opened({1: shares[1], 2: words(2, 8), 3: shares[3]}, members)
    with pytest.raises(SumSealed, match="add up"):
        opened({1: words(1, 8), 2: words(2, 9), 3: words(3, 8)}, members)


def reachable(thing: Any, seen: set[int]) -> list[Any]:
    """Everything a tap can come across from an object through attributes, containers and the collector."""
    if id(thing) in seen or isinstance(thing, type):
        return []
    seen.add(id(thing))
    found = [thing]
    for part in gc.get_referents(thing):
        found += reachable(part, seen)
    return found


def test_a_tap_finds_only_size_and_member() -> None:
    share = ideal((4, 5, 6))[5]
    assert repr(share) == str(share) == "Sealed(member=5, size_bytes=32)"
    assert not hasattr(share, "__dict__")
    assert sorted(name for name in dir(share) if not name.startswith("_")) == ["member", "size_bytes"]
    for thing in reachable(share, set()):
        assert not isinstance(thing, np.ndarray)
    for copying in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="ideal share"):
            copying(share)
    with pytest.raises((AttributeError, TypeError)):
        share.member = 6  # type: ignore[misc]


def test_an_ideal_share_is_sealed_once_and_forgotten_with_its_message() -> None:
    vector = words(1, 8)
    shares = {
        1: hand_in(vector, 1, (1, 2)),
        2: hand_in(np.zeros(8, np.uint32), 2, (1, 2)),
    }
    kept = vector.copy()
    vector[:] = 0
    assert np.array_equal(opened(shares, (1, 2)), kept)
    gc.collect()
    before = len(trusted_party._contents)
    del shares
    gc.collect()
    assert len(trusted_party._contents) == before - 2


def test_sizes_are_those_of_the_packed_fields() -> None:
    assert len(struct.pack("<3I", 7, 3, 0)) == SUM_BYTES
    assert len(struct.pack("<2I", 7, 3)) == HELLO_BYTES
    assert ids_bytes(5) == len(struct.pack("<5I", *range(5)))
    assert key_size_bytes() == len(struct.pack("<I32s64s", 7, b"", b""))
    assert Z32.size_bytes(100) == len(struct.pack("<100I", *range(100)))
    assert Modulus(2**26).size_bytes(100) == 325
    assert P31.size_bytes(100) == 400


def test_refusals_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(SumSealed("why", (1,), (2, 3))))
    assert isinstance(error, SumSealed)
    assert isinstance(error, SottovoceError)
    assert (error.reason, error.missing, error.unexpected) == ("why", (1,), (2, 3))
    assert str(pickle.loads(pickle.dumps(MaskRefused("why")))) == "why"
