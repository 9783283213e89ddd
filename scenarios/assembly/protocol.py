"""Build the protocol that every node runs, with its secure sums, robust rule and message noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple, NoReturn

from protocols.gossip.learner import Learner
from protocols.gossip.message_noise import MessageNoise
from protocols.gossip.robust_mix import RobustMix, Rule
from protocols.privacy.sum_law import SumLaw
from scenarios.assembly.adversary import Cast
from scenarios.assembly.keys import build_keys, name_of
from scenarios.assembly.learner import Learning
from scenarios.assembly.secure import build_security, build_terms
from scenarios.declared import guard_for
from scenarios.format.kind import plugin_of
from scenarios.kinds.privacy import NoiseContext
from scenarios.kinds.protocols import ProtocolContext, SecureSums
from scenarios.schema import Scenario
from simulator.contract.node import Node, Program
from simulator.errors import ContractError
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
        terms = build_terms(scenario, overlay, samples)
        security = build_security(terms, learning, overlay, samples, inconsistent)
    rule = protocol.rule
    robust = None
    if rule is not None:
        mix = rule.build() if "own samples" in rule.needs else unseeing(rule.build())
        robust = RobustMix(learner, mix, rule.least, cast.corrupt)
    rushing = scenario.adversary.knowledge not in ("own", "received")
    guard = None
    if plugin_of(type(protocol)) is not None and scenario.privacy is not None:
        guard = guard_for(scenario, learner, protocol)
    context = ProtocolContext(
        learner=learner if guard is None else guard.learner,
        overlay=overlay,
        samples=samples,
        seed=scenario.seed,
        robust=robust,
        sums=None if security is None else SecureSums(security.rules, security.suite),
        message_noise=build_message_noise(scenario, learner, overlay),
        late=cast.byzantine if rushing else frozenset(),
    )
    program = protocol.build(context)
    if guard is not None:
        program = guard.around(program)
    return Built(program) if security is None else Built(program, security.law, security.failure_probability)


@lru_cache(maxsize=256)
def unseeing(rule: Rule) -> Rule:
    """Return a robust rule that fails if it looks at the node's own samples, which it does not say that it needs.

    What it chose by them would be sent without noise, so scenarios with noise refuse rules that say so.
    """

    def losses() -> NoReturn:
        raise ContractError('the robust rule looks at the own samples; say so: needs "own samples"')

    return lambda heard: rule(replace(heard, losses=losses))


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
