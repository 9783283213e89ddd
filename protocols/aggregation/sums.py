"""Common types of protocols for secure sums: the name of a sum, offers, opened sums, and the rules.

A *sum* is asked for by its *aggregator*, which lists the *members* whose vectors go into it. All sub-rounds are
messages between the aggregator and its members; messages between members are relayed by the aggregator, as they need
not be neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from protocols.aggregation.encoding import Encoding
from protocols.aggregation.keys import ID_BYTES
from protocols.aggregation.members import minimum_members, participants
from protocols.aggregation.public_range import PublicRange
from protocols.sharing.modulus import Words
from simulator.contract.compute import Vector
from simulator.errors import SottovoceError

ROUND_BYTES, ATTEMPT_BYTES = 4, 4
SUM_BYTES = ID_BYTES + ROUND_BYTES + ATTEMPT_BYTES
"""Bytes of a sum's name, which every message of a sum carries."""
HELLO = "hello"
"""Kind of a member's greeting: it takes part in this round."""
HELLO_BYTES = ID_BYTES + ROUND_BYTES
KEPT_ROUNDS = 3
"""Number of rounds for which a member still answers slower aggregators."""


class SumId(NamedTuple):
    """Name of one sum.

    Args:
        aggregator: node that opens it.
        round: the round of its vectors.
        attempt: number of the aggregator's list within the round, from 0.
    """

    aggregator: int
    round: int
    attempt: int


class Refused(SottovoceError):
    """Raised when a member does not answer a request.

    Args:
        reason: cause, in words.
    """


class Skipped(SottovoceError):
    """Raised when an aggregator does not open a sum.

    Args:
        reason: cause, in words.
    """


class Offer(NamedTuple):
    """Contribution of a member to a sum.

    Args:
        words: its weighted vector, encoded.
        values: the vector before encoding, weight not applied; float32.
        weight: its public weight.
        state: number of ``values`` in the lineage.
    """

    words: Words
    values: Vector
    weight: float
    state: int


class Reply(NamedTuple):
    """Content of a message of a sum.

    Args:
        payload: immutable content; the sum's name is added to it.
        size_bytes: bytes of the payload; those of the sum's name are added.
        release: lineage tag, what the receiver learns.
    """

    payload: Any
    size_bytes: int
    release: Any = None


class Opened(NamedTuple):
    """An opened sum.

    Args:
        value: Σ weight · vector over ``members``, float32; of a sparsified sum, without the positions that no member
            sent.
        members: nodes whose vectors are in it, ascending.
        terms: (weight, lineage state) of each.
        covered: by position, the sum of weights in ``value``, where members left positions out; None where all
            positions were sent by all.
        removed: (coefficient, lineage state) of noise that was subtracted.
    """

    value: Vector
    members: tuple[int, ...]
    terms: tuple[tuple[float, int], ...]
    covered: Vector | None = None
    removed: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, eq=False)
class NormProof:
    """Modelled proof that a masked vector is near a public point: its statement is checked, and its cost charged.

    Args:
        centre: the public point, (d,).
        radius: largest distance that can be proven; large enough for any honest vector, see
            :mod:`protocols.aggregation.public_range`.
        size_bytes: bytes of one proof.
        prove_s: virtual seconds to make one.
        verify_s: virtual seconds to check one.
    """

    centre: Vector
    radius: float
    size_bytes: int
    prove_s: float
    verify_s: float

    def holds(self, vector: Vector) -> bool:
        """Return whether a proof can be made for a vector."""
        return bool(np.linalg.norm(vector - self.centre) <= self.radius)


@dataclass(frozen=True)
class Rules:
    """Public parameters agreed on by all nodes before the run, for every protocol of secure sums.

    Args:
        encoding: how vectors become words, sized so that no sum of a whole neighbourhood can wrap.
        real: real cryptography; otherwise an ideal functionality with the same sizes, times and failures.
        colluders: number of members that may collude with their aggregator.
        tolerated_dropouts: number of members by which a list, or an opened sum, may fall short of the neighbourhood.
        timeout_s: duration of any one sub-round, seconds.
        context: names the run; every key, signature and mask is bound to it.
        participation: fraction of a neighbourhood that is asked to take part in a sum.
        agreement_cost_s: virtual seconds of one key agreement or key generation.
        mask_cost_s_per_byte: virtual seconds to generate and add one byte of mask.
        share_cost_s_per_byte: virtual seconds to make, or to combine, one byte of a share.
        commitment_cost_s: virtual seconds to make one commitment, or to check one share against them.
        buckets: number of sums into which a neighbourhood is split in every round.
        proof: norm proof of vectors; None: nothing is proven.
        public_range: range of the models that local updates start from; None: not restricted.
    """

    encoding: Encoding
    real: bool
    colluders: int
    tolerated_dropouts: int
    timeout_s: float
    context: bytes
    participation: float = 1.0
    agreement_cost_s: float = 0.0
    mask_cost_s_per_byte: float = 0.0
    share_cost_s_per_byte: float = 0.0
    commitment_cost_s: float = 0.0
    buckets: int = 1
    proof: NormProof | None = None
    public_range: PublicRange | None = None

    def bucketed(self, aggregator: int, round: int, members: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Return the members of each of an aggregator's sums of a round: a public random split, new every round."""
        if self.buckets == 1:
            return (tuple(members),)
        order = sorted(
            members, key=lambda v: sha256(self.context + repr((aggregator, round, v)).encode()).digest()
        )
        return tuple(tuple(sorted(order[bucket :: self.buckets])) for bucket in range(self.buckets))

    def minimum(self, neighbourhood: int) -> int:
        """Return the length of the shortest list that members of a neighbourhood of this size answer."""
        asked = participants(self.participation, neighbourhood)
        return minimum_members(asked, self.colluders, self.tolerated_dropouts)

    def vector_bytes(self, words: int) -> int:
        """Return the bytes of an encoded vector with that many words."""
        return self.encoding.modulus.size_bytes(words)


def ids_bytes(count: int) -> int:
    """Return the bytes of a list of ids."""
    return ID_BYTES * count


def is_ids(value: Any, among: Sequence[int]) -> bool:
    """Return whether a value is an ascending tuple of ids out of ``among``."""
    if not isinstance(value, tuple) or not all(isinstance(peer, int) for peer in value):
        return False
    return value == tuple(sorted(set(value))) and set(value) <= set(among)
