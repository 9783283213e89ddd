"""Life cycle of node programs on any calendar: starts, crashes, returns, deliveries, and the end of a run.

Nothing here knows whether time is virtual (:mod:`simulator.runtime.virtual`) or real (:mod:`simulator.runtime.real`),
so both kinds of run share one meaning of every clause of the node contract that is not about links.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import simpy

from simulator.contract.node import Message, Program
from simulator.core.clock import Calendar, to_ns, to_s
from simulator.core.coroutines import Coroutine, Runner
from simulator.core.records import NEVER, ActivityLog, MessageLog
from simulator.errors import ProgramError
from simulator.faults.churn import downtimes
from simulator.faults.detector import HEARTBEAT, Suspicions
from simulator.faults.plan import Arrival, Outage
from simulator.mail.mailbox import Post
from simulator.mail.sending import Coming, delivery_of
from simulator.runtime.participant import Participant
from simulator.runtime.world import Ending, World


class Engine(ABC):
    """Runs one program per node until every node that is up has finished.

    Args:
        world: the public facts of the run.
        program: the protocol; started at time 0 on every node, and again when a node returns from an outage.
        env: the calendar. Nothing is put on it before :meth:`_begin`.
        log: where messages are counted.
    """

    def __init__(self, world: World, program: Program, env: Calendar, log: MessageLog) -> None:
        self.world = world
        self.env = env
        self.runner = Runner(env)
        self.log = log
        self.activity = ActivityLog()
        self.post = Post(env, len(world.neighbors), log.code)
        self.coalition = world.adversary.start(world.seed, self._linked_now)
        self.nodes = [self._node(i) for i in range(len(world.neighbors))]
        self.down: set[int] = set()
        self.post.down = self.down
        self._down_since_ns: dict[int, int] = {}
        self._out: set[int] = set()
        self._absent: set[int] = set()
        self._returning: set[int] = set()
        self._idle_events = 0
        self._begun = False
        self._program = program
        self._running: dict[int, Coroutine] = {}
        self._unfinished: frozenset[int] = frozenset()
        self._failure: ProgramError | None = None
        self._over = simpy.Event(env)
        self._ended_ns = 0
        self._listen()

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return to_s(self.env.now_ns)

    @abstractmethod
    def run(self, until_s: float | None = None) -> Ending:
        """Let time pass until all programs have finished, or to ``until_s``."""

    @abstractmethod
    def transmit(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Carry a message to neighbours."""

    def crash(self, node: int, keeps_disk: bool = True) -> None:
        """Take a node down now: tasks end, memory and mailbox are lost, and its disk too if it is not kept."""
        if node not in self.down:
            self.down.add(node)
            self._down_since_ns[node] = self.env.now_ns
            self.log.note(self.env.now_ns, f"crash {node}")
            self._disconnect(node)
            task = self._running.pop(node, None)
            if task is not None:
                task.cancel()
            self.nodes[node].mailbox.clear()
            self._changed()
        if not keeps_disk:
            self.nodes[node].disk.clear()
        self._check_over()

    def restore(self, node: int) -> None:
        """Bring a node back; its program starts again and finds its disk."""
        if node in self.down and not self._over.triggered:
            self.down.remove(node)
            self.activity.span(node, ActivityLog.DOWN, self._down_since_ns.pop(node), self.env.now_ns)
            self.log.note(self.env.now_ns, f"return {node}")
            self._reconnect(node)
            self._changed()
            self._start(node)

    @abstractmethod
    def _node(self, id: int) -> Participant:
        """Build a node."""

    @abstractmethod
    def _disconnect(self, node: int) -> None:
        """Apply a crash to the network."""

    @abstractmethod
    def _reconnect(self, node: int) -> None:
        """Apply a return to the network."""

    @abstractmethod
    def _missed(self, node: int) -> None:
        """Count what reached a node while it was down."""

    def _begin(self, until_s: float | None) -> None:
        """Put what the world has planned on the calendar and start every program of a node that is there."""
        for fault in self.world.faults:
            if isinstance(fault, Arrival) and to_ns(fault.at_s) > 0:
                self._absent.add(fault.node)
                self._at(fault.at_s, partial(self._arrive, fault.node))
        for node, plan in downtimes(self.world.faults, self.world.seed).items():
            self._expect_outage(node, plan)
        for node in sorted(self._absent | self._out):
            self.crash(node)
        if self.world.monitor_s is not None:
            self._watch(to_ns(self.world.monitor_s))
        for node in range(len(self.nodes)):
            if node not in self.down:
                self._start(node)
        if until_s is not None:
            self._at(until_s, self._finish)
        self._begun = True
        self._check_over()

    def _expect_outage(self, node: int, plan: Iterator[Outage]) -> None:
        """Put the node's next outage on the calendar; what lies after it is not drawn before."""
        outage = next(plan, None)
        if outage is None:
            return
        if to_ns(outage.down_s) > 0 or self.env.now_ns > 0:
            self._at(outage.down_s, partial(self._go_out, outage, plan))
        else:
            self._go_out(outage, plan)

    def _go_out(self, outage: Outage, plan: Iterator[Outage]) -> None:
        self._out.add(outage.node)
        if outage.up_s is not None:
            self._returning.add(outage.node)
            self._at(outage.up_s, partial(self._come_back, outage.node, plan))
        if outage.node not in self._absent:
            self.crash(outage.node, outage.keeps_disk)

    def _come_back(self, node: int, plan: Iterator[Outage]) -> None:
        self._out.discard(node)
        self._returning.discard(node)
        if node not in self._absent:
            self.restore(node)
        self._expect_outage(node, plan)

    def _arrive(self, node: int) -> None:
        self._absent.discard(node)
        if node not in self._out:
            self.restore(node)
        self._check_over()

    def _changed(self) -> None:
        """Tell an overlay that changes which nodes are up."""
        if not self.world.overlay.fixed:
            up = frozenset(range(len(self.nodes))) - self.down
            self.world.overlay.changed(self.env.now_ns, up)

    def _check_over(self) -> None:
        """End when all live nodes finished and no return is due while every node is down."""
        returns_due = len(self.down) == len(self.nodes) and self._returning
        if self._begun and not self._running and not self._absent and not returns_due:
            self._finish()

    def _stop(self) -> None:
        """End every program that still runs, so that nothing of the run outlives it."""
        self._unfinished = frozenset(self._running)
        for task in list(self._running.values()):
            task.cancel()
        self._running.clear()

    def _settle(self) -> None:
        """End the run: count everything that had arrived by then."""
        self._finish()
        for node in self.nodes:
            if node.id in self.down:
                self._missed(node.id)
            else:
                node.mailbox.look()
        for node_id, since_ns in sorted(self._down_since_ns.items()):
            self.activity.span(node_id, ActivityLog.DOWN, since_ns, NEVER)
        self.log.close(self._ended_ns)

    def _ending(self) -> Ending:
        if self._failure is not None:
            raise self._failure from self._failure.__cause__
        return Ending(to_s(self._ended_ns), frozenset(self.down), self._unfinished)

    def _start(self, node: int) -> None:
        def finished(task: Coroutine) -> None:
            if self._running.get(node) is task:
                del self._running[node]
            if task.error is not None and self._failure is None:
                self._failure = ProgramError(node, self.now_s, f"{type(task.error).__name__}: {task.error}")
                self._failure.__cause__ = task.error
            if self._failure is not None:
                self._finish()
            self._check_over()

        self._running[node] = self.runner.start(self._program(self.nodes[node]), finished)
        if self.world.detector is not None:
            self._start_heart(node)

    def stop(self) -> None:
        """End the run now; messages under way stay in flight."""
        self._finish()

    def _finish(self) -> None:
        if not self._over.triggered:
            self._ended_ns = self.env.now_ns
            self._over.succeed()

    def _at(self, t_s: float, act: Callable[[], None]) -> None:
        self._after(to_ns(t_s) - self.env.now_ns, act)

    def _after(self, delay_ns: int, act: Callable[[], None]) -> None:
        self.env.timeout(max(0, delay_ns)).callbacks.append(lambda _: act())

    def _linked_now(self, node: int) -> tuple[int, ...]:
        overlay = self.world.overlay
        return overlay.links(node, overlay.epoch(self.env.now_ns, None)).to

    # ---------------------------------------------------------------- listeners to messages

    def _listen(self) -> None:
        world, coalition = self.world, self.coalition
        if world.detector is not None:
            self.post.unheeded = self.log.code(HEARTBEAT)
        if world.audible or world.detector is not None or (coalition is not None and coalition.listens):
            self.post.hear = self._heard
        watched = world.adversary.curious if world.adversary.tap is not None else frozenset()
        if coalition is not None and coalition.listens:
            watched |= world.adversary.members
        self.post.prompt = watched

    def _watched(self, src: int, dsts: Sequence[int], message: Message) -> None:
        """Show a message that a node hands to its uplink to adversaries that see it."""
        adversary, coalition = self.world.adversary, self.coalition
        if adversary.tap_own is not None and src in adversary.curious and src not in self.down:
            adversary.tap_own(self.now_s, src, message)
        if coalition is not None and coalition.watches and src not in self.down:
            for dst in dsts:
                coalition.sent(self.now_s, src, dst, message)

    def _heard(self, dst: int, coming: Coming) -> bool:
        """Tell listeners of a message that reaches its receiver; return False if it is not for the program."""
        arrival_ns, sending = coming
        node, message = self.nodes[dst], sending.message
        if node.suspicions is not None:
            node.suspicions.heard(sending.src, arrival_ns)
        if message.release is not None:
            self.world.released(to_s(arrival_ns), dst, message.round, message.release)
        if dst in self.post.prompt:
            delivery = delivery_of(coming)
            self.world.adversary.observe(dst, delivery)
            if self.coalition is not None:
                self.coalition.delivered(dst, delivery)
        return message.kind != HEARTBEAT

    # ---------------------------------------------------------------- heartbeats and monitor

    def _start_heart(self, node: int) -> None:
        """Send heartbeats until this node goes down."""
        detector, now_ns = self.world.detector, self.env.now_ns
        assert detector is not None
        participant = self.nodes[node]
        participant.suspicions = life = Suspicions(detector, now_ns)
        participant.meet()
        period_ns = to_ns(detector.period_s)
        beats = 0

        def beat() -> None:
            nonlocal beats
            if participant.suspicions is life and node not in self.down and not self._over.triggered:
                participant.meet()
                peers = self._linked_now(node)
                if peers:
                    self.transmit(node, peers, Message(HEARTBEAT, beats, None, detector.size_bytes))
                beats += 1
                self._aside(period_ns, beat)

        self._aside(detector.first_ns(node, self.world.seed, now_ns) - now_ns, beat)

    def _watch(self, period_ns: int) -> None:
        def tick() -> None:
            if not self._over.triggered:
                self.world.monitor(self.now_s)
                self._watch(period_ns)

        self._aside(period_ns, tick)

    def _aside(self, delay_ns: int, act: Callable[[], None]) -> None:
        """Plan an event that does not keep the run going if no other event is left."""

        def happen() -> None:
            self._idle_events -= 1
            act()

        self._idle_events += 1
        self._after(delay_ns, happen)
