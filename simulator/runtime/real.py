"""Real time: the node contract over asyncio TCP streams on the loopback interface, one port a node.

The same programs, the same named streams of randomness, real sockets and seconds. Tasks, groups and mailboxes
are those of virtual time; only the calendar is asyncio's, and links are :mod:`simulator.runtime.sockets`. Outages are
carried out for real: tasks end, ports and connections close. There is no latency model and no loss; ``cost_s``
of a compute is not slept.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import simpy
from simpy.events import NORMAL, EventPriority

from simulator.contract.compute import Handle, Input, Op, values_of
from simulator.contract.node import Message, Program
from simulator.core.clock import NS_PER_S, Calendar
from simulator.core.coroutines import Wait
from simulator.core.records import MessageLog
from simulator.errors import ConfigurationError, ContractError
from simulator.faults.plan import Cut, Hold, Slow
from simulator.mail.sending import Sending
from simulator.runtime.engine import Engine
from simulator.runtime.loops import run_coroutine
from simulator.runtime.participant import Participant
from simulator.runtime.sockets import Sockets
from simulator.runtime.world import Ending, World


class LoopCalendar(Calendar):
    """A calendar whose events happen on the running asyncio loop, in real time.

    Args:
        failed: told of what an event's callback raised; in virtual time it leaves ``step``.
        pace: real seconds for each second of the calendar.
    """

    def __init__(self, failed: Callable[[BaseException], None], pace: float = 1.0) -> None:
        super().__init__()
        self._failed = failed
        self._pace = pace
        self._began_ns: int | None = None
        self._stopped_ns = 0

    @property
    def now_ns(self) -> int:
        """Nanoseconds since the start, by the pace; stands still before it and once the run is over."""
        if self._began_ns is None:
            return self._stopped_ns
        return round((time.monotonic_ns() - self._began_ns) / self._pace)

    def start(self) -> None:
        """Set the clock to 0 and start it."""
        self._began_ns = time.monotonic_ns()

    def stop(self) -> None:
        """Stop the clock."""
        self._stopped_ns, self._began_ns = self.now_ns, None

    def schedule(self, event: simpy.Event, priority: EventPriority = NORMAL, delay: float = 0) -> None:
        """Trigger an event after ``delay`` nanoseconds."""
        loop = asyncio.get_running_loop()
        if delay > 0:
            loop.call_later(delay / NS_PER_S * self._pace, self._happen, event)
        else:
            loop.call_soon(self._happen, event)

    def wake(self, bell: simpy.Event, t_ns: int, rank: int) -> None:
        """Trigger an event at ``t_ns``; in real time no two instants are the same."""
        self.schedule(bell, NORMAL, t_ns - self.now_ns)

    def _happen(self, event: simpy.Event) -> None:
        callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
        try:
            for callback in callbacks:
                callback(event)
        except Exception as error:
            self._failed(error)


def _only_simulated(world: World) -> Iterator[tuple[str, bool]]:
    """Yield what a live run would ignore: the key of a scenario, and whether it is asked for."""
    adversary = world.adversary
    yield "topology.kind", not world.overlay.fixed
    yield "fault", any(isinstance(fault, Cut | Hold | Slow) for fault in world.faults)
    yield "compute", world.speeds is not None
    yield "tie_seed", world.tie_seed is not None
    yield "adversary.wiretap", adversary.wires is not None
    yield "adversary.tamper", adversary.tampers


class LiveNode(Participant):
    """A node of the contract, on real sockets."""

    def secret(self, purpose: str, size: int) -> bytes:
        """Draw key material from the operating system."""
        return os.urandom(size)

    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Submit model mathematics, which takes its real time."""
        handle = self._world.executor.submit(op, inputs, node=self._id, size=size)
        if cost_s > 0:
            await Wait(self._host.env.timeout(0))
        return handle


class Live(Engine):
    """A run on real endpoints, all in this process.

    Args:
        world: the public facts of the run.
        program: the protocol; started on every node, and again when a node returns from an outage.
        pace: real seconds for each second of the run, above 0: more is slow motion, for machines that cannot keep up.

    Raises:
        ConfigurationError: the world asks for what sockets cannot do, or the pace is not positive and finite.
    """

    def __init__(self, world: World, program: Program, pace: float = 1.0) -> None:
        if not 0 < pace < float("inf"):
            raise ConfigurationError(f"pace must be positive and finite, got {pace}: 1 is real time")
        self._calendar = LoopCalendar(self._break, pace)
        for key, asked in _only_simulated(world):
            if asked:
                raise ConfigurationError(
                    "a live run on real sockets cannot do this; use a fixed topology, outages, arrivals, sessions, a "
                    "detector, and Byzantine or curious nodes, or run it in virtual time",
                    key,
                )
        super().__init__(world, program, self._calendar, MessageLog(explicit=True))
        self._broken: BaseException | None = None
        self._sockets: Sockets | None = None

    def run(self, until_s: float | None = None) -> Ending:
        """Let the programs run to their end, or for ``until_s`` seconds; to be called once, in any thread.

        An event loop that is running already, as in a notebook, is no obstacle:
        :func:`~simulator.runtime.loops.run_coroutine`.

        Raises:
            ProgramError: a node's program raised; its ``__cause__`` is the original exception.
            ConfigurationError: the operating system grants too few sockets.
        """
        run_coroutine(lambda: self._main(until_s))
        if self._broken is not None and self._failure is None:
            raise self._broken
        return self._ending()

    def transmit(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Put a message on the wire; handles in it travel as their values."""
        if self._sockets is None:
            raise ContractError("a message was sent before the run began or after it was over")
        plain = message._replace(body=self._plain(message.body))
        self._watched(src, dsts, plain)
        for dst in dsts:
            self._sockets.send(src, dst, plain)

    async def _main(self, until_s: float | None) -> None:
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        self._over.callbacks.append(lambda _: None if over.done() else over.set_result(None))
        self._sockets = Sockets(self.env, self.world.neighbors, self.log, self._deliver, self._break)
        try:
            await self._sockets.start()
            self._calendar.start()
            self._begin(until_s)
            await over
        finally:
            self._stop()
            self._settle()
            await self._sockets.stop()
            self._calendar.stop()

    def _break(self, error: BaseException) -> None:
        """End the run with an error that no program raised: of a tap, a listener or the network."""
        if self._broken is None:
            self._broken = error
        self._finish()

    def _node(self, id: int) -> LiveNode:
        return LiveNode(self, id)

    def _disconnect(self, node: int) -> None:
        if self._sockets is not None:
            self._sockets.close(node)

    def _reconnect(self, node: int) -> None:
        if self._sockets is not None:
            self._sockets.open(node)

    def _missed(self, node: int) -> None:
        """Do nothing: sockets dropped the messages at once."""

    def _deliver(self, dst: int, sending: Sending) -> bool:
        """Give a message to its receiver; return False if that is down."""
        if dst in self.down:
            return False
        self.nodes[dst].mailbox.put(sending)
        return True

    def _plain(self, body: Any) -> Any:
        if type(body) is tuple:
            return tuple(self._plain(part) for part in body)
        if (
            hasattr(body, "size")
            and not isinstance(body, np.ndarray | np.generic)
            and not hasattr(body, "__len__")
        ):
            return values_of(self.world.executor, [body])[0]
        return body
