"""Who signs with what, and what names a run."""

from __future__ import annotations

from hashlib import sha256

from protocols.aggregation.keyring import KeyPlan
from protocols.aggregation.keys import Directory, Identity
from scenarios.schema import Scenario
from simulator import streams


def name_of(scenario: Scenario) -> bytes:
    """Return what keys, signatures and masks of a run are bound to; ideal cryptography stands for the real one."""
    secure = scenario.secure
    if secure is not None:
        scenario = scenario.model_copy(update={"secure": secure.model_copy(update={"crypto": "real"})})
    return sha256(scenario.model_dump_json().encode()).digest()


def build_keys(seed: int, nodes: int, context: bytes, timeout_s: float, agreement_cost_s: float) -> KeyPlan:
    """Return what an agreement on keys needs.

    Args:
        seed: of the run; identity keys follow from it, as they stand for a directory agreed on long before.
        nodes: how many have an identity.
        context: names the run.
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
