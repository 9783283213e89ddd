"""Encoding of a member's vector as words of a sum, and decoding of an opened sum.

Either the vector already holds its noise, as real numbers: fixed point, the weight applied before rounding. Or the
noise is made of integers and added to the words here: the vector is rotated, scaled, rounded and noised, and the
aggregator opens an integer sum whose noise has a known law.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from protocols.privacy import removable_noise
from protocols.privacy.integer_noise import discrete_gaussian, skellam
from protocols.sharing.codec import Codec, OutOfRange, decode, encode_rows
from protocols.sharing.modulus import Integers, Modulus, Words
from protocols.sharing.rotation import Signs, draw_signs, padded, rotate, rotate_back
from protocols.sharing.rounding import conditional, stochastic
from simulator.contract.compute import Vector
from simulator.contract.node import Node

SEED_BYTES = 32
NoiseLaw: TypeAlias = Literal["skellam", "discrete-gaussian"]


class Encoding(ABC):
    """Base class of encodings of vectors as words.

    Args:
        codec: scale, range and modulus.
    """

    sigma: float = 0.0
    """Standard deviation of the noise it adds to each coordinate of a member's vector, in the vector's units."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    @property
    def modulus(self) -> Modulus:
        """Return the modulus of the words."""
        return self.codec.modulus

    def size(self, elements: int) -> int:
        """Return the number of words of a vector."""
        return elements

    def within(self, values: Vector) -> Vector:
        """Return the vector an honest node offers in place of one that :meth:`encode` might refuse.

        A vector that already holds its noise is returned unchanged: whether it fits depends on the noise drawn.
        """
        return values

    @abstractmethod
    def encode(self, values: Vector, weights: Sequence[float], node: Node, round: int, *key: int) -> Words:
        """Encode a vector, one row of words for each weight.

        Args:
            values: the vector, (d,).
            weights: its factor for each aggregator.
            node: owner of the vector.
            round: round of the sum.
            key: distinguishes several vectors of a node in one round.

        Raises:
            OutOfRange: the vector exceeds the range its encoding was sized for.
        """

    @abstractmethod
    def decode(self, words: Words, round: int) -> Vector:
        """Return the vector an opened sum stands for, float32."""


class FixedPoint(Encoding):
    """Fixed point: weighted, rounded without bias; noise, if any, is already in the vector."""

    def encode(self, values: Vector, weights: Sequence[float], node: Node, round: int, *key: int) -> Words:
        """Encode for all aggregators in one vectorised call."""
        return encode_rows(values, np.array(weights), self.codec, node.rng("rounding", round, *key))

    def decode(self, words: Words, round: int) -> Vector:
        """Divide the signed words by the scale."""
        return decode(words, self.codec).astype(np.float32)


class NoisedIntegers(Encoding):
    """Rotated, scaled and rounded vectors with integer noise.

    Args:
        codec: scale and modulus; its bound is the largest norm of a member's vector.
        law: of the noise.
        sigma: standard deviation of a member's noise, in the vector's units.
        elements: d, of the vectors.
        beacon: public randomness of the run; the rotation of each round is drawn from it.
        parts: variances of the parts of a member's Skellam noise, in squared units of the vectors; the first part is
            never removed, and a single part is all of the noise.
        whole: whether a node is protected as a whole, so that the norm of its rounded vector counts: rounding is
            repeated until that norm is within its bound.

    Guarantees:
        Given that no sum wraps, an opened sum is Σ (rounded vectors) + noise, the noise of each member independent
        and of the stated law; see :mod:`protocols.privacy.integer_accounting` for its privacy. Every member's noise
        is drawn once per round. Vectors of a norm above the codec's bound are refused; :meth:`within` never returns
        one, so no refusal depends on the data of a node that uses it. It does not increase the distance of any two
        vectors, so it preserves every sensitivity.
    """

    def __init__(
        self,
        codec: Codec,
        law: NoiseLaw,
        sigma: float,
        elements: int,
        beacon: bytes,
        *,
        whole: bool,
        parts: Sequence[float] = (),
    ) -> None:
        super().__init__(codec)
        self.sigma = sigma
        self._law = law
        self._elements = elements
        self._beacon = beacon
        self._whole = whole
        self.parts = tuple(parts) or (sigma**2,)

    def size(self, elements: int) -> int:
        """Return the size padded to a power of two, as rotation needs."""
        return padded(elements)

    def within(self, values: Vector) -> Vector:
        """Shorten to the codec's bound: float32 rounding may have made an update longer than its clipping norm."""
        norm = float(np.linalg.norm(values.astype(np.float64)))
        if norm <= self.codec.bound:
            return values
        shorter: Vector = (values * (self.codec.bound / norm)).astype(np.float32)
        return shorter

    def encode(self, values: Vector, weights: Sequence[float], node: Node, round: int, *key: int) -> Words:
        """Encode with weight 1: integers are not multiplied after they are rounded."""
        codec = self.codec
        if any(weight != 1.0 for weight in weights):
            raise OutOfRange(max(weights), 1.0)
        scaled = rotate(values, self._signs(round)) * codec.scale
        rng = node.rng("rounding", round, *key)
        limit = codec.scale * codec.bound
        norm = float(np.linalg.norm(scaled))
        if not norm <= limit * (1 + 2.0**-20):
            raise OutOfRange(norm / codec.scale, codec.bound)
        if norm > limit:  # by the rounding of float32, which at a fine scale is many words
            scaled *= limit / norm * (1 - 2.0**-50)
        integers = conditional(scaled, limit, rng).integers if self._whole else stochastic(scaled, rng)
        draw = {"skellam": skellam, "discrete-gaussian": discrete_gaussian}[self._law]
        variance = self.parts[0] * codec.scale**2
        noised = integers + draw(variance, integers.size, node.rng("integer noise", round, *key))
        for index in range(1, len(self.parts)):
            noised += self._part(index, self.seed(node, round, index), integers.size)
        return np.stack([self.modulus.reduce(noised)] * len(weights))

    def seed(self, node: Node, round: int, index: int) -> bytes:
        """Return the seed of one part of a node's noise in a round."""
        known = node.disk.setdefault("noise seeds", {})
        if (round, index) not in known:
            for old in [key for key in known if key[0] < round]:
                del known[old]
            known[round, index] = node.secret(f"part {index} of the noise of round {round}", SEED_BYTES)
        seed: bytes = known[round, index]
        return seed

    def without(self, value: Vector, round: int, revealed: Sequence[tuple[int, bytes]]) -> Vector:
        """Subtract parts of the noise from an opened sum.

        Args:
            value: result of :meth:`decode`.
            round: round of the sum.
            revealed: (index of a part, its seed), of any members.
        """
        if not revealed:
            return value
        size = padded(self._elements)
        noise = np.zeros(size, np.int64)
        for index, seed in revealed:
            noise += self._part(index, seed, size)
        real = rotate_back(noise / self.codec.scale, self._signs(round), self._elements)
        return (value - real).astype(np.float32)

    def _part(self, index: int, seed: bytes, size: int) -> Integers:
        return skellam(self.parts[index] * self.codec.scale**2, size, removable_noise.generator(seed))

    def decode(self, words: Words, round: int) -> Vector:
        """Divide the signed words by the scale and rotate back."""
        real = decode(words, self.codec)
        return rotate_back(real, self._signs(round), self._elements).astype(np.float32)

    def _signs(self, round: int) -> Signs:
        seed = hashlib.sha256(b"rotation" + self._beacon + round.to_bytes(8, "big")).digest()
        rng: Any = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
        return draw_signs(self._elements, rng)
