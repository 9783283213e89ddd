"""An overlay that repairs itself as nodes leave and return."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from heapq import heappop, heappush

import numpy as np

from simulator import streams
from simulator.contract.node import Links
from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.topology.graphs import regular_edges
from simulator.topology.overlays import Overlay

_REMEMBERED = 8
_TRIES = 64


def churn_driven(nodes: int, degree: int, seed: int, repair_s: float) -> Overlay:
    """A random ``degree``-regular graph that closes around nodes that stay down and opens for those that return.

    A node that has been down for ``repair_s`` loses its links; one that returns later starts without any. Nodes
    that are up and lack links are then paired at random; where two are linked already, or one is left with
    itself, they are put into a random link a - b instead: a - b becomes a - y and z - b. So degrees stay at
    ``degree`` as nodes come and go, except that where nodes up x degree is odd, or hardly more than degree are
    up, some lack a link. This is SWAN's clothespinning (Bourassa and Holt 2003; Cooper, Dyer and Greenhill 2007,
    Comb. Probab. Comput. 16(4)).

    Repairs and returns are epochs, each with draws of its own stream. Times told and asked never go back behind a
    repair that is due. Of each node the links of its last 8 changes are kept; a question about an epoch before
    those is answered with the oldest of them.

    Args:
        nodes: how many nodes there are; all are taken to be up until ``changed`` says otherwise.
        degree: links of a node, at least 1 and below nodes; nodes x degree is even.
        seed: the run's seed.
        repair_s: seconds a node is down before the others give it up, 0 or more.
    """
    if not 1 <= degree < nodes or nodes * degree % 2:
        raise ConfigurationError(
            f"no {degree}-regular graph on {nodes} nodes: degree must be from 1 to nodes - 1, nodes x degree even",
            "topology.degree",
        )
    if not 0 <= repair_s < float("inf"):
        raise ConfigurationError(f"repair must take 0 seconds or more, got {repair_s}", "topology.repair")
    return _Repairing(nodes, degree, seed, to_ns(repair_s))


class _Repairing:
    fixed = False

    def __init__(self, nodes: int, degree: int, seed: int, repair_ns: int) -> None:
        self.nodes = nodes
        self._degree, self._seed, self._repair_ns = degree, seed, repair_ns
        self._around: list[list[int]] = [[] for _ in range(nodes)]
        for a, b in regular_edges(nodes, degree, streams.generator(seed, "topology", 0)).tolist():
            self._around[a].append(b)
            self._around[b].append(a)
        self._up = frozenset(range(nodes))
        self._left_ns: dict[int, int] = {}
        self._due: list[tuple[int, int]] = []
        self._short: set[int] = set()
        self._starts_ns: list[int] = []
        self._history: list[list[tuple[int, Links]]] = [[(0, self._links(i))] for i in range(nodes)]

    def epoch(self, t_ns: int, round: int | None) -> int:
        """Return the number of repairs and returns up to that time; rounds do not matter."""
        self._repair(t_ns)
        return bisect_right(self._starts_ns, t_ns)

    def links(self, node: int, epoch: int) -> Links:
        """Return the links of a node in an epoch."""
        history = self._history[node]
        return next((links for since, links in reversed(history) if since <= epoch), history[0][1])

    def changed(self, t_ns: int, up: frozenset[int]) -> None:
        """Note which nodes are up from now on."""
        self._repair(t_ns)
        left, back, self._up = self._up - up, up - self._up, up
        for node in left:
            self._left_ns[node] = t_ns
            heappush(self._due, (t_ns + self._repair_ns, node))
        for node in back:
            del self._left_ns[node]
        if self._short & back:
            self._begin(t_ns, ())

    def _repair(self, t_ns: int) -> None:
        """Carry out what is due by then, at the time it was due."""
        while self._due and self._due[0][0] <= t_ns:
            due_ns = self._due[0][0]
            departed = []
            while self._due and self._due[0][0] == due_ns:
                node = heappop(self._due)[1]
                # It may have been back in the meantime, and even have left anew.
                if self._left_ns.get(node) == due_ns - self._repair_ns and node not in departed:
                    departed.append(node)
            if departed:
                self._begin(due_ns, departed)

    def _begin(self, t_ns: int, departed: Iterable[int]) -> None:
        """Begin an epoch: remove the links of departed nodes, give new ones to nodes that are up and lack some."""
        self._starts_ns.append(t_ns)
        epoch = len(self._starts_ns)
        before: dict[int, int] = {}
        for node in departed:
            for peer in list(self._around[node]):
                self._cut(node, peer, before)
            self._short.add(node)
        self._pair_up(streams.generator(self._seed, "topology", epoch), before)
        touched = set(before)
        for node, degree in before.items():
            if len(self._around[node]) != degree:
                touched.update(self._around[node])
        for node in touched:
            self._history[node] = [*self._history[node][1 - _REMEMBERED :], (epoch, self._links(node))]

    def _pair_up(self, rng: np.random.Generator, before: dict[int, int]) -> None:
        lacking = [
            node
            for node in sorted(self._short & self._up)
            for _ in range(self._degree - len(self._around[node]))
        ]
        if len(lacking) < 2:
            return
        lacking = rng.permutation(lacking).tolist()
        up = sorted(self._up)
        for y, z in zip(lacking[::2], lacking[1::2], strict=False):
            if y != z and z not in self._around[y]:
                self._join(y, z, before)
                continue
            for u, v in rng.random((_TRIES, 2)).tolist():
                a = up[int(u * len(up))]
                if not self._around[a]:
                    continue
                b = self._around[a][int(v * len(self._around[a]))]
                if b in self._up and not {a, b} & {y, z} and self._apart(y, a) and self._apart(z, b):
                    self._cut(a, b, before)
                    self._join(y, a, before)
                    self._join(z, b, before)
                    break

    def _apart(self, a: int, b: int) -> bool:
        return b not in self._around[a]

    def _cut(self, a: int, b: int, before: dict[int, int]) -> None:
        for one, other in ((a, b), (b, a)):
            before.setdefault(one, len(self._around[one]))
            self._around[one].remove(other)
            self._short.add(one)

    def _join(self, a: int, b: int, before: dict[int, int]) -> None:
        for one, other in ((a, b), (b, a)):
            before.setdefault(one, len(self._around[one]))
            self._around[one].append(other)
            if len(self._around[one]) == self._degree:
                self._short.discard(one)

    def _links(self, node: int) -> Links:
        around = tuple(sorted(self._around[node]))
        own = len(around)
        return Links(around, around, {peer: 1.0 / (1 + max(own, len(self._around[peer]))) for peer in around})
