"""Guard of programs from outside, so that the ledger counts what they reveal and charges what the scenario bounds.

A program of another package, or one given from Python, sees its node and the learner through the objects made here.
Its messages must have the form that it declares; updates are clipped, noised and recorded as the scenario says.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn, cast
from weakref import WeakKeyDictionary

import numpy as np

from protocols.privacy.lineage import Lineage, Visible, is_tag
from simulator.contract.node import Message, Node, checked
from simulator.errors import ConfigurationError, ContractError

if TYPE_CHECKING:
    from protocols.gossip.learner import Learner, Model
    from scenarios.schema import Scenario

USUAL = ("model",)
"""Kinds of message of a program that declares none."""
SETUP_ROUND = -1
"""Round of messages before the first update."""
_NUMBERS = (int, float, bool, np.float32, np.float64, np.int32, np.int64)
_BITS = 64


@dataclass(frozen=True)
class Form:
    """Form of the messages that a program may send.

    Args:
        kinds: kinds of message that the program declares.
        rounds: updates of a node; the round of a message is from -1 (before the first) to this number.
        numbers: public numbers beside the models of a message, at most.
        shipped: kinds of message of secure sums and of correlated noise. Their sizes are those of that protocol.
    """

    kinds: frozenset[str]
    rounds: int
    numbers: int = 0
    shipped: frozenset[str] = frozenset()

    def check(self, message: Message) -> None:
        """Check one message.

        Raises:
            ContractError: its kind is not declared, its body has something that its release does not name, or its
                round or size is not what follows from its form.
        """
        problem = self._problem(message)
        if problem is not None:
            kind, round = message.kind, message.round
            raise ContractError(f"message {kind!r:.80} of round {round!r:.20} {problem}")

    def _problem(self, message: Message) -> str | None:
        if type(message) is not Message:
            return f"is a {type(message).__name__}; expected a simulator.contract.node.Message"
        kind, round, body, _, release = message
        if release is not None and not is_tag(release):
            return (
                f"has the release {release!r:.80}; expected a tag of protocols.privacy.lineage or a tuple of tags, "
                "as sottovoce.send_model makes them"
            )
        of_shipped = type(kind) is str and kind in self.shipped
        if body is not None and not release and (not of_shipped or _vectors(body)):
            return (
                "has a body but no release, so the ledger cannot count what it reveals; send models with "
                "sottovoce.send_model and no other bodies, or remove [privacy]"
            )
        if type(round) is not int or not SETUP_ROUND <= round <= self.rounds:
            return f"has no whole number from -1 to protocol.rounds ({self.rounds}) as its round; give the node's"
        if of_shipped:
            return None
        if type(kind) is not str or kind not in self.kinds:
            return (
                f"is of no declared kind ({', '.join(sorted(self.kinds))}): a name that is made up may say anything; "
                "name it in the attribute messages of the program or Protocol"
            )
        return self._problem_of_body(body, release, message.size_bytes)

    def _problem_of_body(self, body: Any, release: Any, size: Any) -> str | None:
        from protocols.gossip.messages import HEADER_BYTES, NUMBER_BYTES
        from simulator.contract.compute import VALUE_BYTES

        states = release if isinstance(release, tuple) else () if release is None else (release,)
        if not all(type(one) is Visible and type(one.state) is int for one in states):
            return f"releases {release!r:.80}; expected Visible of each of its models, as nothing hides them"
        parts = body if isinstance(body, tuple) else () if body is None else (body,)
        vectors, numbers = parts[: len(states)], parts[len(states) :]
        if body is None:
            states = ()
        if len(vectors) < len(states) or not all(map(_is_vector, vectors)):
            return (
                f"releases {len(states)} models, but its body does not begin with as many vectors; send them"
            )
        if len(numbers) > self.numbers or not all(map(_is_number, numbers)):
            return (
                f"has {len(numbers)} values beside its models, which no ledger counts; expected at most "
                f"{self.numbers} numbers of 64 bits: the attribute public_numbers of the program or Protocol says "
                "how many, and that they do not depend on data"
            )
        implied = HEADER_BYTES + VALUE_BYTES * sum(one.size for one in vectors) + NUMBER_BYTES * len(numbers)
        if isinstance(size, bool) or not hasattr(size, "__index__") or size != implied:
            return (
                f"has size_bytes = {size!r:.40}; {len(vectors)} models and {len(numbers)} numbers have {implied}: "
                "another size may depend on data; make it with protocols.gossip.messages.show"
            )
        return None


def form_of(scenario: Scenario, program: Any) -> Form:
    """Return the form of messages that a program from outside declares.

    Args:
        scenario: of the run; its secure sums and correlated noise have messages of their own.
        program: with the attributes ``messages`` (kinds of message) and ``public_numbers`` (beside the models of a
            message): a function, where they are ``("model",)`` and 0 by default, or a table [protocol].

    Raises:
        ConfigurationError: ``messages`` is no tuple of names, or ``public_numbers`` no number.
    """
    kinds, numbers = getattr(program, "messages", USUAL), getattr(program, "public_numbers", 0)
    shipped: set[str] = set()
    if not isinstance(kinds, tuple | list) or not all(type(kind) is str for kind in kinds):
        raise ConfigurationError(
            f"program: its attribute messages must be a tuple of kinds of message, got {kinds!r:.80}"
        )
    if type(numbers) is not int or numbers < 0:
        raise ConfigurationError(
            f"program: its attribute public_numbers must be a whole number, at least 0, got {numbers!r:.80}"
        )
    if scenario.secure is not None and scenario.protocol.exchange == "secure":
        shipped.update(scenario.secure.aggregation.messages, scenario.protocol.messages_beside_sums)
    if scenario.privacy is not None and scenario.privacy.correlated is not None:
        shipped.update(scenario.privacy.correlated.messages)
    return Form(frozenset(kinds), scenario.protocol.rounds, numbers, frozenset(shipped))


class Guard:
    """What programs from outside see of a run: nodes that check messages, and a learner that cannot be changed.

    Args:
        form: of messages.
        learner: of the run.

    Guarantees:
        Threat model: a program that uses attributes and methods of what it is given, and keeps no state outside of
        its node. Every message has the form that was declared; its models are counted as the states that it names.
        Every contribution has the clipping norm and the noise of the scenario, whatever the program makes of its
        learner. Whether a message names the right states is not checked, nor are times of messages, their order,
        receivers and rounds, which may not depend on data. Introspection of Python (closures, frames, the garbage
        collector, modules) is not prevented.
    """

    def __init__(self, form: Form, learner: Learner) -> None:
        # nothing is kept in attributes: what these functions close over is not within a program's reach
        self.node, raw = _nodes(form)
        self.learner: Learner = _learner(learner, raw)

    def around(self, program: Callable[[Node], Coroutine[Any, Any, None]]) -> Any:
        """Return the program, run with guarded nodes."""
        guarded = self.node
        return lambda node: program(guarded(node))


def guard_for(scenario: Scenario, learner: Learner, program: Any) -> Guard:
    """Return the guard of a program from outside, by what it declares (:func:`form_of`)."""
    return Guard(form_of(scenario, program), learner)


# ---------------------------------------------------------------- nodes

_READ = ("id", "now_s", "neighbors", "suspects", "disk")
_CALLED = (
    "links",
    "rng",
    "uniform",
    "secret",
    "weight",
    "members",
    "gather",
    "receive",
    "arrived",
    "sleep",
    "compute",
    "read",
    "outgoing",
    "tasks",
    "record",
)


def _nodes(form: Form) -> tuple[Callable[[Node], Node], Callable[[Any], Node]]:
    """Return what wraps a node, and what returns the node behind a wrapper."""
    behind: WeakKeyDictionary[Any, Node] = WeakKeyDictionary()

    class GuardedNode:
        """Node that sends messages of the declared form alone; it holds no reference to the node behind it."""

        __slots__ = ("__weakref__",)

        def send(self, to: int, message: Message) -> None:
            message = checked(message)
            form.check(message)
            behind[self].send(to, message)

        def multicast(self, peers: Sequence[int], message: Message) -> None:
            message = checked(message)
            form.check(message)
            behind[self].multicast(peers, message)

    def reading(name: str) -> property:
        return property(lambda self: getattr(behind[self], name))

    def calling(name: str) -> Callable[..., Any]:
        return lambda self, *args, **options: getattr(behind[self], name)(*args, **options)

    for name in _READ:
        setattr(GuardedNode, name, reading(name))
    for name in _CALLED:
        setattr(GuardedNode, name, calling(name))

    def wrap(node: Node) -> Node:
        made = GuardedNode()
        behind[made] = node
        return cast(Node, made)

    def raw(node: Any) -> Node:
        found = behind.get(node) if type(node) is GuardedNode else None
        if found is None:
            raise ContractError(
                f"a learner trains at the node that the program was given, got {type(node).__name__}"
            )
        return found

    return wrap, raw


# ---------------------------------------------------------------- learner


def _learner(learner: Learner, raw: Callable[[Any], Node]) -> Learner:
    """Return a learner that trains as the given one, at the nodes behind guarded ones, and cannot be replaced."""
    from protocols.gossip.learner import Learner as Base

    made = False

    class GuardedLearner(Base):
        """Learner whose updates are those of the scenario."""

        def __new__(cls, *args: Any, **options: Any) -> Any:
            if made:
                raise ContractError(
                    "a program cannot change its learner (dataclasses.replace, copy): clipping and noise are "
                    "those of the scenario; change [privacy] and [training] there"
                )
            return super().__new__(cls)

        async def merge_update(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
            return await learner.merge_update(raw(node), round, terms)

        async def combine(self, node: Node, round: int, terms: Sequence[tuple[float, Model]]) -> Model:
            return await learner.combine(raw(node), round, terms)

    held = {one.name: getattr(learner, one.name) for one in fields(Base)}
    for name in ("sigma", "allowance", "bands"):  # lists could be changed in place
        held[name] = None if held[name] is None else tuple(held[name])
    found: Learner = GuardedLearner(**held | {"lineage": cast(Lineage, _lineage(learner.lineage))})
    made = True
    return found


def _lineage(lineage: Lineage) -> Any:
    """Return what a program may write into the record: states that follow from states."""

    class GuardedLineage:
        """Record of releases, to which mixes may be added and nothing else."""

        __slots__ = ()

        def combine(self, t_s: float, node: int, round: int, terms: Sequence[tuple[float, int]]) -> int:
            return lineage.combine(t_s, node, round, terms)

        def opaque(self, t_s: float, node: int, round: int, parents: Sequence[int]) -> int:
            return lineage.opaque(t_s, node, round, parents)

        def begin(self, *args: Any, **options: Any) -> NoReturn:
            raise ContractError(
                "contributions are recorded by learner.local_update and learner.merge_update, with the clipping norm "
                "and noise of the scenario; a program cannot vouch for others"
            )

        contribute = begin

    return GuardedLineage()


# ---------------------------------------------------------------- bodies


def _is_vector(part: Any) -> bool:
    """Return whether a part of a body is an array of numbers or a handle of an executor."""
    if type(part) is np.ndarray:
        return part.dtype.kind in "fiu"
    return type(part).__module__ in ("protocols.learning.executor", "protocols.learning.eager")


def _is_number(part: Any) -> bool:
    return type(part) in _NUMBERS and (type(part) is not int or part.bit_length() < _BITS)


def _vectors(body: Any) -> bool:
    """Return whether a body has vectors anywhere in it."""
    if isinstance(body, tuple | list):
        return any(map(_vectors, body))
    if isinstance(body, dict):
        return any(map(_vectors, body.values()))
    return isinstance(body, float) or _is_vector(body)
