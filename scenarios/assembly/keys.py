"""Identity keys of nodes and the context that keys, signatures and masks of a run are bound to."""

from __future__ import annotations

import json
from hashlib import sha256

from protocols.aggregation.keyring import EverybodysKeyPlan, KeyPlan, NeighboursKeyPlan
from protocols.aggregation.keys import Directory, Identity
from scenarios.kinds.protocols.base import CoMembers
from scenarios.schema import Scenario
from simulator import streams


def name_of(scenario: Scenario) -> bytes:
    """Return the digest that keys, signatures and masks of a run are bound to.

    Guarantees:
        The order in which classes declare their fields has no part in it. Ideal and real cryptography of the same
        scenario have the same digest.
    """
    secure = scenario.secure
    if secure is not None:
        scenario = scenario.model_copy(update={"secure": secure.model_copy(update={"crypto": "real"})})
    values = json.dumps(scenario.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)
    return sha256(values.encode()).digest()


PLANS = {
    "neighbourhood": KeyPlan,
    "neighbours": NeighboursKeyPlan,
    "everybody": EverybodysKeyPlan,
}
"""How keys travel, by who may be a co-member."""


def build_keys(
    seed: int,
    nodes: int,
    context: bytes,
    timeout_s: float,
    agreement_cost_s: float,
    co_members: CoMembers = "neighbourhood",
) -> KeyPlan:
    """Return the plan of key agreements.

    Args:
        seed: of the run; identity keys are derived from it, in place of a directory agreed on before the run.
        nodes: number of nodes with an identity.
        context: of the run, from :func:`name_of`.
        timeout_s: wait before an announcement is repeated.
        agreement_cost_s: virtual seconds of one agreement.
        co_members: which nodes may be members of one sum.
    """
    identities = {node: Identity(streams.digest(seed, "identity", node, size=32)) for node in range(nodes)}
    return PLANS[co_members](
        directory=Directory({node: identity.public for node, identity in identities.items()}),
        identities=identities,
        context=context,
        timeout_s=timeout_s,
        agreement_cost_s=agreement_cost_s,
    )
