"""Masks from keystreams, and pairwise masks that cancel in the sum over an announced list.

An aggregator ``v`` announces a list of members. Member ``i`` sends its encoded vector plus, for every
other member ``j`` of the list, +PRG(k_ij) if i < j and −PRG(k_ij) otherwise. Added up, the masks cancel;
any proper subset is uniformly random. A mask key belongs to one (run, aggregator, round, attempt, list,
pair): two members that were shown different lists share no mask, and their aggregator gets noise.

Sources: pairwise masking of Bonawitz et al. 2017 (CCS), without self-masks and recovery; masks among the
neighbours of a gossip node as in CESAR (Biswas et al. 2024, arXiv 2405.07708), without sparsification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import pairwise

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from protocols.aggregation.ideal import SumSealed
from protocols.aggregation.keys import KEY_BYTES, PROTOCOL, framed, number
from protocols.sharing.modulus import Z32, Modulus, Words
from simulator.errors import SottovoceError

_NONCE = bytes(16)  # every key encrypts one stream only, so the counter may always start at zero
_BLOCK_BYTES = 2**17
"""Words of a keystream made and added at a time, small enough for the cache."""


class MaskRefused(SottovoceError):
    """Raised when masks would protect nothing or could not cancel; no words were masked."""


def _check_list(members: Sequence[int]) -> None:
    if len(members) < 2:
        raise MaskRefused(
            f"a list of {len(members)} member(s) has no pair to share a mask, expected at least 2: {members!r}"
        )
    if any(low >= high for low, high in pairwise(members)):
        raise MaskRefused(f"an announced list must be in ascending order without repetition, not {members!r}")


def mask_key(
    pair_secret: bytes,
    *,
    context: bytes,
    aggregator: int,
    round: int,
    attempt: int,
    members: Sequence[int],
    pair: tuple[int, int],
) -> bytes:
    """Derive the key of one mask of one pair: HKDF-SHA256 (RFC 5869, expand) of all that the mask is bound to.

    Args:
        pair_secret: from :meth:`~protocols.aggregation.keys.PairSecrets.secret`, 32 bytes.
        context: name of the run.
        aggregator: node that opens the sum; among the members where its own vector is in the sum.
        round: the round of the sum.
        attempt: number of the aggregator's list within the round, from 0.
        members: the announced list, ascending.
        pair: the two members that share the mask, lower id first.

    Returns:
        32 bytes, an AES-256 key.

    Raises:
        MaskRefused: the list is too short or not ascending, or does not contain the pair.
        ConfigurationError: a number outside 0 … 2^32 − 1.

    Guarantees:
        Keys for different arguments are independent (HKDF as a pseudorandom function; arguments are encoded
        without ambiguity). One key must mask **one** vector: to repeat a message send the same bytes again,
        to send another vector start another attempt. Two vectors under one key reveal their difference.
    """
    _check_list(members)
    low, high = pair
    if len(pair_secret) != KEY_BYTES:
        raise MaskRefused(f"a pair secret is {KEY_BYTES} bytes, not {len(pair_secret)}")
    if not (low < high and low in members and high in members):
        raise MaskRefused(f"{pair!r} is not an ascending pair of the list {members!r}")
    info = framed(
        PROTOCOL,
        b"mask key",
        context,
        number(aggregator, "the aggregator's id"),
        number(round, "the round"),
        number(attempt, "the attempt"),
        b"".join(number(member, "a member's id") for member in members),
        number(low, "a member's id"),
        number(high, "a member's id"),
    )
    return HKDFExpand(hashes.SHA256(), KEY_BYTES, info).derive(pair_secret)


def keystream(key: bytes, count: int, modulus: Modulus = Z32) -> Words:
    """Return words that are pseudorandom without the key: AES-256-CTR of zeros, read little-endian.

    Args:
        key: 32 bytes, used for this stream only.
        count: number of words.
        modulus: a ring; if it has fewer bits than its words, the low bits count.

    Returns:
        ``count`` words. All values occur, the largest included: there is no reduction, hence no bias.

    Raises:
        MaskRefused: the key is not 32 bytes (shorter AES keys are not accepted), or the modulus is a prime.
    """
    return add_keystream(np.zeros(count, modulus.dtype), key, 1, modulus)


def add_keystream(words: Words, key: bytes, sign: int, modulus: Modulus = Z32) -> Words:
    """Add ``sign`` · keystream to ``words`` in place; return ``words``.

    Raises:
        MaskRefused: as :func:`keystream`.
    """
    if len(key) != KEY_BYTES:
        raise MaskRefused(f"a mask key is {KEY_BYTES} bytes, not {len(key)}")
    if modulus.prime:
        raise MaskRefused(f"a keystream is uniform in rings, not modulo {modulus}")
    encryptor = Cipher(algorithms.AES(key), modes.CTR(_NONCE)).encryptor()
    little = modulus.dtype.newbyteorder("<")
    size = words.itemsize
    per_block = _BLOCK_BYTES // size
    zeros, buffer = _zeros(), bytearray(min(_BLOCK_BYTES, words.nbytes))
    combine = modulus.add if sign > 0 else modulus.subtract
    for start in range(0, words.size, per_block):
        piece = words[start : start + per_block]
        encryptor.update_into(zeros[: piece.nbytes], buffer)
        combine(piece, np.frombuffer(buffer, little, piece.size).astype(modulus.dtype, copy=False))
    return words


@cache
def _zeros() -> memoryview:
    return memoryview(bytes(_BLOCK_BYTES))


def mask(
    encoded: Words,
    me: int,
    members: Sequence[int],
    keys_for: Callable[[int], bytes],
    modulus: Modulus = Z32,
) -> Words:
    """Hide an encoded vector: add the keystream shared with each higher member, subtract that of each lower.

    Args:
        encoded: words of the weighted vector, one axis.
        me: member whose vector it is.
        members: the announced list, ascending, ``me`` included.
        keys_for: co-member -> the mask key shared with it, for exactly this list, round and attempt.
        modulus: the ring of the words.

    Returns:
        The masked words, a new array. The masked words of all members sum to the sum of their encoded words.

    Raises:
        MaskRefused: fewer than two members, a list out of order, ``me`` not in it, or an array that is not of
            words.

    Guarantees:
        Semi-honest aggregator colluding with any members but two: it learns the sum of the words of the
        others and nothing else (AES-256-CTR and HKDF pseudorandom, pair secrets known to their owners
        only). The least number of honest members of such a sum is a rule of the protocol and not checked here.
        The sum itself is *not* protected: noise must be in the vectors before masking. Integrity is not
        protected: one member, or the aggregator, can shift the sum by any amount unnoticed.
    """
    _check_list(members)
    if me not in members:
        raise MaskRefused(f"node {me} is not in the list {members!r} it is asked to mask for")
    if encoded.dtype != modulus.dtype or encoded.ndim != 1:
        raise MaskRefused(
            f"expected one axis of {modulus.dtype} words, got {encoded.ndim} axes of {encoded.dtype}"
        )
    keys = [(other, keys_for(other)) for other in members if other != me]
    masked = encoded.copy()
    for other, key in keys:
        add_keystream(masked, key, 1 if me < other else -1, modulus)
    return masked


def total(shares: Iterable[Words], modulus: Modulus = Z32) -> Words:
    """Return the sum of vectors of words.

    Args:
        shares: masked words of **all** members of one list. Without one of them the result is uniformly random.
        modulus: of the words.

    Returns:
        Their sum, a new array, for :func:`~protocols.sharing.codec.decode`.

    Raises:
        SumSealed: there are no shares, one is not an axis of words, or their sizes differ.
    """
    result: Words | None = None
    for share in shares:
        if share.dtype != modulus.dtype or share.ndim != 1:
            raise SumSealed(
                f"a share has {share.ndim} axes of {share.dtype}, expected one of {modulus.dtype}"
            )
        if result is None:
            result = share.copy()
        elif result.shape != share.shape:
            raise SumSealed(f"shares of {result.size} and {share.size} words do not add up")
        else:
            modulus.add(result, share)
    if result is None:
        raise SumSealed("there are no shares")
    return result
