"""Messages that are kept until their round begins here: of every sender those of its newest rounds alone."""

from __future__ import annotations

from typing import Generic, TypeVar

from protocols.aggregation.sums import KEPT_ROUNDS

Said = TypeVar("Said")


class Ahead(Generic[Said]):
    """What other nodes said about rounds that have not ended here.

    Of every sender at most ``kept`` rounds are kept, the newest, and of a round what was said first. An honest sender
    no longer has the vector of a round that is older than that, so that nothing is lost with it; a Byzantine one
    displaces only its own messages, however many it sends.

    Args:
        kept: most rounds of a sender.
    """

    def __init__(self, kept: int = KEPT_ROUNDS) -> None:
        self._kept = kept
        self._said: dict[int, dict[int, Said]] = {}

    def __contains__(self, key: tuple[int, int]) -> bool:
        sender, round = key
        return round in self._said.get(sender, {})

    def __len__(self) -> int:
        """Return the number of messages that are kept."""
        return sum(map(len, self._said.values()))

    def put(self, sender: int, round: int, said: Said) -> None:
        """Keep what a sender says about a round, unless it has said something about it already."""
        known = self._said.setdefault(sender, {})
        known.setdefault(round, said)
        if len(known) > self._kept:
            del known[min(known)]

    def get(self, sender: int, round: int) -> Said | None:
        """Return what a sender said about a round; None if it said nothing."""
        return self._said.get(sender, {}).get(round)

    def forget_before(self, round: int) -> None:
        """Drop what was said about rounds before ``round``."""
        for sender, known in list(self._said.items()):
            left = {about: said for about, said in known.items() if about >= round}
            if left:
                self._said[sender] = left
            else:
                del self._said[sender]
