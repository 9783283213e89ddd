"""Real time: the node contract over asyncio TCP streams on the loopback interface, one port a node.

The same programs, the same named streams of randomness, real sockets and seconds. Outages are carried out for
real: tasks end, connections close. There is no latency model and no loss; ``cost_s`` of a compute is not slept.
"""

from __future__ import annotations

import asyncio
import os
from bisect import insort
from collections.abc import Coroutine
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np

from simulator.clock import to_ns, to_s
from simulator.compute import Handle, Input, Op, values_of
from simulator.errors import ContractError, ProgramError
from simulator.node import Delivery, Match, Message, Program
from simulator.participant import Participant
from simulator.records import DELIVERED, DROPPED, MessageLog
from simulator.wire import Frame, encode, read_frame
from simulator.world import Ending, World

HOST = "127.0.0.1"

_Held = tuple[int, Delivery]


class _Inbox:
    """Selective receive on futures, with the rules of :class:`simulator.mailbox.Mailbox`."""

    def __init__(self) -> None:
        self._arrivals = 0
        self._held: list[_Held] = []
        self._waiting: list[tuple[Match | None, asyncio.Future[_Held]]] = []

    def put(self, delivery: Delivery) -> None:
        self._arrivals += 1
        self._offer((self._arrivals, delivery))

    def clear(self) -> None:
        self._held.clear()

    async def receive(self, match: Match | None, timeout_s: float | None) -> Delivery | None:
        for i, (_, delivery) in enumerate(self._held):
            if match is None or match(delivery):
                del self._held[i]
                return delivery
        if timeout_s is not None and timeout_s <= 0:
            return None
        future: asyncio.Future[_Held] = asyncio.get_running_loop().create_future()
        waiter = (match, future)
        self._waiting.append(waiter)
        try:
            # wait() leaves the future alone when time is up, so a message is either returned or still held.
            await asyncio.wait([future], timeout=timeout_s)
            return future.result()[1] if future.done() else None
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self._offer(future.result())
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def _offer(self, held: _Held) -> None:
        for waiter in list(self._waiting):
            match, future = waiter
            if future.done():
                continue
            try:
                matches = match is None or match(held[1])
            except Exception as error:  # the receive that asked for this match fails, not whoever delivered
                future.set_exception(error)
                continue
            if matches:
                self._waiting.remove(waiter)
                future.set_result(held)
                return
        insort(self._held, held, key=lambda h: h[0])


class LiveTaskGroup:
    """The task group of the node contract on asyncio: the first error itself leaves the block."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> LiveTaskGroup:
        await self._group.__aenter__()
        return self

    def spawn(self, coro: Coroutine[Any, Any, None]) -> None:
        """Start a task of the group."""
        task = self._group.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def cancel(self) -> None:
        """Stop every task of the group."""
        for task in self._tasks:
            task.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            first: BaseException = group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            raise first from first.__cause__


class LiveNode(Participant):
    """A node of the contract, on real sockets. A crash reaches its tasks as ``asyncio.CancelledError``."""

    def __init__(self, live: Live, id: int) -> None:
        super().__init__(live.world, id)
        self._live = live
        self.inbox = _Inbox()

    @property
    def now_s(self) -> float:
        """Real seconds since the start."""
        return self._live.now_s

    def secret(self, purpose: str, size: int) -> bytes:
        """From the operating system."""
        return os.urandom(size)

    def send(self, to: int, message: Message) -> None:
        """Queue a message for its connection."""
        self._require_link(to)
        self._live.send(self._id, to, message)

    async def receive(self, match: Match | None = None, timeout_s: float | None = None) -> Delivery | None:
        """Selective receive; None at the time-out."""
        return await self.inbox.receive(match, timeout_s)

    async def sleep(self, seconds: float) -> None:
        """Let real time pass."""
        await asyncio.sleep(seconds)

    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Submit model mathematics; it costs what it really costs."""
        handle = self._world.executor.submit(op, inputs, node=self._id, size=size)
        if cost_s > 0:
            await asyncio.sleep(0)
        return handle

    def outgoing(self, content: Any, to: int, round: int) -> Any:
        """What this node claims."""
        return self._world.adversary.outgoing(self, content, to, round)

    def tasks(self) -> LiveTaskGroup:
        """A group of concurrent tasks."""
        return LiveTaskGroup()


class Live:
    """Runs one program per node on real endpoints until every node that is up has finished.

    Args:
        world: the public facts of the run.
        program: the protocol; started on every node, and again when a node returns from an outage.
    """

    def __init__(self, world: World, program: Program) -> None:
        self.world = world
        self.log = MessageLog()
        self.down: set[int] = set()
        self.nodes = [LiveNode(self, i) for i in range(len(world.neighbors))]
        self._program = program
        self._clock: asyncio.AbstractEventLoop | None = None
        self._began_s = self._stopped_s = 0.0
        self._ports: dict[int, int] = {}
        self._running: dict[int, asyncio.Task[None]] = {}
        self._outgoing: dict[tuple[int, int], asyncio.Queue[tuple[int, bytes]]] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._releases: dict[int, Any] = {}
        self._failure: BaseException | None = None
        self._over = asyncio.Event()

    @property
    def now_s(self) -> float:
        """Real seconds since the start; stands still once the run is over."""
        return self._stopped_s if self._clock is None else self._clock.time() - self._began_s

    def run(self, until_s: float | None = None) -> Ending:
        """Let the programs run to their end, or for ``until_s`` seconds.

        Raises:
            ProgramError: a node's program raised; its ``__cause__`` is the original exception.
        """
        return asyncio.run(self._main(until_s))

    async def _main(self, until_s: float | None) -> Ending:
        self._clock = asyncio.get_running_loop()
        servers = [
            await asyncio.start_server(partial(self._serve, node), HOST, 0) for node in range(len(self.nodes))
        ]
        self._ports = {node: server.sockets[0].getsockname()[1] for node, server in enumerate(servers)}
        self._began_s = self._clock.time()
        try:
            for node in range(len(self.nodes)):
                self._start(node)
            for outage in self.world.outages:
                self._clock.call_later(outage.down_s, self.crash, outage.node)
                if outage.up_s is not None:
                    self._clock.call_later(outage.up_s, self.restore, outage.node)
            if self.world.monitor_s is not None:
                self._spawn(self._monitor(self.world.monitor_s))
            if self._running:
                await asyncio.wait([asyncio.ensure_future(self._over.wait())], timeout=until_s)
            self._stopped_s = self.now_s
            unfinished = frozenset(self._running)
        finally:
            await self._close(servers)
        if self._failure is not None:
            raise self._failure from self._failure.__cause__
        return Ending(self._stopped_s, frozenset(self.down), unfinished)

    async def _close(self, servers: list[asyncio.Server]) -> None:
        self._stopped_s = self.now_s
        self._clock = None
        self._over.set()
        tasks = [*self._running.values(), *self._background]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in servers:
            server.close()

    def _spawn(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the run itself; if it fails, so does the run."""
        task = asyncio.get_running_loop().create_task(coro)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        task.add_done_callback(self._check)
        return task

    def _check(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None and self._failure is None:
            self._failure = task.exception()
            self._over.set()

    def _start(self, node: int) -> None:
        task = asyncio.get_running_loop().create_task(self._program(self.nodes[node]))
        self._running[node] = task
        task.add_done_callback(partial(self._finished, node))

    def _finished(self, node: int, task: asyncio.Task[None]) -> None:
        if self._running.get(node) is task:
            del self._running[node]
        error = None if task.cancelled() else task.exception()
        if error is not None and self._failure is None:
            self._failure = ProgramError(node, self.now_s, f"{type(error).__name__}: {error}")
            self._failure.__cause__ = error
        if not self._running or self._failure is not None:
            self._over.set()

    # ------------------------------------------------------------------ outages

    def crash(self, node: int) -> None:
        """Take a node down now: its tasks end, its connections close, its mailbox is lost, its disk stays."""
        if node in self.down:
            return
        self.down.add(node)
        self.log.note(to_ns(self.now_s), f"crash {node}")
        task = self._running.pop(node, None)
        if task is not None:
            task.cancel()
        self.nodes[node].inbox.clear()
        for link in [link for link in self._outgoing if link[0] == node]:
            queue = self._outgoing.pop(link)
            while not queue.empty():
                self._drop(queue.get_nowait()[0])
        if not self._running:
            self._over.set()

    def restore(self, node: int) -> None:
        """Bring a node back; its program starts again and finds its disk."""
        if node in self.down and not self._over.is_set():
            self.down.remove(node)
            self.log.note(to_ns(self.now_s), f"return {node}")
            self._start(node)

    # ------------------------------------------------------------------ messages

    def send(self, src: int, dst: int, message: Message) -> None:
        """Encode a message and queue it; its size in the log is what really goes over the wire."""
        number = len(self.log.status)
        body = self._plain(message.body)
        frame = Frame(number, src, message.kind, message.round, message.size_bytes, self.now_s, body)
        data = encode(frame)
        self.log.sent(to_ns(frame.sent_s), src, dst, message.kind, message.round, len(data))
        if message.release is not None:
            self._releases[number] = message.release
        if (src, dst) not in self._outgoing:
            self._outgoing[src, dst] = asyncio.Queue()
            self._spawn(self._write(src, dst, self._outgoing[src, dst]))
        self._outgoing[src, dst].put_nowait((number, data))

    def _plain(self, body: Any) -> Any:
        """A handle travels as its value."""
        if isinstance(body, tuple):
            return tuple(self._plain(part) for part in body)
        if body is None or isinstance(body, bool | int | float | str | bytes | np.ndarray):
            return body
        if hasattr(body, "size") and not hasattr(body, "__len__"):
            return values_of(self.world.executor, [body])[0]
        return body

    async def _write(self, src: int, dst: int, queue: asyncio.Queue[tuple[int, bytes]]) -> None:
        """One connection of an ordered pair, for one life of its sender."""
        _, writer = await asyncio.open_connection(HOST, self._ports[dst])
        try:
            while self._outgoing.get((src, dst)) is queue:
                number, data = await queue.get()
                if self._outgoing.get((src, dst)) is not queue:
                    self._drop(number)
                    break
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    async def _serve(self, dst: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        try:
            while (frame := await read_frame(reader)) is not None:
                self._deliver(dst, frame)
        except asyncio.CancelledError:
            pass  # the run is over; asyncio's stream callback would report the cancellation as an error
        except ContractError as error:
            self._failure = self._failure or error
            self._over.set()
        finally:
            writer.close()

    def _deliver(self, dst: int, frame: Frame) -> None:
        release = self._releases.pop(frame.number, None)
        if dst in self.down:
            self._drop(frame.number)
            return
        now_s = self.now_s
        self.log.ended(frame.number, to_ns(now_s), DELIVERED)
        message = Message(frame.kind, frame.round, frame.body, frame.size_bytes, release)
        delivery = Delivery(frame.src, message, to_s(to_ns(frame.sent_s)), now_s)
        if release is not None:
            self.world.released(now_s, dst, frame.round, release)
        self.world.adversary.observe(dst, delivery)
        self.nodes[dst].inbox.put(delivery)

    def _drop(self, number: int) -> None:
        self._releases.pop(number, None)
        self.log.ended(number, to_ns(self.now_s), DROPPED)

    async def _monitor(self, period_s: float) -> None:
        while True:
            await asyncio.sleep(period_s)
            self.world.monitor(self.now_s)
