"""A message that goes from station to station, and the order a transport keeps among those of a link."""

from __future__ import annotations

from simulator.contract.node import Message
from simulator.core.records import NEVER
from simulator.network.draws import Draws, Row


class Parcel:
    """A message on its way."""

    __slots__ = (
        "attempt",
        "chance",
        "copy_ns",
        "delay_ns",
        "draws",
        "dst",
        "gone",
        "left_ns",
        "life",
        "message",
        "number",
        "off_ns",
        "place",
        "reliable",
        "repeat",
        "row",
        "sent_ns",
        "size",
        "src",
    )

    def __init__(
        self, number: int, src: int, dst: int, message: Message, size: int, sent_ns: int, draws: Draws
    ) -> None:
        self.number = number
        self.src = src
        self.dst = dst
        self.message = message
        self.size = size
        self.sent_ns = sent_ns
        self.off_ns, self.left_ns = NEVER, NEVER
        self.life = 0
        self.attempt = 1
        self.repeat = 0
        self.reliable = False
        self.gone = False
        self.place: int | None = None
        self.row: int | None = None
        self.delay_ns, self.chance, self.copy_ns = 0, 0.0, NEVER
        self.draws = draws

    def drawn(self, row: Row, i: int) -> None:
        """Take one entry of a row of draws."""
        self.delay_ns = int(row.delay_ns[i])
        self.chance = 0.0 if row.chance is None else float(row.chance[i])
        self.copy_ns = NEVER if row.copy_ns is None else int(row.copy_ns[i])


class Ordered:
    """Per link, messages in the order in which they were sent; those behind a hole wait."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], int] = {}
        self._next: dict[tuple[int, int], int] = {}
        self._early: dict[tuple[int, int], dict[int, Parcel | None]] = {}

    def place(self, parcel: Parcel) -> int:
        """The next place on the parcel's link."""
        link = (parcel.src, parcel.dst)
        place = self._places.get(link, 0)
        self._places[link] = place + 1
        return place

    def arrived(self, parcel: Parcel) -> list[Parcel]:
        """A parcel is there: those that can be handed over, in order."""
        return self._put(parcel, parcel)

    def given_up(self, parcel: Parcel) -> list[Parcel]:
        """A parcel will never be there: those that need not wait for it any more."""
        return self._put(parcel, None)

    def forgotten(self, node: int) -> list[Parcel]:
        """A receiver went down: what waited there is lost."""
        lost: list[Parcel] = []
        for (_, dst), early in self._early.items():
            if dst == node:
                lost += [parcel for parcel in early.values() if parcel is not None]
                early.update(dict.fromkeys(early))
        return lost

    def _put(self, parcel: Parcel, content: Parcel | None) -> list[Parcel]:
        link = (parcel.src, parcel.dst)
        early = self._early.setdefault(link, {})
        assert parcel.place is not None
        early[parcel.place] = content
        ready: list[Parcel] = []
        place = self._next.get(link, 0)
        while place in early:
            there = early.pop(place)
            if there is not None:
                ready.append(there)
            place += 1
        self._next[link] = place
        return ready
