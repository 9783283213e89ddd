"""Build integer noise of a server's sums from a scenario: range, scale, rotation and standard deviation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import floor, log2

from protocols.aggregation.encoding import NoisedIntegers
from protocols.privacy.accounting import shift_factor
from protocols.privacy.integer_accounting import variance_for
from protocols.privacy.removable_noise import part_variances
from protocols.privacy.sum_law import SumLaw
from protocols.sharing.codec import Codec, codec_for
from protocols.sharing.modulus import Modulus
from protocols.sharing.rotation import padded
from scenarios.assembly.learner import Learning
from scenarios.kinds.privacy import Privacy
from scenarios.kinds.protocols import Protocol
from scenarios.kinds.secure import Secure

FINEST_SIGMA = 2.0**30
"""Standard deviation of a client's noise in words of the finest scale; finer scales gain nothing and take longer."""


@dataclass(frozen=True)
class IntegerNoise:
    """Tables that the integer noise of a server's sums depends on, one local update in each sum.

    Args:
        secure: the table [secure].
        privacy: the table [privacy], with a law of integers.
        protocol: the table [protocol].
        sigma: largest standard deviation of a client's noise, before the gain; None: the target decides.
    """

    secure: Secure
    privacy: Privacy
    protocol: Protocol
    sigma: float | None


def build_integers(
    noise: IntegerNoise, learning: Learning, members: int, modulus: Modulus, beacon: bytes
) -> tuple[NoisedIntegers, SumLaw]:
    """Return the encoding of clients' updates as noised integers, and the law that the ledger needs.

    Args:
        noise: tables that it depends on.
        learning: data, model and local training.
        members: number of clients in the largest sum.
        modulus: of the words.
        beacon: public randomness of the run.
    """
    privacy, secure, learner = noise.privacy, noise.secure, learning.learner
    assert privacy.law in ("skellam", "discrete-gaussian")
    kind, whole = privacy.law, privacy.unit == "node"
    norm = learner.gain * (1 if whole else max(learning.bank.counts)) * privacy.clip

    def fitting(sigma: float) -> tuple[Codec, SumLaw]:
        """Return the finest scale for noise of that standard deviation, and the law."""
        codec = codec_for(norm, members, members, modulus, sigma, secure.range_sigmas)
        if sigma > 0:
            codec = replace(codec, scale=min(codec.scale, 2.0 ** floor(log2(FINEST_SIGMA / sigma))))
        return codec, SumLaw(kind, codec.scale, padded(learner.size), norm, sigma, privacy.unit)

    if noise.sigma is None:
        sigma = _calibrated(noise, learner.gain, members, fitting(0.0)[1])
    else:
        sigma = learner.gain * noise.sigma
    codec, law = fitting(sigma)
    parts: tuple[float, ...] = ()
    if privacy.surplus == "remove":
        taking = noise.protocol.asked(members)
        least = secure.per_position(taking)
        parts = part_variances(sigma**2, least - secure.colluders, taking - least)
    return NoisedIntegers(codec, law.law, sigma, learner.size, beacon, whole=whole, parts=parts), law


def _calibrated(noise: IntegerNoise, gain: float, members: int, law: SumLaw) -> float:
    """Return the least standard deviation of a client's noise with which a client in every sum meets the target.

    It is computed at the scale for no noise, the finest. The coarser scale that noise needs adds a little rounding,
    so the target used is a thousandth lower.
    """
    privacy = noise.privacy
    assert privacy.target_epsilon is not None
    counted = 1
    if privacy.noise == "sum":
        counted = noise.secure.per_position(noise.protocol.asked(members)) - noise.secure.colluders
    shift = gain * privacy.clip * shift_factor(privacy.adjacency)
    variance = variance_for(
        0.999 * privacy.target_epsilon,
        privacy.delta,
        noise.protocol.rounds,
        lambda variance: replace(law, member_sigma=float(variance**0.5)).curve(
            shift, counted * variance, privacy.unit, privacy.adjacency
        ),
    )
    return float(variance**0.5)
