"""Identity keys of nodes and the context that keys, signatures and masks of a run are bound to."""

from __future__ import annotations

from hashlib import sha256

from protocols.aggregation.keyring import KeyPlan
from protocols.aggregation.keys import Directory, Identity
from scenarios.schema import Scenario
from simulator import streams


def name_of(scenario: Scenario) -> bytes:
    """Return the context of a run's keys, signatures and masks; the same for real and ideal cryptography."""
    secure = scenario.secure
    if secure is not None:
        scenario = scenario.model_copy(update={"secure": secure.model_copy(update={"crypto": "real"})})
    return sha256(scenario.model_dump_json().encode()).digest()


def build_keys(seed: int, nodes: int, context: bytes, timeout_s: float, agreement_cost_s: float) -> KeyPlan:
    """Return the plan of key agreements.

    Args:
        seed: of the run; identity keys are derived from it, in place of a directory agreed on before the run.
        nodes: number of nodes with an identity.
        context: of the run, from :func:`name_of`.
        timeout_s: wait before an announcement is repeated.
        agreement_cost_s: virtual seconds of one agreement.
    """
    identities = {node: Identity(streams.digest(seed, "identity", node, size=32)) for node in range(nodes)}
    return KeyPlan(
        directory=Directory({node: identity.public for node, identity in identities.items()}),
        identities=identities,
        context=context,
        timeout_s=timeout_s,
        agreement_cost_s=agreement_cost_s,
    )
