"""Virtual time: node programs on SimPy's calendar, over a modelled network."""

from __future__ import annotations

from simulator import streams
from simulator.contract.compute import Handle, Input, Op
from simulator.contract.node import Message, Program
from simulator.core.clock import Calendar, to_ns
from simulator.core.coroutines import Wait
from simulator.core.garbage import rare_collections
from simulator.core.records import ActivityLog, MessageLog
from simulator.errors import ProgramError
from simulator.faults.plan import Cut, Hold
from simulator.mail.boards import Boards
from simulator.network.arrivals import DirectNetwork, Fixtures, Network
from simulator.network.draws import DENSE_DEGREE, Draws
from simulator.network.links import LinkModel
from simulator.network.stations import Interference, StationNetwork
from simulator.runtime.engine import Engine
from simulator.runtime.participant import Participant
from simulator.runtime.world import Ending, World


class SimNode(Participant):
    """A node of the contract, on virtual time."""

    def secret(self, purpose: str, size: int) -> bytes:
        """Derived from the run's seed, so NOT secret outside the simulation."""
        return streams.long_digest(self._world.seed, "secret", self._id, purpose, size=size)

    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Submit model mathematics and pay its virtual time, at this node's speed."""
        handle = self._world.executor.submit(op, inputs, node=self._id, size=size)
        if cost_s > 0:
            env = self._host.env
            began_ns = env.now_ns
            try:
                await Wait(env.timeout(self._cost_ns(began_ns, cost_s)))
            finally:
                self._host.activity.span(self._id, ActivityLog.COMPUTING, began_ns, env.now_ns)
        return handle

    def _cost_ns(self, at_ns: int, cost_s: float) -> int:
        speeds = self._world.speeds
        return to_ns(cost_s) if speeds is None else speeds.cost_ns(self._id, at_ns, cost_s)


class Kernel(Engine):
    """A run in virtual time: the same seed gives the same events to the nanosecond.

    Args:
        world: the public facts of the run.
        link: how messages travel.
        program: the protocol; started at time 0 on every node, and again when a node returns from an outage.
    """

    def __init__(self, world: World, link: LinkModel, program: Program) -> None:
        calendar = Calendar(world.tie_seed)
        adversary = world.adversary
        closures = [fault for fault in world.faults if isinstance(fault, Cut | Hold)]
        free = not closures and not adversary.tampers and adversary.wires is None
        direct = link.direct and free
        super().__init__(world, program, calendar, MessageLog(explicit=not direct))
        self.network = self._network(link, direct)

    def _network(self, link: LinkModel, direct: bool) -> Network:
        world = self.world
        nodes = len(self.nodes)
        usual = [node.links().to for node in self.nodes] if world.overlay.fixed else [()] * nodes
        draws = Draws(world.seed, link, usual)
        boxes = [node.mailbox for node in self.nodes]
        fixtures = Fixtures(self.env, link, draws, self.log, self.post, boxes, world.tie_seed)
        if direct:
            sparse = sum(map(len, usual)) <= DENSE_DEGREE * nodes
            if world.overlay.fixed and sparse and not self.post.prompt:
                self.post.boards = Boards(usual)
            return DirectNetwork(fixtures)
        interference = Interference(
            cuts=[fault for fault in world.faults if isinstance(fault, Cut)],
            holds=[fault for fault in world.faults if isinstance(fault, Hold)],
            wires=world.adversary.wires,
            coalition=self.coalition if world.adversary.tampers else None,
        )
        copies = Draws(world.seed, link, usual, "copy")
        return StationNetwork(fixtures, seed=world.seed, copies=copies, interference=interference)

    def run(self, until_s: float | None = None) -> Ending:
        """Let time pass until all programs have finished, or to ``until_s``; to be called once.

        Raises:
            ProgramError: a node's program raised; its ``__cause__`` is the original exception. Or programs wait
                for messages although nothing can happen any more.
        """
        self._begin(until_s)
        try:
            over, step, queue = self._over, self.env.step, self.env.queue
            with rare_collections():
                while over.callbacks is not None:
                    if len(queue) <= self._idle_events:
                        waiting = sorted(self._running)
                        reason = (
                            f"nodes {waiting} wait for messages that cannot come any more: no event is left"
                        )
                        raise ProgramError(waiting[0], self.now_s, reason)
                    step()
        finally:
            self._stop()
            self._settle()
        return self._ending()

    def transmit(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Put a message on the sender's modelled uplink."""
        self._watched(src, dsts, message)
        self.network.send(src, dsts, message)

    def _node(self, id: int) -> SimNode:
        return SimNode(self, id)

    def _disconnect(self, node: int) -> None:
        self.network.crashed(node)

    def _reconnect(self, node: int) -> None:
        self.network.returned(node)

    def _missed(self, node: int) -> None:
        self.network.returned(node)
