"""Vectors over the prime fields of 2^31 − 1 and 2^61 − 1: products, linear combinations, uniform elements.

Long vectors are processed in blocks by compiled 64-bit integer arithmetic. A product of two elements below 2^31 fits
in 62 bits; one of two below 2^61 is composed of 32-bit halves. Both primes are Mersenne numbers, so reduction adds
the high bits to the low ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocols.sharing.modulus import P31, Modulus, Words
from simulator.errors import ConfigurationError

KEY_BYTES = 32
_LARGEST_BLOCK, _SMALLEST_BLOCK = 2**15, 2**10
"""Numbers of words processed at a time; few sizes, as each is compiled once."""
_NONCE = bytes(16)  # every key makes one stream only


def check_field(modulus: Modulus) -> None:
    """Check that a modulus is a prime field.

    Raises:
        ConfigurationError: the modulus is not prime.
    """
    if not modulus.prime:
        raise ConfigurationError(
            f"shares need a prime field, got integers modulo {modulus}; use 2^31 − 1 or 2^61 − 1"
        )


def multiply(modulus: Modulus, left: Words, right: Words) -> Words:
    """Return the products of elements, with numpy broadcasting.

    Args:
        modulus: a prime field.
        left: elements.
        right: elements.
    """
    check_field(modulus)
    a, b = left.astype(np.uint64), right.astype(np.uint64)
    return np.asarray(_product(modulus.bits, a, b)).astype(modulus.dtype)


def combine(modulus: Modulus, factors: Sequence[Sequence[int]], rows: Words) -> Words:
    """Return linear combinations of vectors: ``factors`` (n, k) times ``rows`` (k, d).

    Args:
        modulus: a prime field.
        factors: non-negative integers below the modulus.
        rows: elements, (k, d).

    Returns:
        (n, d), elements.
    """
    import jax  # not at import: message kinds of sharing protocols are read without computing anything

    check_field(modulus)
    matrix = np.array(factors, dtype=np.uint64).reshape(len(factors), -1)
    size = rows.shape[1]
    block = min(_LARGEST_BLOCK, max(_SMALLEST_BLOCK, 1 << max(0, size - 1).bit_length()))
    result = np.empty((len(matrix), size), modulus.dtype)
    with jax.enable_x64(True):
        work = _combination(modulus.bits)
        for start in range(0, size, block):
            piece = rows[:, start : start + block]
            width = piece.shape[1]
            if width < block:
                piece = np.pad(piece, ((0, 0), (0, block - width)))
            result[:, start : start + width] = np.asarray(work(matrix, piece))[:, :width]
    return result


def dot(modulus: Modulus, rows: Words, vector: Words) -> list[int]:
    """Return Σ_c rows[i, c] · vector[c] modulo the prime, for every row."""
    low, high = np.zeros(len(rows), np.uint64), np.zeros(len(rows), np.uint64)
    for start in range(0, vector.size, _LARGEST_BLOCK):
        piece = slice(start, start + _LARGEST_BLOCK)
        products = multiply(modulus, rows[:, piece], vector[piece]).astype(np.uint64)
        # In halves, so that a sum of 2^32 of them still fits.
        low += (products & np.uint64(2**32 - 1)).sum(axis=1)
        high += (products >> np.uint64(32)).sum(axis=1)
    return [(int(h) * 2**32 + int(part)) % modulus.value for part, h in zip(low, high, strict=True)]


def random_words(modulus: Modulus, key: bytes, count: int) -> Words:
    """Return pseudorandom elements: AES-256-CTR, the value p rejected, hence no bias.

    Args:
        modulus: a prime field.
        key: 32 bytes, used for this stream only.
        count: number of elements.

    Raises:
        ConfigurationError: the key has another length.
    """
    check_field(modulus)
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"the key of a stream is {KEY_BYTES} bytes, not {len(key)}")
    encryptor = Cipher(algorithms.AES(key), modes.CTR(_NONCE)).encryptor()
    little = modulus.dtype.newbyteorder("<")
    found = np.empty(0, modulus.dtype)
    while found.size < count:
        wanted = count - found.size
        stream = encryptor.update(bytes(modulus.dtype.itemsize * wanted))
        words = np.frombuffer(stream, little).astype(modulus.dtype) & modulus.dtype.type(modulus.value)
        kept = words[words != modulus.value]
        found = kept if not found.size else np.concatenate([found, kept])
    return found


def lagrange(prime: int, points: Sequence[int], at: Sequence[int]) -> list[list[int]]:
    """Return weights that evaluate the polynomial through ``points`` at other places.

    Args:
        prime: of the field.
        points: distinct modulo the prime.
        at: places of evaluation.

    Returns:
        For every place, the factor of the value at each point; the values' weighted sum is the value there.

    Raises:
        ConfigurationError: a point occurs twice.
    """
    places = [point % prime for point in points]
    if len(set(places)) < len(places):
        raise ConfigurationError(f"the points {list(points)} are not distinct modulo {prime}")
    below = []
    for i, point in enumerate(places):
        product = 1
        for j, other in enumerate(places):
            if i != j:
                product = product * (point - other) % prime
        below.append(pow(product, -1, prime))
    weights = []
    for place in at:
        # Products of all factors before and after each, so that nothing is divided.
        before, after = [1], [1]
        for point in places[:-1]:
            before.append(before[-1] * (place - point) % prime)
        for point in reversed(places[1:]):
            after.append(after[-1] * (place - point) % prime)
        after.reverse()
        weights.append([b * a * w % prime for b, a, w in zip(before, after, below, strict=True)])
    return weights


def _product(bits: int, a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return the product of uint64 numpy arrays."""
    with np.errstate(over="ignore"):
        reduced: NDArray[Any] = _reduced(np, bits, *_parts(bits, a, b))
        return reduced


def _parts(bits: int, a: Any, b: Any) -> tuple[Any, ...]:
    """Return a product as a sum of numbers below 2^62; for 31 bits the product itself."""
    if bits == 31:
        return (a * b,)
    half, word = np.uint64(2**32 - 1), np.uint64(32)
    ah, al, bh, bl = a >> word, a & half, b >> word, b & half
    low, middle, high = al * bl, ah * bl + al * bh, ah * bh
    # 2^61 is 1, so 2^64 is 8, and the part of ``middle`` above 2^29 counts unchanged.
    keep, p = np.uint64(2**29 - 1), np.uint64(2**61 - 1)
    return (
        (high << np.uint64(3)) + (middle >> np.uint64(29)),
        (middle & keep) << word,
        (low & p) + (low >> np.uint64(61)),
    )


def _reduced(xp: Any, bits: int, *terms: Any) -> Any:
    """Return the sum of terms, below the prime."""
    p, shift = np.uint64(2**bits - 1), np.uint64(bits)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    total = (total & p) + (total >> shift)
    total = (total & p) + (total >> shift)
    return xp.where(total >= p, total - p, total)


@lru_cache(maxsize=4)
def _combination(bits: int) -> Any:
    """Return the compiled combination: factors (n, k), rows (k, block) -> (n, block)."""
    import jax
    import jax.numpy as jnp

    p, shift = np.uint64(2**bits - 1), np.uint64(bits)

    def step(total: Any, term: Any) -> tuple[Any, None]:
        factor, row = term
        parts = _parts(bits, factor[:, None], row[None, :].astype(jnp.uint64))
        folded = total
        for part in parts:
            folded = folded + part
        # Not below the prime yet, but small enough for the next sum.
        return (folded & p) + (folded >> shift), None

    def work(factors: Any, rows: Any) -> Any:
        start = jnp.zeros((factors.shape[0], rows.shape[1]), jnp.uint64)
        total, _ = jax.lax.scan(step, start, (factors.T, rows), unroll=8)
        reduced = _reduced(jnp, bits, total)
        return reduced.astype(jnp.uint32 if bits == P31.bits else jnp.uint64)

    return jax.jit(work)
