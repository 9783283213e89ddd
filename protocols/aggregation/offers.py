"""What a node offers to the sums it is a member of: one vector a round, encoded once for all its aggregators."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from protocols.aggregation.encoding import Encoding
from protocols.aggregation.sums import Offer
from protocols.gossip.learner import Model
from protocols.sharing.codec import OutOfRange
from protocols.sharing.modulus import Words
from simulator.contract.node import Node


class Offers:
    """The models, or updates, of one node's latest rounds.

    Args:
        node: whose.
        encoding: how they become words.
        weights: the node's public weight in each of its aggregators' sums.
        kept: for how many rounds.
    """

    def __init__(
        self, node: Node, encoding: Encoding, weights: Callable[[], Sequence[tuple[int, float]]], kept: int
    ) -> None:
        self._node = node
        self._encoding = encoding
        self._weights = weights
        self._kept = kept
        self._mine: dict[int, Model] = {}
        self._rows: dict[int, dict[int, Words] | OutOfRange] = {}

    def put(self, round: int, model: Model) -> None:
        """This is what the node offers in ``round``; what is too old is forgotten."""
        self._mine[round] = model
        for old in [known for known in self._mine if known <= round - self._kept]:
            del self._mine[old]
            self._rows.pop(old, None)

    def has(self, round: int) -> bool:
        """Whether there is an offer for ``round``."""
        return round in self._mine

    def is_early(self, round: int) -> bool:
        """Whether ``round`` is still to come here."""
        return round > max(self._mine, default=-1)

    def offer(self, aggregator: int, round: int) -> Offer:
        """What the node puts into an aggregator's sum.

        Raises:
            OutOfRange: the vector exceeds the range its encoding was sized for; of an honest node, with the
                probability that the run's claims pay for.
        """
        node, mine = self._node, self._mine[round]
        said: Model = node.outgoing(mine, to=aggregator, round=round)
        values = node.read(said.params)
        if said is mine:
            values = self._encoding.within(values)
        weights = dict(self._weights())
        weight = weights[aggregator]
        if said is mine:
            if round not in self._rows:
                self._rows[round] = self._encoded(values, weights, round)
            rows = self._rows[round]
            if isinstance(rows, OutOfRange):
                raise rows
            words = rows[aggregator]
        else:  # a Byzantine node says something else to each
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
