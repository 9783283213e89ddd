"""Base class of simulated and live nodes; subclasses add key material and the price of computing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, Protocol

import numpy as np

from simulator import streams
from simulator.adversary.coalition import Coalition
from simulator.contract.compute import Handle, Input, Op, Vector, values_of
from simulator.contract.node import Delivery, Links, Match, Message, checked
from simulator.core.clock import Calendar, wait_ns
from simulator.core.coroutines import Runner, SimTaskGroup, Wait
from simulator.core.records import ActivityLog
from simulator.errors import ContractError
from simulator.faults.detector import Suspicions
from simulator.mail.mailbox import Mailbox, Post
from simulator.mail.waiting import Gather, Receive
from simulator.runtime.world import World


class Host(Protocol):
    """Interface of a node to the engine that runs it."""

    @property
    def world(self) -> World:
        """Return the public facts of the run."""
        ...

    @property
    def env(self) -> Calendar:
        """Return the calendar."""
        ...

    @property
    def post(self) -> Post:
        """Return the part common to all mailboxes."""
        ...

    @property
    def runner(self) -> Runner:
        """Starts tasks."""
        ...

    @property
    def activity(self) -> ActivityLog:
        """Return the record of node activity."""
        ...

    @property
    def coalition(self) -> Coalition | None:
        """Return the active adversary of this run, if any."""
        ...

    @property
    def nodes(self) -> Sequence[Participant]:
        """Return all nodes, by number."""
        ...

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        ...

    def transmit(self, src: int, dsts: tuple[int, ...], message: Message) -> None:
        """Carry a message to neighbours."""
        ...


class Participant(ABC):
    """One node of a run; implements what is the same for every engine.

    Args:
        host: the engine.
        id: index in the topology, from 0.
    """

    def __init__(self, host: Host, id: int) -> None:
        self._host = host
        self._world = host.world
        self._overlay = host.world.overlay
        self._id = id
        self._disk: dict[str, Any] = {}
        self.mailbox = Mailbox(id, host.env, host.post)
        self.suspicions: Suspicions | None = None
        self._met: tuple[int, ...] = ()
        self._roots: dict[str, int] = {}
        self._fixed = self._overlay.links(id, 0) if self._overlay.fixed else None

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return self._host.now_s

    @property
    def id(self) -> int:
        """Index in the topology."""
        return self._id

    @property
    def neighbors(self) -> tuple[int, ...]:
        """Neighbours in ascending order."""
        return self.links().to

    def links(self, round: int | None = None) -> Links:
        """Links as they are now, in that round."""
        if self._fixed is not None:
            return self._fixed
        return self._overlay.links(self._id, self._overlay.epoch(self._host.env.now_ns, round))

    @property
    def suspects(self) -> frozenset[int]:
        """Neighbours that the failure detector suspects."""
        if self.suspicions is None:
            return frozenset()
        self.mailbox.look()
        self.meet()
        return self.suspicions.suspects(self._host.env.now_ns, self.links().sources)

    def meet(self) -> None:
        """Start the time-out of nodes that have become neighbours since the last call."""
        sources = self.links().sources
        if self.suspicions is not None and sources is not self._met:
            for peer in set(sources).difference(self._met):
                self.suspicions.met(peer, self._host.env.now_ns)
            self._met = sources

    @property
    def disk(self) -> dict[str, Any]:
        """Storage that survives a crash."""
        return self._disk

    def rng(self, purpose: str, *key: int) -> np.random.Generator:
        """A fresh generator of the named stream; the same in both engines, so that both add the same noise."""
        return streams.generator(self._world.seed, "node", self._id, purpose, *key)

    def uniform(self, purpose: str, *key: int) -> float:
        """One number of the named stream."""
        hashed = self._roots.get(purpose)
        if hashed is None:
            hashed = self._roots[purpose] = int(
                streams.root(self._world.seed, "node", self._id, "uniform", purpose)
            )
        return streams.unit_of(hashed, key)

    @abstractmethod
    def secret(self, purpose: str, size: int) -> bytes:
        """Key material."""

    def weight(self, source: int, receiver: int | None = None) -> float:
        """W[receiver, source]."""
        receiver = self._id if receiver is None else receiver
        weights = self._host.nodes[receiver].links().weights
        return 1 - sum(weights.values()) if source == receiver else weights.get(source, 0.0)

    def members(self, aggregator: int) -> tuple[int, ...]:
        """Return the neighbourhood of an aggregator."""
        return self._host.nodes[aggregator].links().sources

    def send(self, to: int, message: Message) -> None:
        """Hand a message to the uplink."""
        message = checked(message)
        near = self.links(message.round).to
        if to not in near:
            raise ContractError(f"node {self._id} has no link to node {to}; it has links to {near}")
        self._host.transmit(self._id, (to,), message)

    def multicast(self, peers: Sequence[int], message: Message) -> None:
        """Hand the same message to several neighbours."""
        message = checked(message)
        near = self.links(message.round).to
        if peers is not near:
            if not isinstance(peers, Iterable):
                raise ContractError(f"expected a sequence of nodes to send to, got {type(peers).__name__}")
            peers = tuple(peers)
            for i, peer in enumerate(peers):
                if peer not in near:
                    raise ContractError(f"node {self._id} has no link to node {peer}; it has links to {near}")
                if peer in peers[:i]:
                    raise ContractError(
                        f"node {self._id} sends the same message to node {peer} twice at once"
                    )
        if peers:
            self._host.transmit(self._id, peers, message)

    async def gather(
        self, kind: str, round: int, sources: Sequence[int], timeout_s: float | None = None
    ) -> dict[int, Message]:
        """One message from each source, or what has come by the time-out."""
        longest_ns = inf if timeout_s is None else wait_ns(timeout_s)
        waiter = self.mailbox.gather(kind, round, sources, longest_ns)
        if not waiter.complete and longest_ns > 0:
            await self._until(waiter)
        return waiter.result

    async def receive(self, match: Match | None = None, timeout_s: float | None = None) -> Delivery | None:
        """Selective receive; None at the time-out."""
        taken = self.mailbox.take(match)
        if taken is not None or (timeout_s is not None and timeout_s <= 0):
            return taken
        waiter = self.mailbox.wait(match, self._deadline_ns(timeout_s))
        await self._until(waiter)
        return waiter.result

    def arrived(self) -> list[Delivery]:
        """Take everything that has arrived."""
        return self.mailbox.take_all()

    async def _until(self, waiter: Receive | Gather) -> None:
        env = self._host.env
        began_ns = env.now_ns
        try:
            await waiter
        except BaseException:
            self.mailbox.abandon(waiter)
            raise
        finally:
            self._host.activity.span(self._id, ActivityLog.WAITING, began_ns, env.now_ns)

    def _deadline_ns(self, timeout_s: float | None) -> float:
        return inf if timeout_s is None else self._host.env.now_ns + wait_ns(timeout_s)

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        await Wait(self._host.env.timeout(wait_ns(seconds)))

    @abstractmethod
    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Submit model mathematics."""

    def read(self, value: Handle | Vector) -> Vector:
        """Return the value of a handle or array."""
        return values_of(self._world.executor, [value])[0]

    def outgoing(self, content: Any, to: int, round: int) -> Any:
        """Content as this node sends it: its own, or what a Byzantine node puts in its place."""
        coalition = self._host.coalition
        return content if coalition is None else coalition.substituted(self, content, to, round)

    def tasks(self) -> SimTaskGroup:
        """A group of concurrent tasks."""
        return SimTaskGroup(self._host.runner)

    def record(self, kind: str, **fields: Any) -> None:
        """Record a measurement."""
        self._world.record(self.now_s, self._id, kind, fields)
