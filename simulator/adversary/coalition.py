"""Hooks for adversaries: taps that only look, substitution of content, and tampering with messages on their way.

The simulator transports what these functions return and does not interpret it; attacks themselves are
pure functions of a higher package. On its way a message meets, in this order: its node's substitution (before
protection), its node's tamper (when it is handed to the uplink), the uplink, the wiretap and then the attacker on the
link (when it has left the uplink), loss, and the tap of its receiver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Generic, TypeAlias, TypeVar, overload
from weakref import WeakKeyDictionary

from simulator import streams
from simulator.adversary.tampering import Ciphertext, Forward, Tamper, reads
from simulator.adversary.wiretap import Wiretap, check_link
from simulator.contract.knowledge import LEVELS, Context, Knowledge, Sighting
from simulator.contract.node import Delivery, Link, Message, Node
from simulator.errors import ConfigurationError, ContractError

Tap: TypeAlias = "Callable[[int, Delivery], None]"
"""Sees (curious node, delivery) the moment a message reaches that node."""

Substitution: TypeAlias = "Callable[[Context, Node, Any, int, int], Any]"
"""(what is known, node, content, to, round) -> what the node sends in place of its content."""

REMEMBERED_ROUNDS = 64
"""A message sent again after that many later rounds on its link draws as if it were sent for the first time."""

_T = TypeVar("_T")


@dataclass(frozen=True)
class Adversary:
    """The adversary of a run. There is one: all its nodes and links act together and pool what they know.

    Args:
        curious: nodes whose received messages are shown to ``tap``; they follow the protocol.
        tap: called for every delivery to a curious node.
        tap_own: called with (seconds, node, message) for everything that a curious node sends itself.
        byzantine: node -> the function its contributions pass through before they are protected and sent.
            The way to change content that is a handle.
        tamper: node -> what it does to the messages that its protocol hands to its uplink.
        wires: an eavesdropper on links.
        on_links: directed link -> what an attacker on it does to messages that have left the uplink.
        encrypted: whether the links under attack are encrypted (and authenticated): the attacker can drop, delay
            and replay, but neither read nor alter.
        knowledge: what substitutions and tampers are shown, each level with all before it.
            ``own``: the content or message at hand, its time, its receiver.
            ``received``: what members of the coalition have received (K1, not rushing).
            ``rushing``: what others have sent to members, from the moment it was sent, lost or not (K2). A member
            that wants all of a round before it sends has to send last: delay its computing.
            ``neighbourhood``: what the target and its neighbours have sent to anybody (K3).
            ``omniscient``: what anybody has sent, and ``oracle`` (K4).
        oracle: anything an omniscient adversary is to have besides.
        remember: how many of the latest messages each of those lists keeps, at least.

    Raises:
        ConfigurationError: an action that reads or alters on an encrypted link, a link that is none, a wiretap that
            disagrees about encryption, an oracle or a level that does not exist or fit.

    Guarantees:
        What a level shows are messages as they are on the wire. A protected body (masked vector, share) is seen
        protected at every level, ``omniscient`` included, unless the oracle opens it.
        Whatever leaves in place of a message keeps its release, unless it has another: its receiver is charged with
        what the true message would have told it, the larger loss.
        Substitutions and tampers are trusted to be functions of their context; one that closes over a run's objects
        knows more than its level says.
        With all fields at their defaults nothing is recorded, drawn or called.
    """

    curious: frozenset[int] = frozenset()
    tap: Tap | None = None
    tap_own: Callable[[float, int, Message], None] | None = None
    byzantine: Mapping[int, Substitution] = field(default_factory=dict)
    tamper: Mapping[int, Tamper] = field(default_factory=dict)
    wires: Wiretap | None = None
    on_links: Mapping[Link, Tamper] = field(default_factory=dict)
    encrypted: bool = True
    knowledge: Knowledge = "own"
    oracle: Any = None
    remember: int = 1024

    def __post_init__(self) -> None:
        if self.knowledge not in LEVELS:
            raise ConfigurationError(
                f"knowledge {self.knowledge!r} is unknown; expected one of {', '.join(LEVELS)}",
                "adversary.knowledge",
            )
        if self.oracle is not None and self.knowledge != "omniscient":
            raise ConfigurationError(
                f"an oracle is for knowledge 'omniscient', not {self.knowledge!r}", "adversary.knowledge"
            )
        if self.remember < 1:
            raise ConfigurationError(
                f"remember must be at least 1 message, got {self.remember}", "adversary.remember"
            )
        if self.wires is not None and self.on_links and self.wires.encrypted != self.encrypted:
            raise ConfigurationError(
                "links are encrypted for the wiretap and not for the attacker on links, or the other way round; "
                "expected the same for both",
                "adversary.encrypted",
            )
        for link, tamper in self.on_links.items():
            check_link(link, "adversary.on_links")
            if self.encrypted and (looks := reads(tamper)):
                raise ConfigurationError(
                    f"the attacker on link {link} has to read the {' and '.join(sorted(looks))} of messages, "
                    "but links are encrypted; expected only drop, delay and replay there, or encrypted = false",
                    "adversary.on_links",
                )

    @property
    def tampers(self) -> bool:
        """Return whether messages are changed in transit."""
        return bool(self.tamper or self.on_links)

    @property
    def members(self) -> frozenset[int]:
        """Return the coalition: every node that is curious, substitutes or tampers."""
        return self.curious | self.byzantine.keys() | self.tamper.keys()

    def observe(self, dst: int, delivery: Delivery) -> None:
        """Show a delivery to the tap, if its receiver is curious."""
        if self.tap is not None and dst in self.curious:
            self.tap(dst, delivery)

    def start(self, seed: int, neighbors: Callable[[int], Sequence[int]]) -> Coalition | None:
        """Return the state of the adversary in one run; None if it only observes.

        Args:
            seed: of the run.
            neighbors: whom a node can send to, as the topology is now.
        """
        return Coalition(self, seed, neighbors) if self.tampers or self.byzantine else None


class Coalition:
    """State of an active adversary in a run: what it knows, and its changes of content and messages.

    Attributes:
        nodes: whose messages have to pass through :meth:`outgoing`; content of any node through :meth:`substituted`.
        links: the links whose messages have to pass through :meth:`crossing`.
        listens: whether it wants to hear of deliveries (:meth:`delivered`).
        watches: whether it wants to hear of everything that is sent (:meth:`sent`).
    """

    def __init__(self, adversary: Adversary, seed: int, neighbors: Callable[[int], Sequence[int]]) -> None:
        self.nodes = frozenset(adversary.tamper)
        self.links = frozenset(adversary.on_links)
        level = LEVELS.index(adversary.knowledge)
        self.listens = level >= LEVELS.index("received")
        self.watches = level >= LEVELS.index("rushing")
        self._adversary = adversary
        self._seed = seed
        self._neighbors = neighbors
        self._members = adversary.members
        self._active = self.nodes | adversary.byzantine.keys()
        self._link_ends = frozenset(dst for _, dst in self.links)
        self._seen: _Memory[Delivery] = _Memory(adversary.remember)
        self._sightings: _Memory[Sighting] = _Memory(adversary.remember)
        self._around: dict[int, _Memory[Sighting]] = {}
        self._times: dict[tuple[str, int, int, str], dict[int, int]] = {}
        self._encrypted: WeakKeyDictionary[Ciphertext, tuple[Link, Message]] = WeakKeyDictionary()

    def sent(self, now_s: float, src: int, dst: int, message: Message) -> None:
        """Note that a message was handed to an uplink."""
        if not self.watches or src in self._members:
            return
        sighting = Sighting(now_s, src, dst, message)
        match self._adversary.knowledge:
            case "rushing":
                if dst in self._members:
                    self._sightings.add(sighting)
            case "neighbourhood" if dst not in self._members:
                for target in (src, *self._neighbors(src)):
                    if self._in_reach(target):
                        self._near(target).add(sighting)
            case _:
                self._sightings.add(sighting)

    def delivered(self, dst: int, delivery: Delivery) -> None:
        """A message has reached the mailbox of ``dst``."""
        if self.listens and dst in self._members:
            self._seen.add(delivery)

    def substituted(self, node: Node, content: Any, to: int, round: int) -> Any:
        """Return what ``node`` sends in place of ``content``."""
        substitution = self._adversary.byzantine.get(node.id)
        if substitution is None:
            return content
        context = self._context("claim", node.now_s, node.id, to, "", round, None)
        return substitution(context, node, content, to, round)

    def outgoing(self, now_s: float, src: int, dst: int, message: Message) -> Sequence[Forward]:
        """Return the messages that leave when the protocol of Byzantine node ``src`` sends one.

        Raises:
            ContractError: the tamper sends to a stranger, or at a time that is none.
        """
        tamper = self._adversary.tamper[src]
        leaving = tamper(
            self._context("tamper", now_s, src, dst, message.kind, message.round, None), dst, message
        )
        for sent in leaving:
            _check_delay(sent, f"node {src}")
            if sent.dst != dst and sent.dst not in self._neighbors(src):
                raise ContractError(
                    f"the tamper of node {src} sends to node {sent.dst}; "
                    f"it has links to {tuple(self._neighbors(src))}"
                )
        return _marked(leaving, dst, message)

    def crossing(self, now_s: float, src: int, dst: int, message: Message) -> Sequence[Forward]:
        """Return the messages that continue when one has left its uplink on a link under attack.

        Raises:
            ContractError: the attacker sends to anybody else, or what it could not have made on an encrypted link.
        """
        link = (src, dst)
        tamper = self._adversary.on_links[link]
        encrypted = self._adversary.encrypted
        context = self._context("tamper-link", now_s, src, dst, message.kind, message.round, link)
        leaving = tamper(context, dst, self._encrypt(link, message) if encrypted else message)
        for sent in leaving:
            _check_delay(sent, f"link {link}")
            if sent.dst != dst:
                raise ContractError(
                    f"the attacker on link {link} sends to node {sent.dst}; the link ends at {dst}"
                )
        if encrypted:
            leaving = [sent._replace(message=self._decrypted(link, sent.message)) for sent in leaving]
        return _marked(leaving, dst, message)

    def _context(
        self, purpose: str, now_s: float, src: int, dst: int, kind: str, round: int, link: Link | None
    ) -> Context:
        times = self._times.setdefault((purpose, src, dst, kind), {})
        repeat = times[round] = times.get(round, -1) + 1
        if len(times) > REMEMBERED_ROUNDS:
            del times[next(iter(times))]
        # Links have streams of their own, so that an attacker on a link draws apart from the node behind it.
        stream = streams.digest(self._seed, purpose, src, kind, round, dst, repeat)
        ahead: Sequence[Sighting] = self._sightings.so_far()
        if dst in self._around:
            ahead = sorted([*ahead, *self._around[dst].so_far()], key=lambda sighting: sighting.t_s)
        return Context(
            node=src,
            now_s=now_s,
            knowledge=self._adversary.knowledge,
            link=link,
            seen=self._seen.so_far(),
            ahead=ahead,
            oracle=self._adversary.oracle,
            _stream=int.from_bytes(stream, "little"),
        )

    def _in_reach(self, node: int) -> bool:
        return node in self._link_ends or not self._active.isdisjoint(self._neighbors(node))

    def _near(self, target: int) -> _Memory[Sighting]:
        if target not in self._around:
            self._around[target] = _Memory(self._adversary.remember)
        return self._around[target]

    def _encrypt(self, link: Link, message: Message) -> Message:
        body = Ciphertext()
        self._encrypted[body] = (link, message)
        return Message("encrypted", -1, body, message.size_bytes)

    def _decrypted(self, link: Link, message: Message) -> Message:
        body = message.body
        held = self._encrypted.get(body) if isinstance(body, Ciphertext) else None
        if held is None or held[0] != link:
            raise ContractError(
                f"the attacker on link {link} sends what did not come over it; links are encrypted, so only messages "
                "that it was given there can be passed on"
            )
        return held[1]


class _Window(Sequence[_T]):
    """The first items of a growing list, up to a number; later items are not included."""

    __slots__ = ("_items", "_length")

    def __init__(self, items: list[_T], length: int) -> None:
        self._items = items
        self._length = length

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> _T: ...

    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...

    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        if isinstance(index, slice):
            return [self._items[i] for i in range(*index.indices(self._length))]
        return self._items[range(self._length)[index]]


class _Memory(Generic[_T]):
    """The latest items: at least ``keep`` of them, at most twice as many."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._items: list[_T] = []

    def add(self, item: _T) -> None:
        if len(self._items) >= 2 * self._keep:
            # A new list: windows on the old one stay what they were.
            self._items = self._items[-self._keep :]
        self._items.append(item)

    def so_far(self) -> Sequence[_T]:
        return _Window(self._items, len(self._items))


def _check_delay(sent: Forward, who: str) -> None:
    if not (isfinite(sent.delay_s) and sent.delay_s >= 0.0):
        raise ContractError(
            f"the tamper of {who} delays by {sent.delay_s} s; "
            "expected finite and not negative (to drop, return nothing)"
        )


def _marked(leaving: Sequence[Forward], dst: int, original: Message) -> list[Forward]:
    """Separate the message itself from copies, and charge whatever leaves in its place with its release."""
    marked: list[Forward] = []
    itself = False
    for sent in leaving:
        message = sent.message
        same = sent.dst == dst and message.kind == original.kind and message.round == original.round
        if message.release is None and original.release is not None:
            message = message._replace(release=original.release)
        marked.append(Forward(sent.delay_s, sent.dst, message, copy=itself or not same))
        itself = itself or same
    return marked
