"""Messages that carry models: content, size, and lineage tag."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from protocols.gossip.learner import Learner, Model
from protocols.privacy.lineage import Visible
from simulator.contract.compute import VALUE_BYTES
from simulator.contract.node import Message, Node

HEADER_BYTES = 8
"""Bytes of round and element count, the whole content of a message without a model."""
NUMBER_BYTES = 8
"""Bytes of a public number sent with a model: a count, a weight."""


def show(
    learner: Learner, kind: str, round: int, models: Sequence[Model], numbers: Sequence[float] = ()
) -> Message:
    """Make a message that carries models, with public numbers beside them.

    Its body is the parameters alone if there is one model and no number, and a tuple of both otherwise. The
    numbers must not depend on data: no ledger accounts for them. (The one that does, the noised bit of adaptive
        clipping,
    is accounted with its update's contribution.)
    """
    size = HEADER_BYTES + VALUE_BYTES * learner.size * len(models) + NUMBER_BYTES * len(numbers)
    if len(models) == 1:
        (model,) = models
        body: Any = (model.params, *numbers) if numbers else model.params
        return Message(kind, round, body, size, Visible(model.state))
    vectors = [model.params for model in models]
    return Message(kind, round, (*vectors, *numbers), size, tuple([Visible(m.state) for m in models]))


def call(kind: str, round: int) -> Message:
    """Make a message without a model."""
    return Message(kind, round, None, HEADER_BYTES)


def shown(message: Message) -> tuple[Model, ...]:
    """Return the models in a message made by :func:`show`."""
    body, release = message.body, message.release
    if not isinstance(release, tuple):
        return (Model(body[0] if isinstance(body, tuple) else body, release.state),)
    return tuple([Model(vector, seen.state) for vector, seen in zip(body, release, strict=False)])


def numbers_of(message: Message) -> tuple[Any, ...]:
    """Return the public numbers in a message made by :func:`show`."""
    if not isinstance(message.body, tuple):
        return ()
    shows = len(message.release) if isinstance(message.release, tuple) else 1
    return message.body[shows:]


def tell(
    node: Node,
    peers: Sequence[int],
    round: int,
    models: Sequence[Model],
    message: Callable[[Sequence[Model]], Message],
) -> None:
    """Send the same models to several neighbours, or a Byzantine node's substitute to each of them.

    Args:
        node: the sender.
        peers: receivers.
        round: round of the message.
        models: models the protocol sends.
        message: makes the message from the models.
    """
    said = {peer: [node.outgoing(model, to=peer, round=round) for model in models] for peer in peers}
    claims = chain.from_iterable(zip(claimed, models, strict=True) for claimed in said.values())
    if all(claim is model for claim, model in claims):
        node.multicast(peers, message(models))
    else:
        for peer, claimed in said.items():
            node.send(peer, message(claimed))
