"""A mailbox with selective receive: an expired or cancelled receive never consumes a message.

On virtual time the network announces a message when it is sent, with the instant at which it will arrive. The
mailbox looks at what has arrived when its node looks into it, and puts an alarm on the calendar only for an
instant at which somebody waits; a message nobody waits for costs no event.
"""

from __future__ import annotations

from array import array
from bisect import insort
from collections.abc import Callable, Collection, Iterable, Sequence
from math import inf

from simulator.contract.node import Delivery, Match
from simulator.core.clock import Calendar
from simulator.mail.boards import CLOSED, NO_ARRIVAL, Board, Boards
from simulator.mail.sending import Coming, Key, Sending, code_of, delivery_of, key_of
from simulator.mail.waiting import Alarm, Deadlines, Gather, Receive, happen

NOTHING, ANYTHING = -(1 << 62), -(1 << 61)
"""Key that no message has."""


class Post:
    """What the mailboxes of a run share. Lists by node are flat because every message touches them.

    Args:
        env: the calendar.
        nodes: how many.
        code: the number of a kind of message.
    """

    def __init__(self, env: Calendar, nodes: int, code: Callable[[str], int]) -> None:
        self._code = code
        self.deadlines = Deadlines(env)
        self.coming: list[list[Coming]] = [[] for _ in range(nodes)]
        """Messages that their receiver has not looked at yet, in any order."""
        self.key_awaited = array("q", [NOTHING] * nodes)
        """What a node waits for: ``NOTHING``, the key of its only gather (its complement if the gather waits at a
        board), or ``ANYTHING`` for all else."""
        self.missing = array("q", bytes(8 * nodes))
        """How many messages of that gather are not known to be on their way; only a hint of when to look."""
        self.latest_ns = array("q", bytes(8 * nodes))
        """When the last of those known will arrive."""
        self.hear: Callable[[int, Coming], bool] | None = None
        """Told of every message that reaches a mailbox, (receiver, message); whether it stays in the mailbox."""
        self.prompt: frozenset[int] = frozenset()
        """Nodes whose messages are heard of at the instant they arrive, not when the node next looks."""
        self.down: Collection[int] = ()
        """Nodes that hear nothing."""
        self.unheeded: int | None = None
        """Return the code of a kind of message that no program waits for."""

        self.boards: Boards | None = None
        """Rounds in which nodes send to all neighbours; None where that would not help."""

    def key(self, kind: str, round: int) -> Key:
        """One number for a kind and a round."""
        return key_of(self._code(kind), round)

    def board(self, key: Key) -> Board:
        """Return the board of a kind and round."""
        assert self.boards is not None
        board, spilt = self.boards.board(key)
        for node, one in spilt:
            self.coming[node].append(one)
        return board


class Mailbox:
    """Messages on their way, messages in order of arrival, and the receives waiting for one, first come first served.

    Args:
        node: whose it is.
        env: the calendar.
        post: shared by all mailboxes of the run.
    """

    __slots__ = ("_env", "_held", "_node", "_post", "_rank", "_waiting", "alarm")

    def __init__(self, node: int, env: Calendar, post: Post) -> None:
        self._node = node
        self._rank = node - len(post.coming) - 1
        self._env = env
        self._post = post
        self._held: list[Coming] = []
        self._waiting: list[Receive | Gather] = []
        self.alarm = Alarm(env, self._wake, self._rank).set
        """Look at that instant (ns) or before; the mailbox sets it again if it looks too early."""

    # ---------------------------------------------------------------- the network's side

    def announce(self, coming: Coming) -> None:
        """Take note of a message that will arrive."""
        self._post.coming[self._node].append(coming)
        self.expect(coming)

    def expect(self, coming: Coming) -> None:
        """Set an alarm if the mailbox has to be looked at when this message arrives."""
        arrival_ns, sending = coming
        if self._post.key_awaited[self._node] == ~sending.key:
            self._spill()  # it may take the place of a message that was lost
        if self._node in self._post.prompt or (
            code_of(sending.key) != self._post.unheeded
            and any(isinstance(waiter, Receive) or waiter.key == sending.key for waiter in self._waiting)
        ):
            self.alarm(arrival_ns)

    def put(self, sending: Sending) -> None:
        """Take a message that arrives now (live runs)."""
        for waiter in self._hand_out(self._heard([(self._env.now_ns, sending)])):
            waiter.succeed()

    def reconsider(self) -> None:
        """Find out anew when the only receive that waits may end."""
        if len(self._waiting) == 1:
            self._set(self._waiting[0])

    def withdraw(self, sending: Sending) -> None:
        """Take a message back that was announced and will not arrive."""
        if self._post.boards is not None and self._post.boards.withdraw(sending, self._node):
            return
        coming = self._post.coming[self._node]
        coming[:] = [one for one in coming if one[1] is not sending]

    # ---------------------------------------------------------------- the node's side

    def take(self, match: Match | None) -> Delivery | None:
        """Return the oldest message that has arrived and matches, if any."""
        self.look()
        for i, one in enumerate(self._held):
            delivery = delivery_of(one)
            if match is None or match(delivery):
                del self._held[i]
                return delivery
        return None

    def take_all(self) -> list[Delivery]:
        """Return everything that has arrived."""
        self.look()
        held = self._held
        if not held:
            return []
        self._held = []
        return [delivery_of(one) for one in held]

    def wait(self, match: Match | None, deadline_ns: float) -> Receive:
        """Wait for a message; to be called after :meth:`take` gave none."""
        waiter = Receive(self._env, match, deadline_ns)
        self._enter(waiter)
        return waiter

    def gather(self, kind: str, round: int, sources: Sequence[int], wait_ns: float) -> Gather:
        """Wait for a message of a kind and round from each source, unless it is ``complete`` or there is no time."""
        boards = self._post.boards
        if boards is None or sources is not boards.neighbors[self._node]:
            sources = tuple(dict.fromkeys(sources))
        key, deadline_ns = self._post.key(kind, round), self._env.now_ns + wait_ns
        waiter = Gather(self._env, key, sources, deadline_ns)
        board = self._board(waiter)
        if board is not None:
            waiter.board = board
            if not self._at_board(waiter, board):
                self._waiting.append(waiter)
                self._post.key_awaited[self._node] = ~waiter.key
                self._post.deadlines.add(waiter, self._rank, self._wake)
            return waiter
        self.look()
        self._held = [one for one in self._held if not waiter.takes(one)]
        if not waiter.complete and wait_ns > 0:
            self._enter(waiter)
        return waiter

    def abandon(self, waiter: Receive | Gather) -> None:
        """Cancel a receive; what was already handed to it takes its place in the mailbox again."""
        self._leave(waiter)
        for other in self._hand_out(list(waiter.taken)):
            other.succeed()

    def clear(self) -> None:
        """Lose what had arrived, with the memory of a node that crashed."""
        self.look()
        self._held.clear()
        self._waiting.clear()
        self._refresh()

    def miss(self) -> list[Coming]:
        """Take out and return what arrived until now while the node was down."""
        self._spill()
        missed = self._due(self._env.now_ns)
        if self._node in self._post.prompt:
            self._next()
        return missed

    def look(self) -> None:
        """Take note of everything that has arrived."""
        self._spill()
        if self._post.coming[self._node]:
            for waiter in self._hand_out(self._arrived()):
                waiter.succeed()

    # ---------------------------------------------------------------- inside

    def _enter(self, waiter: Receive | Gather) -> None:
        self._spill()
        self._waiting.append(waiter)
        self._refresh()
        self._set(waiter)
        self._post.deadlines.add(waiter, self._rank, self._wake)

    def _leave(self, waiter: Receive | Gather) -> None:
        self._waiting = [other for other in self._waiting if other is not waiter]
        self._refresh()
        self.reconsider()

    def _refresh(self) -> None:
        waiting, key = self._waiting, NOTHING
        if waiting:
            only, key = waiting[0], ANYTHING
            if len(waiting) == 1 and isinstance(only, Gather) and self._node not in self._post.prompt:
                key = only.key
        self._post.key_awaited[self._node] = key

    def _due(self, now: int) -> list[Coming]:
        """Take out what has arrived, in order."""
        coming = self._post.coming[self._node]
        due = [one for one in coming if one[0] <= now]
        if due:
            coming[:] = [one for one in coming if one[0] > now]
            due.sort()
        return due

    def _arrived(self) -> list[Coming]:
        """Return what has arrived, in order."""
        return self._heard(self._due(self._env.now_ns))

    def _heard(self, arrived: list[Coming]) -> list[Coming]:
        """Tell those who listen; return what is for the program."""
        hear, node = self._post.hear, self._node
        return arrived if hear is None else [one for one in arrived if hear(node, one)]

    # ---------------------------------------------------------------- boards

    def _board(self, waiter: Gather) -> Board | None:
        """Return the board at which a gather can wait; None if it has to look at messages one by one."""
        boards, node, key, sources = self._post.boards, self._node, waiter.key, waiter.sources
        if boards is None:
            return None
        boards.gathered.add(code_of(key))
        if self._waiting or not sources or sources != boards.neighbors[node]:
            return None
        held, coming = self._held, self._post.coming[node]
        if (held or coming) and any(sending.key == key for _, sending in held + coming):
            return None
        board = boards.by_key.get(key) or self._post.board(key)
        return None if board.unsent[node] == CLOSED else board

    def _at_board(self, waiter: Gather, board: Board) -> bool:
        """End a wait at a board if it is over, or set the alarm for when it may be."""
        boards, node, now = self._post.boards, self._node, self._env.now_ns
        assert boards is not None
        begin = boards.begin[node]
        row = board.arrival_ns[begin : begin + len(waiter.sources)]
        latest_ns = max(row)
        messages = board.messages
        if latest_ns <= now:
            waiter.messages = {src: messages[src] for src in waiter.sources}  # type: ignore[misc]
        elif waiter.deadline_ns <= now:
            there = zip(waiter.sources, row, strict=True)
            waiter.messages = {src: messages[src] for src, at_ns in there if at_ns <= now}  # type: ignore[misc]
        else:
            if latest_ns < waiter.deadline_ns and latest_ns < NO_ARRIVAL:
                self.alarm(latest_ns)
            return False
        if latest_ns <= now and self._post.hear is None:
            boards.shut(board, node)
        else:
            closed = boards.close(board, node)
            self._post.coming[node] += [one for one in closed if one[0] > now]
            self._heard(sorted(one for one in closed if one[0] <= now))
        return True

    def _spill(self) -> None:
        """Move messages from boards to the mailbox, where any receive can take them."""
        boards, post, node = self._post.boards, self._post, self._node
        if boards is None or not boards.by_key:
            return
        post.coming[node] += boards.close_all(node)
        if post.key_awaited[node] not in (NOTHING, ANYTHING):
            (waiter,) = self._waiting
            if waiter.board is not None:
                waiter.board = None
                self._refresh()
                self._set(waiter)

    # ---------------------------------------------------------------- messages one by one

    def _hand_out(self, arrived: Iterable[Coming]) -> list[Receive | Gather]:
        """Offer messages to those who wait, keep the rest; returns the receives that are over."""
        over: list[Receive | Gather] = []
        if not self._waiting and not self._held:
            self._held = list(arrived)
            return over
        for one in arrived:
            for waiter in self._waiting:
                try:
                    if waiter.takes(one):
                        break
                except Exception as error:
                    # The receive that asked for this match is the one to fail, not whoever delivered.
                    self._leave(waiter)
                    waiter.fail(error)
                    waiter.defused = True
            else:
                insort(self._held, one)
                continue
            if waiter.complete:
                self._leave(waiter)
                over.append(waiter)
        return over

    def _wake(self) -> None:
        """End the waits that are over by now, and set the alarm for the others."""
        waiting, post, node, now = self._waiting, self._post, self._node, self._env.now_ns
        if not waiting:
            if node in post.prompt and node not in post.down:
                self._hand_out(self._arrived())
                self._next()
            return
        waiter = waiting[0]
        if isinstance(waiter, Gather) and waiter.board is not None:
            if self._at_board(waiter, waiter.board):
                waiting.clear()
                post.key_awaited[node] = NOTHING
                happen(waiter)
            return
        over = self._hand_out(self._arrived()) if post.coming[node] else []
        for other in list(self._waiting):
            if other.deadline_ns <= now:
                self._leave(other)
                over.append(other)
            else:
                self._set(other)
        if node in post.prompt:
            self._next()
        for ended in over:
            happen(ended)

    def _next(self) -> None:
        """Set the alarm for the next message of any kind."""
        coming = self._post.coming[self._node]
        if coming:
            self.alarm(min(coming)[0])

    def _set(self, waiter: Receive | Gather) -> None:
        """Set the alarm for the first instant at which a waiting receive may have all it waits for."""
        first_ns: float = inf
        coming = self._post.coming[self._node]
        if type(waiter) is Gather:
            key, latest_ns, missing = waiter.key, 0, len(waiter.sources) - len(waiter.by_source)
            for arrival_ns, sending in coming:
                if sending[6] == key:
                    missing -= 1
                    if arrival_ns > latest_ns:
                        latest_ns = arrival_ns
            if missing < 0:
                missing, latest_ns = waiter.foreseen(coming)
            self._post.missing[self._node], self._post.latest_ns[self._node] = missing, latest_ns
            if missing <= 0:
                first_ns = latest_ns
        else:
            unheeded = self._post.unheeded
            heeded = [one[0] for one in coming if code_of(one[1].key) != unheeded]
            first_ns = min(heeded, default=inf)
        if first_ns < waiter.deadline_ns:
            self.alarm(int(first_ns))
