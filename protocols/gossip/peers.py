"""Progress of neighbours, as known from received messages alone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from simulator.contract.node import Delivery, Message, Node

PATIENCE = 3
"""Number of time-outs of silence after which a neighbour is taken to be down."""
REMEMBERED_ROUNDS = 64
"""Age, relative to a sender's newest message, from which its messages are taken for repetitions."""


class Peers:
    """Progress of each neighbour, and which ones are no longer waited for.

    A slow neighbour is waited for, at most one time-out a round; one silent for ``PATIENCE`` time-outs is no longer
    waited for until it sends again. A crashed neighbour therefore costs a bounded time once, and a node ahead of the
    others slows down to their pace. With changing links, silence counts only while there is a link.
    """

    def __init__(self, node: Node, timeout_s: float) -> None:
        self._node = node
        self._patience_s = PATIENCE * timeout_s
        self._round = dict.fromkeys(node.neighbors, -1)
        self._heard_s = dict.fromkeys(node.neighbors, node.now_s)
        self._linked: Iterable[int] = node.neighbors
        self._silent_s: dict[int, float] = {}

    def meet(self, peers: Iterable[int]) -> None:
        """Set the current neighbours; silence counts only while a node is one of them."""
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
        """Note a message from ``src`` of ``round``; a message of any kind proves liveness."""
        self._round[src] = max(self._round.get(src, -1), round)
        self._heard_s[src] = self._node.now_s
        self._silent_s.pop(src, None)

    def round_of(self, peer: int) -> int:
        """Return the highest round received from a neighbour; −1 before the first message."""
        return self._round[peer]

    @property
    def alive(self) -> frozenset[int]:
        """Return neighbours heard from recently enough to be waited for, and not suspected by a failure detector."""
        return frozenset(self.alive_of(tuple(self._heard_s)))

    def alive_of(self, peers: Sequence[int]) -> list[int]:
        """Return those of ``peers`` that are alive, in their order."""
        since_s, suspects = self._node.now_s - self._patience_s, self._node.suspects
        heard_s = self._heard_s
        return [v for v in peers if v in heard_s and heard_s[v] >= since_s and v not in suspects]

    def awaited(self, round: int) -> frozenset[int]:
        """Return the alive neighbours from which nothing of ``round`` or a later one has arrived."""
        return frozenset(v for v in self.alive if self._round[v] < round)

    @property
    def typical_round(self) -> int:
        """Return the median of the rounds received from neighbours, the lower of two; −1 if there are none."""
        rounds = sorted(r for r in self._round.values() if r >= 0)
        return rounds[(len(rounds) - 1) // 2] if rounds else -1


class Barrier:
    """Local barrier: one message of each neighbour per round; waits for alive ones, keeps early and late messages.

    A later message may overtake one of this round, so only the message itself ends the wait for it.

    Args:
        node: node that waits for its neighbours.
        kind: kind of the messages; other kinds only prove liveness.
        timeout_s: longest wait in a round, seconds.
        take: handles messages of other kinds, and returns whether a message was one of them.
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
        """Receive messages for one time-out after an outage; return the neighbours' round (−1 if none is known)."""
        await pump(self._node, self._handle, lambda: False, self._timeout_s)
        return self.peers.typical_round

    async def listen(self, until: Callable[[], bool]) -> bool:
        """Handle messages until a condition holds; return False if a time-out passed first."""
        return await pump(self._node, self._handle, until, self._timeout_s)

    async def wait(self, round: int, sources: Sequence[int]) -> None:
        """Wait until all alive nodes of ``sources`` have sent a message of ``round``, or for a time-out."""
        self.peers.meet(sources)
        await pump(
            self._node,
            self._handle,
            lambda: all((round, v) in self._kept for v in self.peers.alive_of(sources)),
            self._timeout_s,
        )

    async def collect(self, round: int, sources: Sequence[int]) -> dict[int, Message]:
        """Wait, then return the messages of ``round`` by source, in the order of ``sources``; drop older ones."""
        self._kept = {key: message for key, message in self._kept.items() if key[0] >= round}
        await self.wait(round, sources)
        return {v: self._kept.pop((round, v)) for v in sources if (round, v) in self._kept}

    def take(self, round: int) -> list[tuple[int, Message]]:
        """Remove and return every (source, message) of ``round`` and before, late ones included, oldest first."""
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
    """Filter of repeated messages: a network may deliver a message twice."""

    def __init__(self) -> None:
        self._seen: dict[int, set[int]] = {}

    def first(self, src: int, round: int) -> bool:
        """Return whether this is the first message of ``round`` from ``src``; very old ones count as repeated."""
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
    """Return the weights of a mix with missing neighbours; with the own one they sum to 1.

    Args:
        weights: of every source, from the topology; the own weight is 1 minus their sum.
        heard: the sources whose models arrived.
        rescale: divide all weights by their sum, the own one included, so that their proportions are kept; otherwise
            the weight of missing neighbours falls to the own model.

    Returns:
        The own weight, and those of the sources that arrived, in their order.
    """
    there = {v: weights[v] for v in heard}
    if not rescale:
        return 1.0 - sum(there.values()), there
    own = 1.0 - sum(weights.values())
    total = own + sum(there.values())
    return (own / total, {v: w / total for v, w in there.items()}) if total > 0 else (1.0, {})


def draws(node: Node, purpose: str, round: int, count: int) -> list[float]:
    """Draw uniform numbers in (0, 1) for one round."""
    return [node.uniform(purpose, round, i) for i in range(count)]


def chosen(peers: Sequence[int], u: float) -> int:
    """Return one of ``peers``, selected uniformly by a uniform number."""
    return peers[min(int(u * len(peers)), len(peers) - 1)]


async def pump(
    node: Node,
    handle: Callable[[Delivery], Awaitable[None]],
    until: Callable[[], bool],
    timeout_s: float,
) -> bool:
    """Handle messages until ``until()`` holds; return False if ``timeout_s`` passed first."""
    deadline_s = node.now_s + timeout_s
    while not until():
        delivery = await node.receive(timeout_s=deadline_s - node.now_s)
        if delivery is None:
            return until()
        await handle(delivery)
    return True
