"""Real links: one listening port per node, one TCP connection per ordered pair of neighbours, all on loopback.

Both ends live in one process, so what does not belong on the wire (release tags, numbers in the log) is kept
here, by message number. A message ends once: *delivered*, or *dropped* when either end goes down before it is
read; what is still under way when the run ends stays in flight.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from simulator.contract.node import Message
from simulator.core.clock import Calendar, to_ns, to_s
from simulator.core.records import CUT_OFF, MessageLog
from simulator.errors import ConfigurationError, ContractError
from simulator.mail.sending import Sending, key_of
from simulator.runtime.wire import Frame, encode, read_frame

HOST = "127.0.0.1"
_TOKEN_BYTES = 16
_NUMBER_BYTES = 8

_logger = logging.getLogger(__name__)


class _Connection:
    """Sending end of an open connection, and the messages written to it that were not read yet."""

    def __init__(self, number: int, src: int, dst: int) -> None:
        self.number = number
        self.src = src
        self.dst = dst
        self.writer: asyncio.StreamWriter | None = None
        self.unread: set[int] = set()


class _Line:
    """Queue of messages from one node to another until the sender goes down."""

    def __init__(self, src: int, dst: int) -> None:
        self.src = src
        self.dst = dst
        self.waiting: deque[tuple[int, bytes]] = deque()
        self.wake = asyncio.Event()
        self.connection: _Connection | None = None
        self.task: asyncio.Task[None] | None = None


class Sockets:
    """Carries messages between nodes over TCP.

    Args:
        env: where the time is read.
        neighbors: who has a line to whom.
        log: where every message is counted.
        deliver: takes (receiver, message); False if the receiver is down.
        failed: told of an error of the network itself or of a listener; the run should end with it.
    """

    def __init__(
        self,
        env: Calendar,
        neighbors: Sequence[tuple[int, ...]],
        log: MessageLog,
        deliver: Callable[[int, Sending], bool],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._env = env
        self._neighbors = neighbors
        self._log = log
        self._deliver = deliver
        self._failed = failed
        # Only this run's own connections are listened to; any other process may reach a loopback port.
        self._token = os.urandom(_TOKEN_BYTES)
        self._listening: dict[int, socket.socket] = {}
        self._lines: dict[tuple[int, int], _Line] = {}
        self._connections: dict[int, _Connection] = {}
        self._opened = 0
        self._releases: dict[int, Any] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._closing = False

    async def start(self) -> None:
        """Open every port and every connection.

        Raises:
            ConfigurationError: the operating system refuses that many sockets.
        """
        try:
            for node in range(len(self._neighbors)):
                self.open(node)
            for line in self._lines.values():
                await self._connect(line)
        except OSError as error:
            pairs = sum(map(len, self._neighbors))
            needed = len(self._neighbors) + 2 * pairs
            raise ConfigurationError(
                f"the sockets of this run cannot be opened ({error}); {len(self._neighbors)} nodes with {pairs} "
                f"ordered pairs of neighbours need {needed} of them: raise the limit on open files (ulimit -n)"
            ) from error

    def open(self, node: int) -> None:
        """Bring a node up: it listens, and has lines to its neighbours."""
        listener = socket.create_server((HOST, 0), backlog=max(len(self._neighbors[node]), 16))
        listener.setblocking(False)
        self._listening[node] = listener
        asyncio.get_running_loop().add_reader(listener, self._accept, node, listener)
        for peer in self._neighbors[node]:
            line = self._lines[node, peer] = _Line(node, peer)
            line.task = self._spawn(self._pump(line))

    def close(self, node: int) -> None:
        """Take a node down: close its port and connections, drop what it had not sent."""
        self._stop_listening(node)
        for connection in [c for c in self._connections.values() if c.dst == node]:
            self._cut(connection)
        for peer in self._neighbors[node]:
            line = self._lines.pop((node, peer))
            if line.task is not None:
                line.task.cancel()
            for number, _ in line.waiting:
                self._drop(number)
            if line.connection is not None and line.connection.writer is not None:
                # Its reader still gets what has left, then drops the rest.
                line.connection.writer.transport.abort()

    async def stop(self) -> None:
        """Close everything; messages under way stay in flight."""
        self._closing = True
        for node in list(self._listening):
            self._stop_listening(node)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        writers = list(self._writers)
        for writer in writers:
            writer.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)

    def send(self, src: int, dst: int, message: Message) -> None:
        """Encode a message now and queue it; its size in the log is what really goes over the wire.

        Raises:
            ContractError: its body cannot travel.
        """
        number, now_ns = len(self._log), self._env.now_ns
        data = encode(
            Frame(number, src, message.kind, message.round, message.size_bytes, to_s(now_ns), message.body)
        )
        self._log.message(now_ns, src, dst, self._log.code(message.kind), message.round, len(data))
        line = self._lines.get((src, dst))
        if line is None:
            self._drop(number)  # sent in a finally block of a node that is going down
            return
        if message.release is not None:
            self._releases[number] = message.release
        line.waiting.append((number, data))
        line.wake.set()

    async def _pump(self, line: _Line) -> None:
        while True:
            await line.wake.wait()
            line.wake.clear()
            while line.waiting:
                connection = line.connection or await self._connect(line)
                number, data = line.waiting.popleft()
                if connection is None or connection.writer is None:
                    self._drop(number)
                    continue
                connection.unread.add(number)
                connection.writer.write(data)
                self._log.left(number, self._env.now_ns)
                try:
                    await connection.writer.drain()
                except ConnectionError:
                    self._cut(connection)

    async def _connect(self, line: _Line) -> _Connection | None:
        """Open the line's connection; None while its receiver is down."""
        loop = asyncio.get_running_loop()
        while (listener := self._listening.get(line.dst)) is not None:
            connection = _Connection(self._opened, line.src, line.dst)
            self._opened += 1
            self._connections[connection.number] = connection
            outgoing = socket.socket()
            outgoing.setblocking(False)
            try:
                await loop.sock_connect(outgoing, listener.getsockname())
                # A fresh socket takes these few bytes at once, so a reader always learns whose connection it has.
                outgoing.send(self._token + connection.number.to_bytes(_NUMBER_BYTES, "big"))
                _, connection.writer = await asyncio.open_connection(sock=outgoing)
            except BaseException as error:
                outgoing.close()
                del self._connections[connection.number]
                if isinstance(error, OSError) and self._listening.get(line.dst) is not listener:
                    continue  # the receiver went down, and may be back, while this was under way
                raise
            self._writers.add(connection.writer)
            line.connection = connection
            if self._listening.get(line.dst) is listener:
                return connection
            self._cut(connection)
        return None

    def _accept(self, node: int, listener: socket.socket) -> None:
        try:
            incoming, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            self._failed(error)
            return
        incoming.setblocking(False)
        task = self._spawn(self._read(node, incoming))
        task.add_done_callback(lambda _: incoming.close())

    async def _read(self, node: int, incoming: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=incoming)
        self._writers.add(writer)
        connection: _Connection | None = None
        try:
            hello = await reader.readexactly(_TOKEN_BYTES + _NUMBER_BYTES)
            if hello[:_TOKEN_BYTES] == self._token:
                connection = self._connections.get(int.from_bytes(hello[_TOKEN_BYTES:], "big"))
            if connection is None:
                _logger.warning("a connection to node %d that is not of this run was refused", node)
                return
            while (frame := await read_frame(reader)) is not None:
                self._arrive(connection, frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a foreign process left, or the sender went down
        finally:
            if connection is not None and not self._closing:
                self._cut(connection)
            self._writers.discard(writer)
            writer.transport.abort()

    def _arrive(self, connection: _Connection, frame: Frame) -> None:
        if connection.number not in self._connections:
            return  # the receiver went down; what it had not read is dropped already
        if frame.number not in connection.unread:
            raise ContractError(
                f"message {frame.number} arrived at node {connection.dst} without having been sent"
            )
        connection.unread.discard(frame.number)
        release = self._releases.pop(frame.number, None)
        message = Message(frame.kind, frame.round, frame.body, frame.size_bytes, release)
        now_ns = self._env.now_ns
        key = key_of(self._log.code(frame.kind), frame.round)
        number, src, dst = frame.number, connection.src, connection.dst
        sending = Sending(number, number, src, (dst,), message, to_ns(frame.sent_s), key)
        self._log.arrives(number, now_ns)
        if not self._deliver(dst, sending):
            self._log.ended(number, CUT_OFF)

    def _cut(self, connection: _Connection) -> None:
        """Close a connection; drop what was written to it and not read."""
        if self._connections.pop(connection.number, None) is None:
            return
        for number in sorted(connection.unread):
            self._drop(number)
        connection.unread.clear()
        line = self._lines.get((connection.src, connection.dst))
        if line is not None and line.connection is connection:
            line.connection = None
        if connection.writer is not None:
            self._writers.discard(connection.writer)
            connection.writer.transport.abort()

    def _drop(self, number: int) -> None:
        self._releases.pop(number, None)
        self._log.ended(number, CUT_OFF)

    def _stop_listening(self, node: int) -> None:
        listener = self._listening.pop(node)
        asyncio.get_running_loop().remove_reader(listener)
        listener.close()

    def _spawn(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._failed(error)
