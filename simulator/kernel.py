"""Virtual time: node programs, crashes and returns on SimPy's calendar."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy

from simulator import streams
from simulator.clock import Calendar, to_ns, to_s
from simulator.compute import Handle, Input, Op
from simulator.errors import ProgramError
from simulator.faults import Outage
from simulator.mailbox import Held, Mailbox
from simulator.network import LinkModel, Network
from simulator.node import Delivery, Match, Message, Program
from simulator.participant import Participant
from simulator.records import MessageLog
from simulator.tasks import Runner, SimTaskGroup, Task, Wait
from simulator.world import Ending, World


class SimNode(Participant):
    """A node of the contract, on virtual time."""

    def __init__(self, kernel: Kernel, id: int) -> None:
        super().__init__(kernel.world, id)
        self._kernel = kernel
        self.mailbox = Mailbox(kernel.env)

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start."""
        return to_s(self._kernel.env.now_ns)

    def secret(self, purpose: str, size: int) -> bytes:
        """Derived from the run's seed, so NOT secret outside the simulation."""
        return streams.digest(self._world.seed, "secret", self._id, purpose, size=size)

    def send(self, to: int, message: Message) -> None:
        """Hand a message to the uplink."""
        self._require_link(to)
        self._kernel.network.send(self._id, to, message)

    async def receive(self, match: Match | None = None, timeout_s: float | None = None) -> Delivery | None:
        """Selective receive; None at the time-out."""
        held = self.mailbox.take(match)
        if held is not None or (timeout_s is not None and timeout_s <= 0):
            return held
        event = self.mailbox.wait(match, None if timeout_s is None else to_ns(timeout_s))
        try:
            taken: Held | None = await Wait(event)
        except BaseException:
            self.mailbox.abandon(event)
            raise
        return None if taken is None else taken.delivery

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await Wait(self._kernel.env.timeout(to_ns(seconds)))

    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Submit model mathematics and pay its virtual time."""
        handle = self._world.executor.submit(op, inputs, node=self._id, size=size)
        if cost_s > 0:
            await self.sleep(cost_s)
        return handle

    def outgoing(self, content: Any, to: int, round: int) -> Any:
        """What this node claims."""
        return self._world.adversary.outgoing(self, content, to, round)

    def tasks(self) -> SimTaskGroup:
        """A group of concurrent tasks."""
        return SimTaskGroup(self._kernel.runner)


class Kernel:
    """Runs one program per node until every node that is up has finished.

    Args:
        world: the public facts of the run.
        link: how messages travel.
        program: the protocol; started at time 0 on every node, and again when a node returns from an outage.
    """

    def __init__(self, world: World, link: LinkModel, program: Program) -> None:
        self.world = world
        self.env = Calendar()
        self.runner = Runner(self.env)
        self.log = MessageLog()
        self.network = Network(self.env, len(world.neighbors), link, world.seed, self.log, self._deliver)
        self.nodes = [SimNode(self, i) for i in range(len(world.neighbors))]
        self.down: set[int] = set()
        self._program = program
        self._running: dict[int, Task] = {}
        self._failure: ProgramError | None = None
        self._over = simpy.Event(self.env)
        self._ended_ns = 0
        for outage in world.outages:
            self._plan(outage)
        if world.monitor_s is not None:
            self._monitor(to_ns(world.monitor_s))

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start."""
        return to_s(self.env.now_ns)

    def run(self, until_s: float | None = None) -> Ending:
        """Let time pass until all programs have finished, or to ``until_s``.

        Raises:
            ProgramError: a node's program raised; its ``__cause__`` is the original exception.
        """
        for node in self.nodes:
            self._start(node)
        if until_s is not None:
            limit = self.env.timeout(to_ns(until_s))
            limit.callbacks.append(lambda _: self._finish())
        while not self._over.processed:
            if self.env.exhausted:
                self._deadlock()
            self.env.step()
        unfinished = frozenset(self._running)
        for task in list(self._running.values()):
            task.cancel()
        if self._failure is not None:
            raise self._failure from self._failure.__cause__
        return Ending(to_s(self._ended_ns), frozenset(self.down), unfinished)

    def _start(self, node: SimNode) -> None:
        def finished(task: Task) -> None:
            if self._running.get(node.id) is task:
                del self._running[node.id]
            if task.error is not None and self._failure is None:
                self._failure = ProgramError(
                    node.id, node.now_s, f"{type(task.error).__name__}: {task.error}"
                )
                self._failure.__cause__ = task.error
            if not self._running or self._failure is not None:
                self._finish()

        self._running[node.id] = self.runner.start(self._program(node), finished)

    def _deadlock(self) -> None:
        waiting = sorted(self._running)
        reason = f"nodes {waiting} wait for messages that cannot come any more: no event is left"
        for task in list(self._running.values()):
            task.cancel()
        raise ProgramError(waiting[0], self.now_s, reason)

    def _finish(self) -> None:
        if not self._over.triggered:
            self._ended_ns = self.env.now_ns
            self._over.succeed()

    def _plan(self, outage: Outage) -> None:
        down = self.env.timeout(to_ns(outage.down_s))
        down.callbacks.append(lambda _: self.crash(outage.node))
        if outage.up_s is not None:
            up = self.env.timeout(to_ns(outage.up_s))
            up.callbacks.append(lambda _: self.restore(outage.node))

    def crash(self, node: int) -> None:
        """Take a node down now: tasks end, memory and mailbox are lost, its disk stays."""
        if node in self.down:
            return
        self.down.add(node)
        self.log.note(self.env.now_ns, f"crash {node}")
        self.network.crashed(node)
        task = self._running.pop(node, None)
        if task is not None:
            task.cancel()
        self.nodes[node].mailbox.clear()
        if not self._running:
            self._finish()

    def restore(self, node: int) -> None:
        """Bring a node back; its program starts again and finds its disk."""
        if node in self.down:
            self.down.remove(node)
            self.log.note(self.env.now_ns, f"return {node}")
            self._start(self.nodes[node])

    def _deliver(self, dst: int, delivery: Delivery) -> bool:
        if dst in self.down:
            return False
        if delivery.message.release is not None:
            self.world.released(delivery.delivered_s, dst, delivery.message.round, delivery.message.release)
        self.world.adversary.observe(dst, delivery)
        self.nodes[dst].mailbox.put(delivery)
        return True

    def _monitor(self, period_ns: int) -> None:
        def tick(_: Any) -> None:
            if not self._over.triggered:
                self.world.monitor(to_s(self.env.now_ns))
                if not self.env.exhausted:  # watching alone does not keep a world going
                    self._repeat(period_ns, tick)

        self._repeat(period_ns, tick)

    def _repeat(self, period_ns: int, tick: Callable[[Any], None]) -> None:
        self.env.timeout(period_ns).callbacks.append(tick)
