"""Virtual time: node programs on SimPy's calendar, over a modelled network."""

from __future__ import annotations

from simulator import streams
from simulator.clock import Calendar
from simulator.compute import Handle, Input, Op
from simulator.engine import Engine
from simulator.errors import ProgramError
from simulator.links import LinkModel
from simulator.network import Network
from simulator.node import Message, Program
from simulator.participant import Participant
from simulator.world import Ending, World


class SimNode(Participant):
    """A node of the contract, on virtual time."""

    def secret(self, purpose: str, size: int) -> bytes:
        """Derived from the run's seed, so NOT secret outside the simulation."""
        return streams.long_digest(self._world.seed, "secret", self._id, purpose, size=size)

    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Submit model mathematics and pay its virtual time."""
        handle = self._world.executor.submit(op, inputs, node=self._id, size=size)
        if cost_s > 0:
            await self.sleep(cost_s)
        return handle


class Kernel(Engine):
    """A run in virtual time: the same seed gives the same events to the nanosecond.

    Args:
        world: the public facts of the run.
        link: how messages travel.
        program: the protocol; started at time 0 on every node, and again when a node returns from an outage.
    """

    def __init__(self, world: World, link: LinkModel, program: Program) -> None:
        super().__init__(world, program, Calendar())
        self.network = Network(self.env, len(world.neighbors), link, world.seed, self.log, self._deliver)

    def run(self, until_s: float | None = None) -> Ending:
        """Let time pass until all programs have finished, or to ``until_s``; to be called once.

        Raises:
            ProgramError: a node's program raised; its ``__cause__`` is the original exception. Or programs wait
                for messages although nothing can happen any more.
        """
        self._begin(until_s)
        try:
            while not self._over.processed:
                if self.env.exhausted:
                    waiting = sorted(self._running)
                    reason = f"nodes {waiting} wait for messages that cannot come any more: no event is left"
                    raise ProgramError(waiting[0], self.now_s, reason)
                self.env.step()
        finally:
            self._stop()
        return self._ending()

    def transmit(self, src: int, dst: int, message: Message) -> None:
        """Put a message on the sender's modelled uplink."""
        self.network.send(src, dst, message)

    def _node(self, id: int) -> SimNode:
        return SimNode(self, id)

    def _disconnect(self, node: int) -> None:
        self.network.crashed(node)

    def _reconnect(self, node: int) -> None:
        """A modelled link needs no connection."""
