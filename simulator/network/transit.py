"""A message on its way from station to station, and the order that a transport keeps on each link."""

from __future__ import annotations

from simulator.contract.node import Message
from simulator.core.records import NEVER
from simulator.network.draws import Drawn, Draws


class Transit:
    """One message for one receiver between its sender's uplink and its receiver's mailbox."""

    __slots__ = (
        "attempt",
        "chance",
        "copy_ns",
        "delay_ns",
        "draws",
        "dst",
        "ended",
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
        self.ended = False
        self.place: int | None = None
        self.row: int | None = None
        self.delay_ns, self.chance, self.copy_ns = 0, 0.0, NEVER
        self.draws = draws

    def drawn(self, row: Drawn, i: int) -> None:
        """Take the draws of one receiver."""
        self.delay_ns = int(row.delay_ns[i])
        self.chance = 0.0 if row.chance is None else float(row.chance[i])
        self.copy_ns = NEVER if row.copy_ns is None else int(row.copy_ns[i])


class Ordered:
    """Keeps the order of sending on each link: messages behind one that is missing wait."""

    def __init__(self) -> None:
        self._places: dict[tuple[int, int], int] = {}
        self._next: dict[tuple[int, int], int] = {}
        self._early: dict[tuple[int, int], dict[int, Transit | None]] = {}

    def place(self, transit: Transit) -> int:
        """Return the next place in the order of its link."""
        link = (transit.src, transit.dst)
        place = self._places.get(link, 0)
        self._places[link] = place + 1
        return place

    def arrived(self, transit: Transit) -> list[Transit]:
        """Note that a message has arrived; return those that can be delivered, in order."""
        return self._put(transit, transit)

    def given_up(self, transit: Transit) -> list[Transit]:
        """Note that a message will not arrive; return those that need not wait for it any more."""
        return self._put(transit, None)

    def forgotten(self, node: int) -> list[Transit]:
        """Return what waited at a receiver that went down, and is lost."""
        lost: list[Transit] = []
        for (_, dst), early in self._early.items():
            if dst == node:
                lost += [transit for transit in early.values() if transit is not None]
                early.update(dict.fromkeys(early))
        return lost

    def _put(self, transit: Transit, content: Transit | None) -> list[Transit]:
        link = (transit.src, transit.dst)
        early = self._early.setdefault(link, {})
        assert transit.place is not None
        early[transit.place] = content
        ready: list[Transit] = []
        place = self._next.get(link, 0)
        while place in early:
            there = early.pop(place)
            if there is not None:
                ready.append(there)
            place += 1
        self._next[link] = place
        return ready
