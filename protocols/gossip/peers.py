"""What a node knows about how far its neighbours are, from the messages it received and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from simulator.node import Delivery, Node

PATIENCE = 3
"""A neighbour silent for this many time-outs is taken to be down."""


class Peers:
    """How far each neighbour is, and who has been silent for so long that it is not waited for.

    Whoever is slow is waited for, at most one time-out a round; whoever is silent for ``PATIENCE`` time-outs is
    no longer waited for until it is heard again. A dead neighbour therefore costs a bounded time once, and a node
    that finds itself ahead slows down instead of running away.
    """

    def __init__(self, node: Node, timeout_s: float) -> None:
        self._node = node
        self._patience_s = PATIENCE * timeout_s
        self._round = dict.fromkeys(node.neighbors, -1)
        self._heard_s = dict.fromkeys(node.neighbors, node.now_s)

    def meet(self, peers: Iterable[int]) -> None:
        """These are neighbours now; of those that never were, no silence is held against them."""
        for peer in peers:
            self._round.setdefault(peer, -1)
            self._heard_s.setdefault(peer, self._node.now_s)

    def heard(self, src: int, round: int) -> None:
        """Any message from ``src`` of ``round`` is a sign of life."""
        self._round[src] = max(self._round.get(src, -1), round)
        self._heard_s[src] = self._node.now_s

    def round_of(self, peer: int) -> int:
        """The highest round heard from a neighbour; −1 before the first message."""
        return self._round[peer]

    @property
    def alive(self) -> frozenset[int]:
        """Neighbours that were heard recently enough to be waited for, and that no failure detector suspects."""
        since_s = self._node.now_s - self._patience_s
        return (
            frozenset(v for v, heard_s in self._heard_s.items() if heard_s >= since_s) - self._node.suspects
        )

    def awaited(self, round: int) -> frozenset[int]:
        """Those alive that have given no sign of ``round`` or a later one yet."""
        return frozenset(v for v in self.alive if self._round[v] < round)

    @property
    def typical_round(self) -> int:
        """The median of the rounds heard from neighbours, the lower one of two; −1 for silence."""
        rounds = sorted(r for r in self._round.values() if r >= 0)
        return rounds[(len(rounds) - 1) // 2] if rounds else -1


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
