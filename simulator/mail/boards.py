"""Columnar store for neighbourhood-wide rounds: nodes send to all their neighbours and wait for all of them.

A board holds one kind of message of one round: a place for every link, filled with an instant of arrival when the
message is sent. No message needs an object of its own, and the arrival of a receiver's last message is one maximum.
A receiver's row is closed when it has taken what it waited for; later messages go to its mailbox one by one.
Boards only save work: events and instants are the same with and without them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate

from simulator.contract.node import Message
from simulator.mail.sending import Coming, Key, Sending

UNSENT, NO_ARRIVAL = (1 << 62) + 1, 1 << 62
"""Later than any instant: not sent yet, and lost."""
CLOSED = -1
MOST_BOARDS = 64


class Board:
    """One kind of message in one round.

    Attributes:
        arrival_ns: by link, in the order of receivers; ``UNSENT`` or ``NO_ARRIVAL`` where there is none.
        unsent: by receiver, how many of its neighbours have not sent yet; ``CLOSED`` if it takes no more.
        sendings: by sender.
        messages: by sender.
        open: how many rows are not closed.
    """

    __slots__ = ("arrival_ns", "key", "messages", "open", "sendings", "unsent")

    def __init__(self, key: Key, blank: array[int], degrees: list[int]) -> None:
        self.key = key
        self.arrival_ns = blank[:]
        self.unsent = degrees[:]
        self.sendings: list[Sending | None] = [None] * len(degrees)
        self.messages: list[Message | None] = [None] * len(degrees)
        self.open = len(degrees)


class Boards:
    """Boards of a run on links that do not change.

    Args:
        neighbors: of every node; the relation is symmetric.
    """

    def __init__(self, neighbors: Sequence[tuple[int, ...]]) -> None:
        self.neighbors = neighbors
        self.begin = [0, *accumulate(map(len, neighbors))]
        """Return where each receiver's row begins."""
        place = {
            (src, dst): self.begin[dst] + i for dst, row in enumerate(neighbors) for i, src in enumerate(row)
        }
        self.places = [array("q", [place[src, dst] for dst in row]) for src, row in enumerate(neighbors)]
        """Return, by sender, the place of its message to each neighbour."""
        self.by_key: dict[Key, Board] = {}
        self.gathered: set[int] = set()
        """Codes of the kinds that somebody has waited for in common."""
        self._blank = array("q", [UNSENT]) * self.begin[-1]
        self._degrees = [len(row) for row in neighbors]

    def board(self, key: Key) -> tuple[Board, list[tuple[int, Coming]]]:
        """Return the board of a kind and round, and what was taken off the oldest board to make room."""
        board = self.by_key.get(key)
        if board is not None:
            return board, []
        board = self.by_key[key] = Board(key, self._blank, self._degrees)
        spilt: list[tuple[int, Coming]] = []
        if len(self.by_key) > MOST_BOARDS:
            oldest = next(iter(self.by_key.values()))
            for node in range(len(self.neighbors)):
                spilt += [(node, coming) for coming in self.close(oldest, node)]
        return board, spilt

    def shut(self, board: Board, node: int) -> None:
        """Close a receiver's row and forget what is on it."""
        board.unsent[node] = CLOSED
        board.open -= 1
        if not board.open:
            del self.by_key[board.key]

    def close(self, board: Board, node: int) -> list[Coming]:
        """Close a receiver's row; return what was on it, arrived or on its way."""
        if board.unsent[node] == CLOSED:
            return []
        self.shut(board, node)
        begin = self.begin[node]
        found: list[Coming] = []
        for i, src in enumerate(self.neighbors[node]):
            arrival_ns, sending = board.arrival_ns[begin + i], board.sendings[src]
            if arrival_ns < NO_ARRIVAL and sending is not None:
                found.append((arrival_ns, sending))
        return found

    def close_all(self, node: int) -> list[Coming]:
        """Close all rows of a receiver; return what was on them."""
        return [coming for board in list(self.by_key.values()) for coming in self.close(board, node)]

    def withdraw(self, sending: Sending, dst: int) -> bool:
        """Take a message back that will not arrive; return False if it is on no board."""
        board = self.by_key.get(sending.key)
        if board is None or board.sendings[sending.src] is not sending or board.unsent[dst] == CLOSED:
            return False
        place = self.begin[dst] + self.neighbors[dst].index(sending.src)
        if board.arrival_ns[place] == UNSENT:
            return False
        board.arrival_ns[place] = NO_ARRIVAL
        return True
