"""How sums are secured: rules, keys, and the protocol of the sums, from a scenario."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256

import numpy as np

from protocols.aggregation.cesar import SparseMasks, SparsePlan
from protocols.aggregation.double_masks import DoubleMasks, DoublePlan, Graph, everybody
from protocols.aggregation.double_secrets import IdealSecrets, RealSecrets
from protocols.aggregation.encoding import Encoding, FixedPoint
from protocols.aggregation.gopa import CorrelatedNoise
from protocols.aggregation.keyring import KeyPlan, Keyring
from protocols.aggregation.lightsecagg import LightSecAgg
from protocols.aggregation.pair_noise import PairNoises
from protocols.aggregation.public_range import ROUNDING, PublicRange, Stride
from protocols.aggregation.secagg_graph import Parameters, parameters, partners
from protocols.aggregation.share_sums import ShareSums
from protocols.aggregation.single_masks import SingleMasks
from protocols.aggregation.suite import Suite
from protocols.aggregation.sums import NormProof, Rules, SumId, split_proof_threshold
from protocols.aggregation.trusted import Trusted
from protocols.aggregation.vector_shares import IdealShares, RealShares, SharingPlan
from protocols.aggregation.verified_masks import VerifiedMasks
from protocols.aggregation.verified_secrets import IdealVerifiedSecrets, RealVerifiedSecrets
from protocols.attacks.dealing import InconsistentShares
from protocols.gossip.learner import Learner
from protocols.privacy.failure import refusal_probability
from protocols.privacy.sum_law import SumLaw
from protocols.sharing.codec import codec_for
from protocols.sharing.modulus import Modulus
from scenarios.assembly.integer_noise import build_integers
from scenarios.assembly.keys import build_keys, name_of
from scenarios.assembly.learner import Learning
from scenarios.facts.secure import packing, recovering
from scenarios.facts.training import has_integer_noise, sums_in_all, sums_per_round
from scenarios.kinds import aggregations as tables
from scenarios.kinds import protocols as protocol_tables
from scenarios.schema import Scenario
from simulator import streams
from simulator.contract.compute import Vector
from simulator.contract.node import Node
from simulator.errors import ConfigurationError
from simulator.topology.overlays import Overlay

ATTEMPTS = {"skip": 1, "rerun": 2}
"""Lists in a round, by what happens on dropout."""


@dataclass(frozen=True)
class Security:
    """How the sums of a run are secured.

    Args:
        rules: of all of them.
        suite: each node's side of their protocol.
        law: of integer noise in them; None if there is none.
        failure_probability: bound on the probability that an honest member refuses for what is in its vector.
    """

    rules: Rules
    suite: Callable[[Node], Suite]
    law: SumLaw | None
    failure_probability: float


def build_security(
    scenario: Scenario,
    learning: Learning,
    overlay: Overlay,
    largest: int,
    shares: Sequence[float],
    crooked: frozenset[int],
) -> Security:
    """Codec, directory, keys and protocol of secure sums.

    Args:
        scenario: the scenario.
        learning: what there is to learn, and how.
        overlay: who is linked to whom.
        largest: most samples of a node.
        shares: where a server opens sums, the weight of each node's update.
        crooked: nodes that deal inconsistent shares.
    """
    secure, protocol = scenario.secure, scenario.protocol
    assert secure is not None
    assert isinstance(protocol, protocol_tables.DsgdProtocol | protocol_tables.FedavgProtocol)
    if isinstance(protocol, protocol_tables.FedavgProtocol):
        weights = [shares[1:]]
        participation = protocol.participation
    else:
        weights = [list(overlay.links(node, 0).weights.values()) for node in range(overlay.nodes)]
        participation = 1.0
    context = name_of(scenario)
    beacon = streams.digest(scenario.seed, "public randomness of sums", size=32)
    heaviest, members, modulus = max(map(sum, weights)), max(map(len, weights)), _modulus(secure)
    encoding: Encoding
    law: SumLaw | None = None
    ranges = _ranges(scenario, learning, secure, largest)
    failures = 0.0
    if has_integer_noise(scenario):
        encoding, law = build_integers(scenario, learning, overlay, members, modulus, beacon)
        # Whatever a sum of words may stand for: clients bring their update to its bound before noise is added.
        opened = modulus.value / 2 / encoding.codec.scale * math.sqrt(encoding.size(learning.learner.size))
        ranges = replace(ranges, base=replace(ranges.base, reach=protocol.rounds * opened))
    else:
        encoding = FixedPoint(codec_for(ranges.bound, heaviest, members, modulus))
        failures = refusal_probability(
            overlay.nodes * -(-protocol.rounds // protocol.mix_every),
            learning.learner.size,
            secure.range_sigmas,
            proven=ranges.proof is not None,
        )
    rules = Rules(
        encoding=encoding,
        real=secure.crypto == "real",
        colluders=secure.colluders,
        tolerated_dropouts=secure.tolerated_dropouts,
        timeout_s=protocol.timeout,
        context=context,
        participation=participation,
        agreement_cost_s=secure.key_agreement_cost,
        mask_cost_s_per_byte=secure.mask_cost_per_mib / 2**20,
        share_cost_s_per_byte=secure.share_cost_per_mib / 2**20,
        commitment_cost_s=secure.commitment_cost,
        buckets=secure.buckets,
        proof=ranges.proof,
        public_range=ranges.base,
    )
    keys = build_keys(scenario, overlay, context, protocol.timeout, secure.key_agreement_cost)
    suite = _suite(scenario, secure, learning.learner, rules, keys, beacon, crooked)
    return Security(rules, suite, law, failures)


@dataclass(frozen=True)
class Ranges:
    """Where vectors and what they start from are.

    Args:
        base: what local updates start from.
        bound: largest |coordinate| of what is summed.
        proof: that it is not long; None: nothing is proven.
    """

    base: PublicRange
    bound: float
    proof: NormProof | None


def _ranges(scenario: Scenario, learning: Learning, secure: tables.Secure, largest: int) -> Ranges:
    """Of models, or of one cycle's updates where a server opens sums.

    Bases have room for every local update of the run: honest runs never leave it.
    """
    privacy, learner, protocol = scenario.privacy, learning.learner, scenario.protocol
    assert privacy is not None
    assert isinstance(protocol, protocol_tables.DsgdProtocol | protocol_tables.FedavgProtocol)
    contributions = largest if privacy.unit == "record" else 1
    stride = Stride(learner.gain, contributions * privacy.clip, max(learner.sigma), secure.range_sigmas)
    between, size = protocol.mix_every * sums_per_round(scenario), learner.size
    moved, farthest = stride.coordinate(between), stride.norm(between, size)
    centre = learning.initial
    if isinstance(protocol, protocol_tables.FedavgProtocol):
        base = PublicRange(centre, -(-protocol.rounds // protocol.mix_every) * moved)
        return Ranges(base, moved, _proof(secure, np.zeros_like(centre), farthest))
    proof = _proof(secure, centre, farthest)
    radius = math.inf if proof is None else proof.radius - farthest
    base = PublicRange(centre, stride.coordinate(sums_in_all(scenario)), radius)
    return Ranges(base, base.largest + moved, proof)


def _proof(secure: tables.Secure, centre: Vector, farthest: float) -> NormProof | None:
    """What members prove about their vectors, if an honest one always can.

    Args:
        secure: the table.
        centre: the public point.
        farthest: how far local updates and their noise lead from where they start.
    """
    spec = secure.norm_proof
    if spec is None:
        return None
    least = farthest * (1.0 + 10.0 * ROUNDING)
    if spec.radius < least:
        raise ConfigurationError(
            f"a radius of {spec.radius:g} is too small: an honest vector, with {secure.range_sigmas:g} standard "
            "deviations of noise, must always have a proof, since a refusal would tell what sums should hide; the "
            f"smallest radius that works is {upwards(least)}; give that, or less noise, clip, step or mix_every",
            "secure.norm_proof.radius",
        )
    return NormProof(centre, spec.radius, spec.size, spec.prove, spec.verify)


def upwards(value: float, digits: int = 4) -> float:
    """A positive number to a few significant digits, never below it."""
    unit = 10.0 ** (math.floor(math.log10(value)) + 1 - digits)
    return float(f"{math.ceil(value / unit) * unit:.{digits}g}")


def _modulus(secure: tables.Secure) -> Modulus:
    match secure.aggregation:
        case tables.SharingAggregation() as spec:
            return Modulus(tables.FIELDS[spec.field])
        case tables.LightAggregation():
            return Modulus(tables.FIELDS["2^31-1"])
        case _:
            return Modulus(2**secure.modulus_bits)


def _suite(
    scenario: Scenario,
    secure: tables.Secure,
    learner: Learner,
    rules: Rules,
    keys: KeyPlan,
    beacon: bytes,
    crooked: frozenset[int],
) -> Callable[[Node], Suite]:
    def threshold(holders: int) -> int:
        shares = recovering(secure, holders)
        assert shares is not None
        return shares

    match secure.aggregation:
        case tables.MasksAggregation(on_dropout="recover", verifiable=verifiable):
            plan = DoublePlan(everybody(threshold))
            return lambda node: _double(node, rules, plan, keys, verifiable)
        case tables.MasksAggregation() as masks:
            attempts = ATTEMPTS[masks.on_dropout]
            return lambda node: SingleMasks(node, rules, Keyring(node, keys), attempts)
        case tables.BonawitzAggregation(active=active, verifiable=verifiable):
            plan = DoublePlan(everybody(threshold), signed=active, active=active)
            return lambda node: _double(node, rules, plan, keys, verifiable)
        case tables.SecaggPlusAggregation() as spec:
            graph = _secagg_plus(spec, secure.colluders, beacon)
            return lambda node: _double(node, rules, graph, keys)
        case tables.SharingAggregation() | tables.LightAggregation() as spec:
            plan_ = SharingPlan(rules.encoding.modulus, threshold, lambda holders: packing(secure, holders))
            light = isinstance(spec, tables.LightAggregation)
            return lambda node: _shared(node, rules, plan_, keys, light, node.id in crooked)
        case tables.SparseAggregation() as spec:
            sparse = SparsePlan(spec.fraction, spec.choice, 3 + secure.colluders)
            return lambda node: SparseMasks(node, rules, sparse, learner, Keyring(node, keys))
        case tables.CorrelatedAggregation() as spec:
            privacy = scenario.privacy
            assert privacy is not None
            noises = PairNoises(learner.lineage, spec.pair_multiplier * privacy.clip * learner.gain)
            return lambda node: CorrelatedNoise(node, rules, learner, Keyring(node, keys), noises)
        case tables.TrustedAggregation():
            return lambda node: Trusted(node, rules, learner)


def _double(node: Node, rules: Rules, plan: DoublePlan, keys: KeyPlan, verifiable: bool = False) -> Suite:
    modulus = rules.encoding.modulus
    identity = keys.identities[node.id] if plan.signed else None
    real = (node, modulus, rules.context, identity, keys.directory)
    if verifiable:
        checked = RealVerifiedSecrets(*real) if rules.real else IdealVerifiedSecrets(node, modulus)
        return VerifiedMasks(node, rules, plan, checked)
    return DoubleMasks(node, rules, plan, RealSecrets(*real) if rules.real else IdealSecrets(node, modulus))


def _shared(node: Node, rules: Rules, plan: SharingPlan, keys: KeyPlan, light: bool, crooked: bool) -> Suite:
    keyring = Keyring(node, keys)
    real = InconsistentShares if crooked else RealShares
    shares = real(node, plan, keyring, rules.context) if rules.real else IdealShares(node, plan)
    return (LightSecAgg if light else ShareSums)(node, rules, plan, shares, keyring)


def _secagg_plus(spec: tables.SecaggPlusAggregation, colluders: int, beacon: bytes) -> DoublePlan:
    """A sparse random graph of partners for every sum; among few members everybody is everybody's partner."""

    @lru_cache(maxsize=64)
    def found(members: int) -> Parameters | None:
        try:
            return parameters(
                members, spec.corrupted, spec.dropouts, spec.security_bits, spec.correctness_bits
            )
        except ConfigurationError:
            return None

    complete = everybody(lambda holders: split_proof_threshold(holders, colluders))

    @lru_cache(maxsize=4)
    def graph(sum: SumId, listed: tuple[int, ...]) -> Graph:
        chosen = found(len(listed))
        if chosen is None or chosen.degree >= len(listed) - 1:
            return complete(sum, listed)
        key = sha256(beacon + repr((tuple(sum), listed)).encode()).digest()
        return Graph(partners(listed, chosen.degree, key), chosen.threshold)

    return DoublePlan(graph, signed=False)
