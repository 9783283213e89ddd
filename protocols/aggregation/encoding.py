"""From a member's vector to the words that go into a sum, and from the words of an opened sum back.

Either the vector's noise is in it already, as real numbers: fixed point, the weight applied before rounding. Or the
noise is made of integers and added to the words here: the vector is rotated, scaled, rounded and noised, and what the
aggregator opens is an integer sum whose noise has a known law.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from protocols.privacy import excess_noise
from protocols.privacy.integer_noise import discrete_gaussian, skellam
from protocols.sharing.codec import Codec, OutOfRange, decode, encode_rows
from protocols.sharing.modulus import Integers, Modulus, Words
from protocols.sharing.rotation import Signs, draw_signs, padded, rotate, rotate_back
from protocols.sharing.rounding import conditional, stochastic
from simulator.contract.compute import Vector
from simulator.contract.node import Node

SEED_BYTES = 32
Law: TypeAlias = Literal["skellam", "discrete-gaussian"]


class Encoding(ABC):
    """How vectors of one run become words.

    Args:
        codec: scale, range and modulus.
    """

    sigma: float = 0.0
    """Standard deviation of the noise it adds to each coordinate of a member's vector, in the vector's units."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    @property
    def modulus(self) -> Modulus:
        """Of the words."""
        return self.codec.modulus

    def size(self, elements: int) -> int:
        """Words of a vector."""
        return elements

    def within(self, values: Vector) -> Vector:
        """What an honest node offers in place of a vector that :meth:`encode` might refuse, where noise comes later.

        A vector that holds its noise is offered as it is: whether it fits is a matter of how much noise there is.
        """
        return values

    @abstractmethod
    def encode(self, values: Vector, weights: Sequence[float], node: Node, round: int, *key: int) -> Words:
        """One row of words for each weight.

        Args:
            values: the vector, (d,).
            weights: what it is multiplied by for each of its aggregators.
            node: whose it is.
            round: of the sum.
            key: tells vectors of one round apart, where a node has several.

        Raises:
            OutOfRange: the vector exceeds the range its encoding was sized for.
        """

    @abstractmethod
    def decode(self, words: Words, round: int) -> Vector:
        """The vector an opened sum stands for, float32."""


class FixedPoint(Encoding):
    """Weighted, rounded without bias; noise, if any, is in the vector."""

    def encode(self, values: Vector, weights: Sequence[float], node: Node, round: int, *key: int) -> Words:
        """One vectorised call for all aggregators."""
        return encode_rows(values, np.array(weights), self.codec, node.rng("rounding", round, *key))

    def decode(self, words: Words, round: int) -> Vector:
        """Signed words over the scale."""
        return decode(words, self.codec).astype(np.float32)


class NoisedIntegers(Encoding):
    """Rotated, scaled, rounded, and noised by integers.

    Args:
        codec: scale and modulus; its bound is the largest norm of a member's vector.
        law: of the noise.
        sigma: standard deviation of a member's noise, in the vector's units.
        elements: d, of the vectors.
        beacon: public randomness of the run; the rotation of each round is drawn from it.
        parts: variances of the parts of a member's Skellam noise, in squared units of the vectors, the first of
            which stays; of a single part, the noise is all of it.
        whole: a node is what is protected, so its vector's own norm after rounding counts: rounding is repeated
            until that is bounded.

    Guarantees:
        Given that no sum wraps, an opened sum is Σ (rounded vectors) + noise, the noise of each member independent
        and of the stated law; see :mod:`protocols.privacy.integer_accounting` for what that is worth. Every
        member's noise is drawn once per round. Vectors of a norm above the codec's bound are refused; what
        :meth:`within` gives is none, so that no refusal depends on the data of a node that uses it. It moves no two
        vectors further apart, and keeps every sensitivity.
    """

    def __init__(
        self,
        codec: Codec,
        law: Law,
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
        """Rotation needs a power of two."""
        return padded(elements)

    def within(self, values: Vector) -> Vector:
        """Shortened to the codec's bound: float32 may have made an update longer than what was clipped."""
        norm = float(np.linalg.norm(values.astype(np.float64)))
        if norm <= self.codec.bound:
            return values
        shorter: Vector = (values * (self.codec.bound / norm)).astype(np.float32)
        return shorter

    def encode(self, values: Vector, weights: Sequence[float], node: Node, round: int, *key: int) -> Words:
        """Weights are 1: integers are not multiplied after they are rounded."""
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
        """What one part of a node's noise in a round is drawn from."""
        known = node.disk.setdefault("noise seeds", {})
        if (round, index) not in known:
            for old in [key for key in known if key[0] < round]:
                del known[old]
            known[round, index] = node.secret(f"part {index} of the noise of round {round}", SEED_BYTES)
        seed: bytes = known[round, index]
        return seed

    def without(self, value: Vector, round: int, revealed: Sequence[tuple[int, bytes]]) -> Vector:
        """An opened sum without parts of its noise.

        Args:
            value: from :meth:`decode`.
            round: of the sum.
            revealed: (which part, its seed), of any members.
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
        return skellam(self.parts[index] * self.codec.scale**2, size, excess_noise.generator(seed))

    def decode(self, words: Words, round: int) -> Vector:
        """Signed words over the scale, rotated back."""
        real = decode(words, self.codec)
        return rotate_back(real, self._signs(round), self._elements).astype(np.float32)

    def _signs(self, round: int) -> Signs:
        seed = hashlib.sha256(b"rotation" + self._beacon + round.to_bytes(8, "big")).digest()
        rng: Any = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
        return draw_signs(self._elements, rng)
