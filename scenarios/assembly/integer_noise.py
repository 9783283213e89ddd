"""Build integer noise of a server's sums from a scenario: range, scale, rotation and standard deviation."""

from __future__ import annotations

from dataclasses import replace
from math import floor, log2

from protocols.aggregation.encoding import NoisedIntegers
from protocols.privacy.accounting import shift_factor
from protocols.privacy.integer_accounting import variance_for
from protocols.privacy.removable_noise import part_variances
from protocols.privacy.sum_law import SumLaw
from protocols.sharing.codec import Codec, codec_for
from protocols.sharing.modulus import Modulus
from protocols.sharing.rotation import padded
from scenarios.assembly.learner import Learning, build_sigma
from scenarios.schema import Scenario
from simulator.topology.overlays import Overlay

FINEST_SIGMA = 2.0**30
"""Standard deviation of a client's noise in words of the finest scale; finer scales gain nothing and take longer."""


def build_integers(
    scenario: Scenario, learning: Learning, overlay: Overlay, members: int, modulus: Modulus, beacon: bytes
) -> tuple[NoisedIntegers, SumLaw]:
    """Return the encoding of clients' updates as noised integers, and the law that the ledger needs.

    Args:
        scenario: a server's sums, one local update in each.
        learning: data, model and local training.
        overlay: links of the nodes.
        members: number of clients in the largest sum.
        modulus: of the words.
        beacon: public randomness of the run.
    """
    privacy, secure, learner = scenario.privacy, scenario.secure, learning.learner
    assert privacy is not None
    assert secure is not None
    assert privacy.law in ("skellam", "discrete-gaussian")
    kind, whole = privacy.law, privacy.unit == "node"
    norm = learner.gain * (1 if whole else max(learning.bank.counts)) * privacy.clip

    def fitting(sigma: float) -> tuple[Codec, SumLaw]:
        """Return the finest scale for noise of that standard deviation, and the law."""
        codec = codec_for(norm, members, members, modulus, sigma, secure.range_sigmas)
        if sigma > 0:
            codec = replace(codec, scale=min(codec.scale, 2.0 ** floor(log2(FINEST_SIGMA / sigma))))
        return codec, SumLaw(kind, codec.scale, padded(learner.size), norm, sigma, privacy.unit)

    if privacy.noise_multiplier is None:
        sigma = _calibrated(scenario, learning, members, fitting(0.0)[1])
    else:
        sigma = learner.gain * max(build_sigma(scenario, overlay, learning.bank.counts)[1:])
    codec, law = fitting(sigma)
    parts: tuple[float, ...] = ()
    if privacy.surplus == "remove":
        taking = scenario.protocol.asked(members)
        least = secure.per_position(taking)
        parts = part_variances(sigma**2, least - secure.colluders, taking - least)
    return NoisedIntegers(codec, law.law, sigma, learner.size, beacon, whole=whole, parts=parts), law


def _calibrated(scenario: Scenario, learning: Learning, members: int, law: SumLaw) -> float:
    """Return the least standard deviation of a client's noise with which a client in every sum meets the target.

    It is computed at the scale for no noise, the finest. The coarser scale that noise needs adds a little rounding,
    so the target used is a thousandth lower.
    """
    privacy, secure, learner = scenario.privacy, scenario.secure, learning.learner
    assert privacy is not None
    assert secure is not None
    assert privacy.target_epsilon is not None
    counted = 1
    if privacy.noise == "sum":
        counted = secure.per_position(scenario.protocol.asked(members)) - secure.colluders
    shift = learner.gain * privacy.clip * shift_factor(privacy.adjacency)
    variance = variance_for(
        0.999 * privacy.target_epsilon,
        privacy.delta,
        scenario.protocol.rounds,
        lambda variance: replace(law, member_sigma=float(variance**0.5)).curve(
            shift, counted * variance, privacy.unit, privacy.adjacency
        ),
    )
    return float(variance**0.5)
