"""Public schedules of disjoint groups: which nodes average with one another in each round.

A schedule is a function of public inputs alone: the number of nodes, the links, the round and a public stream of
random numbers. Every node computes the same groups, and neither data nor noise decide who is in one.

- :class:`Stars`: closed neighbourhoods, packed at random; the centre opens the sum.
- :class:`ConnectedParts`: random parts of the graph that hang together; masked sums go up a tree inside each part.
- :class:`RandomGroups`: any nodes, for links between all; where an affine plane exists, its parallel classes.
- :class:`GridGroups`: one axis of a grid a round (Moshpit, Ryabinin et al. 2021, arXiv 2103.03239).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from protocols.gossip.planes import parallel_classes, prime_power

Draws = Callable[..., np.random.Generator]
"""Public random numbers by a key of words and numbers: the same generator for the same key, at every node."""
Neighbours = Callable[[int], Sequence[Sequence[int]]]
"""Links of a round: neighbours of every node, ascending."""
REMEMBERED = 16_384
"""Rounds whose groups are kept."""
TREES = 40
"""Spanning trees that are drawn to split off a connected part, until one has a subtree of the right size."""
ELSEWHERE = 0.2
"""Probability with which the walk that makes a spanning tree goes on from a random edge of its border."""


class Group(NamedTuple):
    """Nodes that average with one another in a round.

    Args:
        members: ascending.
        order: members that may open the sum, in the order in which they take over from one another.
        parents: by member, where it sends masked sums, for sums that go up a tree to ``order[0]``; empty where every
            member sends to whoever opens the sum.
    """

    members: tuple[int, ...]
    order: tuple[int, ...]
    parents: Mapping[int, int] = {}

    def children(self, member: int) -> tuple[int, ...]:
        """Return the members that send their masked sums to this one, ascending."""
        return tuple(v for v in self.members if self.parents.get(v) == member)

    def height(self, member: int) -> int:
        """Return the number of hops from the furthest member below this one."""
        return max((1 + self.height(child) for child in self.children(member)), default=0)


@dataclass
class Schedule(ABC):
    """Base class of schedules.

    Args:
        nodes: number of nodes.
        least: fewest members of a group; nodes that fit into no group rest for the round.
        draws: public random numbers of the run.
    """

    nodes: int
    least: int
    draws: Draws

    def __post_init__(self) -> None:
        self._known: dict[int, dict[int, Group]] = {}

    def group_of(self, node: int, round: int) -> Group | None:
        """Return the group of a node in a round; None if it rests."""
        groups = self._known.get(round)
        if groups is None:
            groups = {v: group for group in self.groups(round) for v in group.members}
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[round] = groups
        return groups.get(node)

    @abstractmethod
    def groups(self, round: int) -> list[Group]:
        """Return the groups of a round: disjoint, each of at least ``least`` members."""

    def rng(self, round: int, *key: str) -> np.random.Generator:
        """Return the public random numbers of a round."""
        return self.draws(*key, round)


@dataclass
class Stars(Schedule):
    """Closed neighbourhoods that do not overlap, packed greedily: the largest first, at random among equals.

    Args:
        neighbours: links of a round.
    """

    neighbours: Neighbours

    def groups(self, round: int) -> list[Group]:
        """Return a centre and its neighbours that are in no other group, again and again."""
        around = self.neighbours(round)
        free = set(range(self.nodes))
        rank = self.rng(round).permutation(self.nodes).tolist()
        found = []
        while free:
            sizes = {v: 1 + sum(w in free for w in around[v]) for v in free}
            centre = min(free, key=lambda v: (-sizes[v], rank[v]))
            if sizes[centre] < self.least:
                break
            members = tuple(sorted({centre, *(w for w in around[centre] if w in free)}))
            free.difference_update(members)
            found.append(Group(members, (centre,)))
        return found


@dataclass
class ConnectedParts(Schedule):
    """Random connected parts of a graph, of at most ``size`` nodes each and of nearly equal sizes.

    A random spanning tree of the nodes left is drawn, and the subtree whose size is nearest to an equal part is split
    off; what is left stays connected. Of several trees the one with the best subtree is used.

    Args:
        size: most members of a part.
        neighbours: links of a round.
    """

    size: int
    neighbours: Neighbours

    def groups(self, round: int) -> list[Group]:
        """Return the parts, each with the tree inside it that its masked sums go up."""
        around = self.neighbours(round)
        rng = self.rng(round)
        left = set(range(self.nodes))
        found = []
        while left:
            order, parent = _tree(around, left, min(left), rng)
            left -= set(order)
            while len(order) > self.size:
                part = self._split(order, parent)
                for _ in range(TREES):
                    if len(part) == self._target(len(order)):
                        break
                    other_order, other_parent = _tree(around, set(order), order[0], rng)
                    other = self._split(other_order, other_parent)
                    if self._miss(len(other), len(order)) < self._miss(len(part), len(order)):
                        part = other
                found.append(part)
                rest = set(order) - set(part)
                order, parent = _tree(around, rest, min(rest), rng)
            found.append(order)
        return [self._part(sorted(part), around, rng) for part in found if len(part) >= self.least]

    def _target(self, nodes: int) -> int:
        """Return the size of the larger of equal parts."""
        return -(-nodes // -(-nodes // self.size))

    def _miss(self, size: int, nodes: int) -> float:
        """Return how far a subtree is from an equal part; too large or too small ones are the last choice."""
        fits = self.least <= size <= self.size
        return abs(size - self._target(nodes)) + (0 if fits else self.nodes)

    def _split(self, order: Sequence[int], parent: Mapping[int, int]) -> list[int]:
        """Return the subtree, not the whole tree, that is nearest to an equal part; ``order`` has parents first."""
        below: dict[int, list[int]] = {v: [v] for v in order}
        for v in reversed(order[1:]):
            below[parent[v]] += below[v]
        return min((below[v] for v in order[1:]), key=lambda subtree: self._miss(len(subtree), len(order)))

    def _part(self, members: list[int], around: Sequence[Sequence[int]], rng: np.random.Generator) -> Group:
        """Return a part whose sums go up the tree of shortest ways to a random member."""
        inside = set(members)
        root = members[int(rng.integers(len(members)))]
        parents: dict[int, int] = {}
        order = [root]
        for v in order:  # grows while it is walked
            for w in around[v]:
                if w in inside and w != root and w not in parents:
                    parents[w] = v
                    order.append(w)
        return Group(tuple(members), (root,), parents)


def _tree(
    around: Sequence[Sequence[int]], inside: set[int], root: int, rng: np.random.Generator
) -> tuple[list[int], dict[int, int]]:
    """Return a random spanning tree of what ``root`` reaches inside a set: nodes, parents first, and their parents.

    Mostly the walk goes on from the node reached last, and sometimes from a random one: deep trees have subtrees of
    many sizes, so that one of the right size is soon found.
    """
    parent: dict[int, int] = {}
    order, seen = [root], {root}
    border = [(root, w) for w in around[root] if w in inside]
    while border:
        if rng.random() < ELSEWHERE:
            pick = int(rng.integers(len(border)))
            border[pick], border[-1] = border[-1], border[pick]
        v, w = border.pop()
        if w not in seen:
            seen.add(w)
            parent[w] = v
            order.append(w)
            new = [x for x in around[w] if x in inside and x not in seen]
            border += [(w, new[i]) for i in rng.permutation(len(new)).tolist()]
    return order, parent


@dataclass
class RandomGroups(Schedule):
    """Groups of ``size`` nodes, redrawn every round, over links between all.

    Where ``size`` is a prime power and there are size² nodes, rounds go through the parallel classes of an affine
    plane whose points are relabelled at random: within size + 1 rounds every two nodes meet exactly once. Otherwise
    groups are cut from a random order. If ``size`` does not divide the number of nodes, groups differ in size by one
    at most, and none is smaller.

    Args:
        size: members of a group.
    """

    size: int

    @property
    def balanced(self) -> bool:
        """Return whether every two nodes meet equally often."""
        return self.nodes == self.size**2 and prime_power(self.size) is not None

    def groups(self, round: int) -> list[Group]:
        """Return the groups, each with its openers in random order."""
        rng = self.rng(round)
        return [
            Group(tuple(sorted(members)), tuple(rng.permutation(members).tolist()))
            for members in (self._plane(round) if self.balanced else self._drawn(rng))
            if len(members) >= self.least
        ]

    def _drawn(self, rng: np.random.Generator) -> list[list[int]]:
        order = rng.permutation(self.nodes)
        return [part.tolist() for part in np.array_split(order, max(1, self.nodes // self.size))]

    def _plane(self, round: int) -> list[list[int]]:
        classes = parallel_classes(self.size)
        turn, number = divmod(round, len(classes))
        names = self.rng(turn, "plane").permutation(self.nodes)
        return [names[list(line)].tolist() for line in classes[number]]


@dataclass
class GridGroups(Schedule):
    """Nodes on a grid; a round averages along one axis, the next round along the next.

    The side of the grid is the smallest whose ``dimensions``-th power holds all nodes; where nodes do not fill it,
    some groups are smaller, and those of fewer than ``least`` rest. If they do, ``dimensions`` rounds without
    training average exactly.

    Args:
        dimensions: of the grid.
    """

    dimensions: int

    @property
    def side(self) -> int:
        """Return the length of the grid's sides."""
        side = 1
        while side**self.dimensions < self.nodes:
            side += 1
        return side

    def groups(self, round: int) -> list[Group]:
        """Return the lines along the axis of the round; nodes are placed anew whenever all axes were used."""
        side, axis = self.side, round % self.dimensions
        rng = self.rng(round)
        places = self.rng(round // self.dimensions, "grid").permutation(side**self.dimensions)
        grid = places.reshape((side,) * self.dimensions)
        found = []
        for at in product(range(side), repeat=self.dimensions - 1):
            place: list[int | slice] = [*at]
            place.insert(axis, slice(None))
            line = grid[tuple(place)]
            members = line[line < self.nodes].tolist()
            if len(members) >= self.least:
                found.append(Group(tuple(sorted(members)), tuple(rng.permutation(members).tolist())))
        return found
