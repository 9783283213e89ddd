"""What a node knows about how far its neighbours are, from the messages it received and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from simulator.contract.node import Delivery, Message, Node

PATIENCE = 3
"""A neighbour silent for this many time-outs is taken to be down."""
REMEMBERED_ROUNDS = 64
"""Of each sender, messages this much older than its newest one are taken for repetitions."""


class Peers:
    """How far each neighbour is, and who has been silent for so long that it is not waited for.

    Whoever is slow is waited for, at most one time-out a round; whoever is silent for ``PATIENCE`` time-outs is
    no longer waited for until it is heard again. A dead neighbour therefore costs a bounded time once, and a node
    that finds itself ahead slows down instead of running away. Where links change, silence counts only while
    there is a link.
    """

    def __init__(self, node: Node, timeout_s: float) -> None:
        self._node = node
        self._patience_s = PATIENCE * timeout_s
        self._round = dict.fromkeys(node.neighbors, -1)
        self._heard_s = dict.fromkeys(node.neighbors, node.now_s)
        self._linked: Iterable[int] = node.neighbors
        self._silent_s: dict[int, float] = {}

    def meet(self, peers: Iterable[int]) -> None:
        """These are the neighbours now; nobody's silence counts while it is none."""
        if peers is self._linked:
            return
        now_s = self._node.now_s
        here, before = set(peers), set(self._linked)
        for peer in before - here:
            self._silent_s[peer] = now_s - self._heard_s[peer]
        for peer in here - before:
            self._round.setdefault(peer, -1)
            self._heard_s[peer] = now_s - self._silent_s.pop(peer, 0.0)
        self._linked = peers

    def heard(self, src: int, round: int) -> None:
        """Any message from ``src`` of ``round`` is a sign of life."""
        self._round[src] = max(self._round.get(src, -1), round)
        self._heard_s[src] = self._node.now_s
        self._silent_s.pop(src, None)

    def round_of(self, peer: int) -> int:
        """The highest round heard from a neighbour; −1 before the first message."""
        return self._round[peer]

    @property
    def alive(self) -> frozenset[int]:
        """Neighbours that were heard recently enough to be waited for, and that no failure detector suspects."""
        return frozenset(self.alive_of(tuple(self._heard_s)))

    def alive_of(self, peers: Sequence[int]) -> list[int]:
        """Those of ``peers`` that are alive, in their order."""
        since_s, suspects = self._node.now_s - self._patience_s, self._node.suspects
        heard_s = self._heard_s
        return [v for v in peers if v in heard_s and heard_s[v] >= since_s and v not in suspects]

    def awaited(self, round: int) -> frozenset[int]:
        """Those alive that have given no sign of ``round`` or a later one yet."""
        return frozenset(v for v in self.alive if self._round[v] < round)

    @property
    def typical_round(self) -> int:
        """The median of the rounds heard from neighbours, the lower one of two; −1 for silence."""
        rounds = sorted(r for r in self._round.values() if r >= 0)
        return rounds[(len(rounds) - 1) // 2] if rounds else -1


class Barrier:
    """One message of each neighbour per round: waits for those who seem alive, keeps what comes early or late.

    A later message may overtake one of this round, so only the message itself ends the wait for it.

    Args:
        node: whose neighbours.
        kind: of the messages; any other kind is a sign of life and nothing else.
        timeout_s: how long a round waits at most.
        take: takes in messages of other kinds, and says whether one was for it.
    """

    def __init__(
        self,
        node: Node,
        kind: str,
        timeout_s: float,
        take: Callable[[Delivery], bool] | None = None,
    ) -> None:
        self._node = node
        self._take = take
        self._kind = kind
        self._timeout_s = timeout_s
        self.peers = Peers(node, timeout_s)
        self._kept: dict[tuple[int, int], Message] = {}

    async def catch_up(self) -> int:
        """After an outage: listen for one time-out, and return the round the neighbours are in (−1 for silence)."""
        await pump(self._node, self._handle, lambda: False, self._timeout_s)
        return self.peers.typical_round

    async def listen(self, until: Callable[[], bool]) -> bool:
        """Handle messages until something holds; False if a time-out passed first."""
        return await pump(self._node, self._handle, until, self._timeout_s)

    async def wait(self, round: int, sources: Sequence[int]) -> None:
        """Wait until everybody of ``sources`` who seems alive has been heard in ``round``, or for a time-out."""
        self.peers.meet(sources)
        await pump(
            self._node,
            self._handle,
            lambda: all((round, v) in self._kept for v in self.peers.alive_of(sources)),
            self._timeout_s,
        )

    async def collect(self, round: int, sources: Sequence[int]) -> dict[int, Message]:
        """Wait; then the messages of ``round`` by source, in the order of ``sources``. Older ones are forgotten."""
        self._kept = {key: message for key, message in self._kept.items() if key[0] >= round}
        await self.wait(round, sources)
        return {v: self._kept.pop((round, v)) for v in sources if (round, v) in self._kept}

    def take(self, round: int) -> list[tuple[int, Message]]:
        """Take every (source, message) of ``round`` and before, late ones included, oldest first."""
        keys = sorted(key for key in self._kept if key[0] <= round)
        return [(key[1], self._kept.pop(key)) for key in keys]

    async def _handle(self, delivery: Delivery) -> None:
        message = delivery.message
        if self._take is not None and self._take(delivery):
            return
        self.peers.heard(delivery.src, message.round)
        if message.kind == self._kind:
            self._kept[message.round, delivery.src] = message


class Once:
    """Tells messages that come for the first time from copies: a network may deliver one twice."""

    def __init__(self) -> None:
        self._seen: dict[int, set[int]] = {}

    def first(self, src: int, round: int) -> bool:
        """Whether this is the first message of ``round`` from ``src``; what is very old counts as seen."""
        seen = self._seen.setdefault(src, set())
        newest = max(seen, default=round)
        if round in seen or round <= newest - REMEMBERED_ROUNDS:
            return False
        seen.add(round)
        if len(seen) > 2 * REMEMBERED_ROUNDS:
            newest = max(seen)
            seen.difference_update([r for r in seen if r <= newest - REMEMBERED_ROUNDS])
        return True


def shares(
    weights: Mapping[int, float], heard: Iterable[int], *, rescale: bool = False
) -> tuple[float, dict[int, float]]:
    """The weights of a mix of which some neighbours are missing; they sum to 1 with the own one.

    Args:
        weights: of every source, as the topology has them; the own one is what they lack to 1.
        heard: the sources that are there.
        rescale: divide all weights by their sum, the own one included, so that what is there keeps its proportions;
            otherwise the weight of those that are missing falls to the own model.

    Returns:
        The own weight, and those of the sources heard, in their order.
    """
    there = {v: weights[v] for v in heard}
    if not rescale:
        return 1.0 - sum(there.values()), there
    own = 1.0 - sum(weights.values())
    total = own + sum(there.values())
    return (own / total, {v: w / total for v, w in there.items()}) if total > 0 else (1.0, {})


def draws(node: Node, purpose: str, round: int, count: int) -> list[float]:
    """Uniform numbers in (0, 1) of one round."""
    return [node.uniform(purpose, round, i) for i in range(count)]


def chosen(peers: Sequence[int], u: float) -> int:
    """One of ``peers``, uniformly, by a uniform number."""
    return peers[min(int(u * len(peers)), len(peers) - 1)]


async def pump(
    node: Node,
    handle: Callable[[Delivery], Awaitable[None]],
    until: Callable[[], bool],
    timeout_s: float,
) -> bool:
    """Handle messages until ``until()`` holds; False if ``timeout_s`` passed first."""
    deadline_s = node.now_s + timeout_s
    while not until():
        delivery = await node.receive(timeout_s=deadline_s - node.now_s)
        if delivery is None:
            return until()
        await handle(delivery)
    return True
