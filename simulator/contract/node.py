"""Contract of a node: everything that a protocol may use.

A protocol is an ``async def program(node: Node)``. The same program runs on virtual time
(:mod:`simulator.runtime.virtual`) and on real sockets (:mod:`simulator.runtime.real`);
:mod:`simulator.conformance.harness` runs the conformance battery that both must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from simulator.contract.compute import Handle, Input, Op, Vector
from simulator.errors import ContractError

LIMIT = 2**40
"""Rounds and sizes of messages are below this."""
Link: TypeAlias = tuple[int, int]
"""A link in one direction: (source, destination)."""


class Message(NamedTuple):
    """Content that one node sends to another.

    Args:
        kind: the protocol's name for it (``"model"``, ``"masked"``).
        round: the round it belongs to; part of the key of its random latency, so set it truthfully.
        body: immutable content: numbers, strings, bytes, tuples of those, read-only arrays, handles.
        size_bytes: payload bytes on the wire, known from type and shape, not from the value.
        release: what the receiver learns by having it, for the privacy ledger; the simulator only carries it, and
            hands it to the run's delivery listener.

    Example:
        >>> sv.Message("hello", round=0, body=None, size_bytes=8).kind
        'hello'
    """

    kind: str
    round: int
    body: Any
    size_bytes: int
    release: Any = None


def checked(message: Message) -> Message:
    """Return a message whose round and size are Python integers.

    Raises:
        ContractError: a part has another type, or is out of range.
    """
    if not isinstance(message, Message):
        raise ContractError(
            f"expected a Message(kind, round, body, size_bytes), got {type(message).__name__}"
        )
    kind, round, _, size_bytes, _ = message
    if type(kind) is not str or not kind.isprintable():
        raise ContractError(f"kind of a message must be text that can be printed, got {kind!r:.60}")
    if not _is_whole(round) or not -LIMIT < round < LIMIT:
        raise ContractError(
            f"round of message {kind!r} must be a whole number below 2**40, got {round!r:.60}"
        )
    if not _is_whole(size_bytes) or not 0 <= size_bytes < LIMIT:
        raise ContractError(
            f"size_bytes of message {kind!r} must be a whole number, at least 0 and below 2**40, got "
            f"{size_bytes!r:.60}"
        )
    if type(round) is int and type(size_bytes) is int:
        return message
    return message._replace(round=int(round), size_bytes=int(size_bytes))


def _is_whole(value: object) -> bool:
    """Return whether a value is an integer of Python or NumPy; true and false are none."""
    return type(value) is int or isinstance(value, np.integer)


class Delivery(NamedTuple):
    """A message that has arrived.

    Args:
        src: who sent it.
        message: what was sent.
        sent_s: seconds at which it was handed to the uplink.
        delivered_s: seconds at which it arrived.
    """

    src: int
    message: Message
    sent_s: float
    delivered_s: float


@dataclass(frozen=True, slots=True)
class Links:
    """Links of one node in one epoch of the topology.

    Args:
        to: nodes it sends to, ascending.
        sources: nodes it hears from, ascending; the same as ``to`` where links have no direction.
        weights: W[self, source] for every source; its own weight is 1 - sum.
    """

    to: tuple[int, ...]
    sources: tuple[int, ...]
    weights: Mapping[int, float]


Match: TypeAlias = Callable[[Delivery], bool]
Program: TypeAlias = "Callable[[Node], Coroutine[Any, Any, None]]"


class TaskGroup(Protocol):
    """``async with node.tasks() as group``: nothing spawned outlives the block.

    Leaving the block waits for the tasks; a task that raises cancels the others, and the error leaves
    the block.
    """

    async def __aenter__(self) -> TaskGroup: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None: ...

    def spawn(self, coro: Coroutine[Any, Any, None]) -> None:
        """Start a task beside the others."""
        ...

    def cancel(self) -> None:
        """Stop every task of the group (they see :class:`~simulator.errors.NodeDown`)."""
        ...


class Node(Protocol):
    """One participant, as its own program sees it.

    Example:
        >>> async def program(node: sv.Node, learner: sv.Learner, rounds: int) -> None:
        ...     node.multicast(node.neighbors, sv.Message("hello", 0, None, 8))
        ...     for _ in node.neighbors:
        ...         await node.receive(timeout_s=1.0)
        >>> program.messages = ("hello",)  # with [privacy], kinds of message are declared
        >>> run = sv.run("quickstart", changes={"protocol.exchange": "plain"}, program=program)
        >>> run.messages["kind"].unique().to_list()
        ['hello']
    """

    @property
    def id(self) -> int:
        """Index in the topology, from 0."""
        ...

    @property
    def now_s(self) -> float:
        """Seconds since the run began: virtual in a simulation, real in a live run."""
        ...

    @property
    def neighbors(self) -> tuple[int, ...]:
        """Neighbours by the topology as it is now, in ascending order. Says nothing about who is up."""
        ...

    def links(self, round: int | None = None) -> Links:
        """Return the links of this node now; topologies that change by the round need to know which round."""
        ...

    @property
    def suspects(self) -> frozenset[int]:
        """Neighbours that the failure detector suspects; empty if the run has no detector."""
        ...

    @property
    def disk(self) -> dict[str, Any]:
        """Storage that survives a crash. A program that finds it non-empty has been started before."""
        ...

    def rng(self, purpose: str, *key: int) -> np.random.Generator:
        """A fresh generator of the stream (seed, node, purpose, key): same key, same numbers, always."""
        ...

    def uniform(self, purpose: str, *key: int) -> float:
        """One number in (0, 1), its own for every key; for single choices cheaper than :meth:`rng`."""
        ...

    def secret(self, purpose: str, size: int) -> bytes:
        """Key material. From the run's seed in a simulation (NOT secret), from the OS in a live run."""
        ...

    def weight(self, source: int, receiver: int | None = None) -> float:
        """Public mixing weight W[receiver, source]; the receiver is this node unless named."""
        ...

    def members(self, aggregator: int) -> tuple[int, ...]:
        """Return the neighbourhood of ``aggregator``, itself excluded, in ascending order."""
        ...

    def send(self, to: int, message: Message) -> None:
        """Hand a message to the uplink. It may be delayed, lost or cut without notice.

        Raises:
            ContractError: ``to`` is not a neighbour.
        """
        ...

    def multicast(self, peers: Sequence[int], message: Message) -> None:
        """Hand the same message to several neighbours, one after another: cheaper than as many sends.

        Raises:
            ContractError: one of them is not a neighbour.
        """
        ...

    async def gather(
        self, kind: str, round: int, sources: Sequence[int], timeout_s: float | None = None
    ) -> dict[int, Message]:
        """Wait until every source has sent a message of that kind and round; return the oldest of each, by source.

        Sources come in the order they were named. Once ``timeout_s`` has passed, those that are there. Cheaper
        than as many receives: the program goes on once, when the last has come. What it does not take stays in
        the mailbox.
        """
        ...

    async def receive(self, match: Match | None = None, timeout_s: float | None = None) -> Delivery | None:
        """Wait for a message that matches and take the oldest; ``None`` once ``timeout_s`` has passed.

        An expired receive takes nothing: the next matching message stays for the next receive.
        """
        ...

    def arrived(self) -> list[Delivery]:
        """Take everything that has arrived, oldest first, without waiting."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let time pass."""
        ...

    async def compute(self, op: Op, *inputs: Input, size: int, cost_s: float = 0.0) -> Handle:
        """Fix the inputs now, let ``cost_s`` pass, return a handle to the result (of ``size`` elements)."""
        ...

    def read(self, value: Handle | Vector) -> Vector:
        """Return the value of a handle, computed now if it was not yet; an array is returned as it is."""
        ...

    def outgoing(self, content: Any, to: int, round: int) -> Any:
        """Return the content that this node sends to ``to`` in place of ``content``.

        Protocols pass every own contribution through here *before* protecting it. Honest nodes get it back
        unchanged; a Byzantine node's adversary may return something else, per receiver.
        """
        ...

    def tasks(self) -> TaskGroup:
        """A group of concurrent tasks of this node."""
        ...

    def record(self, kind: str, **fields: Any) -> None:
        """Record measurements for the run folder; no other node sees them."""
        ...
