"""Bursts of loss: links alternate between a good and a bad state (Gilbert 1960; Elliott 1963)."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator import streams
from simulator.core.clock import NS_PER_S
from simulator.errors import ConfigurationError

LONGEST_DWELL_S = 1e7
"""Mean dwell times up to here (four months) keep any path within 64 bits of nanoseconds."""

_BLOCK = (
    64  # dwell times held at a time; even, so that every block begins in the state that the path began in
)
_MOST_BLOCKS = 64


@dataclass(frozen=True)
class Bursts:
    """Gilbert–Elliott model in continuous time: exponential dwell times in a good and in a bad state.

    A link begins in its stationary law, so its loss has the same probability at any time.

    Args:
        good_s: mean time from the end of a burst to the next, above 0 and at most 1e7 seconds.
        bad_s: mean length of a burst, above 0 and at most 1e7 seconds.
        loss_good: probability of losing a message between bursts, 0 to 1.
        loss_bad: probability of losing a message in a burst, 0 to 1.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    good_s: float
    bad_s: float
    loss_good: float = 0.0
    loss_bad: float = 1.0

    def __post_init__(self) -> None:
        for name, dwell_s in (("good", self.good_s), ("bad", self.bad_s)):
            if not 0 < dwell_s <= LONGEST_DWELL_S:
                raise ConfigurationError(
                    f"bursts: {name} must be above 0 and at most {LONGEST_DWELL_S:g} seconds, got {dwell_s:g}",
                    f"network.bursts.{name}",
                )
        for name, loss in (("loss_good", self.loss_good), ("loss_bad", self.loss_bad)):
            if not 0 <= loss <= 1:
                raise ConfigurationError(
                    f"bursts: {name} must be from 0 to 1, got {loss:g}", f"network.bursts.{name}"
                )


class BurstPath:
    """Good and bad periods of one direction of a link.

    Dwell time number i is drawn from the stream (seed, "bursts", src, dst) at i, and rounded to nanoseconds. So the
    path depends on nothing else: not on traffic, nor on which times are asked for and in what order. Times that do
    not decrease cost a bisection of 64 numbers each; going back costs a block of 64 draws. Memory: about 1 kB,
    and 40 bytes for every 64 changes of state so far.
    """

    __slots__ = ("_from_ns", "_losses", "_means_s", "_root", "_starts_ns", "_switches_ns", "_until_ns")

    def __init__(self, bursts: Bursts, seed: int, src: int, dst: int) -> None:
        self._root = streams.root(seed, "bursts", src, dst)
        states = [(bursts.good_s, bursts.loss_good), (bursts.bad_s, bursts.loss_bad)]
        first = streams.unit_one(streams.absorb_one(int(self._root), 0))
        if first < bursts.bad_s / (bursts.good_s + bursts.bad_s):
            states.reverse()
        self._means_s = tuple(mean_s for mean_s, _ in states)
        self._losses = tuple(loss for _, loss in states)
        self._starts_ns = [0]
        self._from_ns = self._until_ns = 0
        self._switches_ns = array("q")

    def loss_at(self, t_ns: int) -> float:
        """Probability that a message which leaves at ``t_ns`` is lost, in the state the link is in by then."""
        if not self._from_ns <= t_ns < self._until_ns:
            self._seek(t_ns)
        return self._losses[bisect_right(self._switches_ns, t_ns) & 1]

    def _seek(self, t_ns: int) -> None:
        """Hold the block of changes in which ``t_ns`` lies."""
        while t_ns >= self._starts_ns[-1]:
            self._extend(t_ns)
        if not self._from_ns <= t_ns < self._until_ns:
            block = bisect_right(self._starts_ns, t_ns) - 1
            self._hold(block, self._draw(block, 1))

    def _extend(self, t_ns: int) -> None:
        """Draw on, at once as many blocks as probably reach ``t_ns``: they cost little more than one."""
        starts = self._starts_ns
        first = len(starts) - 1
        block_ns = sum(self._means_s) * NS_PER_S * _BLOCK / 2
        changes = self._draw(first, min(_MOST_BLOCKS, 1 + int((t_ns - starts[-1]) / block_ns)))
        starts.extend(changes[_BLOCK - 1 :: _BLOCK].tolist())
        block = min(bisect_right(starts, t_ns), len(starts) - 1) - 1
        self._hold(block, changes[(block - first) * _BLOCK :][:_BLOCK])

    def _hold(self, block: int, changes: NDArray[np.int64]) -> None:
        self._switches_ns = array("q", changes.tobytes())
        self._from_ns, self._until_ns = self._starts_ns[block], self._starts_ns[block + 1]

    def _draw(self, first: int, blocks: int) -> NDArray[np.int64]:
        """Return when the state changes in the ``blocks`` blocks from number ``first`` on."""
        numbers = np.arange(first * _BLOCK + 1, (first + blocks) * _BLOCK + 1, dtype=np.uint64)
        dwells = np.log(streams.unit(streams.absorb(self._root, numbers))).reshape(-1, 2)
        dwells *= np.multiply(self._means_s, -NS_PER_S)
        changes: NDArray[np.int64] = np.rint(dwells).astype(np.int64).ravel().cumsum()
        changes += self._starts_ns[first]
        return changes
