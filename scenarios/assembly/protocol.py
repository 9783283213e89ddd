"""Build the protocol that every node runs, with its secure sums, robust rule and message noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from protocols.gossip.learner import Learner
from protocols.gossip.message_noise import MessageNoise
from protocols.gossip.robust_mix import RobustMix
from protocols.privacy.sum_law import SumLaw
from scenarios.assembly.adversary import Cast
from scenarios.assembly.keys import build_keys, name_of
from scenarios.assembly.learner import Learning
from scenarios.assembly.secure import build_security
from scenarios.declared import Declared
from scenarios.format.kind import plugin_of
from scenarios.kinds.privacy import NoiseContext
from scenarios.kinds.protocols import ProtocolContext, SecureSums
from scenarios.schema import Scenario
from simulator.contract.node import Node, Program
from simulator.topology.overlays import Overlay


class Built(NamedTuple):
    """A protocol, ready to run.

    Args:
        program: run by every node.
        law: law of integer noise in its sums; None without integer noise.
        failure_probability: bound on the probability that an honest member of a sum refuses because of its vector.
    """

    program: Program
    law: SumLaw | None = None
    failure_probability: float = 0.0


def build_program(
    scenario: Scenario,
    learning: Learning,
    overlay: Overlay,
    samples: Sequence[int],
    cast: Cast,
) -> Built:
    """Return the protocol that every node runs.

    Args:
        scenario: the scenario.
        learning: data, model and local training.
        overlay: links of the nodes.
        samples: number of samples of each node (public).
        cast: roles of nodes, for rules with an oracle and for Byzantine nodes that send last.

    Raises:
        ConfigurationError: the links do not fit the protocol.
    """
    protocol, learner = scenario.protocol, learning.learner
    security = None
    if protocol.exchange == "secure":
        byzantine = scenario.adversary.byzantine
        deals = byzantine is not None and byzantine.attack.part == "shares"
        inconsistent = cast.byzantine if deals else frozenset[int]()
        security = build_security(scenario, learning, overlay, samples, inconsistent)
    rule = protocol.rule
    robust = None
    if rule is not None:
        robust = RobustMix(learner, rule.build(), rule.least, cast.corrupt)
    rushing = scenario.adversary.knowledge not in ("own", "received")
    context = ProtocolContext(
        learner=learner,
        overlay=overlay,
        samples=samples,
        seed=scenario.seed,
        robust=robust,
        sums=None if security is None else SecureSums(security.rules, security.suite),
        message_noise=build_message_noise(scenario, learner, overlay),
        late=cast.byzantine if rushing else frozenset(),
    )
    program = protocol.build(context)
    if plugin_of(type(protocol)) is not None and protocol.exchange == "ldp":
        program = _declaring(program)
    return Built(program) if security is None else Built(program, security.law, security.failure_probability)


def _declaring(program: Program) -> Program:
    """Wrap a program from outside: what its messages reveal must be declared, or its losses would be too small."""
    return lambda node: program(Declared.node(node))


def build_message_noise(
    scenario: Scenario, learner: Learner, overlay: Overlay
) -> Callable[[Node], MessageNoise] | None:
    """Return the factory of correlated message noise, which cancels in averages; None without."""
    privacy = scenario.privacy
    if privacy is None or privacy.correlated is None:
        return None
    timeout_s = scenario.protocol.timeout_s or 0.0
    return privacy.correlated.build(
        NoiseContext(
            learner=learner,
            sigma=privacy.correlated.multiplier * privacy.clip * learner.gain,
            keys=lambda cost_s: build_keys(
                scenario.seed, overlay.nodes, name_of(scenario), timeout_s, cost_s
            ),
        )
    )
