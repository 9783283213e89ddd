"""Knowledge of an adversary at one moment, by the level it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from simulator import streams
from simulator.contract.node import Delivery, Message

Knowledge: TypeAlias = Literal["own", "received", "rushing", "neighbourhood", "omniscient"]
LEVELS: tuple[Knowledge, ...] = ("own", "received", "rushing", "neighbourhood", "omniscient")
"""Each with all before it."""


class Sighting(NamedTuple):
    """A message that a node outside the coalition has handed to its uplink."""

    t_s: float
    src: int
    dst: int
    message: Message


@dataclass(frozen=True, slots=True)
class Context:
    """Knowledge of the adversary as it sends content or tampers with one message.

    Args:
        node: the sender; on a link under attack, the node at its source.
        now_s: seconds since the start.
        knowledge: the level that decided what is below.
        link: the link under attack; None when a Byzantine node sends content or tampers with its own messages.
        seen: what members of the coalition have received so far, oldest first. Empty for ``own``.
        ahead: what others have sent so far as the level shows it, delivered or not, oldest first.
            Empty below ``rushing``.
        oracle: what an ``omniscient`` adversary was given besides; None below.

    Guarantees:
        Holds no reference to engine, network, coalition or seed. ``seen`` and ``ahead`` end at this moment. The
        stream behind :meth:`rng` is one-way: from it no other stream of the run can be computed.
    """

    node: int
    now_s: float
    knowledge: Knowledge = "own"
    link: tuple[int, int] | None = None
    seen: Sequence[Delivery] = ()
    ahead: Sequence[Sighting] = ()
    oracle: Any = None
    _stream: int = field(default=0, repr=False)

    def rng(self, purpose: str, *key: int) -> np.random.Generator:
        """A fresh generator that belongs to this message, ``purpose`` and ``key``."""
        return streams.generator(self._stream, purpose, *key)

    def uniform(self, purpose: str, *key: int) -> float:
        """One number in the open interval (0, 1); cheaper than a generator."""
        return streams.Prefix(self._stream, purpose, *key).uniforms()[0]

    def within(self, *key: int) -> Context:
        """Return the same knowledge with separate streams, for an action that is part of another."""
        return replace(self, _stream=int.from_bytes(streams.digest(self._stream, "within", *key), "little"))
