"""Random delay, loss and copies of each message, keyed by the message and never by what was drawn before.

The key is (seed, kind, sender, receiver, round, repeat, attempt): other traffic, observers and adversaries cannot
shift it. On sparse graphs the draws of a round are made for all links in one vectorised call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulator import streams
from simulator.contract.node import Message
from simulator.core.clock import NS_PER_S
from simulator.errors import ConfigurationError
from simulator.network.links import LinkModel

REMEMBERED_ROUNDS = 64
"""A message sent again after that many later rounds on its link draws as if it were sent for the first time."""
LOST = -1
"""In place of a delay."""
_MOST_S = 9e9
"""Longer delays are no whole nanoseconds in 64 bits."""
BLOCK_DRAWS = 1 << 16
DENSE_DEGREE = 64
"""Above this mean degree, drawing for all links of the network at once would be wasted on most protocols."""

WORTH = 32
"""Drawing for one sending takes as long as drawing for about that many links at once."""

_LOSS, _DELAY, _REORDERING, _COPY, _COPY_DELAY = range(5)
_PURPOSES = 8
_ATTEMPTS = 1 << 16


class Drawn(NamedTuple):
    """Draws of one sending, one element per receiver.

    Args:
        delay_ns: from the sender's uplink to the receiver's downlink; ``LOST`` if the message is lost on the way.
        chance: the uniform number that decides about loss in bursts; None without bursts.
        copy_ns: delay of a second copy, −1 without one; None without duplication.
    """

    delay_ns: NDArray[np.int64]
    chance: NDArray[np.float64] | None
    copy_ns: NDArray[np.int64] | None

    def at(self, where: object) -> Drawn:
        """Return the draws of some receivers."""
        delay_ns, chance, copy_ns = self
        return Drawn(
            delay_ns[where],  # type: ignore[call-overload]
            None if chance is None else chance[where],  # type: ignore[call-overload]
            None if copy_ns is None else copy_ns[where],  # type: ignore[call-overload]
        )


class Draws:
    """Draws of every message of a run.

    Args:
        seed: of the run.
        link: the laws.
        neighbors: receivers that are usual for each sender; others are possible, and slower to draw for.
        stream: the name of the stream.
    """

    def __init__(
        self, seed: int, link: LinkModel, neighbors: Sequence[tuple[int, ...]], stream: str = "link"
    ) -> None:
        self._seed = seed
        self._stream = stream
        self._link = link
        self._neighbors = neighbors
        degrees = [len(around) for around in neighbors]
        self._sparse = sum(degrees) <= DENSE_DEGREE * len(neighbors)
        self._begin = np.concatenate([[0], np.cumsum(degrees)]).tolist()
        self._sources = np.repeat(np.arange(len(neighbors)), degrees)
        self._targets = np.array([dst for around in neighbors for dst in around], np.int64)
        self._base_s = self._base(self._sources, self._targets)
        self._kinds: dict[str, _Kind] = {}

    def row(self, src: int, dsts: tuple[int, ...], kind: str, round: int) -> Drawn:
        """Draw for the next sending of this kind and round from ``src`` to ``dsts``."""
        known = self._kinds.get(kind)
        if known is None:
            root = streams.root(self._seed, self._stream, kind)
            known = self._kinds[kind] = _Kind(root, len(self._neighbors))
        usual = self._neighbors[src]
        sent = known.sent[src]
        if self._sparse and round not in sent and dsts == usual:
            known.remember(src, round, None)
            block = known.blocks.get(round)
            if block is None:
                block = self._make(known, round)
            return block.at(slice(self._begin[src], self._begin[src + 1]))
        repeats = known.repeats(src, round, dsts, usual)
        if self._sparse and not any(repeats) and (round in known.blocks or self._common(known)):
            block = known.blocks.get(round) or self._make(known, round)
            known.served += 1
            try:
                places = [usual.index(dst) + self._begin[src] for dst in dsts]
            except ValueError:
                pass
            else:
                return block.at(slice(places[0], places[0] + 1) if len(places) == 1 else places)
        words = [repeat * (_ATTEMPTS * _PURPOSES) for repeat in repeats]
        return self._draw(known, src, dsts, round, words)

    def delay_ns(self, src: int, dst: int, kind: str, round: int) -> int:
        """Draw for the next sending to one receiver, where nothing but its delay or loss is ever drawn."""
        known = self._kinds.get(kind)
        if known is not None and round in known.blocks and round not in known.sent[src]:
            try:
                place = self._neighbors[src].index(dst)
            except ValueError:
                pass
            else:
                known.remember(src, round, {dst: 1})
                known.served += 1
                delay_ns: int = known.delays(round)[self._begin[src] + place]
                return delay_ns
        return int(self.row(src, (dst,), kind, round).delay_ns[0])

    def _common(self, known: _Kind) -> bool:
        """Return whether a kind has enough sendings for draws over all links at once to be faster."""
        enough = len(self._targets) // WORTH + WORTH
        known.singles += 1
        if known.singles < enough and known.served < enough:
            return False
        known.singles = known.served = 0
        return True

    def repeat(self, src: int, dst: int, message: Message) -> int:
        """Return how often a message of its kind, round and link was sent before the last one."""
        return self._kinds[message.kind].last(src, message.round, dst)

    def again(self, src: int, dst: int, kind: str, round: int, repeat: int, attempt: int) -> Drawn:
        """Draw for another attempt of a reliable transport; the first was attempt 0."""
        word = _PURPOSES * (_ATTEMPTS * repeat + attempt)
        return self._draw(self._kinds[kind], src, (dst,), round, [word])

    def _make(self, known: _Kind, round: int) -> Drawn:
        """Draw for all usual links, for this round and some after it."""
        links = len(self._targets)
        count = max(1, min(16, BLOCK_DRAWS // max(1, links)))
        rounds = np.arange(round, round + count)[:, None]
        hashes = streams.absorb(
            streams.absorb(streams.absorb(known.root, self._sources), self._targets), rounds
        )

        def uniform(purpose: int) -> NDArray[np.float64]:
            return streams.unit(streams.absorb(hashes, purpose))

        drawn = self._values(self._sources, self._targets, self._base_s, uniform)
        for i in range(count):
            known.blocks[round + i] = drawn.at(i)
        while len(known.blocks) > 2 * REMEMBERED_ROUNDS:
            oldest = next(iter(known.blocks))
            del known.blocks[oldest]
            known.lists.pop(oldest, None)
        return known.blocks[round]

    def _draw(self, known: _Kind, src: int, dsts: Sequence[int], round: int, words: Sequence[int]) -> Drawn:
        """Draw for a few links, one after another; the same numbers as for all at once."""
        link = streams.absorb_one(int(known.root), src)
        keys = [
            (streams.absorb_one(streams.absorb_one(link, dst), round), word)
            for dst, word in zip(dsts, words, strict=True)
        ]

        def uniform(purpose: int) -> NDArray[np.float64]:
            return np.array([streams.unit_one(streams.absorb_one(h, word + purpose)) for h, word in keys])

        sources, targets = np.full(len(dsts), src, np.int64), np.array(dsts, np.int64)
        return self._values(sources, targets, self._base(sources, targets), uniform)

    def _base(self, sources: NDArray[np.int64], dsts: NDArray[np.int64]) -> NDArray[np.float64] | float:
        base = self._link.base_s
        if base is None:
            return 0.0
        found = np.zeros(len(dsts))
        for src in np.unique(sources).tolist():
            mine = sources == src
            found[mine] = base(src, dsts[mine])
        return found

    def _values(
        self,
        sources: NDArray[np.int64],
        dsts: NDArray[np.int64],
        base_s: NDArray[np.float64] | float,
        uniform: Callable[[int], NDArray[np.float64]],
    ) -> Drawn:
        link = self._link
        delay_ns = self._drawn(base_s, uniform(_DELAY))
        if link.reordering is not None:
            delay_ns += np.where(
                uniform(_REORDERING) < link.reordering.share, _ns(link.reordering.delay_s), 0
            )
        copy_ns = None
        if link.duplication:
            second_ns = self._drawn(base_s, uniform(_COPY_DELAY))
            copy_ns = np.where(uniform(_COPY) < link.duplication, second_ns, -1)
        if link.bursts is not None:
            return Drawn(delay_ns, uniform(_LOSS), copy_ns)
        if link.loss or link.link_loss:
            loss: float | NDArray[np.float64] = link.loss
            if link.link_loss:
                pairs = zip(sources.tolist(), dsts.tolist(), strict=True)
                loss = np.array([link.link_loss.get(pair, link.loss) for pair in pairs])
            delay_ns[uniform(_LOSS) < loss] = LOST
        return Drawn(delay_ns, None, copy_ns)

    def _drawn(self, base_s: NDArray[np.float64] | float, u: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return base delays and a draw each; a law may be anybody's, and what is no delay would be a lost message.

        Raises:
            ConfigurationError: a delay is not finite, negative or beyond 64 bits, or there is not one each.
        """
        law_s = np.asarray(self._link.latency(u))
        delay_s = base_s + law_s
        if law_s.shape != u.shape or not ((delay_s >= 0.0) & (delay_s < _MOST_S)).all():
            raise ConfigurationError(
                f"{self._link.latency_of} {_wrong(law_s, np.asarray(delay_s), u)}; expected a number from 0 to "
                f"{_MOST_S:g} s for each",
                "network.latency",
            )
        return _ns(delay_s)


def _wrong(law_s: NDArray[np.float64], delay_s: NDArray[np.float64], u: NDArray[np.float64]) -> str:
    """Say what a law gave that are no delays."""
    if law_s.shape != u.shape:
        return f"gave an array of shape {law_s.shape} for {u.shape} uniform numbers"
    at = int(np.flatnonzero(~((delay_s >= 0.0) & (delay_s < _MOST_S)))[0])
    drawn = not 0.0 <= law_s.flat[at] < _MOST_S  # otherwise it is the base delay of the link
    return f"gave a delay of {delay_s.flat[at]:g} s" + (
        f" for the uniform number {u.flat[at]:.6g}" if drawn else ""
    )


class _Kind:
    """Messages of one kind: how often each sender sent each round, and draws made in advance."""

    __slots__ = ("blocks", "lists", "root", "sent", "served", "singles")

    def __init__(self, root: np.uint64, nodes: int) -> None:
        self.root = root
        self.blocks: dict[int, Drawn] = {}
        self.lists: dict[int, list[int]] = {}
        self.served = self.singles = 0
        """Sendings to some of the usual receivers, with and without a block, since the last was made for them."""
        self.sent: list[dict[int, dict[int, int] | None]] = [{} for _ in range(nodes)]
        """By sender: round -> receiver -> times; None stands for once to every usual receiver."""

    def delays(self, round: int) -> list[int]:
        """Delays of a block, as a list, from which single numbers are read faster."""
        found = self.lists.get(round)
        if found is None:
            found = self.lists[round] = self.blocks[round].delay_ns.tolist()
        return found

    def remember(self, src: int, round: int, times: dict[int, int] | None) -> None:
        sent = self.sent[src]
        sent[round] = times
        if len(sent) > REMEMBERED_ROUNDS:
            del sent[next(iter(sent))]

    def repeats(self, src: int, round: int, dsts: Sequence[int], usual: tuple[int, ...]) -> list[int]:
        """Return how often each was sent this before, and count it as sent."""
        sent = self.sent[src]
        if round not in sent:
            self.remember(src, round, {})
        times = sent[round]
        if times is None:
            times = sent[round] = dict.fromkeys(usual, 1)
        before = []
        for dst in dsts:
            before.append(times.get(dst, 0))
            times[dst] = before[-1] + 1
        return before

    def last(self, src: int, round: int, dst: int) -> int:
        times = self.sent[src].get(round)
        return 0 if times is None else max(0, times.get(dst, 0) - 1)


def _ns(seconds: NDArray[np.float64] | float) -> NDArray[np.int64]:
    return np.rint(np.multiply(seconds, NS_PER_S)).astype(np.int64)
