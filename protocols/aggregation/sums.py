"""What every protocol for secure sums works with: the name of a sum, what members offer, what is opened, the rules.

A *sum* is asked for by its *aggregator*, which lists the *members* whose vectors go into it. All sub-rounds are
messages between the aggregator and its members; what members tell each other is relayed by the aggregator, as
they need not be neighbours.
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
"""Every message of a sum names it."""
HELLO = "hello"
"""A member's sign of life: it takes part in this round."""
HELLO_BYTES = ID_BYTES + ROUND_BYTES
KEPT_ROUNDS = 3
"""For how many rounds a member still answers slower aggregators."""


class SumId(NamedTuple):
    """Names one sum.

    Args:
        aggregator: who opens it.
        round: the round of its vectors.
        attempt: counts the aggregator's lists within the round, from 0.
    """

    aggregator: int
    round: int
    attempt: int


class Refused(SottovoceError):
    """A member does not answer a request.

    Args:
        reason: why, in words.
    """


class Skipped(SottovoceError):
    """An aggregator gives a sum up.

    Args:
        reason: why, in words.
    """


class Offer(NamedTuple):
    """What a member puts into a sum.

    Args:
        words: its weighted vector, encoded.
        values: the same before it was encoded, weight not applied; float32.
        weight: its public weight.
        state: what ``values`` are in the lineage.
    """

    words: Words
    values: Vector
    weight: float
    state: int


class Reply(NamedTuple):
    """Content of a message of a sum.

    Args:
        payload: immutable content; the sum's name is added to it.
        size_bytes: of the payload; the sum's name is added to it.
        release: what its receiver learns.
    """

    payload: Any
    size_bytes: int
    release: Any = None


class Opened(NamedTuple):
    """A sum that was opened.

    Args:
        value: Σ weight · vector over ``members``, float32; of a sparsified sum, without the positions nobody sent.
        members: whose vectors are in it, ascending.
        terms: (weight, lineage state) of each.
        covered: by position, the sum of weights in ``value``, where members left positions out; None where all
            sent all.
        removed: (coefficient, lineage state) of noise that was taken out again.
    """

    value: Vector
    members: tuple[int, ...]
    terms: tuple[tuple[float, int], ...]
    covered: Vector | None = None
    removed: tuple[tuple[float, int], ...] = ()


@dataclass(frozen=True, eq=False)
class NormProof:
    """A proof that a masked vector is near a public point, modelled: its statement holds, and it costs what is said.

    Args:
        centre: the public point, (d,).
        radius: largest distance that can be proven; large enough for any honest vector, see
            :mod:`protocols.aggregation.public_range`.
        size_bytes: of one proof.
        prove_s: virtual seconds to make one.
        verify_s: virtual seconds to check one.
    """

    centre: Vector
    radius: float
    size_bytes: int
    prove_s: float
    verify_s: float

    def holds(self, vector: Vector) -> bool:
        """Whether it can be made for a vector."""
        return bool(np.linalg.norm(vector - self.centre) <= self.radius)


@dataclass(frozen=True)
class Rules:
    """What all nodes agree on before the run, whatever the protocol of their sums.

    Args:
        encoding: how vectors become words, sized so that no sum of a whole neighbourhood can wrap.
        real: real cryptography; otherwise an ideal functionality with the same sizes, times and failures.
        colluders: how many members may pool what they know with their aggregator.
        tolerated_dropouts: by how many members a list, or what is opened, may fall short of the neighbourhood.
        timeout_s: how long any one sub-round lasts.
        context: names the run; every key, signature and mask is bound to it.
        participation: the fraction of a neighbourhood that is asked to take part in a sum.
        agreement_cost_s: virtual seconds of one key agreement or key generation.
        mask_cost_s_per_byte: virtual seconds to generate and add one byte of mask.
        share_cost_s_per_byte: virtual seconds to make, or to combine, one byte of a share.
        commitment_cost_s: virtual seconds to make one commitment, or to check one share against them.
        buckets: sums into which a neighbourhood is split in every round.
        proof: that vectors are not long; None: nothing is proven.
        public_range: where every member's local updates start from; None: wherever mixes lead.
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
        """The members of each of an aggregator's sums of a round: drawn anew every round, and public."""
        if self.buckets == 1:
            return (tuple(members),)
        order = sorted(
            members, key=lambda v: sha256(self.context + repr((aggregator, round, v)).encode()).digest()
        )
        return tuple(tuple(sorted(order[bucket :: self.buckets])) for bucket in range(self.buckets))

    def minimum(self, neighbourhood: int) -> int:
        """The shortest list that members of a neighbourhood of this size answer."""
        asked = participants(self.participation, neighbourhood)
        return minimum_members(asked, self.colluders, self.tolerated_dropouts)

    def vector_bytes(self, words: int) -> int:
        """Bytes of an encoded vector of that many words."""
        return self.encoding.modulus.size_bytes(words)


def ids_bytes(count: int) -> int:
    """Bytes of a list of ids."""
    return ID_BYTES * count


def is_ids(value: Any, among: Sequence[int]) -> bool:
    """Whether something is an ascending tuple of ids out of ``among``."""
    if not isinstance(value, tuple) or not all(isinstance(peer, int) for peer in value):
        return False
    return value == tuple(sorted(set(value))) and set(value) <= set(among)
