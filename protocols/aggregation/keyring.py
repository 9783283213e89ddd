"""Key agreement between co-members of a neighbourhood, which need not have a link to each other.

Each node signs one X25519 key and sends it to its neighbours; every neighbour, as aggregator, passes the keys
of its members on to each other. A member accepts a relayed key only with its owner's signature under the
directory, so an aggregator cannot insert keys of its own. Lost messages are repeated; a node that joins late
announces itself the same way.

Where co-members change from round to round, keys are either relayed to all nodes, each node passing on what is new to
it (:class:`EverybodysKeys`), or sent to neighbours alone, where every co-member is one (:class:`NeighboursKeys`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from protocols.aggregation.keys import (
    Directory,
    Identity,
    KeyRefused,
    PairSecrets,
    SignedKey,
    check_key,
    key_size_bytes,
    make_key,
)
from simulator.contract.node import Delivery, Message, Node

SETUP_ROUND = -1
"""Round number of key messages, which belong to no learning round."""
TRIES = 5
"""Number of times a node repeats its announcement before it continues without the missing keys."""


@dataclass(frozen=True)
class KeyPlan:
    """Parameters of the key agreement.

    Args:
        directory: public signing keys of all nodes, agreed on before the run.
        identities: the signing keys themselves, by node.
        context: names the run; signatures are valid for it alone.
        timeout_s: wait before an announcement is repeated, seconds.
        agreement_cost_s: virtual seconds of one X25519 agreement.
    """

    directory: Directory
    identities: dict[int, Identity]
    context: bytes
    timeout_s: float
    agreement_cost_s: float

    def keyring(self, node: Node) -> Keyring:
        """Return a node's keys; co-members are those of the neighbourhoods that the node belongs to."""
        return Keyring(node, self)


class Keyring:
    """Own key of a node, its co-members' verified keys, and the secrets shared with them."""

    def __init__(self, node: Node, plan: KeyPlan) -> None:
        self._node = node
        self._plan = plan
        if "key" not in node.disk:
            node.disk["key"] = node.secret("x25519", 32)
        private, self._own = make_key(node.disk["key"], plan.identities[node.id], node.id, plan.context)
        self._pairs = PairSecrets(private, self._own, plan.directory, plan.context)
        self._known: dict[int, SignedKey] = {}
        self._members: dict[int, SignedKey] = {}
        self._agreed: set[int] = set()

    async def join(
        self, pump: Callable[[Callable[[], bool], float], Awaitable[bool]], tries: int = TRIES
    ) -> None:
        """Announce the own key until every co-member's key is known, or for a limited number of time-outs."""
        for _ in range(tries):
            for aggregator in self._node.neighbors:
                if self._missing(aggregator):
                    self.ask(aggregator)
            if await pump(self._complete, self._plan.timeout_s):
                return
        self._node.record("keys_missing", count=sum(len(self._missing(v)) for v in self._node.neighbors))

    def ask(self, aggregator: int) -> None:
        """Send the own key to an aggregator, which answers with the keys of the other members."""
        body = (self._own.public, self._own.signature)
        self._node.send(aggregator, Message("key", SETUP_ROUND, body, key_size_bytes()))

    async def handle(self, delivery: Delivery) -> None:
        """Store and relay a neighbour's own key, or store keys that an aggregator relays."""
        try:
            if delivery.message.kind == "key":
                self._relay(SignedKey(delivery.src, *delivery.message.body))
            else:
                for fields in delivery.message.body:
                    self._learn(SignedKey(*fields))
        except TypeError:  # not the fields of a signed key
            self._node.record("malformed", round=SETUP_ROUND, sender=delivery.src)

    def has_all(self) -> bool:
        """Return whether all members of the own neighbourhood have announced their keys."""
        return all(peer in self._members for peer in self._node.members(self._node.id))

    def knows(self, peer: int) -> bool:
        """Return whether a verified key of ``peer`` is known."""
        return peer in self._known

    async def agree(self, peers: Iterable[int]) -> None:
        """Compute the missing agreements with ``peers``, at their cost in virtual time."""
        new = [peer for peer in peers if peer not in self._agreed]
        self._agreed.update(new)
        if new:
            await self._node.sleep(self._plan.agreement_cost_s * len(new))

    def secret(self, peer: int) -> bytes:
        """Return the secret shared with ``peer``, whose key must be known."""
        return self._pairs.secret(self._known[peer])

    def _complete(self) -> bool:
        return not any(self._missing(v) for v in self._node.neighbors)

    def _missing(self, aggregator: int) -> list[int]:
        others = self._node.members(aggregator)
        return [peer for peer in others if peer != self._node.id and peer not in self._known]

    def _relay(self, key: SignedKey) -> None:
        if not self._genuine(key):
            return
        others = [m for m in self._members.values() if m.node != key.node]
        if others:
            self._send_keys(key.node, others)
        if key.node not in self._members:
            for other in others:
                self._send_keys(other.node, [key])
        self._members[key.node] = key

    def _send_keys(self, to: int, keys: list[SignedKey]) -> None:
        body = tuple((k.node, k.public, k.signature) for k in keys)
        self._node.send(to, Message("keys", SETUP_ROUND, body, key_size_bytes() * len(keys)))

    def _learn(self, key: SignedKey) -> None:
        if key.node != self._node.id and self._genuine(key):
            self._known.setdefault(key.node, key)

    def _genuine(self, key: SignedKey) -> bool:
        try:
            check_key(key, self._plan.directory, self._plan.context)
        except KeyRefused as error:
            self._node.record("key_refused", owner=key.node, reason=str(error))
            return False
        return True


class NeighboursKeys(Keyring):
    """Keys where every co-member is a neighbour: sent to neighbours, never relayed.

    A first announcement is not answered, since the receiver announces itself too; a repeated one is.
    """

    def has_all(self) -> bool:
        """Return whether all neighbours' keys are known."""
        return self._complete()

    def _missing(self, aggregator: int) -> list[int]:
        return [] if aggregator in self._known else [aggregator]

    def _relay(self, key: SignedKey) -> None:
        if not self._genuine(key):
            return
        if key.node in self._members:
            self._send_keys(key.node, self._told())
        self._members[key.node] = key
        self._learn(key)

    def _told(self) -> list[SignedKey]:
        """Return the keys that answer a repeated announcement."""
        return [self._own]


class EverybodysKeys(NeighboursKeys):
    """Keys of all nodes: every node passes on to its other neighbours what is new to it."""

    def ask(self, aggregator: int) -> None:
        """Send the own key to an aggregator, or to all neighbours if there is no link to it: any of them may know."""
        near = self._node.neighbors
        for peer in (aggregator,) if aggregator in near else near:
            super().ask(peer)

    def _complete(self) -> bool:
        return len(self._known) >= len(self._plan.directory.public) - 1

    def _missing(self, aggregator: int) -> list[int]:
        return [] if self._complete() else [aggregator]

    def _told(self) -> list[SignedKey]:
        return [self._own, *self._known.values()]

    async def handle(self, delivery: Delivery) -> None:
        """Store the keys of a message, and pass on those that were unknown."""
        before = set(self._known)
        await super().handle(delivery)
        new = [key for node, key in self._known.items() if node not in before]
        if new:
            for peer in self._node.neighbors:
                others = [key for key in new if key.node != peer]
                if peer != delivery.src and others:
                    self._send_keys(peer, others)


@dataclass(frozen=True)
class NeighboursKeyPlan(KeyPlan):
    """Key agreement where every co-member is a neighbour."""

    def keyring(self, node: Node) -> Keyring:
        """Return a node's keys."""
        return NeighboursKeys(node, self)


@dataclass(frozen=True)
class EverybodysKeyPlan(KeyPlan):
    """Key agreement where any node may become a co-member, and links are those of any connected graph."""

    def keyring(self, node: Node) -> Keyring:
        """Return a node's keys."""
        return EverybodysKeys(node, self)
