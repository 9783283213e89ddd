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

from protocols.aggregation import masks
from protocols.aggregation.keys import PROTOCOL
from protocols.aggregation.masks import (
    IdealShare,
    MaskRefused,
    SumSealed,
    hello_size_bytes,
    key_size_bytes,
    keystream,
    list_size_bytes,
    mask,
    mask_key,
    masked_size_bytes,
    open_sum,
    seal,
    unmask_sum,
)
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


def python_sum(vectors: Sequence[np.ndarray]) -> list[int]:
    return [sum(int(word) for word in column) % M for column in zip(*vectors, strict=True)]


@settings(deadline=None)
@given(member_sets, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_masks_cancel_and_ideal_shares_give_the_same_bits(members: list[int], count: int, seed: int) -> None:
    vectors = {me: words(seed + k, count) for k, me in enumerate(members)}
    shares = masked(vectors)
    expected = python_sum(list(vectors.values()))
    assert unmask_sum(shares.values()).tolist() == expected
    real = open_sum(shares, frozenset(members))
    sealed = {me: seal(vectors[me], me, members, opening=(AGGREGATOR, 3, 0)) for me in members}
    ideal = open_sum(sealed, frozenset(members))
    assert real.dtype == ideal.dtype == np.uint32
    assert real.tobytes() == ideal.tobytes()
    assert real.tolist() == expected
    for me in members:
        assert sealed[me].size_bytes == masked_size_bytes(count)


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
            got = unmask_sum(shares[me] for me in subset)
            plain = unmask_sum(vectors[me] for me in subset)
            # A uniform word equals the plain one with probability 2^-32: 3 of 65536 do so below 1e-14.
            assert np.count_nonzero(got == plain) < 3
            for byte in range(4):
                assert low < chi_square_of_bytes(got, byte) < high
    assert np.array_equal(unmask_sum(shares.values()), unmask_sum(vectors.values()))


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
    assert np.all(open_sum(shares, frozenset((1, 2, 3))) != 0)


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


def test_masking_in_place_and_into_a_buffer() -> None:
    members = (1, 2, 3)
    vector = words(1, 50)
    kept = vector.copy()
    fresh = mask(vector, 2, members, keys_of(2, members))
    assert np.array_equal(vector, kept)
    buffer = np.empty_like(vector)
    assert mask(vector, 2, members, keys_of(2, members), out=buffer) is buffer
    assert mask(vector, 2, members, keys_of(2, members), out=vector) is vector
    assert np.array_equal(buffer, fresh)
    assert np.array_equal(vector, fresh)


def test_a_missing_key_leaves_the_vector_as_it_was() -> None:
    def keys(other: int) -> bytes:
        if other == 3:
            raise KeyError(other)
        return bytes(32)

    vector = words(1, 50)
    kept = vector.copy()
    with pytest.raises(KeyError):
        mask(vector, 1, (1, 2, 3), keys, out=vector)
    assert np.array_equal(vector, kept)


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
    with pytest.raises(MaskRefused):
        seal(vector, me, members, opening=(AGGREGATOR, 0, 0))


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros(4, np.int32), np.zeros((2, 2), np.uint32)])
def test_only_words_are_masked_and_summed(bad: np.ndarray) -> None:
    with pytest.raises(MaskRefused, match="uint32"):
        mask(bad, 1, (1, 2), no_keys)
    with pytest.raises(MaskRefused, match="uint32"):
        seal(bad, 1, (1, 2), opening=(AGGREGATOR, 0, 0))
    with pytest.raises(SumSealed, match="uint32"):
        unmask_sum([bad])
    with pytest.raises(MaskRefused):
        mask(np.zeros(4, np.uint32), 1, (1, 2), no_keys, out=bad)


def test_a_buffer_of_another_size_is_refused() -> None:
    with pytest.raises(MaskRefused, match="expected 4"):
        mask(np.zeros(4, np.uint32), 1, (1, 2), no_keys, out=np.zeros(5, np.uint32))


@pytest.mark.parametrize(
    "change",
    [
        {"members": (1,)},
        {"members": (3, 2, 1)},
        {"members": (1, 3, 1000)},
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


def ideal(members: Sequence[int], round: int = 0) -> dict[int, IdealShare]:
    return {me: seal(words(me, 8), me, members, opening=(AGGREGATOR, round, 0)) for me in members}


def test_an_ideal_share_refuses_early_opening() -> None:
    shares = ideal((1, 2, 3))
    early = {me: shares[me] for me in (1, 3)}
    with pytest.raises(SumSealed, match="sealed") as sealed:
        open_sum(early, frozenset((1, 2, 3)))
    assert (sealed.value.missing, sealed.value.unexpected) == ((2,), ())
    # Nor by claiming that a shorter list had been announced.
    with pytest.raises(SumSealed):
        open_sum(early, frozenset((1, 3)))
    with pytest.raises(SumSealed):
        open_sum({1: shares[1]}, frozenset((1,)))
    with pytest.raises(SumSealed):
        open_sum({}, frozenset())
    with pytest.raises(SumSealed) as sealed:
        open_sum(shares, frozenset((1, 2)))
    assert sealed.value.unexpected == (3,)
    assert open_sum(shares, frozenset((1, 2, 3))).tolist() == python_sum([words(me, 8) for me in (1, 2, 3)])


def test_ideal_shares_of_different_sums_or_kinds_do_not_mix() -> None:
    members = frozenset((1, 2, 3))
    shares = ideal((1, 2, 3))
    with pytest.raises(SumSealed, match="rounds"):
        open_sum(shares | {2: ideal((1, 2, 3), round=1)[2]}, members)
    with pytest.raises(SumSealed, match="this list"):
        open_sum(shares | {2: ideal((1, 2, 3, 4))[2]}, members)
    with pytest.raises(SumSealed, match="this list"):
        open_sum(shares | {2: shares[3]}, members)
    with pytest.raises(SumSealed, match="this list"):
        open_sum(shares | {2: IdealShare(2, masked_size_bytes(8))}, members)
    with pytest.raises(SumSealed, match="mixed"):
        open_sum({1: shares[1], 2: words(2, 8), 3: shares[3]}, members)
    with pytest.raises(SumSealed, match="add up"):
        open_sum({1: words(1, 8), 2: words(2, 9), 3: words(3, 8)}, members)


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
    assert repr(share) == str(share) == "IdealShare(member=5, size_bytes=44)"
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
        1: seal(vector, 1, (1, 2), opening=(AGGREGATOR, 0, 0)),
        2: seal(np.zeros(8, np.uint32), 2, (1, 2), opening=(AGGREGATOR, 0, 0)),
    }
    kept = vector.copy()
    vector[:] = 0
    assert np.array_equal(open_sum(shares, frozenset((1, 2))), kept)
    gc.collect()
    before = len(masks._sealed)
    del shares
    gc.collect()
    assert len(masks._sealed) == before - 2


def test_the_aggregator_is_not_a_member() -> None:
    with pytest.raises(MaskRefused, match="aggregator 1"):
        seal(np.zeros(8, np.uint32), 1, (1, 2), opening=(1, 0, 0))


def test_sizes_are_those_of_the_packed_fields() -> None:
    assert masked_size_bytes(100) == len(struct.pack("<3I100I", 7, 3, 0, *range(100)))
    assert key_size_bytes() == len(struct.pack("<I32s64s", 7, b"", b""))
    assert list_size_bytes(5) == len(struct.pack("<3I5I", 7, 3, 0, *range(5)))
    assert hello_size_bytes() == len(struct.pack("<2I", 7, 3))
    assert masked_size_bytes(0) == 12
    assert list_size_bytes(0) == 12


def test_refusals_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(SumSealed("why", (1,), (2, 3))))
    assert isinstance(error, SumSealed)
    assert isinstance(error, SottovoceError)
    assert (error.reason, error.missing, error.unexpected) == ("why", (1,), (2, 3))
    assert str(pickle.loads(pickle.dumps(MaskRefused("why")))) == "why"
