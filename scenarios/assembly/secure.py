"""Build secure sums from a scenario: encoding, ranges, rules and keys."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from protocols.aggregation.encoding import Encoding, FixedPoint
from protocols.aggregation.members import minimum_members
from protocols.aggregation.public_range import ROUNDING, PublicRange, Stride
from protocols.aggregation.sums import NormProof, Rules
from protocols.privacy.failure import refusal_probability
from protocols.privacy.sum_law import SumLaw
from protocols.sharing.codec import codec_for
from protocols.sharing.modulus import Modulus
from scenarios.assembly.integer_noise import build_integers
from scenarios.assembly.keys import build_keys, name_of
from scenarios.assembly.learner import Learning
from scenarios.facts.training import has_integer_noise, sums_in_all, sums_per_round
from scenarios.kinds.aggregations import SuiteContext, SuiteFactory
from scenarios.kinds.secure import Secure
from scenarios.schema import Scenario
from simulator import streams
from simulator.contract.compute import Vector
from simulator.errors import ConfigurationError
from simulator.topology.overlays import Overlay


@dataclass(frozen=True)
class Security:
    """Secure sums of a run.

    Args:
        rules: common to all sums.
        suite: makes each node's side of the protocol.
        law: law of integer noise in the sums; None without integer noise.
        failure_probability: bound on the probability that an honest member refuses because of its vector.
    """

    rules: Rules
    suite: SuiteFactory
    law: SumLaw | None
    failure_probability: float


def build_security(
    scenario: Scenario,
    learning: Learning,
    overlay: Overlay,
    samples: Sequence[int],
    inconsistent: frozenset[int],
) -> Security:
    """Return codec, directory, keys and protocol of secure sums.

    Args:
        scenario: with exchange = "secure".
        learning: data, model and local training.
        overlay: links of the nodes.
        samples: number of samples of each node (public).
        inconsistent: Byzantine nodes that deal inconsistent shares.

    Raises:
        ConfigurationError: vectors do not fit into words, or an honest vector might have no norm proof.
    """
    secure, protocol, privacy = scenario.secure, scenario.protocol, scenario.privacy
    timeout_s = protocol.timeout_s
    if secure is None or privacy is None or timeout_s is None:
        raise ConfigurationError(
            'exchange = "secure" needs [secure], [privacy] and a protocol that waits for answers, and '
            f'{protocol.kind} lacks one of them; use exchange = "plain" or "ldp"',
            "protocol.exchange",
        )
    least = minimum_members(0, secure.colluders, 0)
    weights = protocol.sums(overlay, samples, scenario.seed, least)
    if not weights:
        raise ConfigurationError(
            f"no group of the whole run has the {least} members that a secure sum needs; use larger groups, more "
            "links or fewer colluders",
            "protocol.schedule",
        )
    context = name_of(scenario)
    beacon = streams.digest(scenario.seed, "public randomness of sums", size=32)
    heaviest, members = max(map(sum, weights)), max(map(len, weights))
    modulus = Modulus(secure.aggregation.prime or 2**secure.modulus_bits)
    encoding: Encoding
    law: SumLaw | None = None
    ranges = _ranges(scenario, learning, secure, max(samples))
    failures = 0.0
    if has_integer_noise(scenario):
        encoding, law = build_integers(scenario, learning, overlay, members, modulus, beacon)
        # Any value that a sum of words can represent: clients clip their update to its bound before noise is added.
        opened = modulus.value / 2 / encoding.codec.scale * math.sqrt(encoding.size(learning.learner.size))
        ranges = replace(ranges, base=replace(ranges.base, reach=protocol.rounds * opened))
    else:
        encoding = FixedPoint(codec_for(ranges.bound, heaviest, members, modulus))
        failures = refusal_probability(
            overlay.nodes * -(-protocol.rounds // protocol.updates_between_sums),
            learning.learner.size,
            secure.range_sigmas,
            proven=ranges.proof is not None,
        )
    rules = Rules(
        encoding=encoding,
        real=secure.crypto == "real",
        colluders=secure.colluders,
        tolerated_dropouts=secure.tolerated_dropouts,
        timeout_s=timeout_s,
        context=context,
        participation=protocol.asked_part,
        agreement_cost_s=secure.key_agreement_cost,
        mask_cost_s_per_byte=secure.mask_cost_per_mib / 2**20,
        share_cost_s_per_byte=secure.share_cost_per_mib / 2**20,
        commitment_cost_s=secure.commitment_cost,
        buckets=secure.buckets,
        proof=ranges.proof,
        public_range=ranges.base,
    )
    keys = build_keys(
        scenario.seed, overlay.nodes, context, timeout_s, secure.key_agreement_cost, protocol.co_members
    )
    suite = secure.aggregation.suite(
        SuiteContext(rules, keys, learning.learner, privacy.clip, beacon, inconsistent)
    )
    return Security(rules, suite, law, failures)


@dataclass(frozen=True)
class Ranges:
    """Public ranges of summed vectors and of the models that local updates start from.

    Args:
        base: range of the models that local updates start from.
        bound: largest |coordinate| of a summed vector.
        proof: norm proof of summed vectors; None without.
    """

    base: PublicRange
    bound: float
    proof: NormProof | None


def _ranges(scenario: Scenario, learning: Learning, secure: Secure, largest: int) -> Ranges:
    """Return the ranges of models, or of one cycle's updates if a server opens sums.

    The base range has room for every local update of the run, so honest runs never leave it.
    """
    privacy, learner, protocol = scenario.privacy, learning.learner, scenario.protocol
    assert privacy is not None
    contributions = largest if privacy.unit == "record" else 1
    stride = Stride(learner.gain, contributions * privacy.clip, max(learner.sigma), secure.range_sigmas)
    between, size = protocol.updates_between_sums * sums_per_round(scenario), learner.size
    moved, farthest = stride.coordinate(between), stride.norm(between, size)
    centre = learning.initial
    if protocol.served:
        base = PublicRange(centre, -(-protocol.rounds // protocol.updates_between_sums) * moved)
        return Ranges(base, moved, _proof(secure, np.zeros_like(centre), farthest))
    proof = _proof(secure, centre, farthest)
    radius = math.inf if proof is None else proof.radius - farthest
    base = PublicRange(centre, stride.coordinate(sums_in_all(scenario)), radius)
    return Ranges(base, base.largest + moved, proof)


def _proof(secure: Secure, centre: Vector, farthest: float) -> NormProof | None:
    """Return the norm proof of members' vectors after checking that an honest vector always has one.

    Args:
        secure: the table [secure].
        centre: public centre of the proven ball.
        farthest: largest distance that local updates and their noise move a model.

    Raises:
        ConfigurationError: the radius is too small for honest vectors.
    """
    spec = secure.norm_proof
    if spec is None:
        return None
    least = farthest * (1.0 + 10.0 * ROUNDING)
    if spec.radius < least:
        raise ConfigurationError(
            f"radius must be at least {upwards(least)}, got {spec.radius:g}: an honest vector, with "
            f"{secure.range_sigmas:g} standard deviations of noise, must always have a proof, since a refusal would "
            "reveal something about it; raise radius, or lower noise, clip, step or mix_every",
            "secure.norm_proof.radius",
        )
    return NormProof(centre, spec.radius, spec.size, spec.prove, spec.verify)


def upwards(value: float, digits: int = 4) -> float:
    """Round a positive number up to a few significant digits."""
    unit = 10.0 ** (math.floor(math.log10(value)) + 1 - digits)
    return float(f"{math.ceil(value / unit) * unit:.{digits}g}")
