"""Fixed point in the ring Z_2^32: how a real vector becomes words that can be masked and summed exactly.

A member ``w`` of the neighbourhood of ``v`` sends its model ``x_w`` with weight ``W_vw``. Mixing weights
are not integers, so the weight is applied **before** encoding: the word of a coordinate is

    q = SR(scale · W_vw · x_w)  mod 2^32,

where ``SR`` is stochastic rounding (up with probability the fractional part, so E[q] = scale · W_vw ·
x_w). Words of negative numbers are their two's complement. The sum of words decodes to the sum of weighted
coordinates as long as the *integer* sum stays inside [−2^31, 2^31); :func:`codec_for` chooses the scale so
that it always does.

Sources: stochastic rounding and the no-wrap condition as in Kairouz, Liu and Steinke 2021 (arXiv 2102.06387),
deterministic part. The range of what is sent is that of *models*, not of gradients: see :func:`model_bound`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.errors import ConfigurationError, SottovoceError

Words: TypeAlias = NDArray[np.uint32]

MODULUS_BITS = 32
_HALF = 2.0 ** (MODULUS_BITS - 1)
_MOST_MEMBERS = 2**20


class OutOfRange(SottovoceError):
    """A vector exceeds the range its encoding was sized for. Nothing was encoded: withhold it and count it.

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
    """A fixed-point representation in Z_2^32. :func:`codec_for` builds one whose sums cannot wrap.

    Args:
        scale: words per unit; a power of two, so that scaling a float is exact.
        bound: largest |coordinate| of a member's vector, before its weight. Positive, finite.

    Raises:
        ConfigurationError: an argument outside its range.
    """

    scale: float
    bound: float
    modulus_bits: ClassVar[int] = MODULUS_BITS

    def __post_init__(self) -> None:
        if not (0.0 < self.scale < math.inf and math.frexp(self.scale)[0] == 0.5):
            raise ConfigurationError(
                f"the scale of a codec must be a positive power of two, not {self.scale!r}"
            )
        if not 0.0 < self.bound < math.inf:
            raise ConfigurationError(f"the bound of a codec must be positive and finite, not {self.bound!r}")

    @property
    def quantum(self) -> float:
        """The value of one word. A sum of k encoded vectors is off by less than k quanta per coordinate."""
        return 1.0 / self.scale


def codec_for(bound: float, heaviest: float, members: int) -> Codec:
    """The finest codec whose sums cannot wrap, whatever the members hold within the bound.

    Stochastic rounding moves a number by less than one word, so the sum over a neighbourhood is at most Σ_w
    (scale · W_vw · bound + 1) ≤ scale · heaviest · bound + members words. The scale is the largest power of
    two for which that is below 2^31 − 1: a deterministic condition, no probability of wrapping is left.
    (The one word kept back covers the float64 rounding of the products and of ``heaviest``, together less
    than half a word.)

    Args:
        bound: largest |coordinate| of any member's vector (:func:`model_bound`). Positive, finite.
        heaviest: largest over neighbourhoods of Σ_w W_vw, the sum of the weights of its members; the
            aggregator's own term never enters the ring. Positive, finite; at most 1 for stochastic rows.
        members: number of members of the largest neighbourhood, 1 … 2^20.

    Returns:
        The codec. Its ``quantum`` is the resolution of the opened sum.

    Raises:
        ConfigurationError: an argument outside its range, or no float64 scale exists.
    """
    if not 0.0 < bound < math.inf:
        raise ConfigurationError(f"the bound on a model must be positive and finite, not {bound!r}")
    if not 0.0 < heaviest < math.inf:
        raise ConfigurationError(f"the sum of mixing weights must be positive and finite, not {heaviest!r}")
    if not 1 <= members <= _MOST_MEMBERS:
        raise ConfigurationError(f"a neighbourhood must have 1 to {_MOST_MEMBERS} members, not {members!r}")
    reach, room = heaviest * bound, _HALF - 1.0 - members
    if not 2.0**-900 < reach < 2.0**900:
        raise ConfigurationError(
            f"no float64 scale fits a range of {reach!r}; express the model in other units"
        )
    # room / reach lies in [2^(e-1), 2^e), so the answer is 2^(e-1), or one less where "below" is strict.
    scale = 2.0 ** (math.frexp(room / reach)[1] - 1)
    while scale * reach >= room:
        scale /= 2.0
    return Codec(scale, bound)


def encode(values: NDArray[np.floating[Any]], weight: float, codec: Codec, rng: np.random.Generator) -> Words:
    """The words of ``weight · values``, each rounded without bias.

    Args:
        values: a member's vector, any shape, float32 or float64.
        weight: its mixing weight, not negative; applied before rounding.
        codec: the representation all members of the neighbourhood share.
        rng: source of the rounding; one uniform number per coordinate.

    Returns:
        Words of the shape of ``values``.

    Raises:
        OutOfRange: some |value| is above the codec's bound or not finite. Values never wrap and are never
            saturated.
        ConfigurationError: the weight is negative or not finite, or so large that one term alone could wrap.

    Guarantees:
        Each coordinate of the result, as an integer, has mean ``scale · weight · value`` and differs from
        it by less than 1. Rounding is *not* a privacy mechanism, and a sum of rounded vectors is not
        post-processing of their noisy real-valued sum: accounting of continuous noise added before encoding
        holds for real arithmetic.
    """
    if not (weight >= 0.0 and codec.scale * weight * codec.bound + 1.0 < _HALF):
        raise ConfigurationError(
            f"a weight of {weight!r} does not fit scale {codec.scale:g} and bound {codec.bound:g}; "
            "size it with codec_for(heaviest=...) no smaller than any weight"
        )
    # NaN and infinity survive max(|x|) and fail the comparison, so one pass checks everything.
    with np.errstate(invalid="ignore"):
        largest = float(np.max(np.abs(values), initial=0.0))
    if not largest <= codec.bound:
        raise OutOfRange(largest, codec.bound)
    scaled = values.astype(np.float64)
    scaled *= codec.scale  # exact, and first: a tiny weight cannot push a product below the normal numbers
    scaled *= weight
    below = np.floor(scaled)
    # floor(x + u) would carry on near-integers, where x + u itself rounds up; comparing fractions does not.
    scaled -= below
    below += rng.random(scaled.shape) < scaled
    return below.astype(np.int64).astype(np.uint32)


def decode(total: Words, codec: Codec) -> NDArray[np.float64]:
    """The real numbers a sum of words stands for.

    Args:
        total: the sum modulo 2^32 of encoded vectors, any shape.
        codec: the codec they were encoded with.

    Returns:
        float64 of the same shape: the words as signed integers, divided by the scale (exactly).

    Raises:
        ConfigurationError: ``total`` is not an array of 32-bit words.
    """
    if total.dtype != np.uint32:
        raise ConfigurationError(f"only an array of uint32 words can be decoded, not {total.dtype}")
    return total.astype(np.int32).astype(np.float64) / codec.scale


def model_bound(
    initial_norm: float, step_gain: float, rounds: int, step_norm: float, sigma: float, range_sigmas: float
) -> float:
    """A bound on every coordinate of every model an honest node sends during training.

    Unrolling the protocol, a model after t rounds is

        x = Σ_w a_w(0) x_w(0) − gain · Σ_{τ≤t} Σ_w a_w(τ) (g_w(τ) + z_w(τ)),

    where a(τ) is a row of a product of mixing matrices. Averaging with stochastic rows (weights not
    negative, sum 1; a skipped exchange is the identity row) makes every such row stochastic again, so it
    never enlarges the bound: the first term is a convex combination of initial models, each round's clipped
    sums contribute at most ``gain · step_norm`` in norm, hence in any coordinate, and each round's noise
    has per coordinate a standard deviation of at most ``gain · sigma`` (Σ_w a_w² ≤ 1), independent across
    rounds. In total

        ‖x_0‖ + gain · rounds · step_norm + range_sigmas · gain · sigma · √rounds.

    Args:
        initial_norm: largest norm of an initial model (any norm that dominates the largest coordinate).
        step_gain: what a clipped, noised sum is multiplied by: learning rate / divisor. Not negative.
        rounds: local updates per node, T.
        step_norm: bound on the norm of the clipped sum of one local update (records · clip for record-level
            clipping).
        sigma: standard deviation per coordinate of the noise added to one clipped sum.
        range_sigmas: how many standard deviations of accumulated noise the range leaves room for.

    Returns:
        The bound, for :func:`codec_for`.

    Raises:
        ConfigurationError: an argument is negative, not finite, or all of them leave no range at all.

    Guarantees:
        Without noise the bound is deterministic, for adaptive training too (clipping holds whatever the
        model). With noise an honest coordinate exceeds it with probability at most 2Φ(−range_sigmas) per
        model sent (8 sigmas: 1.3e-15), provided that who mixes with whom does not depend on the noise.
        :func:`encode` refuses such a vector, so the consequence is a withheld message. That it was withheld
        is visible and not accounted as a release; a union bound over coordinates and messages of the
        probability above bounds its share of δ. Nothing is promised about Byzantine nodes, nor about models
        they have poisoned. All of this is for real arithmetic: where float32 training rounds its way past the
        bound, the vector is refused like any other.
    """
    named = {
        "initial_norm": initial_norm,
        "step_gain": step_gain,
        "rounds": rounds,
        "step_norm": step_norm,
        "sigma": sigma,
        "range_sigmas": range_sigmas,
    }
    for name, value in named.items():
        if not 0.0 <= value < math.inf:
            raise ConfigurationError(f"{name} must be finite and not negative, not {value!r}")
    noise = range_sigmas * sigma * math.sqrt(rounds)
    bound = initial_norm + step_gain * (rounds * step_norm + noise)
    if not 0.0 < bound < math.inf:
        raise ConfigurationError(f"a model bound of {bound!r} leaves nothing to encode")
    return bound
