"""Trusted party of an ideal functionality: it holds members' vectors until their sum may be opened.

With ideal cryptography a message carries a :class:`Sealed` token in place of ciphertext: the same bytes on the wire,
no cryptographic computation, and the same opened sums.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple, final

from protocols.sharing.modulus import Words
from simulator.errors import SottovoceError


class SumSealed(SottovoceError):
    """Raised when the available shares do not open a sum.

    Args:
        reason: cause, in words.
        missing: announced members without a share.
        unexpected: senders of shares that were not announced.
    """

    def __init__(self, reason: str, missing: tuple[int, ...] = (), unexpected: tuple[int, ...] = ()) -> None:
        super().__init__(reason, missing, unexpected)
        self.reason = reason
        self.missing = missing
        self.unexpected = unexpected

    def __str__(self) -> str:
        return f"the sum stays sealed: {self.reason}"


class _Content(NamedTuple):
    words: Words
    purpose: Hashable


@final
@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Sealed:
    """Token for a protected vector under ideal cryptography. Made by :func:`seal`, read by :func:`unseal` only.

    Args:
        member: owner of the vector.
        size_bytes: bytes on the wire, the same as of a real protected vector.

    Guarantees:
        Its holder can read its member and its size; content is not among its attributes, and it can be neither
        copied nor pickled. This models an ideal functionality *inside one process*: it is no protection against
        code that reads this module's state, and cannot be used between processes.
    """

    member: int
    size_bytes: int

    def __reduce__(self) -> str:
        raise TypeError('an ideal share cannot leave its process or be copied; use crypto = "real" there')


# Not an attribute of the token, so that code walking a message's objects does not find the vector.
_contents: weakref.WeakKeyDictionary[Sealed, _Content] = weakref.WeakKeyDictionary()


def seal(words: Words, member: int, size_bytes: int, purpose: Hashable) -> Sealed:
    """Hand words to the trusted party.

    Args:
        words: copied.
        member: owner of the words.
        size_bytes: bytes on the wire of the protected vector.
        purpose: the sum they may be opened for, and all else that real masks are bound to.
    """
    token = Sealed(member, size_bytes)
    _contents[token] = _Content(words.copy(), purpose)
    return token


def unseal(token: Sealed, member: int, purpose: Hashable) -> Words:
    """Return the sealed words, for the trusted party to add up; they must not be changed.

    Raises:
        SumSealed: the token was made by another member, or for another purpose.
    """
    content = _contents.get(token)
    if content is None or token.member != member or content.purpose != purpose:
        raise SumSealed(f"the share of node {member} was not sealed by it for this sum")
    return content.words
