"""Integers modulo M as arrays of unsigned words: the rings Z_2^b and the Mersenne prime fields.

Rings of 32 and 64 bits wrap by themselves; smaller ones are masked. Sums and differences are implemented here,
products in the prime fields in :mod:`protocols.sharing.field`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError

Words: TypeAlias = NDArray[np.unsignedinteger[Any]]
"""uint32 where the modulus fits in 32 bits, uint64 otherwise; every word below the modulus."""
Integers: TypeAlias = NDArray[np.int64]

_PRIMES = (2**31 - 1, 2**61 - 1)
_SMALLEST_BITS = 8


@dataclass(frozen=True)
class Modulus:
    """Modulus of words.

    Args:
        value: M: a power of two from 2^8 to 2^64, or one of the primes 2^31 − 1 and 2^61 − 1.

    Raises:
        ConfigurationError: any other number.
    """

    value: int

    def __post_init__(self) -> None:
        ring = self.value.bit_count() == 1 and _SMALLEST_BITS <= self.value.bit_length() - 1 <= 64
        if not (ring or self.prime):
            raise ConfigurationError(
                f"a modulus must be a power of two from 2^8 to 2^64, 2^31 - 1 or 2^61 - 1, not {self.value}"
            )

    def __str__(self) -> str:
        return f"2^{self.bits} - 1" if self.prime else f"2^{self.bits}"

    @property
    def prime(self) -> bool:
        """Return whether it is a prime field."""
        return self.value in _PRIMES

    @cached_property
    def bits(self) -> int:
        """Return the bits of a word."""
        return (self.value - 1).bit_length()

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype of the words."""
        return np.dtype(np.uint32 if self.value <= 2**32 else np.uint64)

    @cached_property
    def largest(self) -> int:
        """Return the largest integer L such that −L … L have distinct words."""
        return (self.value - 1) // 2

    def size_bytes(self, count: int) -> int:
        """Return the bytes of ``count`` words on the wire: bit-packed in a ring, 4 or 8 bytes each in a field."""
        return count * self.dtype.itemsize if self.prime else -(-count * self.bits // 8)

    def reduce(self, integers: Integers) -> Words:
        """Return signed integers as words; integers beyond the modulus wrap."""
        if self.prime:
            return np.mod(integers, self.value).astype(self.dtype)
        words = integers.astype(self.dtype)
        return self._masked(words)

    def lift(self, words: Words) -> Integers:
        """Return the signed integers nearest to zero that words represent."""
        if self.value == 2**64:
            return words.astype(np.int64)
        integers = words.astype(np.int64)
        integers[integers > self.largest] -= self.value
        return integers

    def add(self, left: Words, right: Words) -> Words:
        """Add in place: ``left`` += ``right``; return ``left``."""
        if self.prime:
            # Below 2p, so one conditional subtraction; p itself never remains.
            left += right
            np.minimum(left, left - self.dtype.type(self.value), out=left)
            return left
        left += right
        return self._masked(left)

    def subtract(self, left: Words, right: Words) -> Words:
        """Subtract in place: ``left`` −= ``right``; return ``left``."""
        if self.prime:
            left -= right
            np.minimum(left, left + self.dtype.type(self.value), out=left)
            return left
        left -= right
        return self._masked(left)

    def holds(self, words: Any) -> bool:
        """Return whether an object is an array of words of this modulus, one axis."""
        return (
            isinstance(words, np.ndarray)
            and words.ndim == 1
            and words.dtype == self.dtype
            and (self.value == 2 ** (8 * self.dtype.itemsize) or int(words.max(initial=0)) < self.value)
        )

    def _masked(self, words: Words) -> Words:
        if self.bits < 8 * self.dtype.itemsize:
            words &= self.dtype.type(self.value - 1)
        return words


Z32, Z64 = Modulus(2**32), Modulus(2**64)
P31, P61 = Modulus(2**31 - 1), Modulus(2**61 - 1)
