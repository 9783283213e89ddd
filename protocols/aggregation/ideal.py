"""The trusted party of an ideal functionality: it holds what a member handed in until a sum may be opened.

With ideal cryptography a message carries a :class:`Sealed` token in place of ciphertext: as many bytes on the wire,
none of the work, and the same opened sums.
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple, final

from protocols.sharing.modulus import Words
from simulator.errors import SottovoceError


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


class _Content(NamedTuple):
    words: Words
    purpose: Hashable


@final
@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Sealed:
    """What a protected vector is under ideal cryptography. Made by :func:`seal`, read by :func:`unseal` only.

    Args:
        member: whose it is.
        size_bytes: as many bytes on the wire as what it stands for.

    Guarantees:
        Whoever holds or inspects it finds its member and its size; content is not among its attributes, and it can
        be neither copied nor pickled. This models an ideal functionality *inside one process*: it is no protection
        against code that reaches into this module, and it is of no use between processes.
    """

    member: int
    size_bytes: int

    def __reduce__(self) -> str:
        raise TypeError('an ideal share cannot leave its process or be copied; use crypto = "real" there')


# Not an attribute of the token: a tap that walks a message's objects must not come across the vector.
_contents: weakref.WeakKeyDictionary[Sealed, _Content] = weakref.WeakKeyDictionary()


def seal(words: Words, member: int, size_bytes: int, purpose: Hashable) -> Sealed:
    """Hand words to the trusted party.

    Args:
        words: copied.
        member: whose they are.
        size_bytes: of what stands for them on the wire.
        purpose: what they may be opened for: the sum, and whatever else masks are bound to.
    """
    token = Sealed(member, size_bytes)
    _contents[token] = _Content(words.copy(), purpose)
    return token


def unseal(token: Sealed, member: int, purpose: Hashable) -> Words:
    """What was handed in, for the trusted party to add up. Not to be changed.

    Raises:
        SumSealed: it was handed in by somebody else, or for another purpose.
    """
    content = _contents.get(token)
    if content is None or token.member != member or content.purpose != purpose:
        raise SumSealed(f"the share of node {member} was not sealed by it for this sum")
    return content.words
