"""Noise of integers in a client's update, and taking out of an opened sum what turned out to be too much of it.

After a sum is open the server asks its members for the seeds of surplus parts (``surplus`` → ``seeds``). A member
answers for as many dropouts as *it* was told of when it helped to open the sum, whatever the server says. Parts whose
seeds do not come stay in: more noise than needed, never less.
"""

from __future__ import annotations

from typing import Any

from protocols.aggregation.encoding import SEED_BYTES, NoisedIntegers
from protocols.aggregation.gathering import Pump
from protocols.aggregation.keys import ID_BYTES
from protocols.aggregation.sums import ROUND_BYTES, Opened, Rules
from protocols.gossip.learner import Learner, Model
from protocols.privacy.excess_noise import removable
from protocols.privacy.lineage import ORIGIN, Visible
from simulator.contract.node import Delivery, Message, Node

SURPLUS, SEEDS = "surplus", "seeds"
REQUEST_BYTES = ID_BYTES + ROUND_BYTES


class ExcessNoise:
    """One node's noise in its sums, part by part.

    Args:
        node: whose.
        learner: whose lineage records the noise.
        rules: what all agree on, the encoding among it.
    """

    def __init__(self, node: Node, learner: Learner, rules: Rules) -> None:
        self._node = node
        self._lineage = learner.lineage
        self._rules = rules
        self._states: dict[int, list[int]] = {}
        self._waited: tuple[int, frozenset[int]] = (-1, frozenset())
        self._answers: dict[int, Message] = {}

    @property
    def _parts(self) -> tuple[float, ...]:
        encoding = self._rules.encoding
        return encoding.parts if isinstance(encoding, NoisedIntegers) else ()

    def noised(self, round: int, update: Model) -> Model:
        """The update as it is once its words are noised.

        Words are noised when they are made; in the lineage each part is a contribution of nothing but noise.
        """
        if not any(self._parts):
            return update
        lineage, node = self._lineage, self._node
        states = [
            lineage.contribute(node.now_s, node.id, round, ORIGIN, gain=1.0, sigma=part**0.5, sensitivity=0.0)
            for part in self._parts
        ]
        self._states = {round: states}
        terms = [(1.0, update.state), *((1.0, state) for state in states)]
        return Model(update.params, lineage.combine(node.now_s, node.id, round, terms))

    async def removed(self, round: int, asked: int, opened: Opened, pump: Pump) -> Opened:
        """The server's part: ask for seeds, and subtract what they make.

        Args:
            round: of the sum.
            asked: how many members were asked to take part.
            opened: the sum.
            pump: handles messages meanwhile.
        """
        encoding = self._rules.encoding
        surplus = removable(asked - len(opened.members), len(self._parts))
        if not surplus or not isinstance(encoding, NoisedIntegers):
            return opened
        node = self._node
        self._waited, self._answers = (round, frozenset(opened.members)), {}
        node.multicast(opened.members, Message(SURPLUS, round, None, REQUEST_BYTES))
        await pump(lambda: self._waited[1] <= self._answers.keys(), self._rules.timeout_s)
        self._waited = (-1, frozenset())
        revealed, removed = [], []
        for _, answer in sorted(self._answers.items()):
            revealed += answer.body
            removed += [(-1.0, seen.state) for seen in answer.release]
        node.record("surplus", round=round, parts=len(revealed))
        value = encoding.without(opened.value, round, revealed)
        value.setflags(write=False)
        return opened._replace(value=value, removed=tuple(removed))

    def handle(self, delivery: Delivery, asked: int, included: tuple[int, ...] | None) -> None:
        """Take in a request or an answer.

        Args:
            delivery: the message.
            asked: how many members take part in a sum.
            included: whose vectors are in the sum of the message's round, as this member was told; None if it did
                not help to open it.
        """
        src, message = delivery.src, delivery.message
        if message.kind == SEEDS:
            if message.round == self._waited[0] and src in self._waited[1] and _is_seeds(message.body):
                self._answers.setdefault(src, message)
            return
        encoding, states = self._rules.encoding, self._states.get(message.round)
        if included is None or states is None or not isinstance(encoding, NoisedIntegers):
            return
        shown = removable(asked - len(included), len(self._parts))
        seeds = tuple((index, encoding.seed(self._node, message.round, index)) for index in shown)
        release = tuple(Visible(states[index]) for index in shown)
        size = REQUEST_BYTES + len(seeds) * (1 + SEED_BYTES)
        self._node.send(src, Message(SEEDS, message.round, seeds, size, release))


def _is_seeds(body: Any) -> bool:
    return isinstance(body, tuple) and all(
        isinstance(part, tuple) and len(part) == 2 and isinstance(part[1], bytes) for part in body
    )
