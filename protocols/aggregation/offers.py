"""Vectors a node contributes to sums as a member: one per round, encoded once for all its aggregators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from protocols.aggregation.encoding import Encoding
from protocols.aggregation.sums import Offer
from protocols.sharing.codec import OutOfRange
from protocols.sharing.modulus import Words
from simulator.contract.compute import Handle, Vector
from simulator.contract.node import Node

EVERYBODY = -1
"""Stands for every aggregator that has no weight of its own."""


class Recorded(Protocol):
    """Parameters and the number of their state in the lineage, such as a model."""

    @property
    def params(self) -> Handle | Vector:
        """The vector."""
        ...

    @property
    def state(self) -> int:
        """Number of the state."""
        ...


class Offers:
    """Models, or updates, of one node's latest rounds.

    Args:
        node: owner of the vectors.
        encoding: of vectors as words.
        weights: the node's public weight in each of its aggregators' sums, or in those of :data:`EVERYBODY`.
        kept: number of rounds for which vectors are kept.
    """

    def __init__(
        self, node: Node, encoding: Encoding, weights: Callable[[], Sequence[tuple[int, float]]], kept: int
    ) -> None:
        self._node = node
        self._encoding = encoding
        self._weights = weights
        self._kept = kept
        self._mine: dict[int, Recorded] = {}
        self._rows: dict[int, dict[int, Words] | OutOfRange] = {}

    def put(self, round: int, model: Recorded) -> None:
        """Set the vector of ``round``, and drop those of old rounds."""
        self._mine[round] = model
        for old in [known for known in self._mine if known <= round - self._kept]:
            del self._mine[old]
            self._rows.pop(old, None)

    def has(self, round: int) -> bool:
        """Return whether there is a vector for ``round``."""
        return round in self._mine

    def is_early(self, round: int) -> bool:
        """Return whether ``round`` has not started at this node."""
        return round > max(self._mine, default=-1)

    def offer(self, aggregator: int, round: int) -> Offer:
        """Return the node's contribution to an aggregator's sum.

        Raises:
            OutOfRange: the vector exceeds the range its encoding was sized for; for an honest node with at most the
                failure probability that the privacy claims account for.
        """
        node, mine = self._node, self._mine[round]
        said: Recorded = node.outgoing(mine, to=aggregator, round=round)
        values = node.read(said.params)
        if said is mine:
            values = self._encoding.within(values)
        weights = dict(self._weights())
        whose = aggregator if aggregator in weights else EVERYBODY
        weight = weights[whose]
        if said is mine:
            if round not in self._rows:
                self._rows[round] = self._encoded(values, weights, round)
            rows = self._rows[round]
            if isinstance(rows, OutOfRange):
                raise rows
            words = rows[whose]
        else:  # a Byzantine node may send different vectors to different aggregators
            words = self._encoding.encode(values, [weight], node, round, aggregator)[0]
        return Offer(words, values, weight, said.state)

    def _encoded(
        self, values: np.ndarray, weights: dict[int, float], round: int
    ) -> dict[int, Words] | OutOfRange:
        try:
            rows = self._encoding.encode(values, list(weights.values()), self._node, round)
        except OutOfRange as error:
            return error
        rows.setflags(write=False)
        return dict(zip(weights, rows, strict=True))
