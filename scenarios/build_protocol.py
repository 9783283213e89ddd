"""What every node of a run does: its gossip protocol and how sums are secured, from a scenario."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import numpy as np

from protocols.aggregation.keyring import KeyPlan, Keyring
from protocols.aggregation.keys import Directory, Identity
from protocols.aggregation.neighbourhood import NeighbourhoodExchange, SecurePlan
from protocols.gossip.direct import DirectExchange
from protocols.gossip.dsgd import dsgd
from protocols.gossip.exchange import ExchangeFactory
from protocols.gossip.push import push
from protocols.sharing.codec import codec_for, model_bound
from scenarios import protocol_tables
from scenarios.build_learner import Learning
from scenarios.schema import Scenario
from scenarios.training_facts import sums_in_all
from simulator import streams
from simulator.node import Node, Program
from simulator.overlay import Overlay


def build_program(
    scenario: Scenario,
    learning: Learning,
    overlay: Overlay,
    largest: int,
) -> Program:
    """The protocol every node runs."""
    learner = learning.learner
    match scenario.protocol:
        case protocol_tables.PushProtocol() as spec:
            rounds, period_s = spec.rounds, spec.period
            return lambda node: push(node, learner, rounds, period_s)
        case protocol_tables.DsgdProtocol() as spec:
            exchange: ExchangeFactory
            if spec.exchange == "secure":
                exchange = build_secure(scenario, spec, learning, overlay, largest)
            else:
                exchange = lambda node: DirectExchange(node, learner, spec.timeout)  # noqa: E731
            return lambda node: dsgd(node, learner, exchange, spec.rounds)


def build_secure(
    scenario: Scenario,
    spec: protocol_tables.DsgdProtocol,
    learning: Learning,
    overlay: Overlay,
    largest: int,
) -> Callable[[Node], NeighbourhoodExchange]:
    """Codec, directory and keys for neighbourhood secure aggregation."""
    secure, privacy, learner = scenario.secure, scenario.privacy, learning.learner
    assert secure is not None
    assert privacy is not None
    contributions = largest if privacy.unit == "record" else 1
    bound = model_bound(
        float(np.linalg.norm(learning.initial)),
        learner.gain,
        sums_in_all(scenario),
        contributions * privacy.clip,
        max(learner.sigma),
        secure.range_sigmas,
    )
    around = [overlay.links(node, 0).weights for node in range(overlay.nodes)]
    context = sha256(scenario.model_dump_json().encode()).digest()
    plan = SecurePlan(
        codec=codec_for(bound, max(sum(shares.values()) for shares in around), max(map(len, around))),
        real=secure.crypto == "real",
        colluders=secure.colluders,
        tolerated_dropouts=secure.tolerated_dropouts,
        timeout_s=spec.timeout,
        context=context,
        mask_cost_s_per_byte=secure.mask_cost_per_mib / 2**20,
    )
    # Identity keys stand for a directory agreed on long before the run; simulated, so derived from the seed.
    identities = {
        node: Identity(streams.digest(scenario.seed, "identity", node, size=32))
        for node in range(overlay.nodes)
    }
    keys = KeyPlan(
        directory=Directory({node: identity.public for node, identity in identities.items()}),
        identities=identities,
        context=context,
        timeout_s=spec.timeout,
        agreement_cost_s=secure.key_agreement_cost,
    )
    return lambda node: NeighbourhoodExchange(node, learner, plan, Keyring(node, keys))
