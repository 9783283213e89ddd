"""Models of honest nodes that an adversary's transcript shows.

Guarantees:
    A model is returned only if a message of the transcript shows it: messages whose release is a masked vector, a
    share or nothing at all show no model to any adversary, at any level of knowledge.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from protocols.gossip.learner import Model
from protocols.gossip.messages import shown
from protocols.privacy.lineage import Visible
from simulator.contract.knowledge import Context
from simulator.contract.node import Message

REACH = 3
"""Number of rounds before the newest one after which older messages are not searched."""


def models_seen(context: Context, byzantine: Collection[int]) -> dict[int, Model]:
    """Return the latest model of every honest node, as far as the coalition's transcript shows it, by node."""
    latest: dict[int, tuple[int, Model]] = {}
    for messages in (_received(context), _ahead(context)):
        newest = -1
        for src, message in messages:
            newest = max(newest, message.round)
            if message.round < newest - REACH:
                break
            known = latest.get(src)
            if src in byzantine or (known is not None and known[0] >= message.round):
                continue
            if (model := _model_in(message)) is not None:
                latest[src] = (message.round, model)
    return {src: latest[src][1] for src in sorted(latest)}


def _received(context: Context) -> Iterator[tuple[int, Message]]:
    return ((delivery.src, delivery.message) for delivery in reversed(context.seen))


def _ahead(context: Context) -> Iterable[tuple[int, Message]]:
    return ((sighting.src, sighting.message) for sighting in reversed(context.ahead))


def _model_in(message: Message) -> Model | None:
    """Return the first model that a message shows; None if it shows none."""
    release = message.release
    first = release[0] if isinstance(release, tuple) and release else release
    return shown(message)[0] if isinstance(first, Visible) else None
