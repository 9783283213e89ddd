"""Send and receive models in a gossip program."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from protocols.gossip.learner import Learner, Model
from protocols.gossip.messages import show, shown, tell
from protocols.privacy.lineage import Visible
from simulator.contract.node import Delivery, Message, Node
from simulator.errors import ContractError


def send_model(
    node: Node, learner: Learner, peers: Sequence[int], round: int, model: Model, *, kind: str = "model"
) -> None:
    """Send a model to neighbours, so that the ledger counts it and the adversary of a Byzantine node may replace it.

    Args:
        node: the sender.
        learner: the learner that the program was given.
        peers: neighbours to send to, each once.
        round: the round of the message, which receivers can wait for.
        model: the model to send.
        kind: kind of the message.

    Raises:
        ContractError: a peer is not a neighbour.

    Guarantees:
        The message is sent in the clear: what protects the data is the noise already in the model
        (``protocol.exchange = "ldp"``), and the ledger counts every receiver's view of it.

    Example:
        A gossip protocol in a notebook: train, send to the neighbours, average the models that arrive within a
        second.

        >>> async def program(node, learner, rounds):
        ...     model = learner.start
        ...     for round in range(rounds):
        ...         model = await learner.local_update(node, model, round)
        ...         sv.send_model(node, learner, node.neighbors, round, model)
        ...         heard = await node.gather("model", round, node.neighbors, timeout_s=1.0)
        ...         models = [model, *(sv.received_model(message) for message in heard.values())]
        ...         model = await learner.combine(node, round, [(1 / len(models), one) for one in models])
        ...         node.record("model", round=round + 1, value=model.params)
        ...     node.record("finished", rounds=rounds)
        >>> run = sv.run("quickstart", changes={"protocol.exchange": "plain", "protocol.rounds": 5}, program=program)
        >>> run.status, run.accuracy_mean > 0.3
        ('finished', True)
    """
    if isinstance(model.params, np.ndarray | list | tuple) and np.size(model.params) != learner.size:
        raise ContractError(f"the model has {np.size(model.params)} parameters, expected {learner.size}")
    tell(node, peers, round, [model], partial(show, learner, kind, round))


def received_model(message: Message | Delivery) -> Model:
    """Return the model in a message of :func:`send_model`.

    Args:
        message: as ``node.gather`` returns it, or a delivery of ``node.arrived`` or ``node.receive``.

    Raises:
        ContractError: the message shows no model, or more than one.

    Example:
        >>> model = sv.Model(params=[0.5, 1.0], state=3)
        >>> from protocols.privacy.lineage import Visible
        >>> sv.received_model(sv.Message("model", 0, model.params, 16, Visible(3))) == model
        True
    """
    if isinstance(message, Delivery):
        message = message.message
    if not isinstance(message.release, Visible) or isinstance(message.body, tuple):
        raise ContractError(
            f"the message {message.kind!r} of round {message.round} shows no single model; read those of "
            "sottovoce.send_model"
        )
    return shown(message)[0]
