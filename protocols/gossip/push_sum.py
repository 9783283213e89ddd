"""Push-sum (stochastic gradient push): models and scalar weights travel together, so links may have a direction.

Nedić and Olshevsky 2016 (arXiv 1406.2075), Assran et al. 2019 (arXiv 1811.10792). A node holds a mass: a vector x and
a weight w, initially x₀ and 1. Its model is z = x / w. Each round it takes a gradient at z, adds the step to x
unscaled, keeps one of d + 1 equal shares of (x, w) and sends one to each of its d receivers. Nodes know their
receivers, but need not know how many nodes send to them; the sum of x moves by the sum of all steps and the sum of w
stays n, so all z approach the optimum of the plain average of losses on any strongly connected graph. Rounds are
synchronised by the local barrier of D-PSGD; late shares are added when they arrive.

Losses. A lost message loses its mass: w shrinks, which alone is harmless as x shrinks in proportion, but steps keep
their size and so gain weight, 1/w of a step. ``"running-sums"`` is the remedy of Hadjicostis, Vaidya and
Domínguez-García 2016 (IEEE Trans. Autom. Control 61(6)): a sender sends, per link, the sum of all shares it ever gave
on it; the receiver takes the difference to the last sum it received. The next message that arrives restores what was
lost, also over crashes, as both sums are on disk. Sums are 32-bit numbers and grow with the rounds, so after T rounds
their rounding error is about T times that of a model.

Accounting of mass. After each round a node records ``mass``: its weight, and the weights it has sent and received so
far. Weights at nodes plus all that was sent minus all that was received is n at any time. The weight w depends on the
schedule of messages, never on data, and is public.
"""

from __future__ import annotations

from functools import partial
from typing import Literal, NamedTuple, TypeAlias

from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import numbers_of, show, shown, tell
from protocols.gossip.peers import Barrier, Once
from simulator.contract.node import Message, Node

Reliable: TypeAlias = Literal["none", "running-sums"]

ROUNDING = 1e-12
"""Tolerance for sums of shares that should be 1."""


class Mass(NamedTuple):
    """Share of what is averaged: a vector that is ``weight`` times a model."""

    model: Model
    weight: float


async def push_sum(
    node: Node, learner: Learner, rounds: int, timeout_s: float, reliable: Reliable = "none"
) -> None:
    """Run push-sum at one node.

    Args:
        node: the node; its links may be directed and may change.
        learner: local training and lineage.
        rounds: local updates of each node.
        timeout_s: longest wait for a sender in a round, seconds.
        reliable: ``"running-sums"`` to send sums of all shares so far, which recover from losses.

    Guarantees:
        Receivers read the share, and with the public weights the model. With noise of multiplier z on each of T
        updates, the node's data are protected with (√T / z)-GDP against any observer. Running sums show combinations
        of the same shares, and nothing more.
    """
    await _PushSum(node, learner, timeout_s, reliable).run(rounds)


class _PushSum:
    """Push-sum at one node from one start to the next; the mass on disk agrees with the recorded weights."""

    def __init__(self, node: Node, learner: Learner, timeout_s: float, reliable: Reliable) -> None:
        disk = node.disk
        self._node = node
        self._learner = learner
        self._sums = reliable == "running-sums"
        self._barrier = Barrier(node, "model", timeout_s)
        self._once = Once()
        self._returning = "mass" in disk
        self._mass: Mass = disk.get("mass", Mass(learner.start, 1.0))
        self._given: dict[int, Mass] = disk.get("given", {})
        self._taken: dict[int, tuple[int, Mass]] = disk.get("taken", {})
        self._sent: float = disk.get("sent", 0.0)
        self._received: float = disk.get("received", 0.0)

    async def run(self, rounds: int) -> None:
        """Run all remaining rounds, starting from the state on disk."""
        node = self._node
        round: int = node.disk.get("round", 0)
        if self._returning:
            round = max(round, await self._barrier.catch_up())
        model = await self._debiased(round)
        while round < rounds:
            node.disk.update(round=round + 1, mass=self._mass)
            await self._give(round, await self._learner.local_update(node, model, round))
            await self._barrier.wait(round, node.links(round).sources)
            await self._take(round)
            model = await self._debiased(round)
            round += 1
            node.record(
                "mass", round=round, weight=self._mass.weight, sent=self._sent, received=self._received
            )
            node.record("model", round=round, value=model.params)
        node.record("finished", rounds=rounds)

    async def _give(self, round: int, stepped: Model) -> None:
        """Apply the step from z to ``stepped``, and send every receiver its share."""
        node, mass = self._node, self._mass
        to = self._receivers(round)
        share = 1.0 / (len(to) + 1)
        # x + (stepped − z) with z = x / w; while w is 1, x cancels.
        terms = [(share, stepped)]
        if not _is_whole(mass):
            terms.append((share * (1.0 - 1.0 / mass.weight), mass.model))
        part = Mass(await self._learner.combine(node, round, terms), share * mass.weight)
        given = await self._added(round, to, part) if self._sums else dict.fromkeys(to, part)
        self._mass = part
        self._sent += part.weight * len(to)
        if self._sums:
            self._given = self._given | given
        node.disk.update(mass=self._mass, given=self._given, sent=self._sent)
        for peers, mass in _alike(given):
            self._say(to if len(peers) == len(to) else peers, round, mass)

    def _say(self, peers: tuple[int, ...], round: int, mass: Mass) -> None:
        message = partial(show, self._learner, "model", round, numbers=(mass.weight,))
        tell(self._node, peers, round, [mass.model], message)

    def _receivers(self, round: int) -> tuple[int, ...]:
        """Return the receivers, without two-way neighbours that have fallen silent, where mass would
        accumulate."""
        links = self._node.links(round)
        self._barrier.peers.meet(links.sources)
        alive = set(self._barrier.peers.alive_of(links.to))
        there = tuple(v for v in links.to if v in alive or v not in links.weights)
        return links.to if len(there) == len(links.to) else there

    async def _added(self, round: int, to: tuple[int, ...], part: Mass) -> dict[int, Mass]:
        """Add ``part`` to the running sums; links with the same history share one sum."""
        added: dict[int | None, Mass] = {None: part}
        sums = {}
        for peer in to:
            before = self._given.get(peer)
            key = None if before is None else before.model.state
            if key not in added and before is not None:
                terms = [(1.0, before.model), (1.0, part.model)]
                total = await self._learner.combine(self._node, round, terms)
                added[key] = Mass(total, before.weight + part.weight)
            sums[peer] = added[key]
        return sums

    async def _take(self, round: int) -> None:
        """Add all received shares, late ones included."""
        node, held = self._node, self._mass
        terms, weight = [(1.0, held.model)], held.weight
        taken = dict(self._taken)
        arrived = self._barrier.take(round)
        sources = node.links(round).sources
        heard = {src for src, message in arrived if message.round == round}
        node.record("mixed", round=round, heard=len(heard.intersection(sources)), of=len(sources))
        for src, message in arrived:
            if self._sums:
                last = taken.get(src)
                if last is not None and message.round <= last[0]:
                    continue
                now = _mass(message)
                taken[src] = message.round, now
                terms.append((1.0, now.model))
                weight += now.weight
                if last is not None:
                    terms.append((-1.0, last[1].model))
                    weight -= last[1].weight
            elif self._once.first(src, message.round):
                came = _mass(message)
                terms.append((1.0, came.model))
                weight += came.weight
        if len(terms) > 1:
            self._mass = Mass(await self._learner.combine(node, round, terms), weight)
        self._received += weight - held.weight
        self._taken = taken
        node.disk.update(mass=self._mass, taken=taken, received=self._received)

    async def _debiased(self, round: int) -> Model:
        """Return z = x / w."""
        mass = self._mass
        if _is_whole(mass):
            return mass.model
        return await self._learner.combine(self._node, round, [(1.0 / mass.weight, mass.model)])


def _mass(message: Message) -> Mass:
    return Mass(shown(message)[0], numbers_of(message)[0])


def _is_whole(mass: Mass) -> bool:
    """Return whether x is z, up to rounding of the weight."""
    return abs(mass.weight - 1.0) < ROUNDING


def _alike(given: dict[int, Mass]) -> list[tuple[tuple[int, ...], Mass]]:
    """Group receivers of the same mass."""
    groups: dict[int, list[int]] = {}
    for peer, mass in given.items():
        groups.setdefault(mass.model.state, []).append(peer)
    return [(tuple(peers), given[peers[0]]) for peers in groups.values()]
