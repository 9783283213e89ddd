"""Fixed-point encoding modulo M: real vectors as words that can be masked or shared, and summed exactly.

A member ``w`` of the neighbourhood of ``v`` sends its model ``x_w`` with weight ``W_vw``. Mixing weights
are not integers, so the weight is applied **before** encoding: the word of a coordinate is

    q = SR(scale · W_vw · x_w)  mod M,

where ``SR`` is stochastic rounding (up with probability the fractional part, so E[q] = scale · W_vw ·
x_w). Negative numbers are the upper half of the words: two's complement in a ring, M − |q| in a prime field.
The sum of words decodes to the sum of weighted coordinates as long as the *integer* sum is one of
−(M−1)/2 … (M−1)/2; :func:`codec_for` chooses the scale so that it always is, or, where integer noise is added to
the words, so that it is except with a stated probability (:func:`wrap_probability`).

Sources: stochastic rounding and the no-wrap condition as in Kairouz, Liu and Steinke 2021 (arXiv 2102.06387).
Required range: :mod:`protocols.aggregation.public_range`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from protocols.sharing.modulus import Z32, Modulus, Words
from simulator.errors import ConfigurationError, SottovoceError

NOISE_SIGMAS = 8.0
"""Default room of a codec for integer noise, in standard deviations."""

_MOST_MEMBERS = 2**20
_LARGEST_PRODUCT = 2.0**960
"""Bits that scale and bound leave free in float64: rounding uses 32 binary digits."""
_BLOCK = 2**14
"""Coordinates rounded at a time, so that intermediate results stay in the processor's cache."""
_FRACTION = 2.0**32


class OutOfRange(SottovoceError):
    """Raised for a vector beyond the range of its encoding. Nothing was encoded: withhold the vector and count it.

    Args:
        largest: the largest |coordinate|; NaN if a coordinate is not a number.
        bound: the largest |coordinate| allowed.
    """

    def __init__(self, largest: float, bound: float) -> None:
        super().__init__(largest, bound)
        self.largest = largest
        self.bound = bound

    def __str__(self) -> str:
        return (
            f"a coordinate of size {self.largest:g} exceeds the encodable range of {self.bound:g}; "
            "withhold this vector, or widen the range (range_sigmas) if it happens to honest nodes"
        )


@dataclass(frozen=True, slots=True)
class Codec:
    """A fixed-point representation modulo M. :func:`codec_for` builds one whose sums do not wrap.

    Args:
        scale: words per unit; a power of two, so that scaling a float is exact.
        bound: largest |coordinate| of a member's vector, before its weight. Positive, finite.
        modulus: modulus of the words.

    Raises:
        ConfigurationError: an argument outside its range, or scale · bound beyond 2^960.
    """

    scale: float
    bound: float
    modulus: Modulus = Z32

    def __post_init__(self) -> None:
        if not (0.0 < self.scale < math.inf and math.frexp(self.scale)[0] == 0.5):
            raise ConfigurationError(
                f"the scale of a codec must be a positive power of two, not {self.scale!r}"
            )
        if not 0.0 < self.bound < math.inf:
            raise ConfigurationError(f"the bound of a codec must be positive and finite, not {self.bound!r}")
        if self.scale * self.bound > _LARGEST_PRODUCT:
            raise ConfigurationError(
                f"scale {self.scale:g} times bound {self.bound:g} leaves float64 no room to round in; "
                "express the model in other units"
            )

    @property
    def modulus_bits(self) -> int:
        """Return the bits of a word."""
        return self.modulus.bits

    @property
    def quantum(self) -> float:
        """Return the value of one word. A sum of k encoded vectors is off by less than k quanta per coordinate."""
        return 1.0 / self.scale


def codec_for(
    bound: float,
    heaviest: float,
    members: int,
    modulus: Modulus = Z32,
    noise_sigma: float = 0.0,
    noise_sigmas: float = NOISE_SIGMAS,
) -> Codec:
    """Return the finest codec whose sums do not wrap for any vectors within the bound.

    Stochastic rounding moves a number by less than one word, so the sum over a neighbourhood is at most Σ_w
    (scale · W_vw · bound + 1) ≤ scale · heaviest · bound + members words. The scale is the largest power of
    two for which that, and ``noise_sigmas`` standard deviations of the members' noise together, is below
    M/2 − 1. Without noise this condition is deterministic: wrapping is impossible. (The one word kept in reserve,
    more where M is beyond 2^32, covers the float64 rounding of the products and of ``heaviest``.)

    Args:
        bound: largest |coordinate| of any member's vector. Positive, finite.
        heaviest: largest over neighbourhoods of Σ_w W_vw, the sum of the weights of its members; the
            aggregator's own term never enters the ring. Positive, finite; at most 1 for stochastic rows.
        members: number of members of the largest neighbourhood, 1 … 2^20.
        modulus: modulus of the words.
        noise_sigma: standard deviation of the integer noise that one member adds to each of its words, in the
            units of the weighted vectors (that is, words / scale). 0 if none is added to words.
        noise_sigmas: room for the members' noise, in standard deviations. Positive, finite.

    Returns:
        The codec. Its ``quantum`` is the resolution of the opened sum.

    Raises:
        ConfigurationError: an argument outside its range, a modulus too small for so many members, or no
            float64 scale exists.

    Guarantees:
        With ``noise_sigma`` = 0 no sum wraps. Otherwise a coordinate of one sum wraps with probability
        :func:`wrap_probability` ≤ 2Φ(−noise_sigmas), for noise with Gaussian tails. Discrete Gaussians have them;
        the tails of Skellam noise are heavier while its variance is small
        (:func:`protocols.privacy.integer_noise.skellam_tail`).
    """
    if not 0.0 < bound < math.inf:
        raise ConfigurationError(f"the bound on a model must be positive and finite, not {bound!r}")
    if not 0.0 < heaviest < math.inf:
        raise ConfigurationError(f"the sum of mixing weights must be positive and finite, not {heaviest!r}")
    if not 1 <= members <= _MOST_MEMBERS:
        raise ConfigurationError(f"a neighbourhood must have 1 to {_MOST_MEMBERS} members, not {members!r}")
    if not 0.0 <= noise_sigma < math.inf:
        raise ConfigurationError(f"noise_sigma must be finite and not negative, not {noise_sigma!r}")
    if not 0.0 < noise_sigmas < math.inf:
        raise ConfigurationError(f"noise_sigmas must be positive and finite, not {noise_sigmas!r}")
    reach = heaviest * bound + noise_sigmas * noise_sigma * math.sqrt(members)
    if not 2.0**-900 < reach < 2.0**900:
        raise ConfigurationError(
            f"no float64 scale fits a range of {reach!r}; express the model in other units"
        )
    room = _room(modulus, members)
    if room <= 0.0:
        raise ConfigurationError(
            f"words modulo {modulus} have no room for the rounding of {members} members; use a larger modulus"
        )
    # room / reach lies in [2^(e-1), 2^e), so the answer is 2^(e-1), or one less where "below" is strict.
    scale = 2.0 ** (math.frexp(room / reach)[1] - 1)
    while scale * reach >= room:
        scale /= 2.0
    return Codec(scale, bound, modulus)


def wrap_probability(codec: Codec, heaviest: float, members: int, noise_sigma: float) -> float:
    """Return the probability that noise makes one coordinate of one sum wrap, in the Gaussian approximation.

    The scale of a codec is a power of two, so there is usually more room than required; this is 2Φ(−k) for the actual
    room of k standard deviations.

    Args:
        codec: from :func:`codec_for`, with the same ``heaviest``, ``members`` and ``noise_sigma``.
        heaviest: largest sum of the members' weights.
        members: number of members of the largest neighbourhood.
        noise_sigma: standard deviation of one member's noise, in the units of the weighted vectors.

    Returns:
        A probability for the worst vectors within the bound; 0 without noise, and 1 where the vectors
        alone can wrap. Multiply by coordinates and sums for a union bound.
    """
    left = _room(codec.modulus, members) - codec.scale * heaviest * codec.bound
    if left <= 0.0:
        return 1.0
    deviation = codec.scale * noise_sigma * math.sqrt(members)
    return math.erfc(left / deviation / math.sqrt(2.0)) if deviation > 0.0 else 0.0


def encode(values: NDArray[np.floating[Any]], weight: float, codec: Codec, rng: np.random.Generator) -> Words:
    """Return the words of ``weight · values``, each rounded without bias: one row of :func:`encode_rows`.

    Args:
        values: a member's vector, any shape, float32 or float64.
        weight: its mixing weight, not negative; applied before rounding.
        codec: the representation all members of the neighbourhood share.
        rng: source of the rounding; 32 bits per coordinate.

    Returns:
        Words of the shape of ``values``.

    Raises:
        OutOfRange: some |value| is above the codec's bound or not finite. Values never wrap and are never
            saturated.
        ConfigurationError: the weight is negative or not finite, or so large that one term alone could wrap.

    Guarantees:
        Those of :func:`encode_rows`.
    """
    return encode_rows(values.reshape(-1), (weight,), codec, rng).reshape(values.shape)


@overload
def encode_rows(
    values: NDArray[np.floating[Any]],
    weights: Sequence[float] | NDArray[np.floating[Any]],
    codec: Codec,
    rng: np.random.Generator,
    saturate: Literal[False] = False,
) -> Words: ...


@overload
def encode_rows(
    values: NDArray[np.floating[Any]],
    weights: Sequence[float] | NDArray[np.floating[Any]],
    codec: Codec,
    rng: np.random.Generator,
    saturate: Literal[True],
) -> tuple[Words, int]: ...


def encode_rows(
    values: NDArray[np.floating[Any]],
    weights: Sequence[float] | NDArray[np.floating[Any]],
    codec: Codec,
    rng: np.random.Generator,
    saturate: bool = False,
) -> Words | tuple[Words, int]:
    """Return the words of one vector for several aggregators, each with its own weight and its own rounding.

    Args:
        values: a member's vector, shape (d,), float32 or float64.
        weights: its mixing weight at each of k aggregators, not negative; applied before rounding.
        codec: the representation all members of the neighbourhoods share.
        rng: source of the rounding; 32 bits per word, drawn row by row. A single row is
            :func:`encode` with the same generator.
        saturate: treatment of coordinates beyond the codec's bound: refuse the vector, or clip them to the bound
            and count them.

    Returns:
        Words of shape (k, d); with ``saturate`` also the number of coordinates of ``values`` that were clipped,
        to be counted by the caller: the sum is no longer that of the vectors.

    Raises:
        OutOfRange: some |value| is above the bound (unless ``saturate``), or not finite (always: a vector that
            has diverged cannot be clipped to a meaningful one).
        ConfigurationError: ``values`` has not one axis, or a weight is negative, not finite, or so large that
            one term alone could wrap.

    Guarantees:
        Each word, as an integer, is one of the two nearest to ``scale · weight · value`` (that integer itself,
        if it is one), and its mean differs from it by less than 2^-32 words, the resolution of the random
        probabilities, apart from the float64 rounding of the product. Rounding is *not* a privacy mechanism, and a
        sum
        of rounded vectors is not post-processing of their noisy real-valued sum: accounting of continuous noise
        added before encoding holds for real arithmetic.
    """
    if values.ndim != 1:
        raise ConfigurationError(f"a vector to encode must have one axis, not {values.ndim}")
    _check_weights(weights, codec)
    # NaN and infinity survive max(|x|) and fail the comparison, so one pass checks everything.
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(values), initial=0.0))
    saturated = 0
    scaled = values.astype(np.float64)
    if not largest <= codec.bound:
        if not (saturate and largest < math.inf):
            raise OutOfRange(largest, codec.bound)
        saturated = int(np.count_nonzero(np.abs(scaled) > codec.bound))
        np.clip(scaled, -codec.bound, codec.bound, out=scaled)
    scaled *= codec.scale  # exact, and first: a tiny weight cannot push a product below the normal numbers
    words = _round_rows(scaled, weights, codec.modulus, rng)
    return (words, saturated) if saturate else words


def decode(total: Words, codec: Codec) -> NDArray[np.float64]:
    """Return the real numbers that a sum of words represents.

    Args:
        total: the sum modulo M of encoded vectors, any shape.
        codec: the codec they were encoded with.

    Returns:
        float64 of the same shape: the words as signed integers, divided by the scale. Exact for integers up to
        2^53, beyond that rounded to float64.

    Raises:
        ConfigurationError: ``total`` is not an array of words below the modulus.
    """
    modulus = codec.modulus
    if total.dtype != modulus.dtype:
        raise ConfigurationError(
            f"only an array of {modulus.dtype} words can be decoded modulo {modulus}, not {total.dtype}"
        )
    if not modulus.holds(total.reshape(-1)):
        raise ConfigurationError(f"an array to decode modulo {modulus} holds words that are not below it")
    decoded = modulus.lift(total).astype(np.float64)
    decoded /= codec.scale
    return decoded


def _room(modulus: Modulus, members: int) -> float:
    """Return the words on either side of zero that are left for vectors and noise, besides those for rounding.

    The float64 error of products and of a sum of ``members`` weights is at most (members + 4) · 2^-52 of the
    sum: half a word modulo 2^32, and more beyond.
    """
    half = modulus.value / 2.0
    return half - max(1.0, half * (members + 4) * 2.0**-52) - members


def _check_weights(weights: Sequence[float] | NDArray[np.floating[Any]], codec: Codec) -> None:
    half = codec.modulus.value / 2.0
    for weight in weights:
        if not (weight >= 0.0 and codec.scale * weight * codec.bound + 1.0 < half):
            raise ConfigurationError(
                f"a weight of {weight!r} does not fit scale {codec.scale:g} and bound {codec.bound:g}; "
                "size it with codec_for(heaviest=...) no smaller than any weight"
            )


def _round_rows(
    scaled: NDArray[np.float64],
    weights: Sequence[float] | NDArray[np.floating[Any]],
    modulus: Modulus,
    rng: np.random.Generator,
) -> Words:
    """Round every ``weight · scaled`` stochastically, block by block; ``scaled`` is overwritten."""
    count = len(weights) * scaled.size
    bits = rng.integers(0, 2**64 - 1, -(-count // 2), dtype=np.uint64, endpoint=True)
    chances = bits.astype("<u8", copy=False).view("<u4")[:count].reshape(len(weights), scaled.size)
    if modulus.dtype == np.uint32:
        return _round_narrow(scaled, weights, modulus, chances)
    return _round_wide(scaled, weights, modulus, chances)


def _round_narrow(
    scaled: NDArray[np.float64],
    weights: Sequence[float] | NDArray[np.floating[Any]],
    modulus: Modulus,
    chances: NDArray[np.uint32],
) -> Words:
    """Round up where the 32 digits after the point, plus 32 random ones, carry; words replace the random bits.

    With u uniform on [0, 1), −⌊u − x⌋ is x rounded up with probability its fractional part. Integers below 2^31
    and 32 binary digits after the point fit in an int64, and the upper half of it is the floor.
    """
    scaled *= -_FRACTION
    real = np.empty(min(_BLOCK, scaled.size))
    fixed = np.empty(real.size, np.dtype("<i8"))
    upper = fixed.view("<u4")[1::2]
    for row, weight in zip(chances, weights, strict=True):
        for start in range(0, scaled.size, _BLOCK):
            block = row[start : start + _BLOCK]
            here = slice(block.size)
            np.multiply(scaled[start : start + _BLOCK], weight, out=real[here])
            np.copyto(fixed[here], real[here], casting="unsafe")
            np.add(fixed[here], block, out=fixed[here])
            np.negative(upper[here], out=block)
            if modulus.prime:
                # A negative integer −a is the word 2^32 − a: adding p wraps it to p − a, and enlarges others.
                np.minimum(block, block + modulus.dtype.type(modulus.value), out=block)
            elif modulus.bits < 32:
                block &= modulus.dtype.type(modulus.value - 1)
    return chances.astype(np.uint32, copy=False)


def _round_wide(
    scaled: NDArray[np.float64],
    weights: Sequence[float] | NDArray[np.floating[Any]],
    modulus: Modulus,
    chances: NDArray[np.uint32],
) -> Words:
    """Round by the same law for words of 64 bits: integer and fraction apart, as they do not fit in one int64."""
    words = np.empty(chances.shape, np.uint64)
    for row, weight, bits in zip(words, weights, chances, strict=True):
        for start in range(0, scaled.size, _BLOCK):
            real = scaled[start : start + _BLOCK] * weight
            below = np.floor(real)
            real -= below
            real *= _FRACTION
            integers = below.astype(np.int64)
            integers += bits[start : start + _BLOCK] < real
            block = row[start : start + _BLOCK]
            block[:] = integers.view(np.uint64)
            if modulus.prime:
                np.minimum(block, block + modulus.dtype.type(modulus.value), out=block)
            elif modulus.bits < 64:
                block &= modulus.dtype.type(modulus.value - 1)
    return words
