"""The life of node programs on any calendar: starts, crashes, returns, deliveries, and how a run ends.

Nothing here knows whether time is virtual (:mod:`simulator.kernel`) or real (:mod:`simulator.live`), so both
kinds of run share one meaning of every clause of the node contract that is not about links.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Any

import simpy

from simulator.clock import Calendar, to_ns, to_s
from simulator.errors import ProgramError
from simulator.node import Delivery, Message, Program
from simulator.participant import Participant
from simulator.records import MessageLog
from simulator.tasks import Runner, Task
from simulator.world import Ending, World


class Engine(ABC):
    """Runs one program per node until every node that is up has finished.

    Args:
        world: the public facts of the run.
        program: the protocol; started at time 0 on every node, and again when a node returns from an outage.
        env: the calendar. Nothing is put on it before :meth:`_begin`.
    """

    def __init__(self, world: World, program: Program, env: Calendar) -> None:
        self.world = world
        self.env = env
        self.runner = Runner(env)
        self.log = MessageLog()
        self.nodes = [self._node(i) for i in range(len(world.neighbors))]
        self.down: set[int] = set()
        self._program = program
        self._running: dict[int, Task] = {}
        self._unfinished: frozenset[int] = frozenset()
        self._failure: ProgramError | None = None
        self._over = simpy.Event(env)
        self._ended_ns = 0

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return to_s(self.env.now_ns)

    @abstractmethod
    def run(self, until_s: float | None = None) -> Ending:
        """Let time pass until all programs have finished, or to ``until_s``."""

    @abstractmethod
    def transmit(self, src: int, dst: int, message: Message) -> None:
        """Carry a message between neighbours."""

    def crash(self, node: int) -> None:
        """Take a node down now: tasks end, memory and mailbox are lost, its disk stays."""
        if node in self.down:
            return
        self.down.add(node)
        self.log.note(self.env.now_ns, f"crash {node}")
        self._disconnect(node)
        task = self._running.pop(node, None)
        if task is not None:
            task.cancel()
        self.nodes[node].mailbox.clear()
        if not self._running:
            self._finish()

    def restore(self, node: int) -> None:
        """Bring a node back; its program starts again and finds its disk."""
        if node in self.down and not self._over.triggered:
            self.down.remove(node)
            self.log.note(self.env.now_ns, f"return {node}")
            self._reconnect(node)
            self._start(node)

    @abstractmethod
    def _node(self, id: int) -> Participant:
        """Build a node."""

    @abstractmethod
    def _disconnect(self, node: int) -> None:
        """The network's part of a crash."""

    @abstractmethod
    def _reconnect(self, node: int) -> None:
        """The network's part of a return."""

    def _begin(self, until_s: float | None) -> None:
        """Put what the world has planned on the calendar and start every program."""
        for outage in self.world.outages:
            self._at(outage.down_s, partial(self.crash, outage.node))
            if outage.up_s is not None:
                self._at(outage.up_s, partial(self.restore, outage.node))
        if self.world.monitor_s is not None:
            self._watch(to_ns(self.world.monitor_s))
        for node in self.nodes:
            self._start(node.id)
        if until_s is not None:
            self._at(until_s, self._finish)
        if not self._running:
            self._finish()

    def _stop(self) -> None:
        """End every program that still runs, so that nothing of the run outlives it."""
        self._unfinished = frozenset(self._running)
        for task in list(self._running.values()):
            task.cancel()
        self._running.clear()

    def _ending(self) -> Ending:
        if self._failure is not None:
            raise self._failure from self._failure.__cause__
        return Ending(to_s(self._ended_ns), frozenset(self.down), self._unfinished)

    def _start(self, node: int) -> None:
        def finished(task: Task) -> None:
            if self._running.get(node) is task:
                del self._running[node]
            if task.error is not None and self._failure is None:
                self._failure = ProgramError(node, self.now_s, f"{type(task.error).__name__}: {task.error}")
                self._failure.__cause__ = task.error
            if not self._running or self._failure is not None:
                self._finish()

        self._running[node] = self.runner.start(self._program(self.nodes[node]), finished)

    def _finish(self) -> None:
        if not self._over.triggered:
            self._ended_ns = self.env.now_ns
            self._over.succeed()

    def _at(self, t_s: float, act: Callable[[], None]) -> None:
        self.env.timeout(to_ns(t_s)).callbacks.append(lambda _: act())

    def _deliver(self, dst: int, delivery: Delivery) -> bool:
        """Give a message to its receiver; False if that is down."""
        if dst in self.down:
            return False
        if delivery.message.release is not None:
            self.world.released(delivery.delivered_s, dst, delivery.message.round, delivery.message.release)
        self.world.adversary.observe(dst, delivery)
        self.nodes[dst].mailbox.put(delivery)
        return True

    def _watch(self, period_ns: int) -> None:
        def tick(_: Any) -> None:
            if not self._over.triggered:
                self.world.monitor(self.now_s)
                if not self.env.exhausted:  # watching alone does not keep a world going
                    self._watch(period_ns)

        self.env.timeout(period_ns).callbacks.append(tick)
