"""Sparsified neighbourhood masks after CESAR: only positions chosen by enough members are sent.

Every round a member chooses the positions of its vector that it may share, and announces them to its co-members
through the aggregator. It then sends those that at least ``minimum`` listed members chose, each under the masks of
all others that chose it too. A position is therefore opened as a sum over the members that chose it, never over
fewer.

Positions are chosen at random (by a stream of the node, independent of its data), or are those that changed most
since the node last sent them. The latter choice depends on the noised model, so it is charged as if the model had
been shown
to all receivers of the choice: the aggregator and all listed co-members. The number of chosen positions that enough
others share then depends on models as well, and message sizes are visible on the link, so masked messages are padded
to all chosen positions.

Source: Biswas et al. 2024 (CESAR, arXiv 2405.07708). Here the agreement on positions takes one sub-round.

Sub-rounds: ``list`` → ``indices`` (chosen positions), ``agreed`` → ``masked`` (all members' positions; masked
values).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from protocols.aggregation.gathering import Gathering, Part
from protocols.aggregation.ideal import Sealed, seal, unseal
from protocols.aggregation.keyring import Keyring
from protocols.aggregation.keys import ID_BYTES
from protocols.aggregation.masks import keystream
from protocols.aggregation.suite import Keyed
from protocols.aggregation.sums import Offer, Opened, Refused, Reply, Rules, Skipped, ids_bytes
from protocols.privacy.lineage import ORIGIN, Lineage, Share, Visible
from protocols.sharing.modulus import Words
from simulator.contract.node import Node

Flags = NDArray[np.bool_]
INDEX_BYTES = 4


@dataclass(frozen=True)
class CesarPlan:
    """Selection of the positions that are sent.

    Args:
        fraction: fraction of the positions that a member chooses, 0 … 1.
        choice: ``"random"``, or ``"largest"`` change since the position was last sent.
        minimum: number of members that must have chosen a position for it to be sent.
    """

    fraction: float
    choice: Literal["random", "largest"]
    minimum: int

    def count(self, size: int) -> int:
        """Return the number of positions chosen out of ``size``."""
        return max(1, round(self.fraction * size))

    def sent(self, shared: int, size: int) -> int:
        """Return the words of a masked message: the positions shared by enough members, or as many as were chosen."""
        return shared if self.choice == "random" else self.count(size)

    def index_bytes(self, size: int) -> int:
        """Return the bytes that encode a choice: position numbers or one bit per position, whichever is shorter."""
        return min(INDEX_BYTES * self.count(size), -(-size // 8))


class Cesar(Keyed):
    """One node's side of sparsified masks.

    Args:
        node: node that takes part.
        rules: public parameters of all sums.
        plan: selection of positions.
        lineage: record of the run, in which choices are recorded.
        keyring: keys shared with co-members.

    Guarantees:
        As for single masks, position by position: an aggregator with up to ``colluders`` members learns for each
        position the sum over the other members that chose it, of whom there are at least ``minimum`` − ``colluders``.
        Choices are known to the aggregator and all listed members. An aggregator that misstates the choices of
        others makes masks not cancel and opens only noise. A position is open as soon as all members that chose it
        have sent theirs, even if the whole sum stays closed; so each masked message is charged when it is delivered,
        with the local bound: sums over different members at different positions are no linear function of whole
        vectors.
    """

    steps = (("list", "indices"), ("agreed", "masked"))

    def __init__(self, node: Node, rules: Rules, plan: CesarPlan, lineage: Lineage, keyring: Keyring) -> None:
        super().__init__(node, rules, keyring)
        self._plan = plan
        self._lineage = lineage
        self._chosen: tuple[int, Flags, int | None] = (-1, np.zeros(0, np.bool_), None)

    async def answer(self, part: Part, payload: Any) -> Reply:
        """Answer the next step."""
        if len(part.answered) == 1:
            return await self._choose(part)
        return await self._mask(part, payload)

    async def _choose(self, part: Part) -> Reply:
        """Choose the same positions for all aggregators of a round: different choices would reveal more positions."""
        await self.agree(part)
        size = part.offer.words.size
        chosen, state = self._choice(part.sum.round, part.offer)
        part.kept = chosen, state
        release = None if state is None else Visible(state)
        return Reply(np.packbits(chosen).tobytes(), self._plan.index_bytes(size), release)

    def _choice(self, round: int, offer: Offer) -> tuple[Flags, int | None]:
        """Return the positions of a round, and the state they depend on if they depend on values."""
        if self._chosen[0] == round:
            return self._chosen[1:]
        size, count = offer.values.size, self._plan.count(offer.values.size)
        chosen = np.zeros(size, np.bool_)
        state = None
        if self._plan.choice == "random":
            chosen[self.node.rng("positions", round).choice(size, count, replace=False)] = True
        else:
            before, known = self.node.disk.get("sent positions", (np.zeros(size, np.float32), ORIGIN))
            change = np.abs(offer.values - before)
            # Ties are broken by position, so that the choice is the same on every machine.
            chosen[np.argsort(-change, kind="stable")[:count]] = True
            # The vector last sent may be of an update that a crash has undone: it is a parent of its own.
            state = self._lineage.opaque(self.node.now_s, self.node.id, round, [offer.state, known])
            self.node.disk["sent positions"] = (np.where(chosen, offer.values, before), state)
        self._chosen = (round, chosen, state)
        return chosen, state

    async def _mask(self, part: Part, payload: Any) -> Reply:
        """Mask the positions that enough others have chosen too."""
        node, rules, words = self.node, self.rules, part.offer.words
        if part.kept is None:
            raise Refused("a vector requested before positions were chosen")
        chosen, by_value = part.kept
        theirs = _choices(payload, part.listed, words.size)
        if theirs is None or not np.array_equal(theirs[node.id], chosen):
            raise Refused("the choices are malformed")
        sent = chosen & (np.sum(list(theirs.values()), axis=0) >= self._plan.minimum)
        others = [peer for peer in theirs if peer != node.id]
        await node.sleep(rules.mask_cost_s_per_byte * words.nbytes * len(others))
        size = rules.vector_bytes(self._plan.sent(int(sent.sum()), words.size))
        body: Words | Sealed
        if rules.real:
            masked = words.copy()
            for peer in others:
                stream = keystream(
                    self.mask_key(part.sum, tuple(theirs), peer), words.size, rules.encoding.modulus
                )
                stream[~theirs[peer]] = 0
                (rules.encoding.modulus.add if node.id < peer else rules.encoding.modulus.subtract)(
                    masked, stream
                )
            shown = masked[sent]
            shown.setflags(write=False)
            body = shown
        else:
            body = seal(words[sent], node.id, size, (part.sum, tuple(theirs)))
        # The values in the sum depend on the choices of all listed members.
        parents = [part.offer.state] if by_value is None else [part.offer.state, by_value]
        state = self._lineage.opaque(node.now_s, node.id, part.sum.round, parents)
        # A position opens as soon as all members that chose it have sent it: no message waits for the others.
        tag = Share(part.sum, node.id, frozenset(theirs), state, part.offer.weight)
        return Reply(body, size, (Visible(state), tag))

    async def open(self, gathering: Gathering) -> Opened:
        """Collect all choices, announce them, and add up position by position.

        Raises:
            Skipped: a member refused or did not answer.
        """
        listed, size, modulus = gathering.listed, gathering.size, self.rules.encoding.modulus
        request = gathering.same(listed, ids_bytes(len(listed)), listed)
        length = -(-size // 8)
        told = await gathering.ask(
            request, lambda payload: isinstance(payload, bytes) and len(payload) == length
        )
        if gathering.too_few(len(told)):
            raise Skipped("too few members are left")
        payload = tuple((peer, answer.body) for peer, answer in told.items())
        each = ID_BYTES + self._plan.index_bytes(size)
        chosen_by_value = tuple(answer.release for answer in told.values() if answer.release is not None)
        agreed = gathering.same(payload, each * len(payload), told, chosen_by_value or None)
        answers = await gathering.ask(agreed, _is_words_or_sealed, all_needed=True)
        if len(answers) < len(told):
            raise Skipped("a member refused" if gathering.refused else "a listed member did not answer")
        theirs = {peer: _flags(answer.body, size) for peer, answer in told.items()}
        opened = np.sum(list(theirs.values()), axis=0) >= self._plan.minimum
        words = np.zeros(size, modulus.dtype)
        covered = np.zeros(size, np.float32)
        for peer, answer in answers.items():
            sent = theirs[peer] & opened
            body = answer.body
            if isinstance(body, Sealed):
                body = unseal(body, peer, (gathering.sum, tuple(theirs)))
            if body.size != sent.sum():
                self.node.record("malformed", round=gathering.sum.round, sender=peer)
                raise Skipped("a member refused")
            full = np.zeros(size, modulus.dtype)
            full[sent] = body
            modulus.add(words, full)
            covered[sent] += np.float32(answer.release[1].coef)
        terms = tuple((share.coef, share.state) for share in (a.release[1] for a in answers.values()))
        value = self.rules.encoding.decode(words, gathering.sum.round)
        return Opened(value, tuple(answers), terms, covered)


def _flags(packed: bytes, size: int) -> Flags:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=size).astype(np.bool_)


def _choices(payload: Any, listed: tuple[int, ...], size: int) -> dict[int, Flags] | None:
    """Parse the choice of every listed member; None if the payload is malformed."""
    length = -(-size // 8)
    if not isinstance(payload, tuple) or not all(isinstance(f, tuple) and len(f) == 2 for f in payload):
        return None
    peers = [peer for peer, _ in payload]
    if not set(peers) <= set(listed) or peers != sorted(set(peers)):
        return None
    if not all(isinstance(packed, bytes) and len(packed) == length for _, packed in payload):
        return None
    return {peer: _flags(packed, size) for peer, packed in payload}


def _is_words_or_sealed(payload: Any) -> bool:
    return isinstance(payload, np.ndarray | Sealed)
