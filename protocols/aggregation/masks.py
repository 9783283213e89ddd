"""Pairwise masks in Z_2^32 that cancel in a neighbourhood's sum, and their ideal counterpart.

An aggregator ``v`` announces a list of members. Member ``i`` sends its encoded vector plus, for every
other member ``j`` of the list, +PRG(k_ij) if i < j and −PRG(k_ij) otherwise. Added up, the masks cancel;
any proper subset is uniformly random. A mask key belongs to one (run, aggregator, round, attempt, list,
pair): two members that were shown different lists share no mask, and their aggregator gets noise.

With ideal cryptography a message carries an :class:`IdealShare` instead: the trusted party of the
definition of secure aggregation, bit-identical sums, the same bytes on the wire, none of the work.

Sources: pairwise masking of Bonawitz et al. 2017 (CCS), without self-masks and recovery; masks among the
neighbours of a gossip node as in CESAR (Biswas et al. 2024, arXiv 2405.07708), without sparsification.

Message sizes are closed formulas over 4-byte ids, rounds, attempts and words, 32-byte keys and 64-byte
signatures; what the transport adds to every message is the scenario's ``header``.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias, final

import numpy as np
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from numpy.typing import NDArray

from protocols.aggregation.keys import ID_BYTES, KEY_BYTES, PROTOCOL, SIGNATURE_BYTES, framed, number
from simulator.errors import SottovoceError

Words: TypeAlias = NDArray[np.uint32]

ROUND_BYTES, ATTEMPT_BYTES, WORD_BYTES = 4, 4, 4
_NONCE = bytes(16)  # every key encrypts one stream only, so the counter may always start at zero


class MaskRefused(SottovoceError):
    """Masking as asked for would protect nothing or could not cancel; nothing was masked."""


class SumSealed(SottovoceError):
    """The shares at hand do not open a sum.

    Args:
        reason: why, in words.
        missing: announced members whose share is not there.
        unexpected: shares of nodes that were not announced.
    """

    def __init__(self, reason: str, missing: tuple[int, ...] = (), unexpected: tuple[int, ...] = ()) -> None:
        super().__init__(reason, missing, unexpected)
        self.reason = reason
        self.missing = missing
        self.unexpected = unexpected

    def __str__(self) -> str:
        return f"the sum stays sealed: {self.reason}"


def _check_list(members: Sequence[int]) -> None:
    if len(members) < 2:
        raise MaskRefused(
            f"a list of {len(members)} member(s) leaves nobody to share a mask with: {members!r}"
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
    """The key of one mask of one pair: HKDF-SHA256 (RFC 5869, expand) of everything the mask belongs to.

    Args:
        pair_secret: from :meth:`~protocols.aggregation.keys.PairSecrets.secret`, 32 bytes.
        context: what run this is.
        aggregator: who will open the sum; not among the members.
        round: the round of the sum.
        attempt: counts the aggregator's lists within the round, from 0.
        members: the announced list, ascending.
        pair: the two members that share the mask, lower id first.

    Returns:
        32 bytes, an AES-256 key.

    Raises:
        MaskRefused: the list is too short or not ascending, contains the aggregator, or does not contain
            the pair.
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
    if aggregator in members:
        raise MaskRefused(f"aggregator {aggregator} must not be in its own list {members!r}")
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


def keystream(key: bytes, count: int) -> Words:
    """Words that look uniform on Z_2^32 to whoever lacks the key: AES-256-CTR of zeros, read little-endian.

    Args:
        key: 32 bytes, used for this stream only.
        count: number of words.

    Returns:
        ``count`` words, read-only. All 2^32 values occur, the largest included: there is no reduction,
        hence no bias.

    Raises:
        MaskRefused: the key is not 32 bytes; shorter AES keys are not accepted.
    """
    if len(key) != KEY_BYTES:
        raise MaskRefused(f"a mask key is {KEY_BYTES} bytes, not {len(key)}")
    stream = Cipher(algorithms.AES(key), modes.CTR(_NONCE)).encryptor().update(bytes(WORD_BYTES * count))
    return np.frombuffer(stream, dtype="<u4").astype(np.uint32, copy=False)


def mask(
    encoded: Words,
    me: int,
    members: Sequence[int],
    keys_for: Callable[[int], bytes],
    *,
    out: Words | None = None,
) -> Words:
    """Hide an encoded vector: add the keystream shared with each higher member, subtract that of each lower.

    Args:
        encoded: words of the weighted vector, one axis.
        me: whose vector it is.
        members: the announced list, ascending, ``me`` included.
        keys_for: co-member -> the mask key shared with it, for exactly this list, round and attempt.
        out: where to put the result; may be ``encoded`` itself. A new array by default.

    Returns:
        The masked words (``out``, if given). The masked words of all members sum to the sum of their
        encoded words.

    Raises:
        MaskRefused: fewer than two members, a list out of order, ``me`` not in it, or arrays that are not
            words.

    Guarantees:
        Semi-honest aggregator colluding with any members but two: it learns the sum of the words of the
        others and nothing else (AES-256-CTR and HKDF pseudorandom, pair secrets known to their owners
        only). The least number of honest members that makes such a sum acceptable is the protocol's rule,
        not checked here. The sum itself is *not* protected: noise must be in the vectors before this.
        Integrity is not protected: one member, or the aggregator, can shift the sum by any amount
        unnoticed.
    """
    _check_list(members)
    if me not in members:
        raise MaskRefused(f"node {me} is not in the list {members!r} it is asked to mask for")
    _check_words(encoded)
    if out is None:
        out = encoded.copy()
    else:
        _check_words(out)
        if out.shape != encoded.shape:
            raise MaskRefused(f"out has {out.size} words, expected {encoded.size}")
    keys = [(other, keys_for(other)) for other in members if other != me]
    if out is not encoded:
        out[:] = encoded
    for other, key in keys:
        if me < other:
            out += keystream(key, out.size)
        else:
            out -= keystream(key, out.size)
    return out


def _check_words(words: Words) -> None:
    if words.dtype != np.uint32 or words.ndim != 1:
        raise MaskRefused(f"expected one axis of uint32 words, got {words.ndim} axes of {words.dtype}")


def unmask_sum(shares: Iterable[Words]) -> Words:
    """The sum modulo 2^32 of masked vectors.

    Args:
        shares: masked words of **all** members of one list. Leave one out and the result is uniformly random.

    Returns:
        The sum of the encoded words, for :func:`~protocols.sharing.codec.decode`.

    Raises:
        SumSealed: there are no shares, one is not an axis of words, or their sizes differ.
    """
    total: Words | None = None
    for share in shares:
        if share.dtype != np.uint32 or share.ndim != 1:
            raise SumSealed(f"a share has {share.ndim} axes of {share.dtype}, expected one of uint32")
        if total is None:
            total = share.copy()
        elif total.shape != share.shape:
            raise SumSealed(f"shares of {total.size} and {share.size} words do not add up")
        else:
            total += share
    if total is None:
        raise SumSealed("there are no shares")
    return total


class _Content(NamedTuple):
    words: Words
    members: frozenset[int]
    opening: tuple[int, int, int]


@final
@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class IdealShare:
    """What a masked vector is under ideal cryptography. Made by :func:`seal`, read by :func:`open_sum` only.

    Args:
        member: whose share it is.
        size_bytes: as many bytes on the wire as the masked vector it stands for.

    Guarantees:
        Whoever holds or inspects a share finds its member and its size; content is not among its
        attributes, and it can be neither copied nor pickled. This models an ideal functionality *inside one
        process*: it is no protection against code that reaches into this module, and it is of no use
        between processes.
    """

    member: int
    size_bytes: int

    def __reduce__(self) -> str:
        raise TypeError('an ideal share cannot leave its process or be copied; use crypto = "real" there')


# Not an attribute of the share: a tap that walks a message's objects must not come across the vector.
_sealed: weakref.WeakKeyDictionary[IdealShare, _Content] = weakref.WeakKeyDictionary()


def seal(encoded: Words, me: int, members: Sequence[int], *, opening: tuple[int, int, int]) -> IdealShare:
    """Hand an encoded vector to the trusted party: the ideal counterpart of :func:`mask`, same refusals.

    Args:
        encoded: words of the weighted vector, one axis; copied.
        me: whose vector it is.
        members: the announced list, ascending, ``me`` included.
        opening: what this sum is, as in the real mask key: (aggregator, round, attempt).

    Returns:
        The share to send.

    Raises:
        MaskRefused: as :func:`mask`, or the aggregator is in the list.
    """
    _check_list(members)
    if me not in members:
        raise MaskRefused(f"node {me} is not in the list {members!r} it is asked to mask for")
    if opening[0] in members:
        raise MaskRefused(f"aggregator {opening[0]} must not be in its own list {members!r}")
    _check_words(encoded)
    share = IdealShare(me, masked_size_bytes(encoded.size))
    _sealed[share] = _Content(encoded.copy(), frozenset(members), opening)
    return share


def open_sum(shares: Mapping[int, Words | IdealShare], members: frozenset[int]) -> Words:
    """The sum of an announced list, from real or ideal shares, if and only if all its members are there.

    Args:
        shares: member -> what it sent. All real or all ideal.
        members: the announced list.

    Returns:
        The sum modulo 2^32 of the members' encoded words; real and ideal shares give the same bits.

    Raises:
        SumSealed: a share is missing or unexpected, kinds are mixed, sizes differ, or an ideal share was
            sealed for another member, list, round or attempt. (Real shares of different lists sum to noise,
            and nothing says so.)
    """
    missing = tuple(sorted(members - shares.keys()))
    unexpected = tuple(sorted(shares.keys() - members))
    if missing or unexpected:
        raise SumSealed(
            f"expected exactly the announced members {sorted(members)}; missing {list(missing)}, "
            f"unexpected {list(unexpected)}",
            missing,
            unexpected,
        )
    ideal = {member: share for member, share in shares.items() if isinstance(share, IdealShare)}
    if not ideal:
        return unmask_sum(share for share in shares.values() if not isinstance(share, IdealShare))
    if len(ideal) < len(shares):
        raise SumSealed("real and ideal shares are mixed")
    contents: list[_Content] = []
    for member, share in ideal.items():
        content = _sealed.get(share)
        if content is None or share.member != member or content.members != members:
            raise SumSealed(f"the share of node {member} was not sealed by it for this list")
        contents.append(content)
    if len({content.opening for content in contents}) > 1:
        raise SumSealed("the shares were sealed for different rounds or attempts")
    return unmask_sum(content.words for content in contents)


def masked_size_bytes(words: int) -> int:
    """Bytes of a masked (or ideal) vector: sender's id, round, attempt, 4 per word."""
    return ID_BYTES + ROUND_BYTES + ATTEMPT_BYTES + WORD_BYTES * words


def key_size_bytes() -> int:
    """Bytes of one signed key, relayed or not: owner's id, public key, signature."""
    return ID_BYTES + KEY_BYTES + SIGNATURE_BYTES


def list_size_bytes(members: int) -> int:
    """Bytes of an announced list: aggregator's id, round, attempt, one id per member."""
    return ID_BYTES + ROUND_BYTES + ATTEMPT_BYTES + ID_BYTES * members


def hello_size_bytes() -> int:
    """Bytes of a member's "I take part in this round": its id and the round."""
    return ID_BYTES + ROUND_BYTES
