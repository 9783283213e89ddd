"""Integer noise in a client's update, and its removal from an opened sum where it turned out to be excess.

After a sum is open the server asks its members for the seeds of excess parts (``surplus`` → ``seeds``). A member
answers for as many dropouts as *it* was told of when it helped to open the sum, independent of the request. Parts
without a
received seed stay in the sum: more noise than needed, never less.
"""

from __future__ import annotations

from typing import Any

from protocols.aggregation.encoding import SEED_BYTES, NoisedIntegers
from protocols.aggregation.gathering import Pump
from protocols.aggregation.keys import ID_BYTES
from protocols.aggregation.sums import ROUND_BYTES, Opened, Rules
from protocols.gossip.learner import Learner, Model
from protocols.privacy.lineage import ORIGIN, Visible
from protocols.privacy.removable_noise import removable
from simulator.contract.node import Delivery, Message, Node

SURPLUS, SEEDS = "surplus", "seeds"
REQUEST_BYTES = ID_BYTES + ROUND_BYTES


class ExcessNoise:
    """Removable noise of one node in its sums.

    Args:
        node: owner of the noise.
        learner: writer of the lineage in which the noise is recorded.
        rules: public parameters of all sums, the encoding among them.
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
        """Record the noise that an update's words will receive; return the noised update.

        Words are noised when they are encoded; in the lineage each part is a contribution of noise alone.
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
        """Ask for seeds at the server, and subtract the noise derived from them.

        Args:
            round: round of the sum.
            asked: number of members asked to take part.
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
        """Handle a request or an answer.

        Args:
            delivery: the message.
            asked: number of members that take part in a sum.
            included: members in the sum of the message's round, as announced to this member; None if it did not
                help to open it.
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
