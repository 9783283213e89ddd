"""Changes of messages by a Byzantine node or an attacker on a link: drop, delay, replay, alter, equivocate.

An action is a pure function of what the adversary knows and of one message. It returns what really leaves; every
choice it makes at random belongs to the message at hand, so that it does not depend on other traffic::

    chain(only(drop(0.3), kinds={"model"}), delay(0.2))

A node's content while it is still a handle (a model, before it is protected) is not changed here but by the
substitution of :mod:`simulator.adversary.coalition`, through which protocols pass what they send. Here is the place
for what a message carries once it is made: masked vectors, shares, public arrays, bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from simulator.contract.knowledge import Context
from simulator.contract.node import Message
from simulator.errors import ConfigurationError, ContractError
from simulator.streams import Law


class Forward(NamedTuple):
    """An order to the network: what leaves in place of a message.

    Args:
        delay_s: seconds after the moment of tampering; not negative, finite.
        dst: to whom.
        message: what.
        copy: whether it is more than the message that was handed over, changed or not. Set by the coalition, for
            the network's books and draws; actions leave it alone.
    """

    delay_s: float
    dst: int
    message: Message
    copy: bool = False


class Ciphertext:
    """Content of an encrypted link, as an attacker on it holds it: it can be passed on whole, and not be read."""

    __slots__ = ("__weakref__",)

    def __repr__(self) -> str:
        return "<ciphertext>"


Tamper: TypeAlias = Callable[[Context, int, Message], Sequence[Forward]]
"""(context, receiver, message) -> what really leaves: nothing (dropped), itself, or several."""

Change: TypeAlias = Callable[[Any, np.random.Generator], Any]
"""(body, generator) -> another body."""


@dataclass(frozen=True)
class Action:
    """A tamper that says what it has to read.

    Args:
        act: what it does.
        reads: which parts of a message it looks into: ``kind``, ``round``, ``body``. On an encrypted link nothing
            can be read, so an action that reads is refused there.
    """

    act: Tamper
    reads: frozenset[str] = frozenset()

    def __call__(self, context: Context, dst: int, message: Message) -> Sequence[Forward]:
        """Act on one message."""
        return self.act(context, dst, message)


def reads(tamper: Tamper) -> frozenset[str]:
    """Return the parts of a message that an action declares to read; empty for a function that declares nothing."""
    return tamper.reads if isinstance(tamper, Action) else frozenset()


def drop(probability: float = 1.0) -> Action:
    """Lose each message with ``probability``, independently.

    Raises:
        ConfigurationError: not in [0, 1].
    """
    _check_probability(probability)

    def act(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        return () if context.uniform("drop") < probability else (Forward(0.0, dst, message),)

    return Action(act)


def delay(seconds: float | Law) -> Action:
    """Let every message leave later, by a constant or by a draw of a law.

    Raises:
        ConfigurationError: negative or not finite.
    """
    if not callable(seconds):
        _check_seconds(seconds, "delay_s")

    def act(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        if not callable(seconds):
            return (Forward(seconds, dst, message),)
        drawn = np.asarray(seconds(np.array([context.uniform("delay")])), dtype=np.float64)
        return (Forward(float(drawn.reshape(-1)[0]), dst, message),)

    return Action(act)


def replay(after_s: float, probability: float = 1.0) -> Action:
    """Send every message and, with ``probability``, the recorded message once more ``after_s`` later.

    The second one is the first, bit for bit: old round, old body, old release. Protocols must survive it. With
    ``after_s=0`` it is a duplicate. It works on encrypted links too, as long as nothing binds a message to its time.

    Raises:
        ConfigurationError: ``after_s`` negative or not finite, or ``probability`` not in [0, 1].
    """
    _check_seconds(after_s, "after_s")
    _check_probability(probability)

    def act(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        now = Forward(0.0, dst, message)
        return (now, Forward(after_s, dst, message)) if context.uniform("replay") < probability else (now,)

    return Action(act)


def alter(change: Change) -> Action:
    """Put ``change(body, generator)`` in place of the body.

    The release stays as it was: the receiver is charged with learning what the true message would have told it, the
    larger loss. The size stays too, so keep types and shapes; :func:`arrays` sees to that.

    Raises:
        ContractError: when it runs, if the body holds a handle. Its value need not exist yet: use a substitution.
    """

    def act(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        return (Forward(0.0, dst, _altered(message, lambda body: change(body, context.rng("alter")))),)

    return Action(act, frozenset({"body"}))


def equivocate(change: Callable[[Any, int, np.random.Generator], Any] | Mapping[int, Change]) -> Action:
    """Tell different receivers different things.

    Args:
        change: (body, receiver, generator) -> what that receiver is told; or receiver -> its own change, whoever is
            not named being told the truth.

    Raises:
        ContractError: as :func:`alter`.
    """

    def act(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        rng = context.rng("alter")
        if not isinstance(change, Mapping):
            return (Forward(0.0, dst, _altered(message, lambda body: change(body, dst, rng))),)
        if dst not in change:
            return (Forward(0.0, dst, message),)
        return (Forward(0.0, dst, _altered(message, lambda body: change[dst](body, rng))),)

    return Action(act, frozenset({"body"}))


def arrays(change: Callable[[NDArray[Any], np.random.Generator], Any], of: type = np.floating) -> Change:
    """A change of every array in a body, tuples searched, that keeps shapes and types.

    Args:
        change: (array, generator) -> array of the same shape.
        of: which arrays: ``np.floating``, or ``np.integer`` for field elements such as shares and masked vectors.

    Raises:
        ContractError: when it runs, if a shape changed.
    """

    def lifted(body: Any, rng: np.random.Generator) -> Any:
        if isinstance(body, tuple):
            parts = (lifted(part, rng) for part in body)
            return type(body)(*parts) if hasattr(body, "_fields") else tuple(parts)
        if not (isinstance(body, np.ndarray) and np.issubdtype(body.dtype, of)):
            return body
        changed = np.array(change(body, rng), dtype=body.dtype)
        if changed.shape != body.shape:
            raise ContractError(
                f"an altered array has shape {changed.shape}, expected {body.shape} as before: sizes are public"
            )
        changed.setflags(write=False)
        return changed

    return lifted


def only(
    tamper: Tamper,
    *,
    kinds: Container[str] | None = None,
    rounds: Container[int] | None = None,
    to: Container[int] | None = None,
    from_s: float = 0.0,
    until_s: float = inf,
) -> Action:
    """Act on some messages; let the others go as they are.

    Args:
        tamper: what to do.
        kinds: kinds of message; None for all. A single string is taken as one kind.
        rounds: rounds, a ``range`` for instance; None for all.
        to: receivers; None for all.
        from_s: from when, seconds, by the time at which the message is handed over.
        until_s: until when, exclusive.

    Raises:
        ConfigurationError: an empty window.
    """
    if not from_s < until_s:
        raise ConfigurationError(
            f"tampering from {from_s} s until {until_s} s never happens; expected from before until",
            "adversary.tamper.until_s",
        )
    chosen = {kinds} if isinstance(kinds, str) else kinds

    def act(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        if (
            from_s <= context.now_s < until_s
            and (to is None or dst in to)
            and (chosen is None or message.kind in chosen)
            and (rounds is None or message.round in rounds)
        ):
            return tamper(context, dst, message)
        return (Forward(0.0, dst, message),)

    looks = {part for part, given in (("kind", kinds), ("round", rounds)) if given is not None}
    return Action(act, reads(tamper) | looks)


def chain(*tampers: Tamper) -> Action:
    """One action after another: what leaves the first goes through the second, and delays add up.

    All of them know what is known when the message is handed over, also about what leaves later.
    """

    def act(context: Context, dst: int, message: Message) -> Sequence[Forward]:
        leaving: list[Forward] = [Forward(0.0, dst, message)]
        for step, tamper in enumerate(tampers):
            leaving = [
                Forward(before.delay_s + after.delay_s, after.dst, after.message)
                for i, before in enumerate(leaving)
                for after in tamper(context.within(step, i), before.dst, before.message)
            ]
        return leaving

    return Action(act, frozenset().union(*map(reads, tampers)))


def _altered(message: Message, change: Callable[[Any], Any]) -> Message:
    if _opaque(message.body):
        raise ContractError(
            f"the body of a {message.kind!r} message is sealed or holds a handle and cannot be altered; "
            "a substitution changes content before it is protected"
        )
    return message._replace(body=change(message.body))


def _opaque(body: Any) -> bool:
    if isinstance(body, tuple):
        return any(_opaque(part) for part in body)
    return body is not None and not isinstance(
        body, (np.ndarray, np.generic, bool, int, float, complex, str, bytes)
    )


def _check_probability(probability: float) -> None:
    if not 0.0 <= probability <= 1.0:
        raise ConfigurationError(
            f"{probability} is no probability; expected a number from 0 to 1", "adversary.tamper.probability"
        )


def _check_seconds(seconds: float, name: str) -> None:
    if not (isfinite(seconds) and seconds >= 0.0):
        raise ConfigurationError(
            f"{name} must be finite and not negative, got {seconds}; to hold a message for ever, drop it",
            f"adversary.tamper.{name}",
        )
