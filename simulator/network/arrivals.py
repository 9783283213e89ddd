"""Network in virtual time, and its fast form, which computes arrivals when a message is sent.

Where nothing but uplinks, loss and delays decides (:class:`DirectNetwork`), the arrival of a message follows from
what is known when it is sent, and is computed then, for all receivers at once. Otherwise messages pass the stations
of :mod:`simulator.network.stations` by events. Both give the same events for what both can do.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from random import Random
from sys import byteorder

from simulator.contract.node import Message
from simulator.core.clock import NS_PER_S, Calendar
from simulator.core.records import CUT_OFF, NEVER, RETAINED, MessageLog
from simulator.mail.boards import NO_ARRIVAL, Board, Boards
from simulator.mail.mailbox import ANYTHING, Mailbox, Post
from simulator.mail.sending import Sending, code_of, key_of
from simulator.network.draws import Draws
from simulator.network.fair_uplinks import FairUplinks
from simulator.network.links import LinkModel

ORDER_BITS = 62


@dataclass(frozen=True)
class Fixtures:
    """What a network works with.

    Args:
        env: the calendar.
        link: how messages travel.
        draws: random delay and loss of each.
        log: where they are counted.
        post: the mailboxes' common part.
        boxes: the mailbox of every node.
        tie_seed: messages that arrive at the same instant are ordered at random; None for the order of sending.
    """

    env: Calendar
    link: LinkModel
    draws: Draws
    log: MessageLog
    post: Post
    boxes: Sequence[Mailbox]
    tie_seed: int | None = None


class Network(ABC):
    """Carries messages between nodes in virtual time.

    Args:
        fixtures: what it works with.
    """

    def __init__(self, fixtures: Fixtures) -> None:
        self._env = fixtures.env
        self._link = fixtures.link
        self._draws = fixtures.draws
        self._log = fixtures.log
        self._post = fixtures.post
        self._boxes = fixtures.boxes
        self._down: set[int] = set()
        seed = fixtures.tie_seed
        self._order: Callable[[int], int] = _as_sent if seed is None else _shuffled(seed)

    @abstractmethod
    def send(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Put a message to one or more receivers on the sender's uplink, in their order.

        If the sender is down (a program may speak in a ``finally`` block as it ends), it is dropped.
        """

    @abstractmethod
    def crashed(self, node: int) -> None:
        """Take a node down: drop the messages that have not left it."""

    def returned(self, node: int) -> None:
        """Bring a node up (or end the run): count as dropped what arrived while it was down."""
        self._down.discard(node)
        for _, sending in self._boxes[node].miss():
            self._log.ended(sending.number(node), CUT_OFF)


class DirectNetwork(Network):
    """Uplinks, loss and delays: each arrival is computed when the message is sent.

    Messages leave one after another, in the order of sending; or, under fair sharing, all at once, which is known
    when they have left.
    """

    def __init__(self, fixtures: Fixtures) -> None:
        super().__init__(fixtures)
        env, link, boxes = fixtures.env, fixtures.link, fixtures.boxes
        rates = link.uplinks(len(boxes))
        self._ns_per_byte = [8 * NS_PER_S / bps for bps in rates]
        self._free_ns = [0] * len(boxes)
        self._queued: list[list[tuple[Sending, int, int]]] = [[] for _ in boxes]
        """By sender, since its uplink was last idle: (sending, start, each)."""
        self._fair = (
            FairUplinks(env, rates, self._left) if link.sharing == "fair" and min(rates) < inf else None
        )

    def send(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Put a message to one or more receivers on the sender's uplink, in their order."""
        now = self._env.now_ns
        _, round, _, size, _ = message
        size += self._link.header_bytes
        log = self._log
        code = log.code(message.kind)
        if len(dsts) == 1:
            delays_ns = [self._draws.delay_ns(src, dsts[0], message.kind, round)]
            drawn = delays_ns[0].to_bytes(8, byteorder, signed=True)
        else:
            delay_ns = self._draws.row(src, dsts, message.kind, round).delay_ns
            delays_ns, drawn = delay_ns.tolist(), delay_ns.tobytes()
        fair = self._fair
        if fair is None:
            each_ns = int(size * self._ns_per_byte[src] + 0.5)
            start_ns = self._free_ns[src]
            if start_ns < now:
                start_ns = now
        else:
            each_ns, start_ns = 0, NEVER
        if src in self._down:
            self._never(log.sending(now, src, dsts, code, round, size, NEVER, 0, drawn), len(dsts))
            return
        first = log.sending(now, src, dsts, code, round, size, start_ns, each_ns, drawn)
        sending = Sending(self._order(first), first, src, dsts, message, now, key_of(code, round))
        if fair is not None:
            fair.start(src, dsts, 8 * size, (sending, delays_ns))
            return
        if each_ns or start_ns > now:
            if start_ns == now:
                self._queued[src] = [(sending, start_ns, each_ns)]
            else:
                self._queued[src].append((sending, start_ns, each_ns))
            self._free_ns[src] = start_ns + each_ns * len(dsts)
        self._announce(sending, delays_ns, start_ns, each_ns)

    def crashed(self, node: int) -> None:
        """Take a node down: drop the messages that have not left it."""
        now = self._env.now_ns
        self._down.add(node)
        if self._fair is not None:
            for sending, _ in self._fair.stop(node):
                self._never(sending.first, len(sending.dsts))
            return
        for sending, left_ns, each_ns in self._queued[node]:
            for i, dst in enumerate(sending.dsts):
                left_ns += each_ns
                if left_ns > now:
                    self._boxes[dst].withdraw(sending)
                    self._never(sending.first + i, 1)
        self._queued[node].clear()
        self._free_ns[node] = now

    def _never(self, first: int, count: int) -> None:
        """Drop messages before departure."""
        for number in range(first, first + count):
            self._log.delay_ns[number] = NEVER
            self._log.ended(number, RETAINED)

    def _left(self, started: tuple[Sending, list[int]]) -> None:
        sending, delays_ns = started
        self._log.started(sending.first, self._env.now_ns)
        self._announce(sending, delays_ns, self._env.now_ns, 0)

    def _announce(self, sending: Sending, delays_ns: list[int], left_ns: int, each_ns: int) -> None:
        """Tell the receivers' mailboxes; of a common wait only what decides when it may end is kept up to date."""
        post, key = self._post, sending.key
        boards = post.boards
        if (
            boards is not None
            and code_of(key) in boards.gathered
            and sending.dsts is boards.neighbors[sending.src]
        ):
            board = boards.by_key.get(key) or post.board(key)
            if board.sendings[sending.src] is None:
                self._announce_on(board, boards, sending, delays_ns, left_ns, each_ns)
                return
        coming, awaited, missing, latest_ns = post.coming, post.key_awaited, post.missing, post.latest_ns
        for dst, delay_ns in zip(sending.dsts, delays_ns, strict=True):
            left_ns += each_ns
            if delay_ns >= 0:
                arrival_ns = left_ns + delay_ns
                coming[dst].append((arrival_ns, sending))
                wanted = awaited[dst]
                if wanted == key:
                    still = missing[dst] = missing[dst] - 1
                    if still >= 0:
                        if arrival_ns > latest_ns[dst]:
                            latest_ns[dst] = arrival_ns
                        if still == 0:
                            self._boxes[dst].alarm(latest_ns[dst])
                    elif arrival_ns < latest_ns[dst]:
                        # More than enough: some are repeats or from strangers, or this one overtakes another.
                        self._boxes[dst].reconsider()
                elif wanted == ANYTHING or wanted == ~key or dst in post.prompt:
                    self._boxes[dst].expect((arrival_ns, sending))

    def _announce_on(
        self, board: Board, boards: Boards, sending: Sending, delays_ns: list[int], left_ns: int, each_ns: int
    ) -> None:
        """Put a sending to all neighbours on its board; receivers whose row is closed hear of it one by one."""
        src, waits = sending.src, ~sending.key
        board.sendings[src] = sending
        board.messages[src] = sending.message
        arrivals_ns, unsent, awaited, begin = (
            board.arrival_ns,
            board.unsent,
            self._post.key_awaited,
            boards.begin,
        )
        for dst, place, delay_ns in zip(sending.dsts, boards.places[src], delays_ns, strict=True):
            left_ns += each_ns
            rest, wanted = unsent[dst], awaited[dst]
            if rest > 0 and wanted < 0 and wanted != ANYTHING:
                arrivals_ns[place] = left_ns + delay_ns if delay_ns >= 0 else NO_ARRIVAL
                unsent[dst] = rest = rest - 1
                if not rest and wanted == waits:
                    latest_ns = max(arrivals_ns[begin[dst] : begin[dst + 1]])
                    if latest_ns < NO_ARRIVAL:
                        self._boxes[dst].alarm(latest_ns)
            elif delay_ns >= 0:
                self._boxes[dst].announce((left_ns + delay_ns, sending))


def _as_sent(number: int) -> int:
    return number


def _shuffled(tie_seed: int) -> Callable[[int], int]:
    """Draw the order of messages at random, the same under the same seed."""
    random = Random(f"ties {tie_seed}")
    return lambda _: random.getrandbits(ORDER_BITS)
