"""Links over time: fixed graphs, and graphs that change by the round or by the clock.

An epoch is a stretch of rounds or of time in which links do not change. Graphs of epochs are drawn from the stream
(seed, "topology", epoch), so an epoch is the same whichever were asked for before it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from math import isfinite
from typing import Literal, Protocol, TypeAlias

import numpy as np
from scipy.sparse import csr_array

from simulator import streams
from simulator.contract.node import Links
from simulator.core.clock import to_ns
from simulator.errors import ConfigurationError
from simulator.topology import mixing
from simulator.topology.graphs import regular_edges
from simulator.topology.mixing import Indices

Every: TypeAlias = Literal["round"] | float
"""Length of an epoch: a round, or seconds."""

_REMEMBERED = 8
_REMEMBERED_NODES = 20_000
_MILESTONE = 64


class Overlay(Protocol):
    """Links of every node in every epoch."""

    @property
    def nodes(self) -> int:
        """Return the number of nodes."""

    @property
    def fixed(self) -> bool:
        """Return whether there is one epoch only."""

    def epoch(self, t_ns: int, round: int | None) -> int:
        """Return the epoch at that time and in that round; no round counts as round 0."""

    def links(self, node: int, epoch: int) -> Links:
        """Return the links of a node in an epoch."""

    def changed(self, t_ns: int, up: frozenset[int]) -> None:
        """Note which nodes are up from now on; only overlays that repair themselves use it."""


def fixed(neighbors: Sequence[Sequence[int]], weights: csr_array) -> Overlay:
    """Links that are the same throughout a run.

    Args:
        neighbors: of each node, ascending; the relation is symmetric.
        weights: mixing matrix, as the rules of :mod:`simulator.topology.mixing` make it.
    """
    degree = np.fromiter(map(len, neighbors), np.int64, len(neighbors))
    rows = np.repeat(np.arange(len(neighbors)), degree)
    columns = np.array([j for around in neighbors for j in around], np.int64)
    shares = np.asarray(weights[rows, columns]).ravel() if len(rows) else np.zeros(0)
    epoch = _Epoch(len(neighbors), rows, columns, shares)
    return _Drawn(len(neighbors), lambda t_ns, round: 0, lambda number: epoch, fixed=True)


def epidemic(nodes: int, degree: int, seed: int, *, every: Every = "round") -> Overlay:
    """Epidemic learning, EL-Oracle: a fresh random ``degree``-regular graph every epoch, connected or not.

    de Vos et al. 2023, arXiv 2310.01972. Weights 1/(degree + 1), doubly stochastic. The graphs are uniform up
    to o(1), see :func:`simulator.topology.graphs.regular_edges`.
    """
    if not 1 <= degree < nodes or nodes * degree % 2:
        raise ConfigurationError(
            f"no {degree}-regular graph on {nodes} nodes: degree must be from 1 to nodes - 1, nodes x degree even",
            "topology.degree",
        )

    def draw(epoch: int) -> _Epoch:
        return _undirected(nodes, regular_edges(nodes, degree, streams.generator(seed, "topology", epoch)))

    return _Drawn(nodes, _numbering(every), draw)


def epidemic_local(nodes: int, degree: int, seed: int, *, every: Every = "round") -> Overlay:
    """Epidemic learning, EL-Local: every node sends to ``degree`` others, drawn afresh every epoch.

    de Vos et al. 2023, arXiv 2310.01972. A receiver takes the plain average of what it got and its own: weights
    1/(sources + 1), row-stochastic, doubly stochastic only in expectation.
    """
    if not 1 <= degree < nodes:
        raise ConfigurationError(
            f"degree must be from 1 to nodes - 1 = {nodes - 1}, got {degree}", "topology.degree"
        )

    def draw(epoch: int) -> _Epoch:
        targets = _others(nodes, degree, streams.generator(seed, "topology", epoch)).ravel()
        received = np.bincount(targets, minlength=nodes)
        senders = np.repeat(np.arange(nodes), degree)
        return _Epoch(nodes, targets, senders, 1.0 / (1 + received[targets]), directed=True)

    return _Drawn(nodes, _numbering(every), draw)


def one_peer_exponential(nodes: int, *, every: Every = "round") -> Overlay:
    """In epoch t node i sends to i + 2^(t mod ceil(log2 n)) (mod n) only; weights are 1/2.

    Ying et al. 2021, arXiv 2110.13363: where n is a power of 2, log2 n epochs in a row average exactly.
    """
    _at_least_two(nodes)
    senders = np.arange(nodes)

    def draw(epoch: int) -> _Epoch:
        hop = 1 << epoch % (nodes - 1).bit_length()
        return _Epoch(nodes, (senders + hop) % nodes, senders, np.full(nodes, 0.5), directed=True)

    return _Drawn(nodes, _numbering(every), draw)


def matching(nodes: int, seed: int, *, every: Every = "round") -> Overlay:
    """A uniform random matching drawn afresh every epoch; one node is idle if n is odd.

    Both take the average of the two (weights 1/2): random pairwise gossip (Boyd et al. 2006, IEEE Trans. Inf.
    Theory 52(6)) with all pairs at the same time.
    """
    _at_least_two(nodes)

    def draw(epoch: int) -> _Epoch:
        order = streams.generator(seed, "topology", epoch).permutation(nodes)
        return _undirected(nodes, order[: nodes // 2 * 2].reshape(-1, 2))

    return _Drawn(nodes, _numbering(every), draw)


def peer_sampling(
    neighbors: Sequence[Sequence[int]], seed: int, *, switches: float = 0.25, every: Every = "round"
) -> Overlay:
    """A graph that is shuffled a little from epoch to epoch, as peer-sampling services do; epoch 0 is the start.

    In each step two linked nodes swap one neighbour each, unless that would make a double link (the flipper of
    Mahlmann and Schindelhauer 2005, SPAA; Cyclon, Voulgaris et al. 2005, shuffles in the same way). Degrees stay
    as they are and a connected graph stays connected. Weights are Metropolis.

    Args:
        neighbors: the graph at the start, symmetric.
        seed: the run's seed.
        switches: steps tried in an epoch, as a fraction of the number of links.
        every: length of an epoch.
    """
    if not (switches > 0 and isfinite(switches)):
        raise ConfigurationError(f"switches must be a positive fraction, got {switches}", "topology.switches")
    nodes = len(neighbors)
    first = np.cumsum([0, *map(len, neighbors)])
    adjacent: dict[int, Indices] = {
        0: np.array([j for around in neighbors for j in sorted(around)], np.int64)
    }
    rows = np.repeat(np.arange(nodes), np.diff(first))

    def draw(epoch: int) -> _Epoch:
        now = max(known for known in adjacent if known <= epoch)
        for number in range(now + 1, epoch + 1):
            rng = streams.generator(seed, "topology", number)
            adjacent[number] = _flipped(adjacent[number - 1], first, rows, switches, rng)
            for old in [known for known in adjacent if known % _MILESTONE and known != number]:
                del adjacent[old]
        columns = adjacent[epoch]
        return _Epoch(nodes, rows, columns, mixing.metropolis_shares(nodes, rows, columns))

    return _Drawn(nodes, _numbering(every), draw)


def schedule(
    nodes: int,
    epochs: Sequence[tuple[float, Sequence[tuple[int, int]]]],
    *,
    by: Literal["round", "seconds"] = "seconds",
) -> Overlay:
    """Given graphs: the links of each entry hold from its time until the next; before the first there are none.

    Args:
        nodes: how many nodes there are.
        epochs: (seconds or round, undirected links), times strictly ascending, as
            :func:`simulator.topology.files.read_schedule` reads them.
        by: what the times count.
    """
    if not epochs:
        raise ConfigurationError("a schedule needs at least one time with its links", "topology.path")
    times = [to_ns(start) if by == "seconds" else start for start, _ in epochs]
    if any(later <= sooner for sooner, later in pairwise(times)):
        raise ConfigurationError("the times of a schedule must ascend", "topology.path")
    graphs = [np.sort(np.array(links, np.int64).reshape(-1, 2), axis=1) for _, links in epochs]
    for links in graphs:
        if len(links) and not (
            links.min() >= 0 and links.max() < nodes and (links[:, 0] != links[:, 1]).all()
        ):
            raise ConfigurationError(
                f"a schedule's links join two different nodes from 0 to {nodes - 1}", "topology.path"
            )
    graphs = [np.empty((0, 2), np.int64), *(np.unique(links, axis=0) for links in graphs)]

    def number(t_ns: int, round: int | None) -> int:
        return bisect_right(times, t_ns if by == "seconds" else round or 0)

    return _Drawn(nodes, number, lambda epoch: _undirected(nodes, graphs[epoch]))


def matrix(overlay: Overlay, epoch: int) -> csr_array:
    """Return the mixing matrix of one epoch, row = receiver, by the rules of :mod:`simulator.topology.mixing`."""
    around = [overlay.links(node, epoch) for node in range(overlay.nodes)]
    rows = np.repeat(np.arange(overlay.nodes), [len(links.sources) for links in around])
    columns = np.array([source for links in around for source in links.sources], np.int64)
    shares = np.array([share for links in around for share in links.weights.values()], np.float64)
    return mixing.complete(overlay.nodes, rows, columns, shares)


class _Epoch:
    """One graph with its weights; the links of a node are put together when they are asked for."""

    __slots__ = ("_incoming", "_links", "_outgoing", "_shares")

    def __init__(
        self,
        nodes: int,
        receivers: Indices,
        sources: Indices,
        shares: mixing.Floats,
        *,
        directed: bool = False,
    ) -> None:
        self._incoming = csr_array((shares, (receivers, sources)), shape=(nodes, nodes))
        self._outgoing = self._incoming.T.tocsr() if directed else None
        self._links: list[Links | None] = [None] * nodes
        self._shares: dict[float, float] = {}

    def of(self, node: int, numbers: list[int]) -> Links:
        """Return the links of a node, with the one int object that ``numbers`` has for each node."""
        known = self._links[node]
        if known is None:
            known = self._links[node] = self._gathered(node, numbers)
        return known

    def _gathered(self, node: int, numbers: list[int]) -> Links:
        graph = self._incoming
        part = slice(graph.indptr[node], graph.indptr[node + 1])
        sources = tuple(numbers[peer] for peer in graph.indices[part].tolist())
        to = sources
        if self._outgoing is not None:
            graph = self._outgoing
            ends = graph.indices[graph.indptr[node] : graph.indptr[node + 1]]
            to = tuple(numbers[peer] for peer in ends.tolist())
        shares = [self._shares.setdefault(share, share) for share in self._incoming.data[part].tolist()]
        return Links(to, sources, dict(zip(sources, shares, strict=True)))


class _Drawn:
    """An overlay whose epochs follow from their number alone; the last few are kept."""

    def __init__(
        self,
        nodes: int,
        number: Callable[[int, int | None], int],
        draw: Callable[[int], _Epoch],
        *,
        fixed: bool = False,
    ) -> None:
        self.nodes = nodes
        self.fixed = fixed
        self._number = number
        self._draw = draw
        # Every number would otherwise be an object of its own in each Links: 28 bytes a link and epoch.
        self._numbers = list(range(nodes))
        self._known: dict[int, _Epoch] = {}
        self._room = max(_REMEMBERED, _REMEMBERED_NODES // nodes)

    def epoch(self, t_ns: int, round: int | None) -> int:
        """Return the epoch at that time and in that round."""
        return self._number(t_ns, round)

    def links(self, node: int, epoch: int) -> Links:
        """Return the links of a node in an epoch."""
        known = self._known.get(epoch)
        if known is None:
            while len(self._known) >= self._room:
                del self._known[next(iter(self._known))]
            known = self._known[epoch] = self._draw(epoch)
        return known.of(node, self._numbers)

    def changed(self, t_ns: int, up: frozenset[int]) -> None:
        """Do nothing: these graphs do not depend on which nodes are up."""


def _numbering(every: Every) -> Callable[[int, int | None], int]:
    if every == "round":
        return lambda t_ns, round: round or 0
    if not (isinstance(every, int | float) and every > 0 and isfinite(every) and to_ns(every) > 0):
        raise ConfigurationError(
            f'every must be "round" or positive seconds, got {every!r}', "topology.every"
        )
    every_ns = to_ns(every)
    return lambda t_ns, round: t_ns // every_ns


def _undirected(nodes: int, edges: Indices) -> _Epoch:
    rows, columns = np.concatenate([edges, edges[:, ::-1]]).T
    return _Epoch(nodes, rows, columns, mixing.metropolis_shares(nodes, rows, columns))


def _others(nodes: int, count: int, rng: np.random.Generator) -> Indices:
    """For every node a uniform set of ``count`` others; shape (nodes, count)."""
    everyone = np.arange(nodes)[:, None]
    if 4 * count > nodes:
        chosen = rng.random((nodes, nodes - 1)).argsort(1)[:, :count]
    else:
        # Values that repeat are drawn again. Sets stay uniform: the procedure treats all values alike.
        chosen = rng.integers(nodes - 1, size=(nodes, count))
        while True:
            chosen.sort(1)
            again = np.zeros(chosen.shape, bool)
            again[:, 1:] = chosen[:, 1:] == chosen[:, :-1]
            if not again.any():
                break
            chosen[again] = rng.integers(nodes - 1, size=int(again.sum()))
    return chosen + (chosen >= everyone)


def _flipped(
    adjacent: Indices, first: Indices, owner: Indices, switches: float, rng: np.random.Generator
) -> Indices:
    """Adjacency (flat, node by node, ascending) after some flips: a - b - c - d becomes a - c - b - d."""
    nodes = len(first) - 1
    steps = round(switches * len(adjacent) / 2)
    around, start, of = adjacent.tolist(), first.tolist(), owner.tolist()
    linked = set((owner * nodes + adjacent).tolist())
    hubs = rng.integers(max(1, len(adjacent)), size=steps).tolist()
    for slot, u, v in zip(hubs, *rng.random((2, steps)).tolist(), strict=True):
        b, c = of[slot], around[slot]
        at_b = start[b] + int(u * (start[b + 1] - start[b]))
        at_c = start[c] + int(v * (start[c + 1] - start[c]))
        a, d = around[at_b], around[at_c]
        if a in (c, d) or d == b or a * nodes + c in linked or b * nodes + d in linked:
            continue
        around[at_b], around[at_c] = d, a
        around[around.index(b, start[a], start[a + 1])] = c
        around[around.index(c, start[d], start[d + 1])] = b
        linked.difference_update((a * nodes + b, b * nodes + a, c * nodes + d, d * nodes + c))
        linked.update((a * nodes + c, c * nodes + a, b * nodes + d, d * nodes + b))
    flipped = np.array(around, np.int64)
    return flipped[np.lexsort((flipped, owner))]


def _at_least_two(nodes: int) -> None:
    if nodes < 2:
        raise ConfigurationError(f"an overlay needs at least 2 nodes, got {nodes}", "topology.nodes")
