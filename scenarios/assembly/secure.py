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
from scenarios.assembly.integer_noise import IntegerNoise, build_integers
from scenarios.assembly.keys import build_keys, name_of
from scenarios.assembly.learner import Learning
from scenarios.assembly.noise import build_sigma
from scenarios.checks.secure_topology import thresholds
from scenarios.facts.training import has_integer_noise, sums_per_round
from scenarios.kinds.aggregations import SuiteContext, SuiteFactory
from scenarios.kinds.privacy import Privacy
from scenarios.kinds.protocols import Protocol
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


@dataclass(frozen=True)
class SumTerms:
    """Contents of a scenario's tables that secure sums depend on.

    Args:
        secure: the table [secure].
        privacy: the table [privacy].
        protocol: the table [protocol].
        timeout_s: wait for the answers of one sub-round.
        seed: of the run.
        context: digest that keys, signatures and masks are bound to.
        sums_per_round: clipped, noised sums of one node in one round.
        noise: integer noise of the members; None where noise is real-valued.
    """

    secure: Secure
    privacy: Privacy
    protocol: Protocol
    timeout_s: float
    seed: int
    context: bytes
    sums_per_round: int
    noise: IntegerNoise | None


def build_terms(scenario: Scenario, overlay: Overlay, samples: Sequence[int]) -> SumTerms:
    """Return what a scenario says about its secure sums.

    Args:
        scenario: with exchange = "secure".
        overlay: links of the nodes.
        samples: number of samples of each node (public).

    Raises:
        ConfigurationError: a table is missing, or the protocol does not wait for answers.
    """
    secure, protocol, privacy = scenario.secure, scenario.protocol, scenario.privacy
    timeout_s = protocol.timeout_s
    if secure is None or privacy is None or timeout_s is None:
        raise ConfigurationError(
            'exchange = "secure" needs [secure], [privacy] and a protocol that waits for answers, and '
            f'{protocol.kind} lacks one of them; use exchange = "plain" or "ldp"',
            "protocol.exchange",
        )
    noise = None
    if has_integer_noise(scenario):
        sigma = None
        if privacy.noise_multiplier is not None:
            sigma = max(build_sigma(scenario, overlay, samples)[1:])
        noise = IntegerNoise(secure, privacy, protocol, sigma)
    return SumTerms(
        secure=secure,
        privacy=privacy,
        protocol=protocol,
        timeout_s=timeout_s,
        seed=scenario.seed,
        context=name_of(scenario),
        sums_per_round=sums_per_round(scenario),
        noise=noise,
    )


def build_security(
    terms: SumTerms,
    learning: Learning,
    overlay: Overlay,
    samples: Sequence[int],
    inconsistent: frozenset[int],
) -> Security:
    """Return codec, directory, keys and protocol of secure sums.

    Args:
        terms: what the tables of the scenario say about the sums.
        learning: data, model and local training.
        overlay: links of the nodes.
        samples: number of samples of each node (public).
        inconsistent: Byzantine nodes that deal inconsistent shares.

    Raises:
        ConfigurationError: vectors do not fit into words, an honest vector might have no norm proof, or the members
            of a group are too few for what they share.
    """
    secure, protocol, timeout_s = terms.secure, terms.protocol, terms.timeout_s
    least = minimum_members(0, secure.colluders, 0)
    weights = protocol.sums(overlay, samples, terms.seed, least)
    if not weights:
        raise ConfigurationError(
            f"no group of the whole run has the {least} members that a secure sum needs; use larger groups, more "
            "links or fewer colluders",
            "protocol.schedule",
        )
    if protocol.states_are_public:  # whose groups only the built schedule tells
        smallest = min(map(len, weights))
        for key, message in thresholds(secure, smallest):
            raise ConfigurationError(
                f"the smallest group of this run has {smallest} members: {message}, or use larger groups",
                ".".join(map(str, key)),
            )
    beacon = streams.digest(terms.seed, "public randomness of sums", size=32)
    heaviest, members = max(map(sum, weights)), max(map(len, weights))
    modulus = Modulus(secure.aggregation.prime or 2**secure.modulus_bits)
    encoding: Encoding
    law: SumLaw | None = None
    ranges = _ranges(terms, learning, max(samples))
    failures = 0.0
    if terms.noise is not None:
        encoding, law = build_integers(terms.noise, learning, members, modulus, beacon)
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
        context=terms.context,
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
        terms.seed,
        overlay.nodes,
        terms.context,
        timeout_s,
        secure.key_agreement_cost,
        protocol.co_members,
    )
    suite = secure.aggregation.suite(
        SuiteContext(rules, keys, learning.learner, terms.privacy.clip, beacon, inconsistent)
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


def _ranges(terms: SumTerms, learning: Learning, largest: int) -> Ranges:
    """Return the ranges of models, or of one cycle's updates if a server opens sums.

    The base range has room for every local update of the run, so honest runs never leave it.
    """
    secure, privacy, protocol, learner = terms.secure, terms.privacy, terms.protocol, learning.learner
    contributions = largest if privacy.unit == "record" else 1
    stride = Stride(learner.gain, contributions * privacy.clip, max(learner.sigma), secure.range_sigmas)
    between, size = protocol.updates_between_sums * terms.sums_per_round, learner.size
    moved, farthest = stride.coordinate(between), stride.norm(between, size)
    centre = learning.initial
    if protocol.served:
        base = PublicRange(centre, -(-protocol.rounds // protocol.updates_between_sums) * moved)
        return Ranges(base, moved, _proof(secure, np.zeros_like(centre), farthest))
    proof = _proof(secure, centre, farthest)
    radius = math.inf if proof is None else proof.radius - farthest
    base = PublicRange(centre, stride.coordinate(protocol.rounds * terms.sums_per_round), radius)
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
